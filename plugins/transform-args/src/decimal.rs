//! JSON numbers with every digit of their text: compared, divided and tested for wholeness without floating point.

use std::cmp::Ordering;

/// Longer whole numbers are not written out: `1e300` stays as it is.
const LONGEST: i64 = 64;

/// The square of a number with this many digits fits into a `u128`.
pub const STEP_DIGITS: usize = 18;

/// `±0.d₁d₂d₃… × 10^magnitude`, without zeros before or after the digits; none for zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    magnitude: i64,
}

impl Decimal {
    /// Reads the text of a JSON number.
    pub fn parse(text: &str) -> Self {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|digit| digit - b'0').collect();
        let leading = all.iter().take_while(|digit| **digit == 0).count();
        let trailing = all[leading..].iter().rev().take_while(|digit| **digit == 0).count();
        let digits = all[leading..all.len() - trailing].to_vec();
        if digits.is_empty() {
            return Self { negative: false, digits, magnitude: 0 };
        }
        // The gateway passes no number whose exponent does not fit.
        let exponent: i64 = exponent.trim_start_matches('+').parse().unwrap_or(i64::from(i32::MAX));
        Self { negative, magnitude: exponent + length(whole.as_bytes()) - length(&all[..leading]), digits }
    }

    /// Whether it has no fraction: `1`, `1.0` and `1e3` are whole.
    pub fn is_whole(&self) -> bool {
        self.magnitude >= length(&self.digits)
    }

    /// A whole number without point and exponent, unless it would be very long.
    pub fn whole_text(&self) -> Option<String> {
        if !self.is_whole() || self.magnitude > LONGEST.max(length(&self.digits)) {
            return None;
        }
        if self.digits.is_empty() {
            return Some("0".to_owned());
        }
        let mut text = String::from(if self.negative { "-" } else { "" });
        text.extend(self.digits.iter().map(|digit| char::from(b'0' + digit)));
        text.extend((length(&self.digits)..self.magnitude).map(|_| '0'));
        Some(text)
    }

    /// Whether the number is a whole multiple of `step`, which is more than zero and has at most `STEP_DIGITS` digits.
    pub fn is_multiple_of(&self, step: &Self) -> bool {
        let exponent = |number: &Self| number.magnitude - length(&number.digits);
        // The last digit of each is not 0: a number with a smaller last place than the step's is not a multiple.
        let Ok(mut zeros) = u64::try_from(exponent(self) - exponent(step)) else { return self.digits.is_empty() };
        let divisor = step.digits.iter().fold(0, |value, digit| value * 10 + u128::from(*digit));
        let mut rest = self.digits.iter().fold(0, |rest, digit| (rest * 10 + u128::from(*digit)) % divisor);
        let mut power = 10 % divisor;
        while zeros > 0 && rest != 0 {
            if zeros % 2 == 1 {
                rest = rest * power % divisor;
            }
            power = power * power % divisor;
            zeros /= 2;
        }
        rest == 0
    }

    /// Whether it is above zero.
    pub fn is_positive(&self) -> bool {
        !self.negative && !self.digits.is_empty()
    }

    /// The number of its digits, without leading and trailing zeros.
    pub fn precision(&self) -> usize {
        self.digits.len()
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| match (number.digits.is_empty(), number.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let by_size = || self.magnitude.cmp(&other.magnitude).then_with(|| self.digits.cmp(&other.digits));
        sign(self).cmp(&sign(other)).then_with(|| match sign(self) {
            0 => Ordering::Equal,
            1 => by_size(),
            _ => by_size().reverse(),
        })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn length(digits: &[u8]) -> i64 {
    i64::try_from(digits.len()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text)
    }

    #[test]
    fn numbers_compare_by_value_to_the_last_digit() {
        let rising = [
            "-1e400",
            "-10",
            "-9.5",
            "-9.49",
            "-1e-9",
            "0",
            "1e-400",
            "0.1",
            "0.10000000000000000001",
            "1",
            "9.5",
            "10",
            "9007199254740992",
            "9007199254740993",
            "1e400",
        ];
        for pair in rising.windows(2) {
            assert!(decimal(pair[0]) < decimal(pair[1]), "{pair:?}");
        }
        for equal in
            [["1", "1.0"], ["0", "-0.0"], ["100", "1E+2"], ["0.001", "1e-3"], ["0e5", "0"], ["0.0120", "1.2e-2"]]
        {
            assert_eq!(decimal(equal[0]), decimal(equal[1]), "{equal:?}");
        }
    }

    #[test]
    fn whole_numbers_are_written_out() {
        for (text, whole) in [
            ("1", "1"),
            ("1.0", "1"),
            ("-1.50e1", "-15"),
            ("1e3", "1000"),
            ("0.0", "0"),
            ("-0", "0"),
            ("9007199254740993", "9007199254740993"),
            ("123456789012345678901234567890.0", "123456789012345678901234567890"),
        ] {
            assert_eq!(decimal(text).whole_text().as_deref(), Some(whole), "{text}");
        }
        for text in ["1.5", "1e-1", "0.1"] {
            assert!(!decimal(text).is_whole(), "{text}");
        }
        assert!(decimal("1e300").is_whole() && decimal("1e300").whole_text().is_none());
    }

    #[test]
    fn multiples_are_exact() {
        for (number, step) in [
            ("0.3", "0.1"),
            ("9007199254740993", "3"),
            ("-4", "2"),
            ("0", "5"),
            ("1e300", "0.25"),
            ("4.5", "1.5"),
            ("30", "10"),
        ] {
            assert!(decimal(number).is_multiple_of(&decimal(step)), "{number} of {step}");
        }
        for (number, step) in
            [("9007199254740993", "2"), ("0.31", "0.1"), ("5", "10"), ("1", "0.3"), ("15", "20"), ("1e30", "0.7")]
        {
            assert!(!decimal(number).is_multiple_of(&decimal(step)), "{number} of {step}");
        }
    }
}
