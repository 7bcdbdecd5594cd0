//! Where one request ends and the next starts: refused bodies, ambiguous heads, chunks, pipelining.

use super::*;

#[test]
fn h4_the_refusal_of_a_large_body_reaches_a_client_that_sends_it_whole() {
    let gateway = serving("max_body = \"1KiB\"");
    for framing in ["content-length: 300000\r\n\r\n", "transfer-encoding: chunked\r\n\r\n493e0\r\n"] {
        let mut wire = Wire::open(&gateway);
        wire.send(post("size", framing)).send(" ".repeat(300_000));
        assert_refused(&wire.answer(), 413, "payload_too_large");
        wire.wait_closed();
    }
}

/// Heads that two parties could read in two ways, and heads that are broken.
const AMBIGUOUS: [(&str, &str); 16] = [
    ("no host", "GET /healthz HTTP/1.1\r\n\r\n"),
    ("two hosts", "GET /healthz HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n"),
    ("length and chunks", "POST /l HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("chunks and length", "POST /l HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"),
    ("two lengths", "POST /l HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n"),
    ("two lengths in one", "POST /l HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n"),
    ("a signed length", "POST /l HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n"),
    ("a length beyond numbers", "POST /l HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n"),
    ("another coding", "POST /l HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n"),
    ("a hidden coding", "POST /l HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n"),
    ("bare line feeds", "GET /healthz HTTP/1.1\nHost: a\n\n"),
    ("one bare line feed", "GET /healthz HTTP/1.1\r\nHost: a\r\nX: b\n\r\n"),
    ("a folded header", "GET /healthz HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n"),
    ("a zero byte", "GET /healthz HTTP/1.1\r\nHost: a\0\r\n\r\n"),
    ("a space in the address", "GET /health z HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("another version", "GET /healthz HTTP/3.0\r\nHost: a\r\n\r\n"),
];

#[track_caller]
fn assert_bad_request(gateway: &Gateway, name: &str, bytes: impl AsRef<[u8]>) {
    let mut wire = Wire::open(gateway);
    let answer = wire.send(bytes).answer();
    assert_eq!(answer.status, 400, "{name}: {answer:?}");
    assert!(answer.header("x-metagate-error").is_some(), "{name}: {answer:?}");
    assert_refused(&answer, 400, "bad_request");
    assert_eq!(answer.header("connection"), Some("close"), "{name}");
    wire.wait_closed();
}

#[test]
fn h5_ambiguous_heads_are_refused_and_end_the_connection() {
    let gateway = serving("");
    for (name, head) in AMBIGUOUS {
        assert_bad_request(&gateway, name, head);
        // What follows on the connection is not served.
        assert_bad_request(&gateway, name, format!("{head}{}", "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
}

#[test]
fn h5_bytes_that_are_not_http_get_an_error_of_the_usual_form() {
    let gateway = serving("");
    let cases: [(&str, &[u8]); 9] = [
        ("a space in a header's name", b"GET /healthz HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n"),
        ("a space behind a header's name", b"GET /healthz HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n"),
        ("no header's name", b"GET /healthz HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
        ("a control byte in a header", b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n"),
        ("a method that is no token", b"G(T /healthz HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("an address that is not valid", b"GET /health<z> HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("an address that is no text", b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("an address without a host", b"GET http:// HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x0a"),
    ];
    for (name, bytes) in cases {
        assert_bad_request(&gateway, name, bytes);
    }
}

#[test]
fn h5_the_longest_length_is_too_large_and_no_longer_one_is_a_header_fault() {
    let gateway = serving("");
    for length in [u64::MAX - 2, u64::MAX - 1, u64::MAX] {
        let answer = Wire::open(&gateway).send(post("run", &format!("content-length: {length}\r\n\r\n"))).answer();
        assert_eq!((length, answer.status), (length, 413), "{answer:?}");
        assert_refused(&answer, 413, "payload_too_large");
    }
}

#[test]
fn h5_bad_chunks_are_refused_and_end_the_connection() {
    let gateway = serving("");
    let next = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    for chunks in [
        "zz\r\n[1]\r\n0\r\n\r\n",
        "-3\r\n[1]\r\n0\r\n\r\n",
        "+3\r\n[1]\r\n0\r\n\r\n",
        "3\n[1]\n0\n\n",
        "3\r\n[1]x\r\n0\r\n\r\n",
        "3;\n\r\n[1]\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n[1]",
    ] {
        assert_bad_request(
            &gateway,
            chunks,
            format!("{}{chunks}{next}", post("run", "transfer-encoding: chunked\r\n\r\n")),
        );
    }
    assert_eq!(gateway.get(&path("runs")).body, "0");
    let fine = "3;a=b;c=\"d\"\r\n[1]\r\n0;e\r\ntrailer: x\r\n\r\n";
    let mut wire = Wire::open(&gateway);
    wire.send(format!("{}{fine}{next}", post("args", "transfer-encoding: chunked\r\n\r\n")));
    assert_eq!((wire.answer().json(), wire.answer().body), (json!([1]), "ok\n".to_owned()));
}

#[test]
fn h5_a_long_chunk_extension_does_not_switch_the_checks_off() {
    let gateway = serving("");
    let chunks = format!("3;{}\r\n[1]\r\n0\r\n\r\n", "x".repeat(300));
    let mut wire = Wire::open(&gateway);
    wire.send(post("args", "transfer-encoding: chunked\r\n\r\n")).send(chunks);
    wire.send("GET /healthz HTTP/1.1\nHost: a\nHost: b\n\n");
    let first = wire.answer();
    // Either the extension is refused, or what follows is checked as ever.
    if first.status == 200 {
        assert_refused(&wire.answer(), 400, "bad_request");
    } else {
        assert_refused(&first, 400, "bad_request");
    }
    wire.wait_closed();
}

#[test]
fn h6_pipelined_requests_are_answered_in_order_each_with_its_own_answer() {
    const REQUESTS: usize = 200;
    let gateway = serving("");
    let mut wire = Wire::open(&gateway);
    let mut all = Vec::new();
    for n in 0..REQUESTS {
        all.extend(match n % 4 {
            // The first ones take longer than those behind them.
            0 => request("POST", &path("sleep"), &[], format!("[{},{n}]", (REQUESTS - n) / 20)),
            1 => request("GET", "/nowhere", &[("x-request-id", &n.to_string())], ""),
            2 => post("args", &format!("transfer-encoding: chunked\r\n\r\n5\r\n[{n:>3}]\r\n0\r\n\r\n")).into_bytes(),
            _ => request("POST", &path("nosuch"), &[("x-request-id", &n.to_string())], "[]"),
        });
    }
    wire.send(all);
    for n in 0..REQUESTS {
        let answer = wire.answer();
        match n % 4 {
            0 => assert_eq!(answer.json(), json!(n)),
            2 => assert_eq!(answer.json(), json!([n])),
            _ => assert_eq!((answer.status, answer.header("x-request-id")), (404, Some(&*n.to_string()))),
        }
    }
}

#[test]
fn h6_a_refused_request_does_not_cut_the_answer_before_it() {
    let gateway = serving("");
    let mut wire = Wire::open(&gateway);
    wire.send(request("POST", &path("large"), &[], "[6000000]")).send("GARBAGE\r\n\r\n");
    // Longer than it takes to find the second request wanting, with most of the first answer still to be written.
    thread::sleep(Duration::from_millis(700));
    assert_eq!(wire.answer().body.len(), 6_000_002);
    assert_refused(&wire.answer(), 400, "bad_request");
    wire.wait_closed();
}

#[test]
fn h6_a_refused_request_behind_others_is_answered_last() {
    let gateway = serving("");
    let mut wire = Wire::open(&gateway);
    wire.send(request("POST", &path("sleep"), &[], "[150,1]")).send(asked("runs"));
    wire.send("GET / HTTP/1.1\r\n\r\n").send(asked("run"));
    assert_eq!(wire.answer().json(), json!(1));
    assert_eq!(wire.answer().json(), json!(0));
    assert_refused(&wire.answer(), 400, "bad_request");
    wire.wait_closed();
    assert_eq!(gateway.get(&path("runs")).body, "0");
}
