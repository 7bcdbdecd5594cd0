//! Many clients at once, clients that leave, and clients that read slowly.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::{ONE, STATELESS, message};
use crate::faulty::{descriptors_of, memory_of, reset_peak};
use crate::support::{Gateway, fixture, wait_for};

/// Connections, and requests that are sent on each before any answer is read.
const CROWD: (usize, usize) = (250, 40);

fn serving(tables: &str) -> Gateway {
    Gateway::ready(&format!(
        "[mcp]\nenabled = true\n[[deployment]]\nname = \"tools\"\npath = {:?}\n{tables}",
        fixture("tools-node")
    ))
}

/// The text of a request with a call of a tool.
fn request(id: &Value, name: &str, arguments: &Value, progress: Option<&str>) -> String {
    let mut asked = message("tools/call", json!({"name": name, "arguments": arguments}));
    asked["id"] = id.clone();
    if let Some(token) = progress {
        asked["params"]["_meta"]["progressToken"] = token.into();
    }
    let body = asked.to_string();
    format!(
        "POST {ONE} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nmcp-protocol-version: {STATELESS}\r\nmcp-method: tools/call\r\n\
         mcp-name: {name}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The next answer on a connection that is kept.
fn answer(reader: &mut BufReader<TcpStream>) -> Value {
    let (mut length, mut line) = (0, String::new());
    loop {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the connection ended");
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    serde_json::from_slice(&body).unwrap()
}

#[test]
fn ten_thousand_requests_at_once_get_their_own_answers() {
    let gateway = serving("concurrency = 64\nqueue = 1000\n");
    let (connections, each) = CROWD;
    let open = descriptors_of(gateway.pid());
    let before = reset_peak(gateway.pid());
    let mut streams: Vec<TcpStream> = (0..connections).map(|_| gateway.connect()).collect();
    for (at, stream) in streams.iter_mut().enumerate() {
        // Ids are those of one connection: here they are all the same.
        let ask = |n: usize| request(&json!(n), "add", &json!({"a": at, "b": n}), None);
        stream.write_all((0..each).map(ask).collect::<String>().as_bytes()).unwrap();
    }
    for (at, stream) in streams.into_iter().enumerate() {
        let mut reader = BufReader::new(stream);
        for n in 0..each {
            let answer = answer(&mut reader);
            let expected = json!({"result": at + n});
            assert_eq!((&answer["id"], &answer["result"]["structuredContent"]), (&json!(n), &expected), "{answer}");
        }
    }
    wait_for("the end of the connections", || (descriptors_of(gateway.pid()) <= open + 2).then_some(()));
    let most = memory_of(gateway.pid(), "VmHWM") - before;
    assert!(most < 64 * 1024, "{most} KiB");
}

#[test]
fn what_is_too_much_is_an_error_of_the_tool() {
    let gateway = serving("concurrency = 1\nqueue = 1\n");
    let mut streams: Vec<TcpStream> = (0..20).map(|_| gateway.connect()).collect();
    for stream in &mut streams {
        stream.write_all(request(&json!("x"), "wait", &json!({"ms": 200}), None).as_bytes()).unwrap();
    }
    let results = streams.into_iter().map(|stream| answer(&mut BufReader::new(stream))["result"].clone());
    let (refused, done): (Vec<Value>, Vec<Value>) = results.partition(|result| result["isError"] == true);
    assert_eq!(done.len(), 2, "{refused:?}");
    assert!(refused.iter().all(|result| result["_meta"]["metagate/error"]["code"] == "overloaded"), "{refused:?}");
}

#[test]
fn a_client_that_leaves_or_stalls_while_a_stream_goes_on_ends_its_call_and_holds_little() {
    let gateway = serving("timeout = \"60s\"\n");
    let in_flight = || gateway.readiness("tools")["in_flight"].as_u64().unwrap();
    let mut streams: Vec<TcpStream> = (0..30).map(|_| gateway.connect()).collect();
    let before = reset_peak(gateway.pid());
    for stream in &mut streams {
        stream.write_all(request(&json!(1), "ticks", &json!({}), Some("t")).as_bytes()).unwrap();
    }
    for stream in &streams {
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 200"), "{line}");
    }
    // Nobody reads on. Meanwhile another client is served.
    assert_eq!(in_flight(), 30);
    assert_eq!(super::text(&super::call(&gateway, ONE, "add", json!({"a": 1}))), "2");
    let most = memory_of(gateway.pid(), "VmHWM") - before;
    assert!(most < 64 * 1024, "{most} KiB");
    drop(streams);
    wait_for("the end of the calls", || (in_flight() == 0).then_some(()));
    wait_for("their count", || {
        let metrics = gateway.get("/metrics").body;
        let gone = metrics.lines().find(|line| line.contains("function=\"ticks\"") && line.contains("client_gone"))?;
        (gone.ends_with(" 30") || gone.ends_with(" 30.0")).then_some(())
    });
}

#[test]
fn a_large_message_is_answered() {
    let gateway = serving("");
    let text = "x".repeat(3 << 20);
    let result = super::call(&gateway, ONE, "price", json!({"order": {"id": text, "count": 2}}));
    assert_eq!(result["structuredContent"], json!({"total": 5}));
}
