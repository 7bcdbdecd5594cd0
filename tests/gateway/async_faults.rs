//! Asynchronous calls where something goes wrong beside them.

use std::thread;

use serde_json::json;

use crate::async_calls::{FUNCTIONS, accepted, ended, gateway_with};
use crate::exports::folder;
use crate::support::{Gateway, wait_for};
use crate::wire::Wire;

const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn the_first_calls_may_be_large() {
    const CALLS: usize = 24;
    let functions = folder(&[("main.py", FUNCTIONS)]);
    let gateway = gateway_with("", functions.path());
    let text = "x".repeat(300 << 10);
    let send = || gateway.post("/local/m/v1/async/write", &[JSON], json!(["/dev/null", text]).to_string());
    let locations: Vec<String> = thread::scope(|scope| {
        let sent: Vec<_> = (0..CALLS).map(|_| scope.spawn(send)).collect();
        sent.into_iter().map(|sent| accepted(&sent.join().unwrap())).collect()
    });
    for location in locations {
        let done = ended(&gateway, &location);
        assert_eq!(
            (&done["state"], done["result"].as_str().map(str::len)),
            (&json!("done"), Some(text.len())),
            "{done}"
        );
    }
}

#[test]
fn a_stream_has_to_end_in_time() {
    let endless = "import time\n\ndef forever():\n    while True:\n        yield 1\n        time.sleep(0.01)\n";
    let functions = folder(&[("main.py", endless)]);
    let gateway = Gateway::ready(&format!(
        "[[deployment]]\nname = \"m\"\npath = \"{}\"\ntimeout = \"500ms\"\nasync = {{ attempts = 1 }}\n",
        functions.path().display()
    ));
    let dead = ended(&gateway, &accepted(&gateway.post("/local/m/v1/async/forever", &[JSON], "")));
    assert_eq!((&dead["state"], &dead["error"]["code"]), (&json!("dead"), &json!("call_timeout")), "{dead}");
    let keyed = gateway.post("/local/m/v1/call/forever", &[JSON, ("idempotency-key", "k")], "");
    assert_eq!((keyed.status, keyed.code()), (504, "call_timeout"));
}

#[test]
fn results_count_in_the_budget_until_they_are_written() {
    let text = "def text(size):\n    return 'x' * size\n";
    let functions = folder(&[("main.py", text)]);
    let server = "max_buffered = \"24MiB\"";
    let deployment = format!("[[deployment]]\nname = \"m\"\npath = {:?}\n", functions.path());
    let gateway = Gateway::ready(&format!("{server}\n{deployment}"));
    let send = |size: usize| accepted(&gateway.post("/local/m/v1/async/text", &[JSON], format!("[{size}]")));
    let large = send(15 << 20);
    assert_eq!(ended(&gateway, &large)["state"], "done");
    let events = gateway.get_with(&large, &[("accept", "text/event-stream")]);
    assert!(events.body.contains(r#""state":"done""#) && events.body.len() < 1000, "{}", events.body);

    // Whoever comes first has the room: this connection, or the request beside it, which gives it back.
    let mut unread = Vec::new();
    let refused = wait_for("a refusal", || {
        let mut connection = Wire::open(&gateway);
        connection.send(format!("GET {large}/result HTTP/1.1\r\nhost: x\r\n\r\n"));
        unread.push(connection);
        Some(gateway.get(&large)).filter(|answer| answer.status == 503)
    });
    assert_eq!(refused.code(), "overloaded");
    assert_eq!(ended(&gateway, &send(10))["result"], "x".repeat(10));
    drop(unread);
    let read = wait_for("room", || Some(gateway.get(&large)).filter(|answer| answer.status == 200));
    assert_eq!(read.json()["result"].as_str().map(str::len), Some(15 << 20));
}

#[test]
fn nothing_is_accepted_into_a_file_that_is_gone() {
    let functions = folder(&[("main.py", FUNCTIONS)]);
    let gateway = gateway_with("", functions.path());
    let send = || gateway.post("/local/m/v1/async/double", &[JSON], "[2]");
    assert_eq!(ended(&gateway, &accepted(&send()))["result"], 4);
    std::fs::remove_file(gateway.folder.path().join("data/async/calls.sqlite")).unwrap();
    let refused = send();
    assert_eq!((refused.status, refused.code()), (503, "queue_unavailable"), "{refused:?}");
    assert!(refused.body.contains("was removed, replaced or cut short"), "{}", refused.body);
    let ready = gateway.get("/readyz").json();
    let storage = ready["storage"][0].as_str().unwrap_or_default();
    assert_eq!(ready["status"], "ready", "plain calls go on: {ready}");
    assert!(storage.starts_with("the file of asynchronous calls is not usable: "), "{ready}");
}

#[test]
fn answers_under_keys_leave_room_for_calls_that_wait() {
    let functions = folder(&[("main.py", "def text(size):\n    return 'x' * size\n")]);
    let gateway = gateway_with("[async]\nmax_bytes = \"2MiB\"\n", functions.path());
    let keyed = |key: &str| gateway.post("/local/m/v1/call/text", &[JSON, ("idempotency-key", key)], "[204800]");
    for key in ["a", "b", "c"] {
        assert_eq!(keyed(key).status, 200);
    }
    assert_eq!(keyed("a").header("idempotency-replayed"), Some("true"));
    let no_room = keyed("c");
    assert_eq!((no_room.status, no_room.code()), (507, "insufficient_storage"), "{no_room:?}");
    assert_eq!(ended(&gateway, &accepted(&gateway.post("/local/m/v1/async/text", &[JSON], "[10]")))["state"], "done");
}
