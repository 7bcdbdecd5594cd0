//! Values with cases: variants, enums, flags, options, results.

use wasmtime::component::Val;

use super::{also, both, some, text, wrong};

#[test]
fn variants_are_names_or_objects_with_one_key() {
    const SHAPE: &str = "variant { circle(f64), empty, maybe(option<u32>) }";
    let case = |name: &str, value: Option<Val>| Val::Variant(name.into(), value.map(Box::new));
    both(SHAPE, "{\"circle\":1.5}", &case("circle", Some(Val::Float64(1.5))));
    both(SHAPE, "\"empty\"", &case("empty", None));
    both(SHAPE, "{\"maybe\":null}", &case("maybe", Some(Val::Option(None))));
    also(SHAPE, "{\"empty\":null}", "\"empty\"");
    also(SHAPE, "{\"tag\":\"circle\",\"val\":1}", "{\"circle\":1.0}");
    also(SHAPE, "{\"val\":1,\"tag\":\"circle\"}", "{\"circle\":1.0}");
    also(SHAPE, "{\"tag\":\"empty\"}", "\"empty\"");
    also(SHAPE, "{\"tag\":\"empty\",\"val\":null}", "\"empty\"");
    assert_eq!(wrong(SHAPE, "\"square\""), format!("expected {SHAPE}, got \"square\""));
    assert_eq!(wrong(SHAPE, "\"circle\""), "case \"circle\" needs a value (f64)");
    assert_eq!(wrong(SHAPE, "{\"tag\":\"circle\"}"), "case \"circle\" needs a value (f64)");
    assert_eq!(wrong(SHAPE, "{\"circle\":\"x\"}"), "at .circle expected f64, got \"x\"");
    assert_eq!(wrong(SHAPE, "{\"empty\":1}"), "at .empty expected null, got 1");
    assert_eq!(wrong(SHAPE, "{}"), format!("expected {SHAPE}, got {{}}"));
    assert_eq!(wrong(SHAPE, "{\"square\":1}"), format!("expected {SHAPE}, got an object with \"square\""));
    assert_eq!(wrong(SHAPE, "{\"circle\":1,\"x\":1}"), format!("expected {SHAPE}, got \"x\" as well as \"circle\""));
    assert_eq!(wrong(SHAPE, "{\"val\":1}"), format!("expected {SHAPE}, got an object with \"val\" and no \"tag\""));
    assert_eq!(wrong(SHAPE, "{\"tag\":\"square\"}"), format!("expected {SHAPE}, got the tag \"square\""));
    assert_eq!(wrong(SHAPE, "{\"tag\":1}"), format!("expected {SHAPE}, got the tag 1"));
    assert_eq!(wrong(SHAPE, "{\"val\":\"x\",\"tag\":\"circle\"}"), "at .val expected f64, got \"x\"");
    assert_eq!(wrong(SHAPE, "{\"val\":1,\"tag\":\"empty\"}"), "at .val expected null, got 1");
}

#[test]
fn a_variant_with_a_case_named_tag_or_val_has_no_form_of_jco() {
    const TAGS: &str = "variant { tag(string), other }";
    both(TAGS, "{\"tag\":\"other\"}", &Val::Variant("tag".into(), Some(Box::new(text("other")))));
    assert_eq!(wrong(TAGS, "{\"val\":1,\"tag\":\"x\"}"), format!("expected {TAGS}, got an object with \"val\""));
    assert_eq!(wrong(TAGS, "{\"tag\":\"x\",\"val\":1}"), format!("expected {TAGS}, got \"val\" as well as \"tag\""));
}

#[test]
fn enums_and_flags_are_names() {
    const COLOR: &str = "enum { red, deep-blue }";
    const RIGHTS: &str = "flags { read, write, run }";
    both(COLOR, "\"deep-blue\"", &Val::Enum("deep-blue".into()));
    assert_eq!(wrong(COLOR, "\"green\""), format!("expected {COLOR}, got \"green\""));
    assert_eq!(wrong(COLOR, "{\"red\":null}"), format!("expected {COLOR}, got {{\"red\":null}}"));
    both(RIGHTS, "[\"read\",\"run\"]", &Val::Flags(vec!["read".into(), "run".into()]));
    both(RIGHTS, "[]", &Val::Flags(Vec::new()));
    also(RIGHTS, "[\"run\",\"read\",\"run\"]", "[\"read\",\"run\"]");
    also(RIGHTS, "{\"write\":true,\"read\":false}", "[\"write\"]");
    assert_eq!(wrong(RIGHTS, "[\"read\",\"fly\"]"), format!("expected {RIGHTS}, got an array with \"fly\""));
    assert_eq!(wrong(RIGHTS, "[1]"), format!("expected {RIGHTS}, got an array with 1"));
    assert_eq!(wrong(RIGHTS, "\"read\""), format!("expected {RIGHTS}, got \"read\""));
    assert_eq!(wrong(RIGHTS, "{\"fly\":true}"), "flag \"fly\" is unknown");
    assert_eq!(wrong(RIGHTS, "{\"read\":1}"), "at .read expected bool, got 1");
    assert_eq!(wrong(RIGHTS, "{\"read\":true,\"read\":true}"), "flag \"read\" is repeated");
}

#[test]
fn options_are_null_or_the_value() {
    both("option<u32>", "null", &Val::Option(None));
    both("option<u32>", "5", &some(Val::U32(5)));
    both("option<option<u32>>", "null", &Val::Option(None));
    both("option<option<u32>>", "{\"some\":null}", &some(Val::Option(None)));
    both("option<option<u32>>", "{\"some\":5}", &some(some(Val::U32(5))));
    both("list<option<string>>", "[null,\"a\"]", &Val::List(vec![Val::Option(None), some(text("a"))]));
    assert_eq!(wrong("option<u32>", "\"x\""), "expected u32, got \"x\"");
    let nested = "option<option<u32>>";
    assert_eq!(wrong(nested, "5"), format!("expected {nested}, got 5"));
    assert_eq!(wrong(nested, "{}"), format!("expected {nested}, got {{}}"));
    assert_eq!(wrong(nested, "{\"none\":1}"), format!("expected {nested}, got an object with \"none\""));
    assert_eq!(wrong(nested, "{\"some\":1,\"x\":1}"), format!("expected {nested}, got \"x\" as well as \"some\""));
    assert_eq!(wrong(nested, "{\"some\":\"x\"}"), "at .some expected u32, got \"x\"");
}

#[test]
fn results_in_values_are_objects() {
    let given = |result| Val::List(vec![Val::Result(result)]);
    both("list<result<u32, string>>", "[{\"ok\":5}]", &given(Ok(Some(Box::new(Val::U32(5))))));
    both("list<result<u32, string>>", "[{\"err\":\"no\"}]", &given(Err(Some(Box::new(text("no"))))));
    both("list<result>", "[{\"ok\":null}]", &given(Ok(None)));
    both("list<result<_, u32>>", "[{\"ok\":null}]", &given(Ok(None)));
    both("list<result<u32>>", "[{\"err\":null}]", &given(Err(None)));
    both("option<result>", "{\"err\":null}", &some(Val::Result(Err(None))));
    assert_eq!(wrong("result<u32>", "5"), "expected result<u32>, got 5");
    assert_eq!(wrong("result<u32>", "{}"), "expected result<u32>, got {}");
    assert_eq!(wrong("result<u32>", "{\"some\":5}"), "expected result<u32>, got an object with \"some\"");
    assert_eq!(wrong("result<u32>", "{\"ok\":\"x\"}"), "at .ok expected u32, got \"x\"");
    assert_eq!(wrong("result<u32>", "{\"err\":5}"), "at .err expected null, got 5");
    assert_eq!(wrong("result<u32>", "{\"ok\":5,\"err\":null}"), "expected result<u32>, got \"err\" as well as \"ok\"");
}
