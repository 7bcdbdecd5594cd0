//! The answers with an error that several operations of an OpenAPI document share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::answer::code::Code;
use crate::describe::declaration::Refusal;
use crate::describe::declared::Declared;
use crate::describe::deferred::{ACCEPTED, Waits};
use crate::describe::guarded::Guarded;

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
const OF_CALLS: [Shared; 16] = [
    shared("BadRequest", "The request is malformed.", 400, &[Code::BadRequest, Code::InvalidJson, Code::BadName]),
    shared(
        "NotFound",
        "There is no such function.",
        404,
        &[
            Code::DeploymentNotFound,
            Code::FunctionNotFound,
            Code::AmbiguousFunction,
            Code::NotFound,
            Code::CallNotFound,
        ],
    ),
    shared("MethodNotAllowed", "The address has other methods.", 405, &[Code::MethodNotAllowed]),
    shared("RequestTimeout", "The request arrived too slowly.", 408, &[Code::RequestTimeout]),
    shared("KeyInUse", "A call under the same `Idempotency-Key` has not ended.", 409, &[Code::IdempotencyKeyInUse]),
    shared("PayloadTooLarge", "The body is too large.", 413, &[Code::PayloadTooLarge]),
    shared("UriTooLong", "The address is too long.", 414, &[Code::UriTooLong]),
    shared("UnsupportedMediaType", "The body has a type that is not read.", 415, &[Code::UnsupportedMediaType]),
    shared(
        "BadArgument",
        "The arguments do not fit the function, or are others than those of the same `Idempotency-Key`. The function \
         has not run.",
        422,
        &[Code::BadArgument, Code::IdempotencyKeyReused],
    ),
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
            Code::QueueUnavailable,
        ],
    ),
    shared(
        "CallTimeout",
        "The call timed out, and may have had an effect.",
        504,
        &[Code::CallTimeout, Code::LoadTimeout],
    ),
    shared(
        "InsufficientStorage",
        "There is no room for an asynchronous call, or for the answer under an `Idempotency-Key`.",
        507,
        &[Code::InsufficientStorage],
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
    guarded: Arc<Guarded>,
    others: Option<&'static str>,
}

impl Answers {
    /// A result, the errors of calls, those of its plugins, and those that the function itself declares. Their status
    /// may be one of the others': then they stand in the place of that, with all meanings.
    #[must_use]
    pub(super) fn new(result: Value, declared: &[Declared], guarded: Arc<Guarded>) -> Self {
        let means = |one: &Declared| {
            let own = of_status(one.status).map(described);
            let refused = guarded.means.get(&one.status).map(String::as_str);
            let all = [Some(one.means.as_str()), own.as_deref(), refused];
            all.into_iter().flatten().collect::<Vec<_>>().join(" Or: ")
        };
        let declared = declared.iter().map(|one| (one.status, means(one))).collect();
        Self { result, declared, guarded, others: None }
    }

    /// The value of `security`, if a plugin wants a credential.
    pub(super) fn security(&self) -> Option<&Value> {
        self.guarded.security.as_ref()
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

/// The answers of one operation.
#[derive(Debug)]
pub(super) struct Responses<'a> {
    pub(super) answers: &'a Answers,
    pub(super) waits: Waits,
}

impl Serialize for Responses<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Answers { result, declared, guarded, others } = self.answers;
        let mut map = serializer.serialize_map(None)?;
        if self.waits != Waits::Never {
            map.serialize_entry("200", result)?;
        }
        let refused = &guarded.answers;
        let is_left = |status: &u16| !declared.contains_key(status);
        if self.waits != Waits::Always && is_left(&202) {
            map.serialize_entry("202", &*ACCEPTED)?;
        }
        let of_gateway = REFERENCES.iter().filter(|(status, _)| is_left(status) && !refused.contains_key(status));
        for (status, reference) in of_gateway {
            map.serialize_entry(status, reference)?;
        }
        for (status, reference) in refused.iter().filter(|(status, _)| is_left(status)) {
            map.serialize_entry(status, reference)?;
        }
        for (status, description) in declared {
            map.serialize_entry(status, &Words { description })?;
        }
        if let Some(description) = others {
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

/// The answer of this status of functions whose plugins end calls with these errors, `means` in words. Its status may
/// be one of the gateway's, whose errors it then stands for as well.
pub(super) fn refused(status: u16, means: &str, refusals: &[(&str, &Refusal)]) -> Value {
    let codes: BTreeSet<&str> = refusals.iter().map(|(_, refusal)| refusal.code.as_str()).collect();
    let refusal = json!({
        "allOf": [{"$ref": "#/components/schemas/Error"}],
        "properties": {"error": {"type": "object", "properties": {"code": {"enum": codes}}}},
    });
    let (mut answer, schema) = match of_status(status) {
        Some(own) => {
            let mut answer = response(own);
            answer["description"] = format!("{} Or: {means}", described(own)).into();
            let schema = json!({"anyOf": [answer["content"]["application/json"]["schema"], refusal]});
            (answer, schema)
        }
        None => (json!({"description": means, "headers": headers_of(status)}), refusal),
    };
    for name in refusals.iter().flat_map(|(_, refusal)| &refusal.headers) {
        let is_there =
            answer["headers"].as_object().is_some_and(|all| all.keys().any(|one| one.eq_ignore_ascii_case(name)));
        if !is_there {
            answer["headers"][name] = json!({"schema": {"type": "string"}});
        }
    }
    answer["content"] = json!({"application/json": {"schema": schema}});
    answer
}

fn of_status(status: u16) -> Option<&'static Shared> {
    OF_CALLS.iter().find(|one| one.status == status)
}

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
    let mut schema = json!({"$ref": "#/components/schemas/Error"});
    if shared.status == 422 {
        let reused = json!({"code": {"const": Code::IdempotencyKeyReused.as_str()}});
        let reused = json!({"allOf": [schema], "properties": {"error": {"type": "object", "properties": reused}}});
        schema = json!({"anyOf": [{"$ref": "#/components/schemas/BadArgument"}, reused]});
    }
    json!({
        "description": described(shared),
        "headers": headers_of(shared.status),
        "content": {"application/json": {"schema": schema}},
    })
}

fn headers_of(status: u16) -> Value {
    let mut headers = json!({
        "x-metagate-error": {"description": "The code.", "schema": {"type": "string"}},
        "x-request-id": {"description": "The id of the request.", "schema": {"type": "string"}},
    });
    if status == 503 {
        headers["Retry-After"] = json!({"description": "Seconds.", "schema": {"type": "integer"}});
    }
    headers
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
