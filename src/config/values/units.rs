//! Numbers with a unit, such as `"8MiB"` or `"30s"`: the common part of `Size` and `Timeout`.

use std::fmt;

/// The reason why a text is not a `Size` or a `Timeout`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadUnit(pub(crate) String);

/// Reads digits and a unit; `words` describe the accepted form.
pub(crate) fn scaled(text: &str, units: &[(&str, u64)], words: &str) -> Result<u64, BadUnit> {
    let (digits, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    if digits.is_empty() {
        return Err(BadUnit(format!("{text:?} is not {words}")));
    }
    let Some((_, scale)) = units.iter().find(|(name, _)| *name == unit) else {
        let known: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
        let fault = if unit.is_empty() { "has no unit".to_owned() } else { format!("has the unit {unit:?}") };
        return Err(BadUnit(format!("{text:?} {fault}; units are {}", known.join(", "))));
    };
    let value = digits.parse().ok().and_then(|count: u64| count.checked_mul(*scale));
    value.ok_or_else(|| BadUnit(format!("{text:?} is too large")))
}

/// Writes a number with the largest unit that leaves it whole; `units` are in falling order.
pub(crate) fn write_scaled(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)]) -> fmt::Result {
    let whole = units.iter().find(|(_, scale)| value >= *scale && value.is_multiple_of(*scale));
    match whole {
        Some((unit, scale)) => write!(f, "{}{unit}", value / scale),
        None => write!(f, "{value}"),
    }
}
