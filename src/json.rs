//! Limits of JSON texts beyond the grammar: the number of levels, no lone surrogates, no numbers that overflow a
//! double or have too many digits. Workers in different languages would disagree about such texts. The grammar itself
//! is left to `serde_json`.

use memchr::memchr2;

/// The most arrays and objects that may be open at once. Recursive parsers of workers stay far from the end of their
/// stack.
pub const MAX_DEPTH: usize = 128;

/// The most characters of a number. Workers take time that grows with the square of the digits to read a whole number;
/// this is the limit of Python itself.
pub const MAX_NUMBER: usize = 4_300;

/// A violation of a limit, with the offset of its byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// More than [`MAX_DEPTH`] levels.
    #[error("more than {MAX_DEPTH} levels of arrays and objects")]
    Depth(usize),
    /// Half of a UTF-16 surrogate pair: `\uD800` to `\uDFFF` without its other half.
    #[error("half of a surrogate pair")]
    Surrogate(usize),
    /// A number whose exponent overflows a double.
    #[error("number out of range")]
    Number(usize),
    /// A number of more than [`MAX_NUMBER`] characters.
    #[error("number of more than {MAX_NUMBER} digits")]
    Digits(usize),
}

impl Excess {
    /// The offset in bytes.
    #[must_use]
    pub fn offset(self) -> usize {
        let (Self::Depth(at) | Self::Surrogate(at) | Self::Number(at) | Self::Digits(at)) = self;
        at
    }
}

/// Checks the levels of a valid JSON text.
///
/// # Errors
///
/// There are more than [`MAX_DEPTH`].
pub fn check_depth(text: &[u8]) -> Result<(), Excess> {
    // A level takes two bytes: a short text cannot be too deep.
    if text.len() <= 2 * MAX_DEPTH {
        return Ok(());
    }
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'"' => at = string_end(text, at),
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(Excess::Depth(at));
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// Checks levels, surrogates and numbers of a valid JSON text.
///
/// # Errors
///
/// The first violation of a limit.
pub fn check_all(text: &[u8]) -> Result<(), Excess> {
    check_depth(text)?;
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'"' => {
                let end = string_end(text, at);
                check_surrogates(text, at, end)?;
                at = end + 1;
            }
            b'-' | b'0'..=b'9' => {
                let end = at + text[at..].iter().take_while(|b| is_number_byte(**b)).count();
                if end - at > MAX_NUMBER {
                    return Err(Excess::Digits(at));
                }
                if is_infinite(&text[at..end]) {
                    return Err(Excess::Number(at));
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    Ok(())
}

/// Whether the outermost array or object of a JSON text has more than `most` items. Stops at the first beyond them, and
/// takes no memory. Of a text that is not valid, it counts what looks like items.
#[must_use]
pub fn has_more_items(text: &[u8], most: usize) -> bool {
    // An item takes two bytes with its comma: a short text cannot have too many.
    if text.len() <= 2 * most {
        return false;
    }
    let (mut depth, mut commas, mut at) = (0_usize, 0, 0);
    while at < text.len() {
        match text[at] {
            b'"' => at = string_end(text, at),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 1 => {
                commas += 1;
                if commas >= most {
                    return true;
                }
            }
            _ => {}
        }
        at += 1;
    }
    false
}

/// The line and column of a byte in a text, both from 1.
#[must_use]
pub fn line_and_column(text: &[u8], offset: usize) -> (usize, usize) {
    let before = &text[..offset.min(text.len())];
    let line = 1 + memchr::memchr_iter(b'\n', before).count();
    let column = 1 + before.len() - memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    (line, column)
}

/// The offset of the quote that ends the string whose opening quote is at `start`.
fn string_end(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = text.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if text[at] == b'"' {
            return at;
        }
        at += 2;
    }
    text.len()
}

fn check_surrogates(text: &[u8], start: usize, end: usize) -> Result<(), Excess> {
    let mut at = start + 1;
    while let Some(found) = text.get(at..end).and_then(|rest| memchr::memchr(b'\\', rest)) {
        at += found;
        let Some(unit) = escaped_unit(text, at) else {
            at += 2;
            continue;
        };
        match unit {
            0xD800..=0xDBFF if matches!(escaped_unit(text, at + 6), Some(0xDC00..=0xDFFF)) => at += 12,
            0xD800..=0xDFFF => return Err(Excess::Surrogate(at)),
            _ => at += 6,
        }
    }
    Ok(())
}

/// The UTF-16 code unit of the `\uXXXX` at `at`; none if there is no such escape.
fn escaped_unit(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn is_number_byte(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')
}

/// Whether a number overflows a double because of its exponent. Integers pass: they are never converted.
fn is_infinite(number: &[u8]) -> bool {
    number.iter().any(|b| matches!(b, b'e' | b'E'))
        && std::str::from_utf8(number).ok().and_then(|text| text.parse::<f64>().ok()).is_none_or(f64::is_infinite)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> Vec<u8> {
        let mut text = b"[".repeat(levels);
        text.extend(b"]".repeat(levels));
        text
    }

    #[test]
    fn the_limit_of_levels_is_exact() {
        assert_eq!(check_depth(&nested(MAX_DEPTH)), Ok(()));
        assert_eq!(check_depth(&nested(MAX_DEPTH + 1)), Err(Excess::Depth(MAX_DEPTH)));
    }

    #[test]
    fn brackets_in_strings_are_not_levels() {
        let text = format!("[\"{}\\\"[\"]", "[".repeat(400));
        assert_eq!(check_depth(text.as_bytes()), Ok(()));
    }

    #[test]
    fn the_limit_of_digits_is_exact() {
        let array = |digits| format!("[[{}]]", "9".repeat(digits));
        assert_eq!(check_all(array(MAX_NUMBER).as_bytes()), Ok(()));
        assert_eq!(check_all(array(MAX_NUMBER + 1).as_bytes()), Err(Excess::Digits(2)));
    }

    #[test]
    fn half_of_a_surrogate_pair_is_found() {
        assert_eq!(check_all(br#"["\uD83D\uDE00"]"#), Ok(()));
        assert_eq!(check_all(br#"["\\uD83D"]"#), Ok(()));
        assert_eq!(check_all(br#"["x\uD83Dx"]"#), Err(Excess::Surrogate(3)));
        assert_eq!(check_all(br#"["\uDE00"]"#), Err(Excess::Surrogate(2)));
        assert_eq!(check_all(br#"["\uD83D\u0041"]"#), Err(Excess::Surrogate(2)));
    }

    #[test]
    fn a_number_beyond_a_double_is_found_and_a_long_integer_is_not() {
        assert_eq!(check_all(b"[1e999]"), Err(Excess::Number(1)));
        assert_eq!(check_all(b"[1, -1E+400]"), Err(Excess::Number(4)));
        assert_eq!(check_all(format!("[{}]", "9".repeat(500)).as_bytes()), Ok(()));
        assert_eq!(check_all(b"[1e308, 1e-999, 0.1]"), Ok(()));
    }

    #[test]
    fn items_are_counted_at_the_outermost_level_only() {
        assert!(!has_more_items(br#"[1,"a,\",b",[1,2,3],{"a":1,"b":2}]"#, 4));
        assert!(has_more_items(br#"[1,"a,\",b",[1,2,3],{"a":1,"b":2}]"#, 3));
        assert!(has_more_items(br#" {"a":[1,2],"b":"}","c":3}"#, 2));
        assert!(!has_more_items(br#" {"a":[1,2],"b":"}","c":3}"#, 3));
    }

    #[test]
    fn lines_and_columns_count_from_one() {
        assert_eq!(line_and_column(b"a\nbc", 0), (1, 1));
        assert_eq!(line_and_column(b"a\nbc", 3), (2, 2));
    }
}
