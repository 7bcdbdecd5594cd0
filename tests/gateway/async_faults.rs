//! Asynchronous calls where something goes wrong beside them.

use std::thread;

use serde_json::json;

use crate::async_calls::{FUNCTIONS, accepted, ended, gateway_with};
use crate::exports::folder;
use crate::support::Gateway;

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
