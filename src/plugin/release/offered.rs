//! The functions of a release, as hooks see and rename them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use crate::deployment::{Accepts, Exports, Function};

/// A function that a release offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// The name under which the worker exports it.
    pub original: String,
    /// Names and types of its parameters.
    pub parameters: Vec<(String, String)>,
    /// The type of its result.
    pub returns: String,
    /// Whether it returns a promise or is a coroutine.
    pub is_async: bool,
}

/// The functions that a worker exports, with their descriptions.
#[must_use]
pub fn offered(exports: &Exports) -> BTreeMap<String, Offered> {
    let mut described: BTreeMap<&str, &Value> = BTreeMap::new();
    let handles = exports.packages.as_object().into_iter().flat_map(|languages| languages.values());
    for function in handles.filter_map(Value::as_array).flatten().flat_map(functions_of) {
        described.insert(text(&function["name"]), function);
    }
    let describe = |function: &Function| {
        let entry = described.get(&*function.name).copied().unwrap_or(&Value::Null);
        let signature = &entry["signature"];
        let parameters = signature["args"].as_array().into_iter().flatten();
        Offered {
            original: function.name.to_string(),
            parameters: parameters.map(|arg| (text(&arg["name"]).to_owned(), kind(&arg["type"]))).collect(),
            returns: kind(&signature["ret"]["type"]),
            is_async: entry["async"].as_bool().unwrap_or(false),
        }
    };
    exports.functions.iter().map(|(name, function)| (name.to_string(), describe(function))).collect()
}

/// Functions by the name that callers use.
type Functions = HashMap<Box<str>, Arc<Function>>;
/// Aliases with the names of their functions.
type Aliases = HashMap<Box<str>, Box<str>>;

/// Exports without what workers say about them beside their functions.
#[must_use]
pub fn names_only(functions: Functions, aliases: Aliases) -> Exports {
    Exports { functions, aliases, accepts: Accepts::default(), packages: Value::Null, warnings: Vec::new() }
}

/// The offered functions under their offered names, and the aliases that are left.
pub(super) fn callable(exports: &Exports, offered: &BTreeMap<String, Offered>) -> (Functions, Aliases) {
    let known = |(name, function): (&String, &Offered)| {
        let known = exports.functions.get(&*function.original)?;
        Some((name.clone().into_boxed_str(), Arc::clone(known)))
    };
    let functions: Functions = offered.iter().filter_map(known).collect();
    // A renamed function loses its old aliases.
    let kept = exports.aliases.iter().filter(|(alias, name)| {
        !functions.contains_key(*alias) && offered.get(&***name).is_some_and(|function| *function.original == ***name)
    });
    let aliases = kept.map(|(alias, name)| (alias.clone(), name.clone())).collect();
    (functions, aliases)
}

/// The exports, reduced to the offered functions under their offered names.
#[must_use]
pub fn shaped(mut exports: Exports, offered: &BTreeMap<String, Offered>) -> Exports {
    let new_names: BTreeMap<&str, &str> =
        offered.iter().map(|(name, function)| (&*function.original, name.as_str())).collect();
    (exports.functions, exports.aliases) = callable(&exports, offered);
    let languages = exports.packages.as_object_mut().into_iter().flat_map(|languages| languages.values_mut());
    for handle in languages.filter_map(Value::as_array_mut).flatten() {
        let Some(listed) =
            handle.get_mut("scope").and_then(|scope| scope.get_mut("funcs")).and_then(Value::as_array_mut)
        else {
            continue;
        };
        listed.retain_mut(|function| match new_names.get(text(&function["name"])) {
            Some(name) => {
                if text(&function["name"]) != *name {
                    function["name"] = Value::from(*name);
                    function.as_object_mut().map(|function| function.remove("aliases"));
                }
                true
            }
            None => false,
        });
    }
    exports
}

fn functions_of(handle: &Value) -> impl Iterator<Item = &Value> {
    handle["scope"]["funcs"].as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn kind(value: &Value) -> String {
    // MetaCall writes a type as its name or as an object with one.
    value.as_str().or_else(|| value["name"].as_str()).unwrap_or_default().to_owned()
}
