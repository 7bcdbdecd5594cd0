//! The OpenAPI document of the gateway's own API: `gateway.json`, with what it shares with those of deployments.

use serde_json::Value;

use crate::describe::responses;

/// The document. A test compares its paths with those of the router.
#[must_use]
pub fn document() -> Value {
    let mut document: Value = serde_json::from_str(include_str!("gateway.json")).unwrap_or_default();
    for (name, schema) in responses::schemas() {
        document["components"]["schemas"][name] = schema;
    }
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_a_document() {
        assert_eq!(document()["openapi"], "3.1.0");
        assert!(document()["paths"].as_object().is_some_and(|paths| paths.len() > 30));
    }
}
