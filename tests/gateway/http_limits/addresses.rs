//! JSON, addresses and methods that are refused.

use super::*;

#[test]
fn h10_json_that_cannot_be_taken_is_refused_with_its_line_and_column() {
    let gateway = serving("");
    let deep = "[".repeat(129) + &"]".repeat(129);
    let deep_in_object = format!("{{\"a\":{}{}}}", "[".repeat(128), "]".repeat(128));
    let digits = format!("[{}]", "9".repeat(4_301));
    let cases: [(&[u8], usize, usize); 23] = [
        (b"[1,]", 1, 4),
        (b"[1 2]", 1, 4),
        (b"{\n  \"a\": tru}", 2, 11),
        (b"{\"a\":1}{\"b\":2}", 1, 8),
        (b"{\"a\" 1}", 1, 6),
        (b"{a:1}", 1, 2),
        (b"{'a':1}", 1, 2),
        (b"[1", 1, 2),
        (b"[\n\n[01]]", 3, 3),
        (b"[NaN]", 1, 2),
        (b"[1] // why", 1, 5),
        (b"null", 1, 1),
        (b"1", 1, 1),
        (b"\"a\"", 1, 1),
        (b"\xef\xbb\xbf\xef\xbb\xbf[1]", 1, 1),
        (b"[\"\xff\"]", 1, 3),
        (b"[\"a\tb\"]", 1, 3),
        (b"[\"\\ud800\"]", 1, 3),
        (b"[\n1e999]", 2, 1),
        (b"  ", 1, 2),
        (digits.as_bytes(), 1, 2),
        (deep.as_bytes(), 1, 129),
        (deep_in_object.as_bytes(), 1, 133),
    ];
    for (body, line, column) in cases {
        let answer = wire::send(&gateway, "POST", &path("run"), &[("content-type", "application/json")], body);
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        assert_eq!(answer.status, 400, "{shown:?} {answer:?}");
        assert_refused(&answer, 400, "invalid_json");
        let message = answer.message();
        assert!(message.ends_with(&format!("at line {line} column {column}")), "{shown:?}: {message}");
    }
    assert_eq!(gateway.get(&path("runs")).body, "0");
}

#[test]
fn h12_addresses_that_could_be_taken_for_others_are_refused() {
    let gateway = serving("");
    for address in [
        "/local/it/v1/call/%2e%2e%2frun",
        "/local/it/v1/call/..",
        "/local/it/v1/call/a..b",
        "/local/../v1/call/run",
        "/local/%2E%2e/v1/call/run",
        "/local/./v1/call/run",
        "/local/it/v1/call/run%00",
        "/local/it/v1/call/%ff",
        "/local/it/v1/call/%zz",
        "/local/it/v1/call/run%",
        "/local/it/v1/call/run%2",
        "//local/it/v1/call/run",
        "/local//it/v1/call/run",
        "/local/it/v1/call//run",
        "/local/it/v1/call/run/",
        "/local/it/v1/call/",
        "/local/it;a/v1/call/run",
        "/local/it/v1/call/run;a=b",
        "/local/it%2Fv1/v1/call/run",
        "/local/it/v1/call/a%5cb",
        "/local/it/v1/call/run%20",
        "/local/it/v1/call/run%0d%0aX:%20y",
        "/local/-it/v1/call/run",
        "/local/%C3%A4/v1/call/run",
        "/l%20l/it/v1/call/run",
        "/api/../healthz",
        "/static/%2e%2e/x",
    ] {
        let answer = wire::send(&gateway, "POST", address, &[], "[]");
        assert_eq!(answer.status, 400, "{address}: {answer:?}");
        assert_refused(&answer, 400, "bad_name");
        assert!(!answer.header("x-metagate-error").unwrap().contains('\n'));
    }
    assert_eq!(gateway.get(&path("runs")).body, "0");
    for address in [
        "/local/it/v1/call/%72un",
        "/lo%63al/i%74/v1/%63all/run",
        "/local/it/v1/call/run?a=%zz&..",
        "/local/it/v1/call/run?",
    ] {
        assert_eq!(wire::send(&gateway, "POST", address, &[], "[]").status, 200, "{address}");
    }
    // Decoded once, not twice.
    let twice = wire::send(&gateway, "POST", "/local/it/v1/call/%2572un", &[], "[]");
    assert_refused(&twice, 400, "bad_name");
}

#[test]
fn h13_reserved_names_cannot_be_deployed_or_be_the_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metagate.toml");
    let path = fixture("echo-node");
    for name in ["api", "validate", "admin", "metrics", "healthz", "readyz", ".well-known", "API"] {
        for text in [
            format!(
                "[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\n\
                 [[deployment]]\nname = {name:?}\npath = {path:?}\n"
            ),
            format!("[server]\nlisten = \"127.0.0.1:0\"\nprefix = {name:?}\n"),
        ] {
            if name == "API" && text.contains("name") {
                continue;
            }
            fs::write(&file, &text).unwrap();
            let output = metagate().arg("serve").arg(&file).current_dir(folder.path()).output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(78), "{text}\n{stderr}");
            assert!(stderr.contains(&format!("{name:?}")), "{stderr}");
            // The form of a name excludes the last one already.
            let list = "reserved for the gateway's own addresses, as are api, validate, admin, metrics, healthz";
            assert!(name == ".well-known" || stderr.contains(list), "{stderr}");
        }
    }
}

#[test]
fn h16_absolute_addresses_are_read_by_their_path_and_nothing_is_tunnelled() {
    let gateway = serving("");
    let absolute = format!("http://elsewhere.example:81{}", path("args"));
    assert_eq!(wire::send(&gateway, "POST", &absolute, &[], "[1]").json(), json!([1]));
    let mut wire = Wire::open(&gateway);
    let answer = wire.send("CONNECT localhost:80 HTTP/1.1\r\nhost: localhost:80\r\n\r\n").answer();
    assert_refused(&answer, 405, "method_not_allowed");
    assert!(answer.header("allow").is_some());
    wire.wait_closed();
}

#[test]
fn h16_an_upgrade_is_not_taken_up() {
    let gateway = serving("");
    for upgrade in ["websocket", "h2c", "TLS/1.0"] {
        let headers = [("connection", "Upgrade"), ("upgrade", upgrade), ("http2-settings", "AAMAAABkAAQAAP__")];
        let mut wire = Wire::open(&gateway);
        let answer = wire.send(request("POST", &path("args"), &headers, "[1]")).answer();
        assert_eq!((answer.status, answer.header("upgrade")), (200, None), "{upgrade}");
        assert_eq!(wire.send(asked("args")).answer().body, "[]", "{upgrade}");
    }
}

#[test]
fn h16_the_gateways_own_addresses_refuse_other_methods_too() {
    let gateway = serving("");
    let own = [
        ("/healthz", "GET"),
        ("/readyz", "GET"),
        ("/api/inspect", "GET"),
        ("/api/readiness", "GET"),
        ("/api/deploy/logs", "POST"),
    ];
    for (address, allowed) in own {
        for method in ["PUT", "DELETE", "OPTIONS", "PATCH"] {
            let answer = wire::send(&gateway, method, address, &[], "");
            assert_refused(&answer, 405, "method_not_allowed");
            let allow: HashSet<&str> = answer.header("allow").unwrap().split(',').map(str::trim).collect();
            assert!(allow.contains(allowed), "{address} {allow:?}");
        }
    }
    let mut wire = Wire::open(&gateway);
    let answer = wire.send(request("HEAD", "/healthz", &[], "")).answer_without_body();
    assert_eq!(answer.status, 200);
    assert_eq!(wire.send(request("GET", "/healthz", &[], "")).answer().body, "ok\n");
    let too_many_parts = format!("/local/it/v1/call/run{}", "/a".repeat(16));
    // At `/` is the dashboard.
    for target in ["*", "/nowhere", "/api", "/api/", "/local", &too_many_parts] {
        for method in ["GET", "POST", "OPTIONS"] {
            assert_refused(&wire::send(&gateway, method, target, &[], ""), 404, "not_found");
        }
    }
}
