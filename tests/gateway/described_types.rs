//! What schemas say of values is so: results fit them, and what they allow as arguments is taken.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use metagate::describe::fit::misfit;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::arguments::{assert_misfits, assert_results};
use crate::descriptions::{assert_valid, document};
use crate::exports::folder;
use crate::node_types::{new_node, packages};
use crate::support::{Gateway, fixture, wait_for};

/// A gateway that serves a copy of a fixture as `it`, with these packages in a folder of it.
fn serving(name: &str, folder: &str, packages: &[PathBuf], keys: &str) -> (Gateway, TempDir) {
    let copy = tempfile::tempdir().unwrap();
    let whole = fixture("described-types").join(name).join(".");
    assert!(Command::new("cp").arg("-r").arg(whole).arg(copy.path()).status().unwrap().success());
    let place = copy.path().join(folder);
    std::fs::create_dir_all(&place).unwrap();
    for package in packages {
        let name = package.strip_prefix(self::packages()).map_or("python".as_ref(), |name| name);
        std::fs::create_dir_all(place.join(name).parent().unwrap()).unwrap();
        symlink(package, place.join(name)).unwrap();
    }
    let gateway = Gateway::ready(&format!("[[deployment]]\nname = \"it\"\npath = {:?}\n{keys}\n", copy.path()));
    (gateway, copy)
}

fn python() -> (Gateway, TempDir) {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pypi/packages");
    assert!(packages.join("pydantic").is_dir(), "run tests/run.sh: there is no pydantic in tests/pypi/packages");
    serving("python", ".packages", &[packages], "")
}

fn typescript(names: &[&str]) -> (Gateway, TempDir) {
    let found = names.iter().map(|name| packages().join(name)).collect::<Vec<_>>();
    for package in &found {
        assert!(package.is_dir(), "run tests/run.sh: there is no {}", package.display());
    }
    serving("typescript", "node_modules", &found, &format!("interpreter = {:?}", new_node()))
}

/// The signatures of `it`, by function.
fn signatures(gateway: &Gateway) -> Value {
    gateway.get("/local/it/v1/signatures.json").json()["functions"].clone()
}

/// Calls each of these functions without arguments: the result fits its schema.
#[track_caller]
fn assert_fits(gateway: &Gateway, signatures: &Value, functions: &[&str]) {
    for function in functions {
        let signature = &signatures[function];
        let answer = gateway.call("it", function, "[]");
        assert_eq!(answer.status, 200, "{function}: {answer:?}");
        let schema = match signature.get("items") {
            Some(items) => json!({"type": "array", "items": items}),
            None => signature["returns"].clone(),
        };
        assert_ne!(schema, json!({}), "{function} has no schema");
        assert_eq!(misfit(&schema, &answer.json()), None, "{function}: {answer:?} {schema}");
    }
}

/// What a signature says of the parameter of a name.
fn parameter<'a>(signature: &'a Value, name: &str) -> &'a Value {
    let all = signature["parameters"].as_array().unwrap_or_else(|| panic!("{signature}"));
    &all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no {name} in {signature}"))["schema"]
}

#[test]
fn results_of_python_fit_their_schemas() {
    let (gateway, _copy) = python();
    let all = signatures(&gateway);
    let functions = ["point", "points", "text_bytes", "raw_bytes", "base", "further", "rights", "model", "models"];
    assert_fits(&gateway, &all, &functions);
    assert_eq!(all["point"]["returns"]["prefixItems"][1], json!({"type": "integer", "title": "y"}));
    assert_eq!(all["text_bytes"]["returns"].get("contentEncoding"), None);
    let model = json!({"itemId": 1, "lasts": 90.0, "tags": ["a"], "raw": "/w==", "price": "1.10"});
    assert_results(
        &gateway,
        &[
            ("point", "[]", json!([1, 0])),
            ("at", r#"{"x":3,"y":4}"#, json!([3, 4])),
            ("at", r#"{"place":[5]}"#, json!([5, 0])),
            ("model", "[]", model.clone()),
            ("echo", r#"{"itemId":1}"#, model),
            ("distinct", "[[2,1,1]]", json!([1, 2])),
            ("area", r#"{"kind":"rect","w":1,"h":2}"#, json!("rect")),
        ],
    );
    assert_eq!(parameter(&all["distinct"], "values"), &json!({"type": "array", "items": {"type": "integer"}}));
    let area = ["argument 1 (shape), at .r: field \"r\" of Circle is missing", "argument 1 (shape), at .kind: "];
    assert_misfits(
        &gateway,
        &[
            ("area", r#"{"kind":"circle"}"#, area[0]),
            (
                "area",
                r#"{"kind":"x"}"#,
                &format!("{}expected one of \"circle\" or one of \"rect\", found \"x\"", area[1]),
            ),
        ],
    );
}

#[test]
fn docstrings_describe_parameters_and_defaults_are_there() {
    let (gateway, _copy) = python();
    let all = signatures(&gateway);
    let level = json!({"description": "how urgent it is", "enum": ["low", "high"], "default": "low"});
    assert_eq!(parameter(&all["order"], "items")["description"], "what is ordered, by name");
    assert_eq!(parameter(&all["order"], "level"), &level);
    assert_eq!(parameter(&all["order"], "limit"), &json!({"type": "integer", "default": 3}));
    assert_eq!(parameter(&all["order"], "note"), &json!({"default": null}));
    assert_eq!(parameter(&all["find"], "id")["description"], "the number of the order");
    assert_eq!(parameter(&all["find"], "deep"), &json!({"description": "whether its items count", "default": true}));
    assert_eq!(parameter(&all["listed"], "second"), &json!({"description": "what follows", "default": "x"}));
    let base = &all["base"]["returns"];
    assert_eq!(base["properties"]["id"], json!({"description": "the number", "type": "integer"}));
    assert!(base["description"].as_str().unwrap().starts_with("What has a number."), "{base}");
    assert_valid(&gateway, &document(&gateway, "it"));
}

#[test]
fn answers_without_a_body_or_with_another_status_are_described() {
    let (gateway, _copy) = serving("javascript", ".", &[], "");
    let document = document(&gateway, "it");
    assert_valid(&gateway, &document);
    let responses = &document["paths"]["/local/it/v1/call/nothing"]["post"]["responses"];
    assert_eq!(responses["200"], json!({"description": "Nothing: there is no body."}));
    assert_eq!(gateway.call("it", "nothing", "[]").body, "");
    assert!(responses["default"]["description"].as_str().unwrap().contains("201"), "{responses}");
}

#[test]
fn comments_say_what_streams_of_javascript_have() {
    let (gateway, _copy) = serving("javascript", ".", &[], "");
    let all = signatures(&gateway);
    assert_fits(&gateway, &all, &["count", "letters", "bytes"]);
    assert_eq!(all["follow"]["items"]["properties"]["state"], json!({"type": "string"}));
    assert_eq!(all["count"]["items"], json!({"type": "number"}));
    assert_eq!(all["letters"]["items"], json!({"type": "string"}));
    let defaults = ["a", "b", "c", "d"].map(|name| parameter(&all["plain"], name).clone());
    assert_eq!(defaults, [json!({}), json!({"default": "x"}), json!({"default": -1.5}), json!({})]);
}

/// Classes of Node are known without their types, with those of the package for them, and of `metagate`.
#[track_caller]
fn assert_classes(gateway: &Gateway) {
    let all = signatures(gateway);
    assert_results(
        gateway,
        &[
            ("host", r#"["http://a.b/c"]"#, json!("a.b")),
            ("size", r#"["aGk="]"#, json!(2)),
            ("same", r#"["aGk="]"#, json!(2)),
            ("day", r#"["2026-11-30"]"#, json!("2026-11-30T00:00:00.000Z")),
            ("name", r#"[{"name":"n"}]"#, json!("n")),
            ("bytes", "[]", json!("/w==")),
            ("follow", "[1]", json!([{"id": 1, "state": "open"}])),
        ],
    );
    assert_misfits(
        gateway,
        &[
            ("host", "[\"x\"]", "argument 1 (url): expected URL, found \"x\""),
            ("size", "[\"x\"]", "argument 1 (data): expected base64 text, found \"x\""),
            ("upload", r#"{"title":"a"}"#, "argument \"picture\" is missing: upload(title, picture)"),
            ("name", "[{\"name\":1}]", "argument 1 (one), at .name: expected string, found 1"),
            ("area", r#"[{"kind":"circle","w":1}]"#, "argument 1 (shape), at .r: field \"r\" is missing"),
            ("area", r#"[{"kind":"x"}]"#, "argument 1 (shape), at .kind: expected \"circle\" or \"rect\", found \"x\""),
        ],
    );
    let page = gateway.call("it", "page", "[]");
    assert_eq!((page.status, page.body.as_str()), (201, "a"));
    assert_fits(gateway, &all, &["bytes", "count", "level"]);
    for stream in ["follow", "later"] {
        let state = &all[stream]["items"]["properties"]["state"];
        assert_eq!(state, &json!({"enum": ["open", "paid"]}), "{stream}: {all}");
    }
    assert_eq!(all["inferred"]["items"]["properties"]["id"], json!({"type": "number"}));
    assert_eq!(parameter(&all["level"], "one")["default"], "low");
    assert_eq!(parameter(&all["level"], "two"), &json!({"type": "number", "default": 3}));
    assert_eq!(parameter(&all["upload"], "picture"), &json!({"type": "string", "format": "binary"}));
    assert_valid(gateway, &document(gateway, "it"));
}

#[test]
fn classes_of_node_are_types_without_the_types_of_node() {
    let (gateway, _copy) = typescript(&["typescript"]);
    assert_classes(&gateway);
}

#[test]
fn classes_of_node_are_types_with_the_types_of_node() {
    let (gateway, _copy) = typescript(&["typescript", "@types/node", "undici-types"]);
    assert_classes(&gateway);
}

#[test]
fn types_that_are_not_found_are_a_warning() {
    let script = "export const one = (a: Absent, b: Map<string, lost.Type>): number => 1;\n";
    let lost = folder(&[("index.ts", script)]);
    std::fs::create_dir(lost.path().join("node_modules")).unwrap();
    symlink(packages().join("typescript"), lost.path().join("node_modules/typescript")).unwrap();
    let table = format!("[[deployment]]\nname = \"it\"\npath = {:?}\ninterpreter = {:?}\n", lost.path(), new_node());
    let gateway = Gateway::ready(&table);
    let warnings = gateway.readiness("it")["warnings"].to_string();
    assert!(warnings.contains("index.ts: TypeScript does not find Absent, lost.Type"), "{warnings}");
    wait_for("the warning", || gateway.log().contains("loaded with a warning").then_some(()));
}
