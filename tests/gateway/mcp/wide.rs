//! What is seen of many functions, by whom, and what is not: hidden functions, public lists, several blocks, progress.

use std::fs;
use std::time::Instant;

use serde_json::json;

use super::{ONE, ask, ask_with, call, message, names, serving, text};
use crate::support::{Gateway, fixture};

#[test]
fn results_of_several_parts_have_several_blocks_and_streams_show_progress() {
    let gateway = serving("");
    let mixed = call(&gateway, ONE, "test_multiple_content_types", json!({}));
    let kinds: Vec<&str> =
        mixed["content"].as_array().unwrap().iter().map(|one| one["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["text", "image", "resource"]);
    let mut asked = message("tools/call", json!({"name": "test_tool_with_progress"}));
    asked["params"]["_meta"]["progressToken"] = json!("mine");
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", super::STATELESS),
        ("mcp-method", "tools/call"),
        ("mcp-name", "test_tool_with_progress"),
    ];
    let answer = gateway.post(ONE, &headers, asked.to_string());
    assert_eq!(answer.header("content-type"), Some("text/event-stream"), "{answer:?}");
    assert!(answer.body.contains(r#""progressToken":"mine","progress":1"#), "{answer:?}");
    let last = answer.body.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().unwrap();
    let last: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(text(&last["result"]), r#"["started","half way","done"]"#);
}

#[test]
fn a_public_description_lists_tools_without_a_token() {
    let gateway = Gateway::ready(&format!(
        "[admin]\ntoken = \"secret\"\n[mcp]\nenabled = true\n\
         [[deployment]]\nname = \"open\"\ndescribe = \"public\"\npath = {:?}\n\
         [[deployment]]\nname = \"closed\"\npath = {:?}\n",
        fixture("tools-node"),
        fixture("tools-python")
    ));
    for headers in [&[][..], &[("authorization", "Bearer of-a-plugin")]] {
        let list = ask_with(&gateway, "/mcp", "tools/list", json!({}), headers).json()["result"].clone();
        assert!(names(&list).iter().all(|name| name.starts_with("open__")), "{list}");
        assert_eq!(ask_with(&gateway, "/local/open/v1/mcp", "tools/list", json!({}), headers).status, 200);
        assert_eq!(ask_with(&gateway, "/local/closed/v1/mcp", "tools/list", json!({}), headers).status, 401);
    }
    let all = ask_with(&gateway, "/mcp", "tools/list", json!({}), &[("authorization", "Bearer secret")]);
    let all = all.json()["result"].clone();
    assert!(names(&all).contains(&"open__add") && names(&all).contains(&"closed__move"), "{all}");
    let moves = all["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == "closed__move").unwrap();
    assert_eq!(moves["description"], "Moves a point.\n\nBy steps to the right.");
}

#[test]
fn a_function_that_a_plugin_hides_is_no_tool() {
    let gateway = serving(&format!(
        "[[plugin]]\nname = \"policy-on-load\"\npath = {:?}\nconfig = {{ hide_functions = [\"add\"] }}\n",
        fixture("plugins-0.1.0").join("policy-on-load.wasm")
    ));
    for (path, name) in [(ONE, "add"), ("/mcp", "tools__add")] {
        let list = ask(&gateway, path, "tools/list", json!({}));
        assert!(!names(&list).contains(&name) && names(&list).len() > 10, "{list}");
        let called = ask_with(&gateway, path, "tools/call", json!({"name": name, "arguments": {"a": 1}}), &[]);
        assert_eq!(called.json()["error"]["code"], -32602, "{called:?}");
    }
}

#[test]
fn a_thousand_tools_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let function =
        |n: usize| format!("def f{n}(a: int, b: str = \"x\") -> dict[str, int]:\n    \"\"\"Does {n}.\"\"\"\n\n");
    fs::write(folder.path().join("main.py"), (0..1000).map(function).collect::<String>()).unwrap();
    let gateway = Gateway::ready(&format!(
        "[mcp]\nenabled = true\npage_size = 1000\n[[deployment]]\nname = \"it\"\npath = {:?}\n",
        folder.path()
    ));
    for what in ["first", "second"] {
        let start = Instant::now();
        let list = ask(&gateway, "/mcp", "tools/list", json!({}));
        println!("1,000 tools, {what} list: {:?}", start.elapsed());
        assert_eq!(names(&list).len(), 1000);
    }
}
