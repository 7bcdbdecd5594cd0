//! Arguments of a call: by position, by name, and what is refused.

use std::borrow::Cow;

use wasmtime::component::Val;

use super::{arguments, signature, some, text};
use crate::wasm_worker::value::Mismatch;

#[test]
fn arguments_go_by_position() {
    assert_eq!(arguments(&["u8", "string"], "[1,\"x\"]"), Ok(vec![Val::U8(1), text("x")]));
    assert_eq!(arguments(&[], "[]"), Ok(Vec::new()));
    assert_eq!(arguments(&["u8", "option<u8>"], "[1]"), Ok(vec![Val::U8(1), Val::Option(None)]));
    let wrong = |parameters: &[&str], args| arguments(parameters, args).unwrap_err();
    assert_eq!(wrong(&["option<u8>", "u32"], "[1]"), "argument \"b\" (u32) is missing");
    assert_eq!(wrong(&["u8", "u8"], "[]"), "argument \"a\" (u8) is missing");
    assert_eq!(wrong(&["u8"], "[1,2,[3]]"), "takes 1 argument, got 3");
    assert_eq!(wrong(&["u8", "u8"], "[1,2,3]"), "takes 2 arguments, got 3");
    assert_eq!(wrong(&[], "[1]"), "takes 0 arguments, got 1");
    assert_eq!(wrong(&["u8", "u8"], "[1,null]"), "argument \"b\" (u8): expected u8, got null");
    assert_eq!(
        wrong(&["record { x: u32, y: u32 }"], "[{\"x\":1,\"y\":\"abc\"}]"),
        "argument \"a\" (record { x: u32, y: u32 }): at .y expected u32, got \"abc\""
    );
}

#[test]
fn arguments_go_by_name_if_all_names_fit() {
    let parameters = ["u8", "option<string>", "u8"];
    let named = |names: &[&'static str], args: &str| {
        let names: Vec<Cow<'_, str>> = names.iter().copied().map(Cow::Borrowed).collect();
        signature(&parameters, None).arguments(args, Some(&names), usize::MAX).map_err(|Mismatch(message)| message)
    };
    let values = |first, second, third| Ok(vec![Val::U8(first), second, Val::U8(third)]);
    assert_eq!(named(&["c", "b", "a"], "[3,\"x\",1]"), values(1, some(text("x")), 3));
    assert_eq!(named(&["c", "a"], "[3,1]"), values(1, Val::Option(None), 3));
    // Not all are parameters, one is repeated, one that is not an option is missing: arguments go by position.
    assert_eq!(named(&["c", "x", "a"], "[1,null,3]"), values(1, Val::Option(None), 3));
    assert_eq!(named(&["c", "c", "a"], "[1,null,3]"), values(1, Val::Option(None), 3));
    assert_eq!(named(&["c"], "[1]"), Err("argument \"c\" (u8) is missing".to_owned()));
    assert_eq!(named(&["c", "a"], "[300,1]"), Err("argument \"c\" (u8): 300 is out of range".to_owned()));
    // More or fewer names than arguments.
    assert_eq!(named(&["c", "a"], "[3]"), Err("argument \"a\" (u8) is missing".to_owned()));
    assert_eq!(named(&["c", "a"], "[3,1,2]"), Err("takes 3 arguments, got 3".to_owned()));
}

#[test]
fn arguments_that_are_not_an_array_are_refused() {
    for text in ["", "[", "[1", "{}", "7", "[1]]", "[01]", "[1,]", "[\"\u{1}\"]"] {
        let error = arguments(&["string"], text).unwrap_err();
        assert!(error.starts_with("argument"), "{text}: {error}");
    }
    let deep = format!("[{}{}]", "[".repeat(1000), "]".repeat(1000));
    assert!(arguments(&["list<string>"], &deep).is_err());
}
