//! The OpenAPI 3.1 document of a deployment: what its functions take, answer and refuse, at each of their addresses.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value, json};

use crate::deployment::{Exports, Function, Takes};
use crate::describe::operation::{self, Way};
use crate::describe::{Abilities, Definitions, query, responses};

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
}

/// The document of a deployment.
#[must_use]
pub fn document(subject: &Subject<'_>) -> Value {
    let mut definitions = Definitions::in_components();
    for (name, schema) in responses::schemas() {
        definitions.add(name, schema);
    }
    let mut paths = Map::new();
    let functions: BTreeMap<&str, &Function> =
        subject.exports.functions.iter().map(|(name, function)| (&**name, &**function)).collect();
    for (name, function) in functions.iter().filter(|(_, function)| function.takes == Takes::Arguments) {
        let mut item = Map::new();
        let mut add = |method: &str, id: String| {
            let way = Way { id, path: &[] };
            let operation = operation::operation(function, &way, method, subject.abilities, &mut definitions);
            item.insert(method.to_owned(), operation);
        };
        if query::takes_query(&function.signature, subject.abilities) {
            add("get", format!("{name}.get"));
        }
        add("post", (*name).to_owned());
        paths.insert(format!("{}{}", subject.base, operation::address(name)), item.into());
    }
    let mut ids = HashSet::new();
    for route in subject.routes {
        add_route(subject, route, &mut paths, &mut ids, &mut definitions);
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": info(subject),
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": definitions.into_map(), "responses": responses::components()},
    });
    if let Some(app) = functions.values().find_map(|function| function.openapi.as_deref()) {
        let url = format!("{}/http{app}", subject.base);
        document["externalDocs"] = json!({"description": "The document of the deployment's web app.", "url": url});
    }
    document
}

fn info(subject: &Subject<'_>) -> Value {
    let version = subject.release.map_or_else(|| "v1".to_owned(), |number| number.to_string());
    json!({"title": subject.name, "version": version})
}

/// Adds the operations of a route, unless a route before it has them.
fn add_route(
    subject: &Subject<'_>,
    route: &RouteAddress,
    paths: &mut Map<String, Value>,
    ids: &mut HashSet<String>,
    definitions: &mut Definitions,
) {
    let function = subject.exports.function(&route.function);
    let Some(function) = function.filter(|function| function.takes == Takes::Arguments) else { return };
    let methods: Vec<String> = match &route.methods {
        Some(methods) => methods.iter().map(|method| method.to_ascii_lowercase()).collect(),
        None => ANY_METHOD.iter().map(|method| method.to_ascii_lowercase()).collect(),
    };
    let item = paths.entry(route.path.clone()).or_insert_with(|| json!({}));
    if let Some(host) = &route.host {
        item["servers"] = json!([{"url": format!("//{host}")}]);
    }
    for method in methods.iter().filter(|method| METHODS.contains(&method.as_str()) && *method != "head") {
        if item.get(method).is_some() {
            continue;
        }
        let mut id = format!("{method} {}", route.path);
        while !ids.insert(id.clone()) {
            id.push('_');
        }
        let way = Way { id, path: &route.parameters };
        item[method] = operation::operation(function, &way, method, subject.abilities, definitions);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::deployment::{Accepts, Function, Takes};

    /// The time is that of an unoptimised build.
    #[test]
    fn the_document_of_a_thousand_functions_is_made_within_a_second() {
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
        let abilities = Abilities { names: true, files: true, plugins: true };
        let base = "/local/shop/v1";
        let subject = Subject { name: "shop", base, release: None, exports: &exports, abilities, routes: &[] };
        let mut times: Vec<Duration> = (0..5)
            .map(|_| {
                let begun = Instant::now();
                let text = document(&subject).to_string();
                assert!(text.len() > 1_000_000, "{}", text.len());
                begun.elapsed()
            })
            .collect();
        times.sort();
        println!("1,000 functions: {times:?}");
        assert!(times[2] < Duration::from_secs(1), "{times:?}");
    }
}
