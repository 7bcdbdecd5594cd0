//! The signatures of a deployment's functions as one document, of which clients are made: `openapi.json` has no place
//! for the order of arguments and for those that are given by name only.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::deployment::{Signature, Takes};
use crate::describe::openapi::Subject;

/// The document; `client::Subject` reads it.
#[derive(Serialize)]
struct Document<'a> {
    name: &'a str,
    base: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<u64>,
    functions: BTreeMap<&'a str, &'a Signature>,
}

/// The text of the document of a deployment.
///
/// # Errors
/// A part of it is no JSON, which no signature can bring about.
pub fn document(subject: &Subject<'_>) -> serde_json::Result<String> {
    let functions = subject.exports.functions.values().filter(|function| function.takes == Takes::Arguments);
    let functions = functions.map(|function| (&*function.name, &function.signature)).collect();
    serde_json::to_string(&Document { name: subject.name, base: subject.base, release: subject.release, functions })
}
