//! Lines to and from workers: their exact text, what is read from them, what is refused.

use super::retire::REASON_LENGTH;
use super::*;

fn value_of(line: &str) -> Option<&str> {
    match parse(line.as_bytes()).unwrap() {
        FromWorker::Result { value, .. } => value.map(|range| &line[range]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_is_one_line_with_its_arguments_as_they_are() {
    let mut line = Vec::new();
    Call::new("\"sum\"", b"[1,9007199254740993]").write(&mut line, 17);
    let text = String::from_utf8(line).unwrap();
    assert_eq!(
        text,
        "{\"type\":\"CallFunction\",\"data\":{\"id\":\"17\",\"name\":\"sum\",\"args\":[1,9007199254740993]}}\n"
    );
}

#[test]
fn a_worker_that_accepts_them_gets_names_and_timeout() {
    let mut line = Vec::new();
    let call = Call::new("\"sum\"", b"[2,1]");
    let names = Some(r#"["b","a"]"#);
    Call { names, timeout: Some(Duration::from_micros(29_987_600)), ..call }.write(&mut line, 17);
    Call { timeout: Some(Duration::ZERO), ..call }.write(&mut line, 18);
    let expected = concat!(
        r#"{"type":"CallFunction","data":{"id":"17","name":"sum","args":[2,1],"names":["b","a"],"timeout":29987}}"#,
        "\n",
        r#"{"type":"CallFunction","data":{"id":"18","name":"sum","args":[2,1],"timeout":1}}"#,
        "\n"
    );
    assert_eq!(String::from_utf8(line).unwrap(), expected);
}

#[test]
fn a_payload_that_nests_too_deeply_fails_its_call_only() {
    let payload = "[".repeat(200) + &"]".repeat(200);
    let line = format!(
        r#"{{"type":"FunctionInvokeError","data":{{"id":"1","error":{{"message":"m","payload":{payload}}}}}}}"#
    );
    assert_eq!(parse(line.as_bytes()).unwrap(), FromWorker::TooDeep { id: Some(1) });
}

#[test]
fn a_result_keeps_its_text() {
    let plain = r#"{"type":"FunctionInvokeResult","data":{"id":"7","result":{"b":1e2,"a":9007199254740993}}}"#;
    assert_eq!(value_of(plain), Some(r#"{"b":1e2,"a":9007199254740993}"#));
    let other = r#"{ "data" : {"result": [1.0], "id":"7"}, "type":"FunctionInvokeResult" }"#;
    assert_eq!(value_of(other), Some("[1.0]"));
    assert_eq!(value_of(r#"{"type":"FunctionInvokeResult","data":{"id":"7"}}"#), None);
}

#[test]
fn a_null_result_is_a_value_in_both_parsers() {
    let plain = r#"{"type":"FunctionInvokeResult","data":{"id":"7","result":null}}"#;
    assert_eq!(value_of(plain), Some("null"));
    let other = r#"{"type": "FunctionInvokeResult", "data": {"id": "7", "result": null}}"#;
    assert_eq!(value_of(other), Some("null"));
}

#[test]
fn members_after_the_result_do_not_become_part_of_it() {
    let line = r#"{"type":"FunctionInvokeResult","data":{"id":"7","result":{"a":1},"more":{"b":2}}}"#;
    assert_eq!(value_of(line), Some(r#"{"a":1}"#));
}

#[test]
fn garbage_is_refused() {
    for line in ["", "hello", "{\"type\":", "{\"type\":\"FunctionInvokeResult\"}", "[1]x"] {
        assert!(parse(line.as_bytes()).is_err(), "{line}");
    }
    assert!(parse(b"{\"type\":\"FunctionInvokeResult\",\"data\":{\"id\":\"1\",\"result\":1}}}").is_err());
    let deep = format!(
        "{{\"type\":\"FunctionInvokeResult\",\"data\":{{\"id\":\"1\",\"result\":{}1{}}}}}",
        "[".repeat(200),
        "]".repeat(200)
    );
    assert_eq!(parse(deep.as_bytes()).unwrap(), FromWorker::TooDeep { id: Some(1) });
}

#[test]
fn json_that_is_not_an_object_is_unknown() {
    assert_eq!(parse(b"\"ready\"").unwrap(), FromWorker::Unknown("\"ready\"".into()));
}

#[test]
fn the_reason_of_a_worker_that_retires_is_one_short_line() {
    let reason = format!("Error: a\nb\u{1b}[1mé{}", "x".repeat(400));
    let line = serde_json::json!({"type": "Retire", "data": {"reason": reason}}).to_string();
    let FromWorker::Retire(reason) = parse(line.as_bytes()).unwrap() else { panic!("{line}") };
    assert!(reason.starts_with("Error: a\\nb\\u{1b}[1méxxx"), "{reason}");
    assert_eq!(reason.matches('x').count(), REASON_LENGTH - 15);
    assert!(parse(b"{\"type\":\"Retire\"}").is_err());
}

#[test]
fn unknown_types_and_nodes_own_messages_are_named() {
    assert_eq!(parse(b"{\"type\":\"Huh\"}").unwrap(), FromWorker::Unknown("Huh".into()));
    assert_eq!(parse(b"{\"cmd\":\"NODE_X\"}").unwrap(), FromWorker::Unknown("NODE_X".into()));
    assert_eq!(parse(b"{\"cmd\":\"NODE_HANDLE_NACK\"}").unwrap(), FromWorker::ProbeResult);
}
