//! The OpenAPI 3.1 document of a deployment: what its functions take, answer and refuse, at each of their addresses.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::deployment::{Exports, Function, Takes};
use crate::describe::deferred::{self, Waits};
use crate::describe::guards::{Guard, Guards};
use crate::describe::operation::{self, Described, Operation, Way};
use crate::describe::{Abilities, Definitions, function_address, query, responses};

/// The methods that an OpenAPI document describes, of a route for all.
const ANY_METHOD: [&str; 2] = ["GET", "POST"];
/// The methods that a path of an OpenAPI document may have.
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// What a document describes.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The name of the deployment.
    pub name: &'a str,
    /// The address of the deployment: `/local/math/v1`.
    pub base: &'a str,
    /// The number of its release, if it has one.
    pub release: Option<u64>,
    /// Its functions.
    pub exports: &'a Exports,
    /// What its workers accept and answer.
    pub abilities: Abilities,
    /// The routes that lead to its functions.
    pub routes: &'a [RouteAddress],
    /// The plugins that calls of its functions run through, by function; none for those that are not there.
    pub guards: &'a HashMap<Box<str>, Vec<Guard>>,
}

/// A route that leads to a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteAddress {
    /// Its path, with `{name}` for each parameter.
    pub path: String,
    /// The parameters of the path.
    pub parameters: Vec<String>,
    /// Its host, unless it is for all.
    pub host: Option<String>,
    /// Its methods, unless it is for all.
    pub methods: Option<Vec<String>>,
    /// The function.
    pub function: String,
    /// Whether nobody waits for its calls.
    pub is_async: bool,
}

/// A document. Its parts are written as they are made, without a tree of values of the whole.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    openapi: &'static str,
    info: Value,
    servers: Value,
    paths: BTreeMap<String, PathItem<'a>>,
    components: Components,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_docs: Option<Value>,
}

/// What one path has.
#[derive(Default, Serialize)]
struct PathItem<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    servers: Option<Value>,
    #[serde(flatten)]
    operations: BTreeMap<String, Operation<'a>>,
}

#[derive(Serialize)]
struct Components {
    schemas: Map<String, Value>,
    parameters: Map<String, Value>,
    responses: Map<String, Value>,
    #[serde(rename = "securitySchemes", skip_serializing_if = "Map::is_empty")]
    security_schemes: Map<String, Value>,
}

/// The text of the document of a deployment.
///
/// # Errors
/// A part of it is no JSON, which no signature can bring about.
pub fn document(subject: &Subject<'_>) -> serde_json::Result<String> {
    let mut definitions = Definitions::in_components();
    let mut guards = Guards::default();
    let mut guarded = |name: &str| guards.of(subject.guards.get(name).map_or(&[], Vec::as_slice));
    for (name, schema) in responses::schemas() {
        definitions.add(name, schema);
    }
    definitions.add(deferred::SCHEMA, deferred::schema());
    let functions: BTreeMap<&str, &Function> =
        subject.exports.functions.iter().map(|(name, function)| (&**name, &**function)).collect();
    let is_callable =
        |name: &str, function: &Function| function.takes == Takes::Arguments && function_address::exists(name);
    let callable = functions.iter().filter(|(name, function)| is_callable(name, function));
    let described: BTreeMap<&str, Described<'_>> = callable
        .map(|(name, function)| (*name, Described::new(function, guarded(name), subject.abilities, &mut definitions)))
        .collect();
    let mut ids: HashSet<String> = described.keys().map(|name| (*name).to_owned()).collect();
    let mut paths = BTreeMap::new();
    for (name, described) in &described {
        let path = format!("{}{}", subject.base, operation::address(name));
        paths.insert(path, own_path(described, name, &mut ids, subject.abilities, &mut definitions));
    }
    for route in subject.routes {
        let function = subject.exports.function(&route.function).and_then(|function| described.get(&*function.name));
        if let Some(described) = function {
            let item = paths.entry(route.path.clone()).or_default();
            add_route(route, described, item, &mut ids, subject.abilities, &mut definitions);
        }
    }
    let app = functions.values().find_map(|function| function.openapi.as_deref());
    let external_docs = app.map(|app| {
        let url = format!("{}/http{app}", subject.base);
        json!({"description": "The document of the deployment's web app.", "url": url})
    });
    serde_json::to_string(&Document {
        openapi: "3.1.0",
        info: info(subject),
        servers: json!([{"url": "/"}]),
        paths,
        components: components(definitions, guards),
        external_docs,
    })
}

/// The operations at a function's own address.
fn own_path<'a>(
    described: &'a Described<'a>,
    name: &str,
    ids: &mut HashSet<String>,
    abilities: Abilities,
    definitions: &mut Definitions,
) -> PathItem<'a> {
    let mut item = PathItem::default();
    let waits = if abilities.deferred { Waits::AsPreferred } else { Waits::Always };
    let mut add = |method: &str, id: String| {
        let way = Way { id, path: &[], waits };
        let operation = Operation::new(described, way, method, abilities, definitions);
        item.operations.insert(method.to_owned(), operation);
    };
    if query::takes_query(&described.function().signature, abilities) {
        add("get", unused(ids, format!("{name}.get")));
    }
    add("post", name.to_owned());
    item
}

fn components(definitions: Definitions, guards: Guards) -> Components {
    let Guards { responses: refused, schemes: security_schemes, .. } = guards;
    let mut responses = responses::components();
    responses.extend(refused);
    responses.insert("Accepted".to_owned(), deferred::accepted());
    let parameters = deferred::parameter_components();
    Components { schemas: definitions.into_map(), parameters, responses, security_schemes }
}

fn info(subject: &Subject<'_>) -> Value {
    let version = subject.release.map_or_else(|| "v1".to_owned(), |number| number.to_string());
    json!({"title": subject.name, "version": version})
}

/// Adds the operations of a route, unless a route before it has them.
fn add_route<'a>(
    route: &RouteAddress,
    described: &'a Described<'a>,
    item: &mut PathItem<'a>,
    ids: &mut HashSet<String>,
    abilities: Abilities,
    definitions: &mut Definitions,
) {
    let methods: Vec<String> = match &route.methods {
        Some(methods) => methods.iter().map(|method| method.to_ascii_lowercase()).collect(),
        None => ANY_METHOD.iter().map(|method| method.to_ascii_lowercase()).collect(),
    };
    if let Some(host) = &route.host {
        item.servers = Some(json!([{"url": format!("//{host}")}]));
    }
    let waits = match (route.is_async, abilities.deferred) {
        (true, _) => Waits::Never,
        (false, true) => Waits::AsPreferred,
        (false, false) => Waits::Always,
    };
    for method in methods.into_iter().filter(|method| METHODS.contains(&method.as_str()) && method != "head") {
        if item.operations.contains_key(&method) {
            continue;
        }
        let id = unused(ids, format!("{method} {}", route.path));
        let way = Way { id, path: &route.parameters, waits };
        let operation = Operation::new(described, way, &method, abilities, definitions);
        item.operations.insert(method, operation);
    }
}

/// An id that no other operation has.
fn unused(ids: &mut HashSet<String>, mut id: String) -> String {
    while !ids.insert(id.clone()) {
        id.push('_');
    }
    id
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rustix::time::{ClockId, clock_gettime};

    use super::*;
    use crate::deployment::{Accepts, Function, Takes};

    /// An unoptimised build takes five times as long as one for use. The time is that of the processor, since other
    /// programs share it.
    #[test]
    fn the_document_of_a_thousand_functions_is_made_within_50_ms() {
        let bound = Duration::from_millis(if cfg!(debug_assertions) { 250 } else { 50 });
        let order = json!({"$ref": "#/$defs/Order", "$defs": {"Order": {"type": "object", "properties": {
            "id": {"type": "integer"}, "tags": {"type": "array", "items": {"type": "string"}}}, "required": ["id"]}}});
        let signature = json!({"description": "Adds an order.\n\n:raises 404: no such customer", "returns": order,
            "parameters": [{"name": "customer", "required": true, "schema": {"type": "string"}},
                {"name": "order", "required": true, "schema": order},
                {"name": "urgent", "required": false, "schema": {"type": "boolean"}}]});
        let function = |number: u32| {
            let (name, signature) = (format!("f{number}"), serde_json::from_value(signature.clone()).unwrap());
            (name.as_str().into(), Arc::new(Function::new(&name, Takes::Arguments, signature)))
        };
        let exports = Exports {
            functions: (0..1_000).map(function).collect(),
            aliases: HashMap::new(),
            accepts: Accepts::default(),
            packages: json!({}),
            warnings: Vec::new(),
        };
        let abilities = Abilities { names: true, files: true, deferred: true };
        let base = "/local/shop/v1";
        let subject = Subject {
            name: "shop",
            base,
            release: None,
            exports: &exports,
            abilities,
            routes: &[],
            guards: &HashMap::new(),
        };
        let time = || {
            let begun = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
            let text = document(&subject).unwrap();
            assert!(text.len() > 1_000_000, "{}", text.len());
            Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap() - begun
        };
        let times: Vec<Duration> = (0..8).map(|_| time()).collect();
        assert!(*times.iter().min().unwrap() < bound, "{times:?}");
    }

    #[test]
    fn no_two_operations_have_one_id() {
        let plain = json!({"parameters": []});
        let function = |name: &str| {
            let signature = serde_json::from_value(plain.clone()).unwrap();
            (name.into(), Arc::new(Function::new(name, Takes::Arguments, signature)))
        };
        let exports = Exports {
            functions: ["f", "f.get"].map(function).into(),
            aliases: HashMap::new(),
            accepts: Accepts::default(),
            packages: json!({}),
            warnings: Vec::new(),
        };
        let route = RouteAddress {
            path: "/r".into(),
            parameters: Vec::new(),
            methods: Some(vec!["GET".into()]),
            host: None,
            is_async: false,
            function: "f".into(),
        };
        let subject = Subject {
            name: "shop",
            base: "/local/shop/v1",
            release: None,
            exports: &exports,
            abilities: Abilities { names: true, files: true, deferred: false },
            routes: &[route],
            guards: &HashMap::new(),
        };
        let document: Value = serde_json::from_str(&document(&subject).unwrap()).unwrap();
        let operations = document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap());
        let ids: Vec<_> = operations.filter_map(|(_, operation)| operation["operationId"].as_str()).collect();
        let unique: HashSet<_> = ids.iter().collect();
        assert!(ids.len() >= 5 && unique.len() == ids.len(), "{ids:?}");
    }
}
