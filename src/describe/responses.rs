//! The answers with an error that several operations of an OpenAPI document share.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::answer::code::Code;
use crate::describe::declared::Declared;

/// A shared answer: its name, what it means, its status, and its codes.
struct Shared {
    name: &'static str,
    means: &'static str,
    status: u16,
    codes: &'static [Code],
}

const fn shared(name: &'static str, means: &'static str, status: u16, codes: &'static [Code]) -> Shared {
    Shared { name, means, status, codes }
}

/// The errors of calls.
const OF_CALLS: [Shared; 14] = [
    shared("BadRequest", "The request is malformed.", 400, &[Code::BadRequest, Code::InvalidJson, Code::BadName]),
    shared(
        "NotFound",
        "There is no such function.",
        404,
        &[Code::DeploymentNotFound, Code::FunctionNotFound, Code::AmbiguousFunction, Code::NotFound],
    ),
    shared("MethodNotAllowed", "The address has other methods.", 405, &[Code::MethodNotAllowed]),
    shared("RequestTimeout", "The request arrived too slowly.", 408, &[Code::RequestTimeout]),
    shared("PayloadTooLarge", "The body is too large.", 413, &[Code::PayloadTooLarge]),
    shared("UriTooLong", "The address is too long.", 414, &[Code::UriTooLong]),
    shared("UnsupportedMediaType", "The body has a type that is not read.", 415, &[Code::UnsupportedMediaType]),
    shared("BadArgument", "The arguments do not fit the function, which has not run.", 422, &[Code::BadArgument]),
    shared("HeadersTooLarge", "The headers are too many or too long.", 431, &[Code::HeadersTooLarge]),
    shared(
        "FunctionError",
        "The function has failed.",
        500,
        &[Code::FunctionError, Code::ResultTooLarge, Code::Internal],
    ),
    shared("NotImplemented", "The request asks for what the gateway does not do.", 501, &[Code::NotImplemented]),
    shared(
        "BadGateway",
        "The worker ended or broke its protocol during the call, which may have had an effect.",
        502,
        &[Code::WorkerCrashed, Code::WorkerProtocolError, Code::PluginBadOutput, Code::Deleted],
    ),
    shared(
        "ServiceUnavailable",
        "The call has not reached a worker. `Retry-After` says when another may.",
        503,
        &[
            Code::Overloaded,
            Code::LoadFailed,
            Code::CrashLoop,
            Code::SpawnFailed,
            Code::Starting,
            Code::Draining,
            Code::PluginFailed,
        ],
    ),
    shared(
        "CallTimeout",
        "The call timed out, and may have had an effect.",
        504,
        &[Code::CallTimeout, Code::LoadTimeout],
    ),
];

/// The errors of calls as the components of a document have them.
#[must_use]
pub(super) fn components() -> Map<String, Value> {
    OF_CALLS.iter().map(|one| (one.name.to_owned(), response(one))).collect()
}

/// The answers to the calls of one function, by status.
#[derive(Debug)]
pub(super) struct Answers {
    result: Value,
    declared: BTreeMap<u16, String>,
    others: Option<&'static str>,
}

impl Answers {
    /// A result, the errors of calls, and those that the function itself declares. Their status may be one of the
    /// gateway's: then they stand in the place of that, with both meanings.
    #[must_use]
    pub(super) fn new(result: Value, declared: &[Declared]) -> Self {
        let means = |one: &Declared| match OF_CALLS.iter().find(|shared| shared.status == one.status) {
            Some(shared) => format!("{} Or: {}", one.means, described(shared)),
            None => one.means.clone(),
        };
        let declared = declared.iter().map(|one| (one.status, means(one))).collect();
        Self { result, declared, others: None }
    }

    /// Says what answers with other statuses are.
    pub(super) fn set_others(&mut self, description: &'static str) {
        self.others = Some(description);
    }
}

/// A description without a schema: the function may answer with a body of its own.
#[derive(Serialize)]
struct Words<'a> {
    description: &'a str,
}

impl Serialize for Answers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("200", &self.result)?;
        for (status, reference) in REFERENCES.iter().filter(|(status, _)| !self.declared.contains_key(status)) {
            map.serialize_entry(status, reference)?;
        }
        for (status, description) in &self.declared {
            map.serialize_entry(status, &Words { description })?;
        }
        if let Some(description) = self.others {
            map.serialize_entry("default", &Words { description })?;
        }
        map.end()
    }
}

/// The errors of calls by status, as references to the components: made once, as most operations have them all.
static REFERENCES: LazyLock<Vec<(u16, Box<RawValue>)>> = LazyLock::new(|| {
    let reference = |one: &Shared| format!("{{\"$ref\":\"#/components/responses/{}\"}}", one.name);
    let raw = |one: &Shared| Some((one.status, RawValue::from_string(reference(one)).ok()?));
    OF_CALLS.iter().filter_map(raw).collect()
});

/// The schemas of errors: of any, and of arguments that do not fit.
#[must_use]
pub(super) fn schemas() -> [(&'static str, Value); 2] {
    let text = |description: &str| json!({"type": "string", "description": description});
    let error = json!({
        "type": "object",
        "description": "Every answer that is no result.",
        "required": ["error"],
        "properties": {"error": {
            "type": "object",
            "required": ["code", "message", "request_id"],
            "properties": {
                "code": text("What has happened, for programs; also in the header `x-metagate-error`."),
                "message": text("What has happened, for people."),
                "request_id": text("The id of the request; also in the header `x-request-id`."),
            },
        }},
    });
    let bad_argument = json!({
        "description": "An argument that does not fit.",
        "allOf": [{"$ref": "#/components/schemas/Error"}],
        "properties": {"error": {"type": "object", "properties": {
            "code": {"const": Code::BadArgument.as_str()},
            "argument": {
                "type": ["string", "integer"],
                "description": "The name of the argument, or its position from 1."
            },
            "path": text("The place inside the argument, such as `.items[1].price`; empty for the whole."),
            "expected": text("What fits there."),
        }}},
    });
    [("Error", error), ("BadArgument", bad_argument)]
}

fn response(shared: &Shared) -> Value {
    let schema = if shared.name == "BadArgument" { "BadArgument" } else { "Error" };
    let mut headers = json!({
        "x-metagate-error": {"description": "The code.", "schema": {"type": "string"}},
        "x-request-id": {"description": "The id of the request.", "schema": {"type": "string"}},
    });
    if shared.status == 503 {
        headers["Retry-After"] = json!({"description": "Seconds.", "schema": {"type": "integer"}});
    }
    json!({
        "description": described(shared),
        "headers": headers,
        "content": {"application/json": {"schema": {"$ref": format!("#/components/schemas/{schema}")}}},
    })
}

fn described(shared: &Shared) -> String {
    let codes: Vec<String> = shared.codes.iter().map(|code| format!("`{}`", code.as_str())).collect();
    format!("{} Codes: {}.", shared.means, codes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_the_status_of_its_codes() {
        for one in &OF_CALLS {
            // A call of a release that has never loaded is answered with 503.
            for code in one.codes.iter().filter(|code| **code != Code::LoadFailed) {
                assert_eq!(code.status().as_u16(), one.status, "{}", code.as_str());
            }
        }
    }
}
