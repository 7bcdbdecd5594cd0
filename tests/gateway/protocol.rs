//! Workers that write odd things to the channel: a line that is not a message ends them, an odd message is counted.

use std::thread;
use std::time::Duration;

use crate::faulty::{
    Faulty, assert_error, assert_ok, count, memory_of, pid_of_w, reset_peak, timed, wait_count, wait_gone,
};
use crate::support::{Gateway, wait_for};

#[test]
fn w5_a_line_that_is_no_message_ends_the_worker_and_its_calls() {
    let gateway = Gateway::ready(&Faulty::worker("w05-garbage").toml());
    let lines = [
        "hello",
        "",
        "{",
        "{\"type\":\"FunctionInvokeResult\"}",
        "{\"type\":\"FunctionInvokeResult\",\"data\":{\"id\":7,\"result\":1}}",
        "{\"type\":\"FunctionInvokeResult\",\"data\":{\"result\":1}}",
        "{\"type\":\"FunctionInvokeResult\",\"data\":[]}",
        "{\"type\":\"FunctionInvokeError\",\"data\":{\"id\":\"1\"}}",
        "{\"type\":\"GetApplicationMetadata\"}",
        "\u{ff}\u{fe}",
    ];
    for (round, line) in (1..).zip(lines) {
        let worker = pid_of_w(&gateway);
        let body = serde_json::json!([line]).to_string();
        let (first, held) = thread::scope(|scope| {
            let held = scope.spawn(|| gateway.call("w", "hold", "[]"));
            wait_count(&gateway, "w", "in_flight", 1);
            (gateway.call("w", "say", &body), held.join().unwrap())
        });
        for answer in [first, held] {
            assert_error(&answer, 502, "worker_protocol_error");
        }
        wait_gone(&[worker]);
        assert_ok(&gateway.call("w", "echo", "[\"next\"]"), "\"next\"");
        assert_eq!(count(&gateway, "w", "restarts"), round, "{line:?}");
    }
}

#[test]
fn w5_the_log_shows_the_start_of_the_line_escaped() {
    let gateway = Gateway::ready(&Faulty::worker("w05-garbage").toml());
    let body = serde_json::json!([format!("\u{1b}[31m{}", "g".repeat(5000))]).to_string();
    assert_error(&gateway.call("w", "say", &body), 502, "worker_protocol_error");
    let log = wait_for("the line in the log", || {
        let log = gateway.worker_log("w");
        log.contains("broke the protocol").then_some(log)
    });
    assert!(log.contains("\\u{1b}[31mggg"), "{log:?}");
    for log in [log, gateway.log()] {
        assert!(!log.contains('\u{1b}'), "{log:?}");
        assert!(!log.contains(&"g".repeat(201)), "{log:?}");
    }
}

#[test]
fn w7_a_line_without_end_is_cut_at_the_limit_and_takes_no_more_memory_than_that() {
    const LIMIT: u64 = 16 * 1024;
    let gateway = Gateway::ready(&Faulty::worker("w07-long-line").toml());
    let before = reset_peak(gateway.pid());
    let answer = gateway.call("w", "endless", &format!("[{}]", 100 * 1024 * 1024));
    assert_error(&answer, 502, "worker_protocol_error");
    let peak = memory_of(gateway.pid(), "VmHWM");
    println!("memory {before} → {peak} KiB");
    assert!(peak - before <= 2 * LIMIT + 8 * 1024, "{before} → {peak} KiB");
    assert_ok(&gateway.call("w", "echo", "[1]"), "1");
    let ((), freed) = timed(|| {
        wait_for("the memory back", || {
            // The allocator returns free memory only as it is used.
            assert_ok(&gateway.call("w", "echo", "[1]"), "1");
            (memory_of(gateway.pid(), "VmRSS") <= before + 8 * 1024).then_some(())
        });
    });
    println!("given back within {freed:?}");
}

#[test]
fn w7_the_limit_of_a_line_is_exact() {
    const LIMIT: usize = 64 * 1024;
    let gateway = Gateway::ready(&Faulty::worker("w07-long-line").keys("max_message = \"64KiB\"").toml());
    let answer = gateway.call("w", "line_of", &format!("[{LIMIT}]"));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_error(&gateway.call("w", "line_of", &format!("[{}]", LIMIT + 1)), 502, "worker_protocol_error");
    assert_ok(&gateway.call("w", "echo", "[1]"), "1");
}

#[test]
fn w8_answers_to_unknown_calls_and_second_answers_are_dropped_and_counted() {
    let gateway = Gateway::ready(&Faulty::worker("w08-wrong-ids").toml());
    let ids = r#"[["999999", "no number", "", "-1", "18446744073709551616"]]"#;
    assert_ok(&gateway.call("w", "answer_others", ids), "\"mine\"");
    assert_eq!(count(&gateway, "w", "odd_messages"), 5);
    assert_ok(&gateway.call("w", "answer_twice", "[]"), "\"first\"");
    wait_count(&gateway, "w", "odd_messages", 6);
    assert_ok(&gateway.call("w", "echo", "[1]"), "1");
    assert_eq!(count(&gateway, "w", "restarts"), 0);
}

#[test]
fn w8_a_worker_cannot_answer_the_calls_of_another() {
    let victim = Faulty::worker("w02-hangs").named("victim").keys("timeout = \"10s\"");
    let gateway = Gateway::ready(&format!("{}{}", Faulty::worker("w08-wrong-ids").toml(), victim.toml()));
    thread::scope(|scope| {
        let held = scope.spawn(|| gateway.call("victim", "hold", "[]"));
        wait_count(&gateway, "victim", "in_flight", 1);
        let ids: Vec<String> = (0..50).map(|id| id.to_string()).collect();
        let own_too = gateway.call("w", "answer_others", &serde_json::json!([ids]).to_string());
        // The id of its own call is among them, and the worker may answer that one with anything.
        assert_ok(&own_too, "\"not yours\"");
        assert_eq!(count(&gateway, "victim", "in_flight"), 1);
        assert_ok(&gateway.call("victim", "answer_held", "[]"), "null");
        assert_ok(&held.join().unwrap(), "\"late\"");
    });
}

#[test]
fn w8_more_than_a_hundred_unknown_answers_in_a_second_end_the_worker() {
    let gateway = Gateway::ready(&Faulty::worker("w08-wrong-ids").toml());
    assert_ok(&gateway.call("w", "many", "[100]"), "\"mine\"");
    assert_eq!(count(&gateway, "w", "restarts"), 0);
    assert_error(&gateway.call("w", "many", "[201]"), 502, "worker_protocol_error");
    assert_ok(&gateway.call("w", "echo", "[1]"), "1");
    assert_eq!(count(&gateway, "w", "restarts"), 1);
}

#[test]
fn w9_messages_of_unknown_types_are_ignored_and_the_first_is_logged() {
    let gateway = Gateway::ready(&Faulty::worker("w09-unknown-types").toml());
    let lines = serde_json::json!([[
        "{\"type\":\"Weather\",\"data\":{\"id\":\"1\"}}",
        "{\"type\":\"Sports\"}",
        "{\"cmd\":\"NODE_DEBUG_ENABLED\"}",
        "{}",
    ]]);
    assert_ok(&gateway.call("w", "chatter", &lines.to_string()), "\"answered\"");
    assert_eq!(count(&gateway, "w", "odd_messages"), 4);
    assert_eq!(count(&gateway, "w", "restarts"), 0);
    gateway.wait_log("ignored a message of an unknown type");
    assert_eq!(gateway.log().matches("ignored a message of an unknown type").count(), 1, "{}", gateway.log());
    gateway.wait_log("Weather");
}

#[test]
fn w10_a_result_is_passed_on_letter_by_letter() {
    let gateway = Gateway::ready(&Faulty::worker("w10-odd-results").toml());
    let texts = [
        "null",
        "9007199254740993",
        "1.0",
        "1e400",
        "-0",
        "123456789012345678901234567890.5",
        "\"\\ud800\"",
        "{\"b\": 1, \"a\" : [true , false], \"b\": 2}",
        "\"\\u0000\\/\"",
    ];
    for text in texts {
        assert_ok(&gateway.call("w", "result", &serde_json::json!([text]).to_string()), text);
    }
    assert_ok(&gateway.call("w", "none", "[]"), "");
    assert_eq!(count(&gateway, "w", "restarts"), 0);
}

#[test]
fn w10_a_result_is_passed_on_however_its_line_is_written() {
    let gateway = Gateway::ready(&Faulty::worker("w10-odd-results").toml());
    let lines = [
        (r#"{"type":"FunctionInvokeResult","data":{"id":"ID","result":[null]}}"#, "[null]"),
        (r#"{"type": "FunctionInvokeResult", "data": {"id": "ID", "result": [1.0]}}"#, "[1.0]"),
        (r#" {"data":{"result" : {"a" : 1} ,"more":[2],"id":"ID"},"type":"FunctionInvokeResult"} "#, r#"{"a" : 1}"#),
        (r#"{"type":"FunctionInvokeResult","data":{"id":"ID"},"more":1}"#, ""),
        (r#"{"type": "FunctionInvokeResult", "data": {"id": "ID", "result": null}}"#, "null"),
        (r#"{"data":{"result":null,"id":"ID"},"type":"FunctionInvokeResult"}"#, "null"),
    ];
    for (line, result) in lines {
        let answer = gateway.call("w", "line", &serde_json::json!([line]).to_string());
        assert_eq!((answer.status, answer.body.as_str()), (200, result), "{line}");
    }
}

#[test]
fn w10_a_result_may_be_128_levels_deep_and_no_deeper() {
    let gateway = Gateway::ready(&Faulty::worker("w10-odd-results").toml());
    let text = format!("{}{}", "[".repeat(128), "]".repeat(128));
    assert_ok(&gateway.call("w", "deep", "[128]"), &text);
    for levels in [129, 100_000] {
        let (answer, time) = timed(|| gateway.call("w", "deep", &format!("[{levels}]")));
        assert_error(&answer, 502, "worker_protocol_error");
        assert!(time < Duration::from_secs(2), "{time:?}");
        assert_ok(&gateway.call("w", "echo", "[1]"), "1");
    }
}
