//! What an OpenAPI document says of calls that nobody waits for, and of keys under which a call is made once.

use std::sync::LazyLock;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::describe::members::of_members;

/// The name of the schema of a call that was accepted.
pub(super) const SCHEMA: &str = "AcceptedCall";

/// Whether the caller of an operation waits for its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// Always.
    Always,
    /// Unless it prefers not to.
    AsPreferred,
    /// Never: the address has asynchronous calls only.
    Never,
}

/// The headers of requests as references to the components.
pub(super) fn parameters(waits: Waits) -> impl Iterator<Item = Value> {
    let prefer = (waits == Waits::AsPreferred).then_some("Prefer");
    let reference = |name| of_members([("$ref", format!("#/components/parameters/{name}").into())]);
    prefer.into_iter().chain(["IdempotencyKey"]).map(reference)
}

/// These headers as the components of a document have them.
pub(super) fn parameter_components() -> Map<String, Value> {
    let prefer = json!({
        "name": "Prefer",
        "in": "header",
        "description": "`respond-async`: the call is accepted with 202 once it is on the disk, and made later. Its \
                        arguments are checked then. Other preferences are not looked at.",
        "schema": {"type": "string"},
        "examples": {"asynchronous": {"value": "respond-async"}},
    });
    let key = json!({
        "name": "Idempotency-Key",
        "in": "header",
        "description": "The call is made once for this key, which belongs to one function and one caller: visible \
                        characters.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    });
    [("Prefer".to_owned(), prefer), ("IdempotencyKey".to_owned(), key)].into_iter().collect()
}

/// The answer 202 as a reference to the components.
pub(super) static ACCEPTED: LazyLock<Box<RawValue>> = LazyLock::new(|| {
    RawValue::from_string("{\"$ref\":\"#/components/responses/Accepted\"}".to_owned()).unwrap_or_default()
});

/// The answer 202 as the components of a document have it.
pub(super) fn accepted() -> Value {
    let header = |means: &str| json!({"description": means, "schema": {"type": "string"}});
    let mut location = header("The address of the call: `/api/calls/<id>`.");
    location["required"] = true.into();
    json!({
        "description": "The call is on the disk, and made later: `Location` says where its state and its result are.",
        "headers": {"Location": location, "Preference-Applied": header("`respond-async`, if it was preferred.")},
        "content": {"application/json": {"schema": {"$ref": format!("#/components/schemas/{SCHEMA}")}}},
    })
}

/// The schema of a call that was accepted.
pub(super) fn schema() -> Value {
    let text = || json!({"type": "string"});
    json!({
        "type": "object",
        "description": "An asynchronous call; its address has what else there is to know.",
        "required": ["id", "state", "deployment", "function", "tries", "accepted"],
        "properties": {
            "id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
            "state": {"enum": ["queued", "running", "done", "dead", "cancelled"]},
            "deployment": text(),
            "function": text(),
            "tries": {"type": "integer", "minimum": 0},
            "accepted": {"type": "string", "format": "date-time"},
        },
    })
}
