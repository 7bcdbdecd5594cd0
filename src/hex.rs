//! Bytes as text.

use std::fmt::Write as _;

/// The bytes in hexadecimal, two lower-case digits each.
///
/// ```
/// assert_eq!(metagate::hex::text(&[0, 171]), "00ab");
/// ```
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
