//! Reads JSON numbers exactly, as the number types of the component model.

use std::str::FromStr;

use wasmtime::component::Val;

/// Digits of the largest `u64`.
const MOST_DIGITS: usize = 20;

/// A number type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    U8,
    S8,
    U16,
    S16,
    U32,
    S32,
    U64,
    S64,
    F32,
    F64,
}

/// Why a JSON text is not a number of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoNumber {
    /// It is not a number, or it is not whole and the type is an integer.
    Other,
    /// The number is too large or too small.
    Range,
}

impl Number {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::S8 => "s8",
            Self::U16 => "u16",
            Self::S16 => "s16",
            Self::U32 => "u32",
            Self::S32 => "s32",
            Self::U64 => "u64",
            Self::S64 => "s64",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    /// Reads the text of any JSON value.
    pub(super) fn read(self, text: &str) -> Result<Val, NoNumber> {
        match self {
            Self::U8 => integer(text).map(Val::U8),
            Self::S8 => integer(text).map(Val::S8),
            Self::U16 => integer(text).map(Val::U16),
            Self::S16 => integer(text).map(Val::S16),
            Self::U32 => integer(text).map(Val::U32),
            Self::S32 => integer(text).map(Val::S32),
            Self::U64 => integer(text).map(Val::U64),
            Self::S64 => integer(text).map(Val::S64),
            Self::F32 => float(text, f32::is_finite).map(Val::Float32),
            Self::F64 => float(text, f64::is_finite).map(Val::Float64),
        }
    }

    /// Reads the text of a query or a form. Spaces around it, a `+` and a leading point are not JSON.
    pub(super) fn read_text(self, text: &str) -> Result<Val, NoNumber> {
        let text = text.trim();
        let text = text.strip_prefix('+').filter(|rest| !rest.starts_with(['+', '-'])).unwrap_or(text);
        match text.find('.').filter(|point| matches!(&text[..*point], "" | "-")) {
            Some(point) => self.read(&format!("{}0{}", &text[..point], &text[point..])),
            None => self.read(text),
        }
    }

    /// Reads the text of any JSON value as an array of numbers; `None` if any part of it is wrong.
    pub(super) fn read_all(self, text: &str) -> Option<Vec<Val>> {
        match self {
            Self::U8 => all(text, |item| integer(item).map(Val::U8)),
            Self::S8 => all(text, |item| integer(item).map(Val::S8)),
            Self::U16 => all(text, |item| integer(item).map(Val::U16)),
            Self::S16 => all(text, |item| integer(item).map(Val::S16)),
            Self::U32 => all(text, |item| integer(item).map(Val::U32)),
            Self::S32 => all(text, |item| integer(item).map(Val::S32)),
            Self::U64 => all(text, |item| integer(item).map(Val::U64)),
            Self::S64 => all(text, |item| integer(item).map(Val::S64)),
            Self::F32 => all(text, |item| float(item, f32::is_finite).map(Val::Float32)),
            Self::F64 => all(text, |item| float(item, f64::is_finite).map(Val::Float64)),
        }
    }
}

/// Splits at every comma: a comma inside a string or a nested array yields parts that are not numbers.
fn all(text: &str, read: impl Fn(&str) -> Result<Val, NoNumber>) -> Option<Vec<Val>> {
    let items = text.strip_prefix('[')?.strip_suffix(']')?;
    if items.trim_ascii().is_empty() {
        return Some(Vec::new());
    }
    let commas = memchr::memchr_iter(b',', items.as_bytes()).count();
    let mut values = Vec::with_capacity(commas + 1);
    for item in items.split(',') {
        values.push(read(item.trim_ascii()).ok()?);
    }
    Some(values)
}

fn integer<T: FromStr + Default>(text: &str) -> Result<T, NoNumber> {
    if let Ok(value) = text.parse() {
        return Ok(value);
    }
    // `FromStr` of unsigned types rejects it, JSON allows it.
    if text == "-0" {
        return Ok(T::default());
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NoNumber::Range);
    }
    match whole(text) {
        Some(digits) => digits.parse().map_err(|_| NoNumber::Range),
        None => Err(NoNumber::Other),
    }
}

/// The digits of a number with a fraction or an exponent that is whole all the same: `1.0`, `1e2`.
fn whole(text: &str) -> Option<String> {
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (sign, number) = number.strip_prefix('-').map_or(("", number), |number| ("-", number));
    let (before, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_digits = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(before) || !is_digits(fraction) {
        return None;
    }
    let digits = format!("{before}{fraction}");
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some("0".to_owned());
    }
    let dropped = i64::try_from(digits.len() - significant.len()).ok()?;
    let zeros = i64::from(exponent) - i64::try_from(fraction.len()).ok()? + dropped;
    // More zeros than the widest type has digits: too many for it, whatever their number.
    let zeros = usize::try_from(zeros).ok()?.min(MOST_DIGITS);
    Some(format!("{sign}{significant}{}", "0".repeat(zeros)))
}

fn float<T: FromStr + Copy>(text: &str, finite: impl Fn(T) -> bool) -> Result<T, NoNumber> {
    // `FromStr` of floats accepts "infinity" and "NaN", JSON does not.
    if !text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return Err(NoNumber::Other);
    }
    let value = text.parse().map_err(|_| NoNumber::Other)?;
    if finite(value) { Ok(value) } else { Err(NoNumber::Range) }
}
