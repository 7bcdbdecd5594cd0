//! Which bodies are arguments, in which order, and which are refused.

use super::*;

fn read(body: &str, content_type: &str) -> Result<String, Code> {
    let kind = BodyKind::of(Some(content_type.as_bytes()), false);
    from_body(&Bytes::copy_from_slice(body.as_bytes()), &kind, Keys::Drop)
        .map(|arguments| String::from_utf8(arguments.as_json().to_vec()).unwrap())
        .map_err(|problem| problem.code())
}

fn names(body: &str, kind: &BodyKind) -> Option<String> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    assert_eq!(from_body(&body, kind, Keys::Drop).unwrap().names(), None);
    from_body(&body, kind, Keys::Keep).unwrap().names().map(str::to_owned)
}

fn json(body: &str) -> Result<String, Code> {
    read(body, "application/json")
}

#[test]
fn values_come_in_javascripts_order() {
    assert_eq!(json(r#"{"b":2,"a":1}"#).unwrap(), "[2,1]");
    assert_eq!(json(r#"{"2":"x","1":"y","a":"z"}"#).unwrap(), r#"["y","x","z"]"#);
    assert_eq!(json(r#"{"a":1,"b":2,"a":3}"#).unwrap(), "[3,2]");
    assert_eq!(json(r#"{"01":1,"4294967295":2,"4294967294":3,"-1":4,"0":5}"#).unwrap(), "[5,3,1,2,4]");
    assert_eq!(json(r#"{"\u0061":1,"a":2}"#).unwrap(), "[2]");
}

#[test]
fn names_come_in_the_order_of_the_values() {
    assert_eq!(names(r#"{"b":2,"1":0,"a":1,"b":3}"#, &BodyKind::Json).unwrap(), r#"["1","b","a"]"#);
    assert_eq!(names(r#"{"\n":1}"#, &BodyKind::Json).unwrap(), r#"["\n"]"#);
    assert_eq!(names("b=2&a[]=1", &BodyKind::Form).unwrap(), r#"["b","a"]"#);
    assert_eq!(names("{}", &BodyKind::Json).unwrap(), "[]");
    assert_eq!(names("[1]", &BodyKind::Json), None);
    assert_eq!(names("", &BodyKind::Json), None);
}

#[test]
fn a_key_given_twice_among_many_keeps_its_place() {
    let keys: Vec<String> = (0..100).map(|i| format!("\"k{i}\":{i}")).collect();
    let text = json(&format!("{{{},\"k3\":true}}", keys.join(","))).unwrap();
    assert!(text.starts_with("[0,1,2,true,4,"));
    assert_eq!(text.matches(',').count(), 99);
}

#[test]
fn values_stay_as_they_were_written() {
    assert_eq!(
        json("[1.0, 9007199254740993, {\"b\":1,\"a\":2}]").unwrap(),
        "[1.0, 9007199254740993, {\"b\":1,\"a\":2}]"
    );
    assert_eq!(json("{\n  \"a\": [1,\n 2]\n}").unwrap(), "[[1,  2]]");
}

#[test]
fn nothing_gives_no_arguments() {
    assert_eq!(json("").unwrap(), "[]");
    assert_eq!(json("{}").unwrap(), "[]");
    assert_eq!(json("[]").unwrap(), "[]");
}

#[test]
fn curls_default_content_type_does_not_matter_for_json() {
    let form = "application/x-www-form-urlencoded";
    assert_eq!(read(r#"{"a":1,"b":2}"#, form).unwrap(), "[1,2]");
    assert_eq!(read("a=1&c[d]=3&e[]=4", form).unwrap(), r#"["1",{"d":"3"},["4"]]"#);
    assert_eq!(read("2=x&1=y&a=z", form).unwrap(), r#"["y","x","z"]"#);
    assert_eq!(read("[1]", "text/plain").unwrap(), "[1]");
    assert_eq!(read("hello", "text/plain"), Err(Code::UnsupportedMediaType));
}

#[test]
fn json_gone_wrong_is_not_taken_for_a_form() {
    for body in [r#"{"text":"Hello""#, r#"{"text":"Hello",}"#, "{'text':'Hello'}", "[100, 50", "\"Hello\""] {
        assert_eq!(read(body, "application/x-www-form-urlencoded"), Err(Code::InvalidJson), "{body}");
    }
}

#[test]
fn what_is_no_form_is_not_taken_for_one() {
    let form = "application/x-www-form-urlencoded";
    for body in ["5", "null", "true", "NaN", "hello world", "<a b=\"c\">", "a,b\n1=2", " ", "{a=b}"] {
        assert_eq!(read(body, form), Err(Code::InvalidJson), "{body}");
    }
    assert_eq!(read("first name=x&b", form).unwrap(), r#"["x",""]"#);
    assert_eq!(read("a%3Cb=<c>", form).unwrap(), r#"["<c>"]"#);
}

#[test]
fn a_byte_order_mark_is_skipped_whatever_the_type() {
    for kind in ["application/json", "application/x-www-form-urlencoded", "text/plain"] {
        assert_eq!(read("\u{feff}[1]", kind).unwrap(), "[1]", "{kind}");
        assert_eq!(read("\u{feff}{\"a\":1}", kind).unwrap(), "[1]", "{kind}");
        assert_eq!(read("\u{feff}\u{feff}[1]", "application/json"), Err(Code::InvalidJson));
        assert_eq!(read("\u{feff}", kind).unwrap(), "[]");
    }
}

#[test]
fn the_number_of_arguments_is_bounded() {
    let array = |count: usize| format!("[{}]", vec!["1"; count].join(","));
    let object = |count: usize| {
        let keys: Vec<String> = (0..count).rev().map(|key| format!("\"{key}\":[{key},0]")).collect();
        format!("{{{}}}", keys.join(","))
    };
    assert_eq!(json(&array(MAX_ARGUMENTS)).unwrap().len(), 2 * MAX_ARGUMENTS + 1);
    assert!(json(&object(MAX_ARGUMENTS)).unwrap().starts_with("[[0,0],[1,0],[2,0],"));
    for many in [array(MAX_ARGUMENTS + 1), object(MAX_ARGUMENTS + 1)] {
        assert_eq!(json(&many), Err(Code::BadArgument));
    }
    assert!(json(&format!("[{}]", array(100_000))).is_ok(), "an argument may have any number of items");
}

#[test]
fn json_that_is_no_arguments_is_refused() {
    for body in ["null", "1", "\"a\"", "{", "[1,]", "[1e999]", r#"["\ud800"]"#, "[1] x", "  "] {
        assert_eq!(json(body), Err(Code::InvalidJson), "{body:?}");
    }
    let deep = "[".repeat(129) + &"]".repeat(129);
    assert_eq!(json(&deep), Err(Code::InvalidJson));
}

/// The arguments of a body for a worker that takes files, with their form.
fn taken(body: &[u8], content_type: &str) -> (String, Option<BodyForm>) {
    let kind = BodyKind::of(Some(content_type.as_bytes()), true);
    let arguments = from_body(&Bytes::copy_from_slice(body), &kind, Keys::Keep).unwrap();
    let text = String::from_utf8(arguments.as_json().to_vec()).unwrap();
    (arguments.names().map(|names| format!("{names} ")).unwrap_or_default() + &text, arguments.body())
}

#[test]
fn bodies_of_other_types_are_text_or_bytes() {
    let bytes = Some(BodyForm::Bytes);
    for (body, content_type, expected) in [
        (&b"a\n\"b\""[..], "text/plain; charset=utf-8", (r#"["a\n\"b\""]"#, None)),
        (b"{no JSON", "text/markdown", (r#"["{no JSON"]"#, None)),
        (b"[1]", "text/plain", (r#"["[1]"]"#, None)),
        (b"\xff", "text/plain", (r#"["/w=="]"#, bytes)),
        (b"[1]", "image/png", (r#"["WzFd"]"#, bytes)),
        (b"[1]", "application/octet-stream", (r#"["WzFd"]"#, bytes)),
        (b"[1", "application/octet-stream", (r#"["WzE="]"#, bytes)),
        (b"GIF", "image/gif", (r#"["R0lG"]"#, bytes)),
        (b"[1]", "application/x-own", ("[1]", None)),
        (b"\"1", "application/x-own", (r#"["IjE="]"#, bytes)),
        (b"", "image/gif", ("[]", None)),
        (
            b"--x\r\ncontent-disposition: form-data; name=a\r\n\r\n1\r\n--x--",
            "multipart/form-data; boundary=x",
            (r#"["a"] ["1"]"#, Some(BodyForm::Multipart)),
        ),
    ] {
        let (text, form) = taken(body, content_type);
        assert_eq!((text.as_str(), form), expected, "{content_type}");
    }
}
