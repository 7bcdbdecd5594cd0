//! Functions as tools of the Model Context Protocol: lists, calls, both kinds of clients, and what is refused.

mod asking;
mod clients;
mod conformance;
mod crowds;
mod refused;
mod wide;

use serde_json::{Value, json};

use crate::exports::folder;
use crate::support::{Answer, Gateway, fixture};

const STATELESS: &str = "2026-07-28";
const ONE: &str = "/local/tools/v1/mcp";

/// A gateway whose functions are tools.
fn serving(tables: &str) -> Gateway {
    Gateway::ready(&format!(
        "{tables}[mcp]\nenabled = true\n[[deployment]]\nname = \"tools\"\npath = {:?}\n\
         [[deployment]]\nname = \"typed\"\npath = {:?}\n",
        fixture("tools-node"),
        fixture("tools-python")
    ))
}

/// A message of a client of the newest revision.
fn message(method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": STATELESS,
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

/// Its answer, of whatever status.
fn ask_with(gateway: &Gateway, path: &str, method: &str, params: Value, headers: &[(&str, &str)]) -> Answer {
    let name = params["name"].as_str().unwrap_or_default().to_owned();
    let mut all = vec![
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", STATELESS),
        ("mcp-method", method),
    ];
    if method == "tools/call" {
        all.push(("mcp-name", &name));
    }
    all.extend(headers);
    gateway.post(path, &all, message(method, params).to_string())
}

/// The result of a request.
#[track_caller]
fn ask(gateway: &Gateway, path: &str, method: &str, params: Value) -> Value {
    let answer = ask_with(gateway, path, method, params, &[]);
    assert_eq!(answer.status, 200, "{answer:?}");
    let result = answer.json()["result"].clone();
    assert_eq!(result["resultType"], "complete", "{answer:?}");
    assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "metagate");
    result
}

#[track_caller]
fn call(gateway: &Gateway, path: &str, name: &str, arguments: Value) -> Value {
    let mut params = json!({"name": name});
    params["arguments"] = arguments;
    ask(gateway, path, "tools/call", params)
}

/// The text of a result.
fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{result}"))
}

fn names(list: &Value) -> Vec<&str> {
    list["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

fn tool<'a>(list: &'a Value, name: &str) -> &'a Value {
    list["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn functions_that_need_a_file_are_no_tools() {
    let script = "from metagate import File\nfrom typing import Optional\n\n\ndef upload(file: File) -> int:\n    \
                  return 1\n\n\ndef titled(title: str, cover: Optional[File] = None) -> str:\n    return title\n";
    let files = folder(&[("main.py", script)]);
    let gateway = Gateway::ready(&format!(
        "[mcp]\nenabled = true\n[[deployment]]\nname = \"tools\"\npath = {:?}\n",
        files.path()
    ));
    let list = ask(&gateway, ONE, "tools/list", json!({}));
    assert_eq!(names(&list), ["titled"]);
    assert_eq!(tool(&list, "titled")["inputSchema"]["properties"], json!({"title": {"type": "string"}}));
    assert_eq!(text(&call(&gateway, ONE, "titled", json!({"title": "a"}))), "a");
}

#[test]
fn functions_are_listed_with_their_schemas() {
    let gateway = serving("");
    let list = ask(&gateway, ONE, "tools/list", json!({}));
    let add = tool(&list, "add");
    assert_eq!(add["inputSchema"]["required"], json!(["a"]));
    assert_eq!(add["inputSchema"]["properties"]["b"]["type"], "number");
    assert_eq!(add["outputSchema"]["properties"]["result"]["type"], "number");
    assert!(add["description"].as_str().unwrap().starts_with("Adds two numbers."), "{add}");
    assert_eq!(tool(&list, "price")["outputSchema"]["properties"]["total"]["type"], "number");
    assert_eq!(tool(&list, "test_simple_text").get("outputSchema"), None);
    let spaced = names(&list).into_iter().find(|name| name.starts_with("with_space-")).unwrap().to_owned();
    assert_eq!(tool(&list, &spaced)["title"], "with space");
    assert_eq!(text(&call(&gateway, ONE, &spaced, json!({}))), "spaced");
    assert_eq!((list["cacheScope"].as_str(), list.get("nextCursor")), (Some("private"), None));
    let all = ask(&gateway, "/mcp", "tools/list", json!({}));
    assert!(names(&all).contains(&"tools__add") && names(&all).contains(&"typed__move"), "{all}");
    assert_eq!(tool(&all, "tools__add")["inputSchema"], add["inputSchema"]);
    assert_eq!(text(&call(&gateway, "/mcp", "tools__add", json!({"a": 2}))), "3");
    let hidden = names(&all).into_iter().find(|name| name.starts_with("tools___hidden-")).unwrap().to_owned();
    assert_eq!(text(&call(&gateway, "/mcp", &hidden, json!({}))), "underscore");
}

#[test]
fn a_call_of_a_tool_is_a_call_of_its_function() {
    let gateway = serving("");
    let sum = call(&gateway, ONE, "add", json!({"a": 1.5, "b": 2}));
    assert_eq!((text(&sum), &sum["structuredContent"]), ("3.5", &json!({"result": 3.5})));
    let price = call(&gateway, ONE, "price", json!({"order": {"id": "a", "count": 2}}));
    assert_eq!(price["structuredContent"], json!({"total": 5}));
    assert_eq!(text(&call(&gateway, ONE, "rest", json!({"first": 1, "others": [2, 3]}))), "[1,[2,3]]");
    assert_eq!(text(&call(&gateway, ONE, "nothing", json!({}))), "");
    let typed = "/local/typed/v1/mcp";
    let moved = call(&gateway, typed, "move", json!({"point": {"x": 1}, "steps": [2, 3], "scale": 10}));
    assert_eq!(moved["structuredContent"], json!({"x": 51, "y": 0}));
    assert_eq!(
        call(&gateway, typed, "named", json!({"a": 1, "c": 9}))["structuredContent"],
        json!({"result": [1, 2, 9]})
    );
    assert_eq!(call(&gateway, typed, "free", json!({"x": 1}))["structuredContent"], json!({"x": 1}));
    let image = call(&gateway, ONE, "test_image_content", json!({}));
    assert_eq!(
        (&image["content"][0]["type"], &image["content"][0]["mimeType"]),
        (&json!("image"), &json!("image/png"))
    );
    let file = call(&gateway, ONE, "test_embedded_resource", json!({}));
    assert_eq!(file["content"][0]["resource"]["uri"], "metagate:/local/tools/v1/call/test_embedded_resource");
    assert_eq!(text(&call(&gateway, ONE, "count", json!({"n": 4}))), "[0,1,2,3]");
}

#[test]
fn errors_of_functions_are_results_with_a_code() {
    let gateway = serving("");
    let failed = |name: &str, arguments: Value| {
        let result = call(&gateway, ONE, name, arguments);
        assert_eq!(result["isError"], true, "{result}");
        let error = result["_meta"]["metagate/error"].clone();
        (text(&result).to_owned(), error["code"].as_str().unwrap().to_owned(), error["status"].as_u64().unwrap())
    };
    let (words, code, status) = failed("boom", json!({}));
    assert!(words.contains("out of cheese"), "{words}");
    assert_eq!((code.as_str(), status), ("function_error", 409));
    let (words, code, status) = failed("add", json!({"a": "x"}));
    assert!(words.contains("expected number"), "{words}");
    assert_eq!((code.as_str(), status), ("bad_argument", 422));
    let (words, code, _) = failed("add", json!({"a": 1, "c": 2}));
    assert_eq!((words.as_str(), code.as_str()), ("bad_argument: no parameter \"c\"", "bad_argument"));
    assert_eq!(failed("endless", json!({})).1, "result_too_large");
    let liar = call(&gateway, ONE, "liar", json!({}));
    assert_eq!((&liar["isError"], text(&liar)), (&json!(true), "no number"), "its type is declared as a number");
    let (words, code, _) = failed("breaks", json!({}));
    assert!(words.contains("broke off") && code == "function_error", "{words}");
}

#[test]
fn a_function_sees_the_headers_of_the_client_and_its_own_address() {
    let gateway = serving("");
    let asked = json!({"name": "tools__headers", "arguments": {}});
    let headers = [("x-own", "mine"), ("authorization", "Bearer for-the-function")];
    let answer = ask_with(&gateway, "/mcp", "tools/call", asked, &headers);
    let seen: Value = serde_json::from_str(text(&answer.json()["result"])).unwrap();
    assert_eq!(seen["path"], "/local/tools/v1/call/headers");
    assert_eq!((&seen["x-own"], &seen["authorization"]), (&json!("mine"), &json!("Bearer for-the-function")));
    assert_eq!((&seen["accept"], &seen["mcp-name"]), (&json!("application/json"), &json!("tools__headers")));
}

#[test]
fn older_clients_begin_with_a_handshake() {
    let gateway = serving("");
    let post = |body: Value, headers: &[(&str, &str)]| {
        let mut all = vec![("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
        all.extend(headers);
        gateway.post("/mcp", &all, body.to_string())
    };
    let request =
        |method: &str, params: Value| json!({"jsonrpc": "2.0", "id": "a", "method": method, "params": params});
    for (asked, got) in [("2025-11-25", "2025-11-25"), ("2025-06-18", "2025-06-18"), ("2024-11-05", "2025-11-25")] {
        let params = json!({"protocolVersion": asked, "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}});
        let result = post(request("initialize", params), &[]).json()["result"].clone();
        assert_eq!((&result["protocolVersion"], &result["capabilities"]), (&json!(got), &json!({"tools": {}})));
        assert_eq!(result["serverInfo"]["name"], "metagate");
        assert_eq!(result.get("resultType"), None);
    }
    let version = [("mcp-protocol-version", "2025-11-25")];
    let told = post(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}), &version);
    assert_eq!((told.status, told.body.as_str()), (202, ""));
    assert_eq!(post(request("ping", json!({})), &version).json()["result"], json!({}));
    let list = post(request("tools/list", json!({})), &version).json()["result"].clone();
    assert!(names(&list).contains(&"tools__add") && list.get("ttlMs").is_none(), "{list}");
    let params = json!({"name": "tools__add", "arguments": {"a": 1}});
    let sum = post(request("tools/call", params), &version).json()["result"].clone();
    assert_eq!(sum["structuredContent"], json!({"result": 2}));
    let unknown = post(request("tools/call", json!({"name": "no"})), &version);
    assert_eq!((unknown.status, &unknown.json()["error"]["code"]), (200, &json!(-32602)));
    let method = post(request("resources/list", json!({})), &version);
    assert_eq!((method.status, &method.json()["error"]["code"]), (200, &json!(-32601)));
    assert_eq!(post(request("initialize", json!({})), &[]).json()["error"]["code"], -32602);
}

#[test]
fn discovery_says_which_revisions_there_are_and_what_models_should_know() {
    let gateway = Gateway::ready(&format!(
        "[mcp]\nenabled = true\ninstructions = \"Ask for prices \\\"first\\\".\"\ndeployments = [\"tools\"]\n\
         page_size = 5\n[[deployment]]\nname = \"tools\"\npath = {0:?}\n\
         [[deployment]]\nname = \"other\"\npath = {0:?}\n",
        fixture("tools-node")
    ));
    let found = ask(&gateway, "/mcp", "server/discover", json!({}));
    assert_eq!(found["supportedVersions"][0], STATELESS);
    assert_eq!(found["instructions"], "Ask for prices \"first\".");
    assert_eq!(found["cacheScope"], "public");
    let (mut all, mut cursor) = (Vec::new(), json!({}));
    loop {
        let page = ask(&gateway, "/mcp", "tools/list", cursor);
        assert!(names(&page).len() <= 5);
        all.extend(names(&page).into_iter().map(str::to_owned));
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = json!({"cursor": next});
    }
    assert!(all.is_sorted() && all.len() > 15 && all.iter().all(|name| name.starts_with("tools__")), "{all:?}");
    let bad = ask_with(&gateway, "/mcp", "tools/list", json!({"cursor": "!"}), &[]);
    assert_eq!((bad.status, &bad.json()["error"]["code"]), (400, &json!(-32602)));
    assert_eq!(ask_with(&gateway, "/local/other/v1/mcp", "tools/list", json!({}), &[]).status, 404);
    let other = ask_with(&gateway, "/mcp", "tools/call", json!({"name": "other__add", "arguments": {"a": 1}}), &[]);
    assert_eq!(other.json()["error"]["code"], -32602, "its deployment is not offered");
}

#[test]
fn calls_of_tools_are_counted_and_kept_as_calls() {
    let gateway = serving("[access_log]\nfile = \"access.log\"\n");
    call(&gateway, "/mcp", "tools__add", json!({"a": 1}));
    call(&gateway, ONE, "boom", json!({}));
    let metrics = gateway.get("/metrics").body;
    assert!(metrics.contains("metagate_calls_total{deployment=\"tools\",function=\"add\",status=\"200\""), "{metrics}");
    assert!(
        metrics.contains("metagate_calls_total{deployment=\"tools\",function=\"boom\",status=\"409\""),
        "{metrics}"
    );
    let recent = gateway.get("/api/recent-calls").body;
    assert!(recent.contains("\"add\"") && recent.contains("\"boom\""), "{recent}");
}
