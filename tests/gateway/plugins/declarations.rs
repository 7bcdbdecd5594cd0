//! What plugins declare about themselves is in the documents of the functions that they apply to.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::descriptions::{assert_valid, document};
use crate::plugins::component::Plugin;
use crate::plugins::{Files, refusal_of, reload, table};
use crate::wasm;

/// The credential's case `header`, and `bearer`.
const HEADER: u8 = 0;
const BEARER: u8 = 4;

/// Two functions that always return a result.
const TWO: &str =
    "(module (func (export \"f\") (result i32) i32.const 1) (func (export \"g\") (result i32) i32.const 2))";

/// A plugin that lets every call pass.
fn passing() -> Plugin {
    Plugin::new().before_invoke(|_| ())
}

/// The part of a document that this pointer refers to, through a reference.
fn part(document: &Value, pointer: &str) -> Value {
    let found = document.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {document:#}"));
    match found["$ref"].as_str() {
        Some(reference) => part(document, reference.trim_start_matches('#')),
        None => found.clone(),
    }
}

fn answer(document: &Value, function: &str, status: &str) -> Value {
    part(document, &format!("/paths/~1local~1it~1v1~1call~1{function}/post/responses/{status}"))
}

fn codes(answer: &Value) -> Value {
    part(answer, "/content/application~1json/schema/properties/error/properties/code/enum")
}

fn post<'a>(document: &'a Value, function: &str) -> &'a Value {
    &document["paths"][format!("/local/it/v1/call/{function}")]["post"]
}

fn built(name: &str) -> PathBuf {
    PathBuf::from(format!("{}/plugins/{name}/{name}.wasm", env!("CARGO_MANIFEST_DIR")))
}

#[test]
pub(super) fn a_document_lists_what_the_plugins_of_each_function_declare() {
    let files = Files::new();
    let late = passing().declares(
        &[(401, "who", "The key is unknown.", &["WWW-Authenticate"]), (403, "late", "It is too late.", &[])],
        &[(HEADER, "X-Key", "A key."), (BEARER, "JWT", "A token.")],
    );
    let early = passing().declares(
        &[(403, "early", "It is too early.", &[]), (503, "closed", "It is closed.", &["retry-after", "x-until"])],
        &[],
    );
    let tables = [
        table("late", &files.put("late.wasm", late.component()), "functions = [\"f\"]"),
        table("early", &files.put("early.wasm", early.component()), ""),
        table("silent", &files.put("silent.wasm", passing().component()), "functions = [\"g\"]"),
    ];
    let (gateway, _folder) = wasm::serving(TWO, &tables.concat());
    let document = document(&gateway, "it");
    assert_valid(&gateway, &document);
    assert_eq!(codes(&answer(&document, "f", "403")), json!(["early", "late"]));
    assert_eq!(codes(&answer(&document, "g", "403")), json!(["early"]));
    let who = answer(&document, "f", "401");
    assert_eq!(who["description"], "`who`: The key is unknown (plugin late).");
    assert!(who["headers"]["www-authenticate"].is_object(), "{who}");
    assert_eq!(post(&document, "g")["responses"]["401"], Value::Null);
    let closed = answer(&document, "g", "503");
    let schemas = &closed["content"]["application/json"]["schema"]["anyOf"];
    assert_eq!(schemas[0]["$ref"], "#/components/schemas/Error");
    assert_eq!(schemas[1]["properties"]["error"]["properties"]["code"]["enum"], json!(["closed"]));
    assert_eq!(closed["headers"].as_object().unwrap().len(), 4, "{closed}");
    assert!(closed["description"].as_str().unwrap().contains("`overloaded`"), "{closed}");
    let schemes = json!({
        "late.1": {"type": "apiKey", "in": "header", "name": "x-key", "description": "A key."},
        "late.2": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A token."},
    });
    assert_eq!(document["components"]["securitySchemes"], schemes);
    assert_eq!(post(&document, "f")["security"], json!([{"late.1": []}, {"late.2": []}]));
    assert_eq!(post(&document, "g")["security"], Value::Null);
    // Only a plugin that declares nothing may answer with anything.
    assert_eq!(post(&document, "f")["responses"]["default"], Value::Null);
    let default = &post(&document, "g")["responses"]["default"];
    assert_eq!(default["description"], "An error with a status of a plugin's own.");
}

#[test]
pub(super) fn a_declaration_that_is_not_valid_is_a_fault_of_its_plugin() {
    let long = "x".repeat(501);
    let nine = ["a"; 9];
    let many = vec![(400, "no", "No.", [].as_slice()); 257];
    for (plugin, reason) in [
        (passing().declares(&[(200, "no", "No.", &[])], &[]), "refusal 1: the status 200 is not between 400 and 599"),
        (passing().declares(&[(400, "No!", "No.", &[])], &[]), "refusal 1: \"No!\" is not a valid code"),
        (passing().declares(&[(400, "no", &long, &[])], &[]), "refusal 1: the description: 501 bytes exceed the limit"),
        (passing().declares(&[(400, "no", " ", &[])], &[]), "refusal 1: the description is empty"),
        (passing().declares(&[(400, "no", "No.", &["a b"])], &[]), "\"a b\" is not a valid name of a header"),
        (passing().declares(&[(400, "no", "No.", &nine)], &[]), "refusal 1: 9 headers exceed the limit of 8"),
        (passing().declares(&many, &[]), "257 refusals exceed the limit of 256"),
        (passing().declares(&[], &[(HEADER, "", "A key.")]), "security scheme 1: \"\" is not a valid name of a header"),
        (passing().declares(&[], &[(BEARER, "", "")]), "security scheme 1: the description is empty"),
    ] {
        let files = Files::new();
        let words = refusal_of(&table("p", &files.put("p.wasm", plugin.component()), ""));
        let said = words.contains(&format!("plugin \"p\": its declarations are not valid: {reason}"))
            || words.contains("plugin \"p\": its declarations are not valid: ") && words.contains(reason);
        assert!(said && words.contains("metagate.toml:"), "{reason}: {words}");
    }
    let files = Files::new();
    let words = refusal_of(&table("p", &files.put("p.wasm", passing().traps_when_asked().component()), ""));
    assert!(words.contains("plugin \"p\": it trapped"), "{words}");
}

#[test]
fn a_document_follows_the_plugins_and_their_settings() {
    let key = |keys: &str| format!("{keys}\nconfig = {{ header = \"X-Key\", keys = {{ a = \"k\" }} }}");
    let (gateway, _folder) = wasm::serving(TWO, &table("api-key", &built("api-key"), &key("")));
    let before = document(&gateway, "it");
    assert_valid(&gateway, &before);
    assert_eq!(before["components"]["securitySchemes"]["api-key"]["name"], "x-key");
    let refused = gateway.post("/local/it/v1/call/f", &[], "");
    let described = answer(&before, "f", &refused.status.to_string());
    assert!(codes(&described).as_array().unwrap().contains(&json!(refused.code())), "{described}");
    for (old, new, name) in
        [("X-Key", "X-Other", json!("x-other")), ("\nconfig", "\nmode = \"observe\"\nconfig", json!(null))]
    {
        let file = gateway.folder.path().join("metagate.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replacen(old, new, 1)).unwrap();
        assert_eq!(reload(&gateway).status, 200);
        let after = document(&gateway, "it");
        assert_eq!(after["components"]["securitySchemes"]["api-key"]["name"], name);
    }
    assert_eq!(post(&document(&gateway, "it"), "f")["responses"]["401"], Value::Null);
}
