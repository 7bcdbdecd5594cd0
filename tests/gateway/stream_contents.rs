//! What hooks get that ask for the content of a stream: all of it within bounds, in the gateway and in a process of
//! their own.

use crate::faulty::assert_error;
use crate::plugins::component::Plugin;
use crate::plugins::{Files, table};
use crate::streams::{accepting, config};
use crate::support::Gateway;

/// A plugin within the gateway, and one in a process of its own.
const BOTH: [&str; 2] = ["", "isolation = \"process\"\n"];

fn asking_for_content() -> Plugin {
    Plugin::new().after_invoke(|c| {
        let _size = c.call("outcome", "body-size", "");
    })
}

#[test]
fn a_hook_that_asks_for_the_content_of_a_stream_gets_it_within_max_body() {
    let files = Files::new();
    let asking = files.put("p.wasm", asking_for_content().component());
    // This one sees the content, and changes it.
    let changing = Plugin::new().after_invoke(|c| {
        let (name, body) = (c.text("x-body"), c.call("outcome", "body", ""));
        let header = c.call("outcome", "set-header", format!("{name} {}", body.text()));
        c.expect_ok(header);
    });
    let changing = files.put("c.wasm", changing.component());
    for keys in BOTH {
        let server = "[server]\nmax_body = \"64KiB\"\n";
        let plugins = table("c", &changing, &format!("{keys}functions = [\"count\"]")) + &table("p", &asking, keys);
        let gateway = Gateway::ready(&(server.to_owned() + &config() + &plugins));
        let answer = accepting(&gateway, "text/event-stream", "count", "[3]");
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{answer:?}");
        assert_eq!((answer.body.as_str(), answer.header("x-body")), ("[0,1,2]", Some("[0,1,2]")));
        assert_eq!(accepting(&gateway, "*/*", "download", "[60000]").body.len(), 60_000);
        for (function, body) in [("endless", "[500]"), ("download", "[70000]")] {
            assert_error(&accepting(&gateway, "*/*", function, body), 500, "result_too_large");
        }
        assert_error(&accepting(&gateway, "*/*", "fail_after", "[3]"), 500, "function_error");
    }
}

#[test]
fn a_hook_that_asks_for_a_stream_that_does_not_end_fails_in_time_and_a_skipped_or_watching_one_changes_nothing() {
    let files = Files::new();
    let file = files.put("p.wasm", asking_for_content().component());
    for keys in BOTH {
        // Its items are few and small: the time of the hook ends first.
        let gateway = Gateway::ready(&(config() + &table("p", &file, &format!("{keys}timeout = \"300ms\""))));
        assert_error(&accepting(&gateway, "*/*", "silent", "[]"), 503, "plugin_failed");
        assert_eq!(accepting(&gateway, "*/*", "count", "[2]").body, "[0,1]", "{keys}");
        drop(gateway);
        let skipped = format!("{keys}timeout = \"300ms\"\non_error = \"skip\"");
        let gateway = Gateway::ready(&(config() + &table("p", &file, &skipped)));
        assert_error(&accepting(&gateway, "*/*", "silent", "[]"), 503, "plugin_failed");
        drop(gateway);
        let watching = format!("{keys}mode = \"observe\"");
        let gateway = Gateway::ready(&(config() + &table("p", &file, &watching)));
        assert_eq!(accepting(&gateway, "*/*", "count", "[2]").body, "[0,1]", "{keys}");
    }
}

#[test]
fn contents_of_streams_that_hooks_ask_for_count_in_max_buffered() {
    let files = Files::new();
    let file = files.put("p.wasm", asking_for_content().component());
    for keys in BOTH {
        let server = "[server]\nmax_body = \"2MiB\"\nmax_buffered = \"4MiB\"\n";
        let slow = format!("{keys}timeout = \"1500ms\"");
        let gateway = Gateway::ready(&(server.to_owned() + &config() + &table("p", &file, &slow)));
        // None ends, so that each is held until its hook has no time left: two are more than the gateway may hold.
        std::thread::scope(|scope| {
            let one = || accepting(&gateway, "*/*", "fill", "[1500000]");
            let calls: Vec<_> = (0..2).map(|_| scope.spawn(one)).collect();
            let codes: Vec<String> = calls.into_iter().map(|call| call.join().unwrap().code().to_owned()).collect();
            assert!(codes.iter().any(|code| code == "overloaded"), "{keys} {codes:?}");
        });
        // All of it is given back.
        for _ in 0..3 {
            assert_eq!(accepting(&gateway, "*/*", "download", "[1500000]").body.len(), 1_500_000, "{keys}");
        }
    }
}
