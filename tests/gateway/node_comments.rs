//! Which comment belongs to which function of a Node script.

use serde_json::json;

use crate::arguments::assert_results;
use crate::exports::folder;
use crate::node_types::schema;
use crate::support::Gateway;

#[test]
fn no_function_has_the_comment_of_another_one() {
    let same: String =
        (0..30).map(|at| format!("/** @param {{{}}} a */\nexports.f{at} = (a) => a;\n", kind(at))).collect();
    let script = same
        + "
/** All. @param {number} id */
exports.getAll = (id) => find(id);
/** One. @param {string} id */
exports.get = (id) => find(id);
/** Adds one. @param {number} a */
exports.inc = (x) => x + 1;
exports.id = (x) => x;
/** @param {string[]} items */
exports.countAll = async (items) => items.length;
exports.count = async (items) => items.length;
/** @param {number} a */
const made = (y) => y;
const helper = { of: (y) => y };
exports.helped = helper.of;
/** @param {number} y */
exports.returned = make();
function make() { return (y) => y; }
/** Both. @param {number} z */
exports.one = exports.other = (z) => z;
/** @param {'\\n' | '\\u2028'} end */
exports.end = (end) => end.length;
function find(x) { return x; }
";
    let files = folder(&[("index.js", &script)]);
    let gateway = Gateway::ready(&format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", files.path()));
    let of = |function: &str| schema(&gateway, function)["parameters"][0]["schema"].clone();
    for at in 0..30 {
        assert_eq!(of(&format!("f{at}")), json!({"type": kind(at)}), "{at}");
    }
    for (function, schema) in [
        ("getAll", json!({"type": "number"})),
        ("get", json!({"type": "string"})),
        ("id", json!({})),
        ("count", json!({})),
        ("helped", json!({})),
        ("returned", json!({})),
        ("one", json!({"type": "number"})),
        ("other", json!({"type": "number"})),
        ("end", json!({"enum": ["\n", "\u{2028}"]})),
    ] {
        assert_eq!(of(function), schema, "{function}");
    }
    assert_eq!(schema(&gateway, "get")["description"], "One.");
    assert_results(&gateway, &[("get", r#"["x"]"#, json!("x")), ("id", r#"["x"]"#, json!("x"))]);
}

/// The type of a function with the same text as others.
fn kind(at: usize) -> &'static str {
    if at.is_multiple_of(2) { "number" } else { "string" }
}
