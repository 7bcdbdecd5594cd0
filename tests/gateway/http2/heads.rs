//! Heads over HTTP/2 that are too large, do not end, or are not heads.

use super::floods::{CONTINUATION, ENHANCE_YOUR_CALM, goaway};
use super::*;
use crate::faulty::{memory_of, reset_peak};

const PRIORITY: u8 = 2;
const UNKNOWN: u8 = 0xee;
/// The largest payload of a frame that the gateway takes.
const FRAME: usize = 16 * 1024;
/// Indexed fields of HPACK's static table: RFC 7541, appendix A.
const GET: u8 = 0x82;
const POST: u8 = 0x83;
const ROOT: u8 = 0x84;
const HTTP: u8 = 0x86;

/// A literal field without indexing, with a name and a value of less than 127 bytes.
fn field(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).unwrap();
    [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
}

/// The status of the answer on a stream; none if the connection or the stream ends without one.
fn status(frames: &mut Frames, stream: u32) -> Option<Vec<u8>> {
    loop {
        let frame = frames.next()?;
        match frame.kind {
            HEADERS if frame.stream == stream => return Some(frame.payload),
            RESET if frame.stream == stream => return None,
            GOAWAY => return None,
            _ => {}
        }
    }
}

#[test]
fn h3_heads_over_http2_of_any_size_end_their_connection_and_hold_no_memory() {
    type Head = fn(&mut Frames);
    let heads: [(&str, Head); 2] = [
        ("a field that is named again and again", |frames| {
            // 4,000 bytes go to the table of fields, and every further byte stands for them.
            let mut head = vec![GET, ROOT, HTTP, 0x40, 1, b'x', 0x7f, 0xa1, 0x1e];
            head.extend([b'y'; 4_000]);
            head.resize(FRAME, 0xbe);
            for n in 0..50 {
                frames.send(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &head);
            }
        }),
        ("many large frames", |frames| {
            frames.send(HEADERS, END_STREAM, 1, &[GET, ROOT, HTTP]);
            let large = field("x", &"y".repeat(100)).repeat(FRAME / 104);
            for _ in 0..2_000 {
                frames.send(CONTINUATION, 0, 1, &large);
            }
        }),
    ];
    let gateway = serving("");
    for (name, head) in heads {
        let mut frames = Frames::open(&gateway);
        let before = reset_peak(gateway.pid());
        head(&mut frames);
        assert_eq!(goaway(&mut frames), Some(ENHANCE_YOUR_CALM), "{name}");
        let peak = memory_of(gateway.pid(), "VmHWM");
        assert!(peak < before + 8 * 1024, "{name}: {before} → {peak} KiB");
    }
    assert_eq!(curl(&gateway, &path("args"), &["--data", "[1]"]).json(), json!([1]));
}

#[test]
fn h1_a_head_over_http2_that_does_not_end_is_closed() {
    let gateway = serving("header_timeout = \"1s\"");
    let mut frames = Frames::open(&gateway);
    // Settings are acknowledged before the head begins: it takes no other frames.
    frames.call(1, "args", "[1]");
    assert_eq!(frames.body(), (1, json!([1])));
    frames.send(HEADERS, END_STREAM, 3, &[GET, ROOT, HTTP]);
    assert_eq!(status(&mut frames, 3), None);
    while frames.next().is_some() {}
    // While another request is under way too.
    let mut frames = Frames::open(&gateway);
    frames.post(1, &path("args"), 0);
    frames.send(HEADERS, END_STREAM, 3, &[GET, ROOT, HTTP]);
    while frames.next().is_some() {}
    assert_eq!(curl(&gateway, &path("args"), &["--data", "[1]"]).json(), json!([1]));
}

#[test]
fn h5_heads_over_http2_that_are_none_end_their_stream_and_run_nothing() {
    let gateway = serving("");
    let run = field(":path", &path("run"));
    let call = |fields: &[Vec<u8>]| [&[POST, HTTP][..], &run, &field(":authority", "a"), &fields.concat()].concat();
    let bad = [
        ("two paths", call(std::slice::from_ref(&run))),
        ("an unknown pseudo-header", call(&[field(":other", "a")])),
        ("a pseudo-header after a header", call(&[field("x", "a"), field(":scheme", "http")])),
        ("a name in capitals", call(&[field("X", "a")])),
        ("a line break in a value", call(&[field("x", "a\r\nb: c")])),
        ("a header of the connection", call(&[field("connection", "close")])),
        ("a transfer coding", call(&[field("transfer-encoding", "chunked")])),
        ("another length than that of the body", call(&[field("content-length", "5")])),
        ("two lengths", call(&[field("content-length", "2"), field("content-length", "3")])),
    ];
    for (what, head) in bad {
        let mut frames = Frames::open(&gateway);
        frames.send(HEADERS, END_HEADERS, 1, &head);
        frames.send(DATA, END_STREAM, 1, b"[]");
        assert_eq!(status(&mut frames, 1), None, "{what}");
    }
    let mut frames = Frames::open(&gateway);
    frames.send(HEADERS, END_HEADERS, 1, &call(&[field("content-length", "2")]));
    frames.send(DATA, END_STREAM, 1, b"[]");
    assert!(status(&mut frames, 1).is_some());
    assert_eq!(gateway.get(&path("runs")).body, "1", "the last one alone");
}

#[test]
fn h14_a_flood_of_windows_priorities_or_unknown_frames_holds_no_memory() {
    let gateway = serving("");
    let before = memory_of(gateway.pid(), "VmRSS");
    let mut frames = Frames::open(&gateway);
    for _ in 0..5_000 {
        frames.send(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes());
        frames.send(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]);
        frames.send(UNKNOWN, 0, 0, &[0; 100]);
    }
    frames.call(1, "args", "[1]");
    assert_eq!(frames.body(), (1, json!([1])));
    let after = memory_of(gateway.pid(), "VmRSS");
    assert!(after < before + 8 * 1024, "{before} → {after} KiB");
}
