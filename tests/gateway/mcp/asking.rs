//! Functions that ask their client, prompts, resources, and parameters in headers.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::{ONE, STATELESS, ask, ask_with, message, names, text, tool};
use crate::support::{Answer, Gateway, fixture, wait_for};

const ELICITATION: &str = "io.modelcontextprotocol/clientCapabilities";

fn serving(tables: &str) -> Gateway {
    Gateway::ready(&format!(
        "{tables}[mcp]\nenabled = true\nheaders = [\"region\"]\nprompts = [\"tools/review\"]\n\
         [[mcp.resource]]\nuri = \"prices://{{id}}\"\nto = \"tools/price_of\"\n\
         [[mcp.resource]]\nuri = \"words:simple\"\nto = \"tools/test_simple_text\"\n\
         [[mcp.resource]]\nuri = \"pictures:dot\"\nto = \"tools/test_image_content\"\n\
         [[deployment]]\nname = \"tools\"\npath = {:?}\n",
        fixture("tools-node")
    ))
}

/// The answer to a call of a client that answers questions to its user.
fn book(gateway: &Gateway, more: &Value, capabilities: Value) -> Answer {
    book_for(gateway, 4, more, capabilities)
}

fn book_for(gateway: &Gateway, people: u32, more: &Value, capabilities: Value) -> Answer {
    let mut asked = message("tools/call", json!({"name": "book", "arguments": {"people": people}}));
    asked["params"]["_meta"][ELICITATION] = capabilities;
    for (name, value) in more.as_object().unwrap() {
        asked["params"][name] = value.clone();
    }
    let headers = [("mcp-protocol-version", STATELESS), ("mcp-method", "tools/call"), ("mcp-name", "book")];
    let headers: Vec<_> = headers.into_iter().chain([("content-type", "application/json")]).collect();
    gateway.post(ONE, &headers, asked.to_string())
}

fn error_code(answer: &Answer) -> (u16, Option<i64>) {
    (answer.status, answer.json()["error"]["code"].as_i64())
}

#[test]
fn a_function_asks_and_is_called_again_with_the_answers() {
    let gateway = serving("");
    let elicitation = || json!({"elicitation": {"form": {}}});
    let asked = book(&gateway, &json!({}), elicitation()).json()["result"].clone();
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    assert_eq!(asked["inputRequests"]["day"]["params"]["message"], "A table for 4, on which day?");
    let state = asked["requestState"].as_str().unwrap();
    let answered = |state: &str| {
        let day = json!({"action": "accept", "content": {"day": "2026-12-01"}});
        let more = json!({"inputResponses": {"day": day}, "requestState": state});
        book(&gateway, &more, elicitation())
    };
    assert_eq!(text(&answered(state).json()["result"]), "booked for 4 on 2026-12-01");
    let declined = json!({"inputResponses": {"day": {"action": "decline"}}, "requestState": state});
    assert_eq!(text(&book(&gateway, &declined, elicitation()).json()["result"]), "not booked");
    let other = book_for(&gateway, 5, &json!({"inputResponses": {}, "requestState": state}), elicitation());
    assert_eq!(error_code(&other), (400, Some(-32602)), "other arguments");
    for changed in [format!("{state}x"), state.replacen(char::is_alphanumeric, "_", 1), String::new()] {
        assert_eq!(error_code(&answered(&changed)), (400, Some(-32602)), "{changed}");
    }
    for responses in [json!(null), json!([]), json!({"day": 7})] {
        let answer = book(&gateway, &json!({"inputResponses": responses}), elicitation());
        assert_eq!(error_code(&answer), (400, Some(-32602)), "{answer:?}");
    }
    let without = book(&gateway, &json!({}), json!({}));
    assert_eq!(error_code(&without), (400, Some(-32021)));
    assert_eq!(without.json()["error"]["data"]["requiredCapabilities"], json!({"elicitation": {}}));
    // A caller of the function itself sees the questions, and cannot pretend to be a client that has answered.
    let forged = [("content-type", "application/json"), ("context", "{\"mcp\":{\"state\":{\"people\":9}}}")];
    let plain = gateway.post("/local/tools/v1/call/book", &forged, "{\"people\":4}");
    assert_eq!(plain.header("content-type"), Some("application/vnd.metagate.input-required+json"), "{plain:?}");
    let older = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "book", "arguments": {"people": 4}}});
    let older = gateway.post(ONE, &[("content-type", "application/json")], older.to_string()).json()["result"].clone();
    assert!(older["isError"] == true && text(&older).contains("has not said that it answers"), "{older}");
}

#[test]
fn an_older_client_is_asked_while_its_request_waits() {
    let gateway = serving("");
    let post = |body: &Value, headers: &[(&str, &str)]| {
        let mut all = vec![("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
        all.extend(headers);
        gateway.post(ONE, &all, body.to_string())
    };
    let about = json!({"protocolVersion": "2025-11-25", "clientInfo": {"name": "a", "version": "1"},
        "capabilities": {"elicitation": {"form": {}}}});
    let begun = post(&json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": about}), &[]);
    let session = begun.header("mcp-session-id").unwrap().to_owned();
    let asked = json!({"jsonrpc": "2.0", "id": "mine", "method": "tools/call",
        "params": {"name": "book", "arguments": {"people": 4}}});
    let ask = || {
        let (mut stream, body) = (gateway.connect(), asked.to_string());
        write!(
            stream,
            "POST {ONE} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nmcp-session-id: {session}\r\n\
             accept: application/json, text/event-stream\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut reader = BufReader::new(stream);
        let question = next_event(&mut reader);
        assert_eq!((&question["method"], in_flight(&gateway)), (&json!("elicitation/create"), 0), "no call waits");
        (reader, question)
    };
    let answer = |id: &Value, result: Value| {
        post(&json!({"jsonrpc": "2.0", "id": id, "result": result}), &[("mcp-session-id", &session)])
    };
    let (mut reader, question) = ask();
    let day = json!({"action": "accept", "content": {"day": "2026-12-01"}});
    let given = answer(&question["id"], day.clone());
    assert_eq!((given.status, given.body.as_str()), (202, ""));
    let last = next_event(&mut reader);
    assert_eq!((&last["id"], text(&last["result"])), (&json!("mine"), "booked for 4 on 2026-12-01"));
    assert_eq!(error_code(&answer(&question["id"], day.clone())), (400, Some(-32600)), "it has its answer");
    let (mut reader, question) = ask();
    let refused = json!({"code": -32601, "message": "no"});
    let refused = json!({"jsonrpc": "2.0", "id": question["id"], "error": refused});
    assert_eq!(post(&refused, &[]).status, 202);
    assert_eq!(text(&next_event(&mut reader)["result"]), "not booked");
    let (reader, question) = ask();
    drop(reader);
    wait_for("the end of the question", || (answer(&question["id"], day.clone()).status == 400).then_some(()));
}

fn in_flight(gateway: &Gateway) -> u64 {
    gateway.readiness("tools")["in_flight"].as_u64().unwrap()
}

/// The message of the next event of a stream.
fn next_event(reader: &mut BufReader<TcpStream>) -> Value {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the stream ended");
        if let Some(data) = line.strip_prefix("data: ") {
            return serde_json::from_str(data).unwrap();
        }
    }
}

#[test]
fn prompts_and_resources_are_functions() {
    let gateway = serving("");
    let found = ask(&gateway, ONE, "server/discover", json!({}));
    let all = json!({"tools": {}, "prompts": {}, "resources": {}, "completions": {}});
    assert_eq!(found["capabilities"], all);
    let prompts = ask(&gateway, ONE, "prompts/list", json!({}));
    let topic = json!({"name": "topic", "required": true, "description": "What it is about."});
    assert_eq!(prompts["prompts"][0]["name"], "review");
    assert_eq!(prompts["prompts"][0]["arguments"], json!([topic, {"name": "count", "required": false}]));
    assert!(!names(&ask(&gateway, ONE, "tools/list", json!({}))).contains(&"review"), "it is no tool");
    let named = [("mcp-name", "review")];
    let get = |arguments: Value| {
        ask_with(&gateway, ONE, "prompts/get", json!({"name": "review", "arguments": arguments}), &named)
    };
    let messages = get(json!({"topic": "price", "count": "2"})).json()["result"]["messages"].clone();
    assert_eq!(messages[0], json!({"role": "user", "content": {"type": "text", "text": "Review price 2 times."}}));
    assert_eq!(messages[1]["role"], "assistant");
    for wrong in [json!({}), json!({"topic": "other"}), json!({"topic": "price", "count": "x"}), json!({"topic": 1})] {
        assert_eq!(error_code(&get(wrong.clone())), (400, Some(-32602)), "{wrong}");
    }
    let argument = json!({"name": "topic", "value": "p"});
    let completed = json!({"ref": {"type": "ref/prompt", "name": "review"}, "argument": argument});
    let completed = ask(&gateway, ONE, "completion/complete", completed);
    assert_eq!(completed["completion"], json!({"values": ["price"], "total": 1, "hasMore": false}));
    let single = ask(&gateway, "/mcp", "resources/list", json!({}));
    let uris: Vec<&Value> = single["resources"].as_array().unwrap().iter().map(|one| &one["uri"]).collect();
    assert_eq!(uris, ["pictures:dot", "words:simple"]);
    let templates = ask(&gateway, ONE, "resources/templates/list", json!({}));
    assert_eq!(templates["resourceTemplates"][0]["uriTemplate"], "prices://{id}");
}

#[test]
fn a_resource_is_read_by_calling_its_function() {
    let gateway = serving("");
    let read = |uri: &str| {
        let answer = ask_with(&gateway, ONE, "resources/read", json!({"uri": uri}), &[("mcp-name", uri)]);
        (error_code(&answer), answer.json())
    };
    let (_, price) = read("prices://7");
    let contents = json!([{"uri": "prices://7", "mimeType": "application/json", "text": "{\"id\":7,\"price\":14}"}]);
    assert_eq!((&price["result"]["contents"], &price["result"]["ttlMs"]), (&contents, &json!(0)), "{price}");
    let (_, words) = read("words:simple");
    assert_eq!(words["result"]["contents"][0]["mimeType"], "text/plain", "{words}");
    let (_, picture) = read("pictures:dot");
    assert!(picture["result"]["contents"][0]["blob"].is_string(), "{picture}");
    for missing in ["prices://0", "prices://", "prices://1/2", "others:x"] {
        let (code, answer) = read(missing);
        assert_eq!((code.1, &answer["error"]["data"]["uri"]), (Some(-32602), &json!(missing)), "{answer}");
    }
    assert_eq!(read("prices://x").0, (400, Some(-32602)), "no number");
    let older = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": "others:x"}});
    let older = gateway.post(ONE, &[("content-type", "application/json")], older.to_string());
    assert_eq!(error_code(&older), (200, Some(-32002)));
}

#[test]
fn plugins_and_tokens_guard_prompts_and_resources() {
    let gateway = serving(&format!(
        "[admin]\ntoken = \"secret\"\n[[plugin]]\nname = \"api-key\"\npath = {:?}\n\
         config = {{ keys = {{ alice = \"alice-key\" }} }}\n",
        fixture("plugins-0.1.0").join("api-key.wasm")
    ));
    for method in ["prompts/list", "resources/list", "resources/templates/list"] {
        assert_eq!(ask_with(&gateway, ONE, method, json!({}), &[]).status, 401, "{method}");
        let token = [("authorization", "Bearer secret")];
        assert_eq!(ask_with(&gateway, ONE, method, json!({}), &token).status, 200, "{method}");
    }
    let choices = json!({"ref": {"type": "ref/prompt", "name": "review"}, "argument": {"name": "x", "value": ""}});
    assert_eq!(ask_with(&gateway, ONE, "completion/complete", choices, &[]).status, 401);
    let read = |headers: &[(&str, &str)]| {
        let headers: Vec<_> = headers.iter().copied().chain([("mcp-name", "prices://7")]).collect();
        ask_with(&gateway, ONE, "resources/read", json!({"uri": "prices://7"}), &headers).status
    };
    assert_eq!((read(&[]), read(&[("x-api-key", "alice-key")])), (401, 200));
}

#[test]
fn parameters_are_repeated_in_headers_where_the_configuration_says_so() {
    let gateway = serving("");
    let list = ask(&gateway, ONE, "tools/list", json!({}));
    assert_eq!(tool(&list, "where")["inputSchema"]["properties"]["region"]["x-mcp-header"], "region");
    let call = |headers: &[(&str, &str)]| {
        let asked = json!({"name": "where", "arguments": {"region": "eu", "zone": 1}});
        ask_with(&gateway, ONE, "tools/call", asked, headers)
    };
    assert_eq!(text(&call(&[("mcp-param-region", "eu")]).json()["result"]), "eu 1 eu");
    for headers in [&[][..], &[("mcp-param-region", "us")], &[("mcp-param-region", "=?base64?!?=")]] {
        assert_eq!(error_code(&call(headers)), (400, Some(-32020)), "{headers:?}");
    }
    let older = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "where", "arguments": {"region": "eu"}}});
    let older = gateway.post(ONE, &[("content-type", "application/json")], older.to_string());
    assert_eq!(older.status, 200, "clients of older revisions repeat nothing: {older:?}");
}
