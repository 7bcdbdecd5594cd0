//! `Retire`: the worker asks to be replaced.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Characters of the reason of a `Retire` that are kept.
pub(super) const REASON_LENGTH: usize = 300;

/// The reason of a `Retire`, for logs: one line, cut to [`REASON_LENGTH`].
pub(super) fn reason_of(data: &RawValue) -> Result<String, serde_json::Error> {
    #[derive(Deserialize)]
    struct Retire<'a> {
        #[serde(borrow)]
        reason: Cow<'a, str>,
    }
    let retire: Retire<'_> = serde_json::from_str(data.get())?;
    Ok(retire.reason.chars().take(REASON_LENGTH).flat_map(shown).collect())
}

/// The character itself, or an escape for one that would break the line.
fn shown(character: char) -> impl Iterator<Item = char> {
    let escaped = character.is_control().then(|| character.escape_default());
    let itself = escaped.is_none().then_some(character);
    escaped.into_iter().flatten().chain(itself)
}
