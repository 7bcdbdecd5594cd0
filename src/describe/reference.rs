//! References of schemas to the definitions beside them.

use percent_encoding::percent_decode_str;

/// The name of the definition that a reference is to: a JSON pointer (RFC 6901) below `#/$defs/`, as a fragment.
///
/// ```
/// use metagate::describe::reference::definition;
///
/// assert_eq!(definition("#/$defs/Pair%5Bint~1str%5D").as_deref(), Some("Pair[int/str]"));
/// assert_eq!(definition("#"), None);
/// ```
#[must_use]
pub fn definition(reference: &str) -> Option<String> {
    let name = percent_decode_str(reference.strip_prefix("#/$defs/")?).decode_utf8().ok()?;
    Some(name.replace("~1", "/").replace("~0", "~"))
}
