//! Values of a message by their place in its line.

use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Makes a member with the value `null` differ from a missing member.
pub(super) fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The place of a value that borrows from the line.
pub(super) fn range_in(line: &[u8], value: &RawValue) -> Range<usize> {
    let start = value.get().as_ptr() as usize - line.as_ptr() as usize;
    start..start + value.get().len()
}
