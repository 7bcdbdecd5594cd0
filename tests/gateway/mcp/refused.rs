//! What is refused: pages of other origins, clients without a token or key, messages that are none.

use std::io::Write;

use serde_json::{Value, json};

use super::{ONE, STATELESS, ask, ask_with, message, names, serving, text};
use crate::faulty::assert_error;
use crate::support::{Gateway, fixture, metagate, wait_for};

const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn without_the_table_there_are_no_tools() {
    let gateway = Gateway::ready(&format!("[[deployment]]\nname = \"tools\"\npath = {:?}\n", fixture("tools-node")));
    for path in ["/mcp", ONE] {
        assert_error(&gateway.post(path, &[JSON], message("tools/list", json!({})).to_string()), 404, "not_found");
    }
}

#[test]
fn tools_take_posts_of_json_from_no_strange_page() {
    let gateway = serving("[server]\ncors = { origins = [\"https://app.example\"] }\n");
    assert_error(&gateway.get("/mcp"), 405, "method_not_allowed");
    assert_eq!(gateway.get("/mcp").header("allow"), Some("POST, OPTIONS"));
    let list = message("tools/list", json!({})).to_string();
    assert_error(&gateway.post("/mcp", &[("content-type", "text/plain")], &list), 415, "unsupported_media_type");
    let own = gateway.url("").replace("http://", "");
    for (origin, host, is_allowed) in [
        ("https://app.example", own.as_str(), true),
        (&format!("http://{own}"), &own, true),
        ("https://evil.example", &own, false),
        ("null", &own, false),
        ("http://evil.example:80", "evil.example:80", false),
        ("https://app.example.evil", &own, false),
    ] {
        let headers = [("origin", origin), ("host", host)];
        let answer = ask_with(&gateway, "/mcp", "server/discover", json!({}), &headers);
        assert_eq!(answer.status, if is_allowed { 200 } else { 403 }, "{origin} {host}: {answer:?}");
    }
    let missing = ask_with(&gateway, "/local/nothing/v1/mcp", "tools/list", json!({}), &[]);
    assert_error(&missing, 404, "deployment_not_found");
}

#[test]
fn what_is_no_message_gets_the_error_of_the_protocol() {
    let gateway = serving("");
    let headers = [JSON, ("mcp-protocol-version", STATELESS), ("mcp-method", "tools/call"), ("mcp-name", "add")];
    let code = |body: &str| {
        let answer = gateway.post(ONE, &headers, body);
        assert!(answer.status >= 400, "{body}: {answer:?}");
        (answer.status, answer.json()["error"]["code"].as_i64().unwrap())
    };
    let deep = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\",\"params\":{{\"a\":{}1{}}}}}",
        "[".repeat(500),
        "]".repeat(500)
    );
    for body in ["", "{", "\u{feff}{}", "{\"a\":\"\\ud800\"}", &deep] {
        assert_eq!(code(body), (400, -32700), "{body}");
    }
    let two = format!("[{0},{0}]", message("tools/list", json!({})));
    for body in ["[]", &two, "{}", "7", "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"tools/list\"}"] {
        assert_eq!(code(body), (400, -32600), "{body}");
    }
    let of = |params: Value| message("tools/call", params).to_string();
    assert_eq!(code(&of(json!({"name": "add", "arguments": [1]}))), (400, -32602));
    assert_eq!(code(&of(json!({"name": 7}))), (400, -32602));
    assert_eq!(code(&of(json!({"name": "price"}))), (400, -32020), "the header names another tool");
    assert_eq!(code(&message("tools/list", json!({})).to_string()), (400, -32020));
    let no_meta = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "add"}});
    assert_eq!(code(&no_meta.to_string()), (400, -32602));
    for method in ["initialize", "ping", "prompts/list", "subscriptions/listen", "tools/", "x"] {
        let answer = ask_with(&gateway, ONE, method, json!({}), &[]);
        assert_eq!((answer.status, answer.json()["error"]["code"].as_i64()), (404, Some(-32601)), "{method}");
    }
    let unknown = ask_with(&gateway, ONE, "tools/call", json!({"name": "no such"}), &[]);
    assert_eq!((unknown.status, unknown.json()["error"]["code"].as_i64()), (400, Some(-32602)));
    let big = gateway.post("/mcp", &[JSON], vec![b' '; 9 << 20]);
    assert_error(&big, 413, "payload_too_large");
}

#[test]
fn a_revision_that_is_not_known_is_answered_with_those_that_are() {
    let gateway = serving("");
    let mut asked = message("server/discover", json!({}));
    asked["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2030-01-01");
    let headers = [JSON, ("mcp-protocol-version", "2030-01-01"), ("mcp-method", "server/discover")];
    let answer = gateway.post("/mcp", &headers, asked.to_string());
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!(-32022)));
    let data = &answer.json()["error"]["data"];
    assert_eq!((&data["requested"], &data["supported"][0]), (&json!("2030-01-01"), &json!(STATELESS)));
}

#[test]
fn tools_are_listed_for_holders_of_a_token_and_called_by_all() {
    let gateway = serving(
        "[admin]\ntoken = \"everything\"\n\
         tokens = [{ name = \"typed\", token = \"typed\", may = [\"deploy:typed\"] }]\n",
    );
    let list = |path: &str, token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        ask_with(&gateway, path, "tools/list", json!({}), if token.is_empty() { &[] } else { &headers })
    };
    for path in ["/mcp", ONE] {
        let refused = list(path, "");
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")), "{refused:?}");
        assert!(!refused.body.contains("add"), "{refused:?}");
        assert_eq!(list(path, "wrong").status, 401);
        assert!(list(path, "everything").body.contains("add"));
    }
    let some = list("/mcp", "typed").json()["result"].clone();
    assert!(names(&some).iter().all(|name| name.starts_with("typed__")), "{some}");
    assert_eq!(list(ONE, "typed").status, 403);
    let asked = || json!({"name": "headers", "arguments": {}});
    let called = ask_with(&gateway, ONE, "tools/call", asked(), &[("authorization", "Bearer everything")]);
    let seen: Value = serde_json::from_str(text(&called.json()["result"])).unwrap();
    assert_eq!(seen["authorization"], Value::Null, "a token of the admin API is not for functions");
    assert_eq!(ask_with(&gateway, ONE, "tools/call", asked(), &[]).status, 200);
}

#[test]
fn plugins_guard_calls_of_tools_as_they_guard_calls() {
    let gateway = serving(&format!(
        "[[plugin]]\nname = \"api-key\"\npath = {:?}\ndeployments = [\"tools\"]\n\
         config = {{ keys = {{ alice = \"alice-key\" }} }}\n",
        fixture("plugins-0.1.0").join("api-key.wasm")
    ));
    let asked = || json!({"name": "tools__add", "arguments": {"a": 1}});
    let refused = ask_with(&gateway, "/mcp", "tools/call", asked(), &[]);
    assert_eq!(
        (refused.status, &refused.json()["error"]["data"]["code"]),
        (401, &json!("unauthorized")),
        "{refused:?}"
    );
    let answer = ask_with(&gateway, "/mcp", "tools/call", asked(), &[("x-api-key", "alice-key")]);
    assert_eq!(text(&answer.json()["result"]), "2");
    assert_eq!(
        text(&ask(&gateway, "/mcp", "tools/call", json!({"name": "typed__named", "arguments": {"a": 1}}))),
        "[1,2,3]"
    );
}

#[test]
fn a_client_that_leaves_ends_its_call() {
    let gateway = serving("");
    let body = message("tools/call", json!({"name": "slow", "arguments": {}})).to_string();
    let mut stream = gateway.connect();
    write!(
        stream,
        "POST {ONE} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nmcp-protocol-version: {STATELESS}\r\n\
         mcp-method: tools/call\r\nmcp-name: slow\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    wait_for("the call", || (gateway.readiness("tools")["in_flight"].as_u64() > Some(0)).then_some(()));
    drop(stream);
    wait_for("the end of the call", || {
        gateway.get("/metrics").body.contains("function=\"slow\",status=\"408\",code=\"client_gone\"").then_some(())
    });
}

#[test]
fn odd_headers_and_ids_get_the_right_answer() {
    let gateway = serving("");
    let asked = || json!({"name": "add", "arguments": {"a": 1}});
    for accepted in ["text/html", "application/json;q=0", ""] {
        let answer = ask_with(&gateway, ONE, "tools/call", asked(), &[("accept", accepted)]);
        assert_eq!(text(&answer.json()["result"]), "2", "{accepted}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "there is no other form");
    }
    let other = ask_with(&gateway, ONE, "tools/call", asked(), &[("mcp-protocol-version", "2025-11-25")]);
    assert_eq!((other.status, &other.json()["error"]["code"]), (400, &json!(-32020)), "two revisions");
    let older = |id: &str, version: &str| {
        let body = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"ping\"}}");
        gateway.post("/mcp", &[JSON, ("mcp-protocol-version", version), ("mcp-session-id", "any")], body)
    };
    for version in ["garbage", "2024-11-05", "2030-01-01", ""] {
        let answer = older("1", version);
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!(-32022)), "{version:?}: {answer:?}");
    }
    for id in ["0", "-1", "123456789012345678901234567890", "\"\"", "\"\\u0000 \\\"\""] {
        let answer = older(id, "2025-11-25");
        assert!(answer.status == 200 && answer.body.contains(&format!("\"id\":{id},")), "{answer:?}");
    }
    for id in ["null", "1.5", "[1]", "true", &format!("\"{}\"", "x".repeat(1024))] {
        let answer = older(id, "2025-11-25");
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!(-32600)), "{id}");
    }
    let told = gateway.post("/mcp", &[JSON], "{\"jsonrpc\":\"2.0\",\"method\":\"tools/call\",\"params\":{}}");
    assert_eq!((told.status, told.body.as_str()), (202, ""), "a notification calls nothing");
}

#[test]
fn faults_of_the_table_have_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metagate.toml");
    for (table, place, words) in [
        ("[mcp]\nenabled = 1\n", ":2:11", "true or false"),
        ("[mcp]\npage_size = 0\n", ":2:13", "1 to 1000"),
        ("[mcp]\ndeployments = []\n", ":2:15", "list"),
        ("[mcp]\ninstructions = \"\"\n", ":2:16", "16384"),
        ("[mcp]\nheaders = [\"a b\"]\n", ":2:12", "part of the name of a header"),
        ("[mcp]\nprompts = [\"a\"]\n", ":2:12", "<deployment>/<function>"),
        ("[[mcp.resource]]\nuri = \"a\"\nto = \"a/b\"\n", ":2:7", "scheme"),
        ("[[mcp.resource]]\nuri = \"a:b\"\n", ":1:", "to"),
        ("[mcp]\nenable = true\n", ":2:1", "enabled"),
        ("[mcp]\nenabled = true\n[[route]]\npath = \"/mcp\"\nto = \"a/b\"\n", ":4:8", "/mcp"),
    ] {
        std::fs::write(&path, table).unwrap();
        let output = metagate().arg("check").arg(&path).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && stderr.contains(place) && stderr.contains(words), "{table}: {stderr}");
    }
}
