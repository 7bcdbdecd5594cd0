//! Types as WIT writes them, their ids, and types without JSON.

use wasmtime::component::Type;

use super::kind::{self, Kind};
use crate::wasm_worker::value::{check, type_id, wit};

#[test]
fn types_are_written_as_in_wit() {
    for text in [
        "list<tuple<u32, string>>",
        "record { x: u32, y: option<string> }",
        "variant { circle(f64), empty }",
        "enum { red, deep-blue }",
        "flags { read, write }",
        "result",
        "result<u8>",
        "result<_, char>",
        "result<bool, s64>",
        "list<f32, 4>",
        "map<string, list<u8>>",
    ] {
        assert_eq!(wit(&Kind::parse(text).ty()), text);
    }
    let long = format!("tuple<{}>", vec!["string"; 40].join(", "));
    let cut = wit(&Kind::parse(&long).ty());
    assert!(cut.ends_with('…') && cut.len() == 203 && long.starts_with(cut.trim_end_matches('…')), "{cut}");
}

#[test]
fn types_have_ids_of_metacall() {
    for (ty, id) in [
        ("bool", 0),
        ("char", 1),
        ("u8", 2),
        ("s16", 2),
        ("u32", 3),
        ("s64", 4),
        ("f32", 5),
        ("f64", 6),
        ("string", 7),
        ("list<u8>", 8),
        ("list<u16>", 9),
        ("list<u8, 3>", 9),
        ("tuple<u8>", 9),
        ("flags { a }", 9),
        ("record { a: u8 }", 10),
        ("map<string, u8>", 10),
        ("variant { a }", 20),
        ("enum { a }", 20),
        ("option<u8>", 20),
        ("result", 20),
    ] {
        assert_eq!(type_id(Some(&Kind::parse(ty).ty())), id, "{ty}");
    }
    assert_eq!(type_id(None), 14);
}

#[test]
fn types_without_json_are_named() {
    let ty = |wat: &str| -> Type { kind::exported(wat) };
    let resource = "(type $r (resource (rep i32))) (export $e \"e\" (type $r))";
    let own = ty(&format!("{resource} (type $n (list (option (own $e))))"));
    assert_eq!(check(&own), Err("resource".to_owned()));
    assert_eq!(wit(&own), "list<option<resource>>");
    assert_eq!(type_id(Some(&own)), 9);
    assert_eq!(check(&Kind::parse("map<string, list<u8>>").ty()), Ok(()));
    let borrowed = ty(&format!("{resource} (type $n (tuple u8 (borrow $e)))"));
    assert_eq!(check(&borrowed), Err("borrow<resource>".to_owned()));
}
