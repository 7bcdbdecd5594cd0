//! Uploads that are no form, not the right one, too large, too many or cut off: each is refused in words and leaves
//! nothing.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::{Answer, Gateway, wait_for};
use crate::wire::{Wire, assert_refused};

const CREATE: &str = "/api/package/create";
const BOUNDARY: &str = "----metagate-test";
const FORM: &str = "multipart/form-data; boundary=----metagate-test";
/// Within this nothing of an upload that was cut off is left.
const SOON: Duration = Duration::from_secs(1);

/// One part of a form.
fn part(name: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    let file = if name == "raw" { "; filename=\"blob\"\r\ncontent-type: application/x-zip-compressed" } else { "" };
    let head = format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
    [head.as_bytes(), value.as_ref(), b"\r\n"].concat()
}

fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), format!("--{BOUNDARY}--\r\n").into_bytes()].concat()
}

fn package(id: &str, archive: &[u8]) -> Vec<u8> {
    let kind = part("type", "application/x-zip-compressed");
    form(&[part("id", id), kind, part("jsons", "[]"), part("runners", "[]"), part("raw", archive)])
}

/// Uploads an archive as MetaCall's client does.
pub(crate) fn upload(gateway: &Gateway, id: &str, archive: &[u8]) -> Answer {
    gateway.post(CREATE, &[("content-type", FORM)], package(id, archive))
}

/// Waits until nothing of an upload is left, which must be soon.
#[track_caller]
pub(crate) fn wait_nothing_left(gateway: &Gateway) {
    let start = Instant::now();
    let staging = gateway.folder.path().join("data/staging");
    wait_for("an empty staging folder", || {
        (fs::read_dir(&staging).unwrap().next().is_none() && open_uploads(gateway).is_empty()).then_some(())
    });
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

/// Files of uploads that the gateway has open.
fn open_uploads(gateway: &Gateway) -> Vec<PathBuf> {
    let open = fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap();
    let targets = open.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.filter(|target| target.to_string_lossy().contains("/staging/")).collect()
}

/// Uploads that are refused: content type, code, a part of the message, and body.
fn bad_forms() -> Vec<(&'static str, &'static str, &'static str, Vec<u8>)> {
    let (id, jsons, raw) = (part("id", "it"), part("jsons", "[]"), part("raw", "PK"));
    let with = |parts: &[&[Vec<u8>]]| form(&parts.concat());
    let good = with(&[&[id.clone(), jsons.clone(), raw.clone()]]);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let header = format!("x: {}\r\ncontent-disposition", "y".repeat(12 * 1024));
    let bad = |code, words: &'static str, parts: &[&[Vec<u8>]]| (FORM, code, words, with(parts));
    let other = |words: &'static str, body: String| (FORM, "bad_request", words, body.into_bytes());
    // No body is longer than what the gateway still reads of a request that it has refused, so that the client can
    // write all of it before it reads the answer.
    vec![
        ("multipart/form-data", "bad_request", "boundary", good.clone()),
        ("multipart/form-data; boundary=", "bad_request", "boundary", good.clone()),
        ("multipart/form-data; boundary=other", "bad_request", "between two parts", good.clone()),
        ("text", "bad_request", "boundary", good.clone()),
        ("application/json", "unsupported_media_type", "multipart/form-data", b"{}".to_vec()),
        ("multipart/mixed; boundary=----metagate-test", "unsupported_media_type", "form-data", good.clone()),
        (FORM, "bad_request", "between two parts", Vec::new()),
        bad("bad_request", "no part \"id\"", &[]),
        bad("bad_request", "no part \"id\"", &[&[jsons.clone(), raw.clone()]]),
        bad("bad_request", "no part \"jsons\"", &[&[id.clone(), raw.clone()]]),
        bad("bad_request", "no part \"raw\"", &[&[id.clone(), jsons.clone()]]),
        bad("bad_request", "\"id\" before the file", &[&[raw.clone(), id.clone(), jsons.clone()]]),
        bad("bad_request", "\"type\" comes after", &[&[id.clone(), jsons.clone(), raw.clone(), part("type", "")]]),
        bad("bad_request", "\"raw\" comes after", &[&[id.clone(), jsons.clone(), raw.clone(), raw.clone()]]),
        bad("bad_request", "\"id\" occurs twice", &[&[id.clone(), id.clone(), jsons.clone(), raw.clone()]]),
        bad("bad_request", "\"jsons\" occurs twice", &[&[id.clone(), jsons.clone(), jsons.clone(), raw.clone()]]),
        bad("bad_request", "more than 16 parts", &[&[id.clone(), jsons.clone()], &vec![part("x", ""); 15]]),
        bad("bad_request", "more than 16 parts", &[&vec![part("x", ""); 4_000]]),
        bad("bad_request", "\"type\" has more than", &[&[id.clone(), part("type", [b'x'; 65_537])]]),
        bad("bad_request", "\"path\" has more than", &[&[id.clone(), part("path", [b'x'; 100_000])]]),
        bad(
            "bad_request",
            "\"type\" is not UTF-8",
            &[&[part("type", b"\xFF"), id.clone(), jsons.clone(), raw.clone()]],
        ),
        bad("bad_name", "\"id\"", &[&[part("id", "../up"), jsons.clone(), raw.clone()]]),
        bad("bad_name", "\"id\"", &[&[part("id", ""), jsons.clone(), raw.clone()]]),
        bad("bad_name", "\"id\"", &[&[part("id", "api"), jsons.clone(), raw.clone()]]),
        bad("invalid_json", "\"jsons\"", &[&[id.clone(), part("jsons", ""), raw.clone()]]),
        bad("invalid_json", "\"jsons\"", &[&[id.clone(), part("jsons", "{}"), raw.clone()]]),
        bad("invalid_json", "\"jsons\"", &[&[id.clone(), part("jsons", "[".repeat(60_000)), raw.clone()]]),
        bad("invalid_json", "\"runners\"", &[&[id.clone(), jsons.clone(), part("runners", "[1]"), raw.clone()]]),
        bad("payload_too_large", "65536 bytes", &[&[id.clone(), jsons.clone(), part("raw", vec![0; 65_537])]]),
        bad("payload_too_large", "65536 bytes", &[&[id.clone(), jsons.clone(), part("raw", vec![0; 400_000])]]),
        other("no name", text(&good).replacen("; name=\"id\"", "", 1)),
        other("between two parts", text(&good).replacen("\r\ncontent-disposition", "\r\nno header", 1)),
        other("headers of more than 8192", text(&good).replacen("content-disposition", &header, 1)),
        other("headers of more than 8192", "x".repeat(100_000)),
        other("between two parts", text(&good).replace("--\r\n", "")),
        other("in part \"raw\"", text(&good).replace(&format!("\r\n--{BOUNDARY}--\r\n"), "")),
        other("after its last part", text(&good) + &"x".repeat(100_000)),
    ]
}

#[test]
fn u7_a_wrong_form_is_refused_with_the_reason() {
    let gateway = Gateway::ready("[deploy]\nmax_upload = \"64KiB\"\n");
    let cases = bad_forms();
    assert!(cases.len() >= 25);
    for (kind, code, words, body) in cases {
        let answer = gateway.post(CREATE, &[("content-type", kind)], &body);
        let status = match code {
            "payload_too_large" => 413,
            "unsupported_media_type" => 415,
            _ => 400,
        };
        assert_refused(&answer, status, code);
        assert!(answer.message().contains(words), "{words:?}: {answer:?}");
        wait_nothing_left(&gateway);
    }
    let good = form(&[part("id", "it"), part("jsons", "[]"), part("raw", "PK")]);
    let packed = gateway.post(CREATE, &[("content-type", FORM), ("content-encoding", "gzip")], &good);
    assert_refused(&packed, 415, "unsupported_media_type");
    // After all this a correct form is read: only its archive is refused.
    assert_refused(&upload(&gateway, "it", b"PK"), 422, "bad_archive");
    wait_nothing_left(&gateway);
}

/// Sends the head of an upload and the first half of its body; gives the other half.
fn begin(gateway: &Gateway, id: &str) -> (Wire, Vec<u8>) {
    let mut body = package(id, &vec![7; 600_000]);
    let rest = body.split_off(body.len() / 2);
    let mut wire = Wire::open(gateway);
    let length = body.len() + rest.len();
    wire.send(format!(
        "POST {CREATE} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {FORM}\r\ncontent-length: {length}\r\n\r\n"
    ));
    wire.send(body);
    (wire, rest)
}

#[test]
fn u8_an_upload_that_is_cut_off_leaves_nothing() {
    let gateway = Gateway::ready("");
    let (wire, _) = begin(&gateway, "cut");
    wait_for("the file of the upload", || (!open_uploads(&gateway).is_empty()).then_some(()));
    drop(wire);
    wait_nothing_left(&gateway);
}

#[test]
fn u8_an_upload_that_stalls_is_a_408() {
    let gateway = Gateway::ready("[server]\nbody_timeout = \"300ms\"\n");
    let (mut wire, _) = begin(&gateway, "stalls");
    assert_refused(&wire.answer(), 408, "request_timeout");
    wire.wait_closed();
    wait_nothing_left(&gateway);
}

#[test]
fn u8_four_uploads_run_at_once_and_others_are_asked_to_retry() {
    let gateway = Gateway::ready("");
    let mut taken: Vec<_> = (0..4).map(|n| begin(&gateway, &format!("taken{n}"))).collect();
    wait_for("four uploads", || (open_uploads(&gateway).len() == 4).then_some(()));
    for n in 0..16 {
        let (mut wire, _) = begin(&gateway, &format!("late{n}"));
        let answer = wire.answer();
        assert_refused(&answer, 503, "overloaded");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    }
    assert_eq!(open_uploads(&gateway).len(), 4);
    for (wire, rest) in &mut taken {
        wire.stream().write_all(rest).unwrap();
        assert_refused(&wire.answer(), 422, "bad_archive");
    }
    wait_nothing_left(&gateway);
    assert_refused(&upload(&gateway, "again", b"PK"), 422, "bad_archive");
}

#[test]
fn u8_an_upload_that_says_it_is_too_large_is_refused_before_it_comes() {
    let gateway = Gateway::ready("[deploy]\nmax_upload = \"1MiB\"\n");
    let mut wire = Wire::open(&gateway);
    let head = "host: localhost\r\nexpect: 100-continue\r\ncontent-length: 99999999";
    wire.send(format!("POST {CREATE} HTTP/1.1\r\n{head}\r\ncontent-type: {FORM}\r\n\r\n"));
    assert_refused(&wire.answer(), 413, "payload_too_large");
    wire.wait_closed();
}
