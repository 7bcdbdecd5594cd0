//! What those see who are new to the gateway and ask for something that is not there, or not yet: answers and log lines
//! say what is there instead.

use std::fs;

use crate::exports::folder;
use crate::faulty::{assert_error, assert_ok, python};
use crate::support::{Answer, Gateway, wait_for};
use crate::wire;

/// An application of ASGI that answers with its path.
const APP: &str = r#"
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})
"#;

fn serving(files: &[(&str, &str)], more: &str) -> (Gateway, tempfile::TempDir) {
    let folder = folder(files);
    let gateway = Gateway::ready(&format!("[[deployment]]\nname = \"it\"\npath = {:?}\n{more}", folder.path()));
    (gateway, folder)
}

fn wait_worker_log(gateway: &Gateway, text: &str) -> String {
    wait_for(text, || Some(gateway.worker_log("it")).filter(|log| log.contains(text)))
}

#[test]
fn an_address_next_to_a_web_app_leads_to_it() {
    let (gateway, _folder) = serving(&[("main.py", APP)], "");
    for path in ["/local/it", "/local/it/", "/local/it/v1", "/local/it/v1/items?a=1", "/local/it/v2/http/x"] {
        let answer = wire::send(&gateway, "GET", path, &[], "");
        assert_eq!(answer.status, 404, "{path} {answer:?}");
        assert!(path.contains("v2") || answer.message().ends_with("is at /local/it/v1/http/"), "{answer:?}");
    }
    for headers in [&[][..], &[("expect", "100-continue")]] {
        let answer = wire::send(&gateway, "POST", "/local/it/v1/call/items", headers, "[]");
        assert_error(&answer, 404, "function_not_found");
        assert!(
            answer.message().ends_with("no function \"items\"; its web app is at /local/it/v1/http/"),
            "{answer:?}"
        );
    }
    let (gateway, _folder) = serving(&[("main.py", "def add(a, b):\n    return a + b\n")], "");
    let answer = gateway.call("it", "sub", "[1, 2]");
    assert!(answer.message().ends_with("has no function \"sub\""), "{answer:?}");
    assert_error(&gateway.get("/local/it/v1/items"), 404, "not_found");
}

#[test]
fn a_websocket_is_refused_and_says_so() {
    let (gateway, _folder) = serving(&[("main.py", APP)], "");
    let upgrade = |protocol| {
        let headers = [("connection", "Upgrade"), ("upgrade", protocol), ("sec-websocket-version", "13")];
        wire::send(&gateway, "GET", "/local/it/v1/http/chat", &headers, "")
    };
    for protocol in ["websocket", "WebSocket", "h2c, websocket/13"] {
        let answer = upgrade(protocol);
        assert_error(&answer, 501, "not_implemented");
        assert!(answer.message().contains("WebSockets are not passed on"), "{answer:?}");
    }
    assert_eq!(upgrade("h2c").status, 200);
}

#[test]
fn a_route_to_a_function_that_is_not_there_is_logged_when_its_deployment_has_loaded() {
    let files = [("main.py", "def order(id):\n    return id\n")];
    let more = "[[route]]\npath = \"/orders/{id}\"\nto = \"it/ordr\"\n[[route]]\npath = \"/good/{id}\"\n\
                to = \"it/order\"\n[[route]]\npath = \"/app/{rest...}\"\nto = \"it\"\n";
    let (gateway, folder) = serving(&files, more);
    gateway.wait_log("a route leads to a deployment without a web app route=/app/{rest...} deployment=it");
    gateway.wait_log("a route leads to a function that its deployment does not have route=/orders/{id} deployment=it");
    let log = gateway.log();
    let line = log.lines().find(|line| line.contains("/orders/{id}")).unwrap();
    assert!(line.contains("function=\"ordr\"") && line.contains("nearest=\"order\""), "{line}");
    assert!(!log.contains("/good/{id}"), "{log}");
    let answer = gateway.get("/orders/7");
    assert_error(&answer, 404, "function_not_found");
    assert!(answer.message().contains("\"ordr\""), "{answer:?}");
    assert_ok(&gateway.get("/good/7"), "\"7\"");
    drop(folder);
}

#[test]
fn a_prompt_a_resource_and_a_schedule_of_a_function_that_is_not_there_are_logged() {
    let files = [("main.py", "def order(id=1):\n    return id\n")];
    let more = "[mcp]\nenabled = true\nprompts = [\"it/order\", \"it/ordr\"]\n[[mcp.resource]]\n\
                uri = \"orders://open\"\nto = \"it/opn\"\n[[schedule]]\nto = \"it/orders\"\n\
                cron = \"0 0 29 2 *\"\nname = \"leap\"\n";
    let (gateway, folder) = serving(&files, more);
    for (kind, of, function) in
        [("prompt", "it/ordr", "ordr"), ("resource", "orders://open", "opn"), ("schedule", "leap", "orders")]
    {
        gateway.wait_log(&format!(
            "the configuration names a function that its deployment does not have kind=\"{kind}\" of=\"{of}\" \
             deployment=it function=\"{function}\" nearest="
        ));
    }
    assert!(!gateway.log().contains("function=\"order\""), "{}", gateway.log());
    drop(folder);
}

/// Annotated parameters, in both languages.
const TYPED: [(&str, &str); 2] = [
    (
        "main.py",
        "def size(data: bytes):\n    return [type(data).__name__, len(data)]\n\n\
         def text(data: str):\n    return data\n",
    ),
    (
        "index.js",
        "/** @param {Buffer} data */\nexports.size = (data) => [data.constructor.name, data.length];\n\
         /** @param {string} data */\nexports.text = (data) => data;\n",
    ),
];

#[test]
fn text_reaches_a_parameter_of_bytes_as_bytes() {
    for (file, name) in TYPED.iter().zip(["bytes", "Buffer"]) {
        let (gateway, _folder) = serving(&[*file], "");
        let post = |function: &str, body: &str| {
            let headers = [("content-type", "text/plain; charset=utf-8")];
            gateway.post(&format!("/local/it/v1/call/{function}"), &headers, body)
        };
        // Also text that could be base64.
        for (text, bytes) in [("hé llo", 7), ("aGVsbG8=", 8), ("[1]", 3)] {
            assert_ok(&post("size", text), &format!("[\"{name}\",{bytes}]"));
            assert_ok(&post("text", text), &format!("{text:?}"));
        }
    }
}

#[test]
fn an_error_of_the_caller_in_a_stream_is_as_quiet_as_one_of_a_plain_call() {
    let python = "class Missing(Exception):\n    status = 404\n\ndef plain():\n    raise Missing('no such')\n\n\
                  def stream():\n    raise Missing('no such')\n    yield 1\n\n\
                  def broken():\n    raise ValueError('odd')\n    yield 1\n";
    let node = "const missing = () => { throw Object.assign(new Error('no such'), { status: 404 }); };\n\
                exports.plain = () => missing();\nexports.stream = function* () { missing(); yield 1; };\n\
                exports.broken = function* () { throw new Error('odd'); };\n";
    for file in [("main.py", python), ("index.js", node)] {
        let (gateway, _folder) = serving(&[file], "");
        for function in ["plain", "stream"] {
            assert_eq!(gateway.call("it", function, "[]").status, 404, "{function}");
        }
        assert_eq!(gateway.call("it", "broken", "[]").status, 500);
        let log = wait_worker_log(&gateway, "broken failed in its stream");
        assert!(!log.contains("no such"), "{log}");
    }
}

#[test]
fn a_listener_of_the_abort_signal_knows_its_request() {
    let script = "const { request, log } = require('metagate');\n\
                  exports.wait = () => new Promise((resolve) => {\n  \
                    request().signal.addEventListener('abort', () => { log('has left'); resolve(1); });\n  \
                    log('waits');\n});\n";
    let (gateway, _folder) = serving(&[("index.js", script)], "");
    let mut wire = wire::Wire::open(&gateway);
    wire.send(wire::request("GET", "/local/it/v1/call/wait", &[("x-request-id", "left-early")], ""));
    wait_worker_log(&gateway, "waits");
    drop(wire);
    let log = wait_worker_log(&gateway, "has left");
    let line = log.lines().find(|line| line.contains("has left")).unwrap();
    assert!(line.contains("left-early"), "{line}");
}

/// A worker that is not to be written to any more after its first load, and serves after the second.
const DEAF: &str = r#"
import json, os, socket

def send(kind, data):
    os.write(3, json.dumps({"type": kind, "data": data}).encode() + b"\n")

funcs = [{"name": "http", "http": "stream", "signature": {"ret": {"type": {"id": 20}}, "args": []}}]
scope = {"name": "global_namespace", "funcs": funcs, "classes": [], "objects": []}
packages = {"py": [{"name": "worker.py", "scope": scope}]}
ready = {"status": "ready", "suffix": "x", "version": "v1", "packages": packages, "ports": [], "accepts": ["request"]}
rest, size = b"", 0
while chunk := os.read(3, 1 << 20):
    *lines, rest = (rest + chunk).split(b"\n")
    for message in map(json.loads, lines):
        data = message.get("data", {})
        if message["type"] == "LoadFunctions":
            send("GetApplicationMetadata", ready)
            if not os.path.exists("deaf"):
                open("deaf", "w").close()
                socket.socket(fileno=os.dup(3)).shutdown(socket.SHUT_RD)
                import time
                time.sleep(1000)
        elif message["type"] == "BodyData":
            size += len(data.get("text", ""))
            send("BodyCredit", {"id": data["id"], "bytes": len(data.get("text", ""))})
        elif message["type"] == "BodyEnd":
            answer = {"status": 200, "headers": [], "body": str(size)}
            send("FunctionInvokeResult", {"id": data["id"], "result": answer})
"#;

#[test]
fn a_call_that_could_not_be_sent_goes_to_the_next_worker_with_its_body() {
    let folder = folder(&[("worker.py", DEAF)]);
    let keys = format!("runtime = \"command\"\ncommand = [{:?}, \"-S\", \"worker.py\"]\n", python());
    let gateway = Gateway::ready(&format!(
        "[[deployment]]\nname = \"it\"\npath = {:?}\nisolation = \"none\"\nconcurrency = 4\n{keys}",
        folder.path()
    ));
    wait_for("the worker to be deaf", || fs::exists(folder.path().join("deaf")).unwrap().then_some(()));
    let answer: Answer = wire::send(&gateway, "POST", "/local/it/v1/http/", &[], "x".repeat(300_000));
    assert_eq!((answer.status, answer.body.as_str()), (200, "300000"), "{answer:?}");
}
