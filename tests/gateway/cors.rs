//! What web pages of other origins may do: preflights, headers of answers, and configurations that are refused.

use crate::plugins::component::Plugin;
use crate::plugins::{Files, deployment, table};
use crate::support::{Answer, Gateway, metagate, wait_for};
use crate::wire::{Wire, request};

const APP: &str = "https://app.example.com";
const CALL: &str = "/local/it/v1/call/args";
const EXPOSED: &str = "x-request-id, x-metagate-error, location, preference-applied, retry-after, idempotency-replayed";

/// Sends a request, and reads the answer with or without a body.
fn ask(gateway: &Gateway, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut wire = Wire::open(gateway);
    wire.send(request(method, path, headers, ""));
    if method == "OPTIONS" { wire.answer_without_body() } else { wire.answer() }
}

fn preflight(gateway: &Gateway, path: &str, origin: &str) -> Answer {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type,x-key"),
    ];
    ask(gateway, "OPTIONS", path, &headers)
}

fn allowed(answer: &Answer) -> Option<&str> {
    answer.header("access-control-allow-origin")
}

/// The values of all headers of a name.
fn all<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    answer.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
}

#[test]
fn without_a_table_no_page_may_call() {
    let gateway = Gateway::ready(&deployment("it"));
    let address = ask(&gateway, "POST", CALL, &[("prefer", "respond-async")]);
    let address = address.header("location").unwrap();
    for path in [CALL, address] {
        let answers = [preflight(&gateway, path, APP), ask(&gateway, "GET", path, &[("origin", APP)])];
        let names = answers.iter().flat_map(|answer| &answer.headers).map(|(name, _)| name);
        assert!(names.into_iter().all(|name| !name.starts_with("access-control") && name != "vary"), "{path}");
    }
}

#[test]
fn pages_of_listed_origins_may_call_and_read_every_answer() {
    let server = "[server.cors]\norigins = [\"https://app.example.com\", \"https://*.shop.example\"]\n\
                  credentials = true\nmax_age = \"2m\"\n";
    let gateway = Gateway::ready(&format!("[server]\n{server}{}", deployment("it")));
    for origin in [APP, "https://a.b.shop.example"] {
        let answer = preflight(&gateway, CALL, origin);
        assert_eq!((answer.status, allowed(&answer)), (204, Some(origin)), "{answer:?}");
        assert_eq!(answer.header("access-control-allow-methods"), Some("GET, HEAD, POST, PUT, PATCH, DELETE"));
        assert_eq!(answer.header("access-control-allow-headers"), Some("content-type,x-key"));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.header("access-control-max-age"), Some("120"));
        assert!(answer.header("vary").unwrap().starts_with("Origin"), "{answer:?}");
        for (path, status) in [(CALL, 200), ("/local/it/v1/call/none", 404), ("/local/none/v1/call/f", 404)] {
            let answer = ask(&gateway, "GET", path, &[("origin", origin)]);
            assert_eq!((answer.status, allowed(&answer)), (status, Some(origin)), "{path}");
            assert_eq!(answer.header("access-control-expose-headers"), Some(EXPOSED));
            assert_eq!(all(&answer, "vary"), ["Origin"], "{path}");
        }
    }
    for origin in ["https://app.example.com.evil", "http://app.example.com", "https://shop.example", "null", "\u{e4}"] {
        let refused = preflight(&gateway, CALL, origin);
        assert_eq!((refused.status, allowed(&refused)), (403, None), "{origin}");
        let answer = ask(&gateway, "GET", CALL, &[("origin", origin)]);
        assert_eq!((answer.status, allowed(&answer), all(&answer, "vary")), (200, None, vec!["Origin"]), "{origin}");
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
    // What caches keep must not be given to a page.
    assert_eq!(all(&ask(&gateway, "GET", CALL, &[]), "vary"), ["Origin"]);
    for path in ["/api/inspect", "/healthz", "/metrics"] {
        let answer = ask(&gateway, "GET", path, &[("origin", APP)]);
        assert_eq!((allowed(&answer), answer.header("vary")), (None, None), "{path}");
    }
    let metrics = gateway.get("/metrics").body;
    assert!(metrics.contains("metagate_cors_preflights_total{answer=\"permitted\"} 2\n"), "{metrics}");
    assert!(metrics.contains("metagate_cors_preflights_total{answer=\"refused\"} 5\n"), "{metrics}");
}

#[test]
fn for_all_origins_every_answer_is_the_same() {
    let gateway = Gateway::ready(&format!("[server]\n[server.cors]\norigins = [\"*\"]\n{}", deployment("it")));
    for headers in [&[("origin", "null")][..], &[("origin", APP)], &[]] {
        let answer = ask(&gateway, "GET", CALL, headers);
        assert_eq!((allowed(&answer), answer.header("vary")), (Some("*"), None), "{headers:?}");
    }
    assert_eq!(allowed(&preflight(&gateway, CALL, "null")), Some("*"));
    // What a page asks for is not copied into the answer if it is not a list of names.
    let headers = [
        ("origin", APP),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "a b, <script>"),
    ];
    let answer = ask(&gateway, "OPTIONS", CALL, &headers);
    assert_eq!((answer.status, answer.header("access-control-allow-headers")), (204, None));
}

#[test]
fn a_deployment_has_its_own_rules_and_a_reload_changes_them_without_a_new_worker() {
    let tables = |own: &str| {
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\ndata_dir = \"data\"\n[server.cors]\norigins = \
             [\"https://app.example.com\"]\n{}[deployment.cors]\norigins = [{own}]\nmethods = [\"POST\"]\nheaders = \
             [\"x-key\"]\nexpose = [\"x-total\"]\n{}",
            deployment("own"),
            deployment("it")
        )
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("metagate.toml"), tables("\"http://localhost:*\"")).unwrap();
    let gateway = Gateway::start_in(folder, |_| {});
    gateway.wait_ready();
    let own = "/local/own/v1/call/args";
    let of_own = |origin: &str| allowed(&preflight(&gateway, own, origin)).map(str::to_owned);
    let answer = preflight(&gateway, own, "http://localhost:5173");
    assert_eq!((answer.status, allowed(&answer)), (204, Some("http://localhost:5173")));
    assert_eq!(answer.header("access-control-allow-methods"), Some("POST"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("x-key"));
    let read = ask(&gateway, "GET", own, &[("origin", "http://localhost:5173")]);
    assert_eq!(read.header("access-control-expose-headers"), Some("x-total"));
    assert_eq!((of_own(APP), allowed(&preflight(&gateway, CALL, APP))), (None, Some(APP)));
    let workers = gateway.worker_pids();
    std::fs::write(gateway.folder.path().join("metagate.toml"), tables("\"https://app.example.com\"")).unwrap();
    wait_for("the reload", || (of_own(APP).as_deref() == Some(APP)).then_some(()));
    assert_eq!(of_own("http://localhost:5173"), None);
    assert_eq!(gateway.worker_pids(), workers);
}

/// Has a page make an asynchronous call. Returns its address.
fn accepted(gateway: &Gateway, path: &str, origin: &str) -> String {
    let answer = ask(gateway, "POST", path, &[("origin", origin), ("prefer", "respond-async")]);
    assert_eq!((answer.status, allowed(&answer)), (202, Some(origin)), "{answer:?}");
    assert_eq!(answer.header("preference-applied"), Some("respond-async"));
    answer.header("location").unwrap().to_owned()
}

#[test]
fn a_page_that_may_call_may_follow_its_asynchronous_calls_and_no_other_page_may() {
    let (shop, other) = ("https://shop.example", "https://other.example");
    let tables = format!(
        "{}[deployment.cors]\norigins = [{APP:?}]\nmethods = [\"POST\"]\n{}[deployment.cors]\norigins = [{other:?}]\n\
         [[route]]\npath = \"/orders\"\nto = \"it/args\"\n[route.cors]\norigins = [{shop:?}]\ncredentials = true\n",
        deployment("it"),
        deployment("elsewhere"),
    );
    let gateway = Gateway::ready(&tables);
    let preflight_of = |address: &str, origin: &str| {
        let headers = [("origin", origin), ("access-control-request-method", "DELETE")];
        ask(&gateway, "OPTIONS", address, &headers)
    };
    // A route's own rules count for what is called by it, and a deployment's for all its calls.
    for (path, origin) in [(CALL, APP), ("/orders", shop)] {
        let address = accepted(&gateway, path, origin);
        for address in [address.clone(), format!("{address}/result")] {
            let answer = preflight_of(&address, origin);
            assert_eq!((answer.status, allowed(&answer)), (204, Some(origin)), "{address}");
            assert_eq!(answer.header("access-control-allow-methods"), Some("GET, HEAD, DELETE"));
            let refused = preflight_of(&address, other);
            assert_eq!((refused.status, allowed(&refused)), (403, None), "{address}");
        }
        let answer = ask(&gateway, "GET", &format!("{address}?wait=10s"), &[("origin", origin)]);
        assert_eq!((answer.status, allowed(&answer)), (200, Some(origin)), "{answer:?}");
        assert_eq!(answer.header("access-control-expose-headers"), Some(EXPOSED));
        for (origin, may) in [(Some(origin), Some(origin)), (Some(other), None), (None, None)] {
            let headers: Vec<_> = origin.into_iter().map(|origin| ("origin", origin)).collect();
            let answer = ask(&gateway, "GET", &format!("{address}/result"), &headers);
            assert_eq!((answer.status, allowed(&answer), all(&answer, "vary")), (200, may, vec!["Origin"]));
        }
        // It has ended: 409. A page may read that, too.
        let answer = ask(&gateway, "DELETE", &address, &[("origin", origin)]);
        assert_eq!((answer.status, allowed(&answer)), (409, Some(origin)), "{answer:?}");
        let mut events = Wire::open(&gateway);
        events.send(request("GET", &address, &[("origin", origin), ("accept", "text/event-stream")], ""));
        assert_eq!(allowed(&events.answer_without_body()), Some(origin));
    }
    // Of a call that is not kept, a page that may call anything sees that it is not; lists are for the admin API alone.
    let gone = format!("/api/calls/{}", "0".repeat(32));
    let answer = ask(&gateway, "GET", &gone, &[("origin", other)]);
    assert_eq!((answer.status, allowed(&answer)), (404, Some(other)));
    assert_eq!(allowed(&ask(&gateway, "GET", &gone, &[("origin", "https://evil.example")])), None);
    for path in ["/api/calls", "/api/calls/redrive"] {
        assert_eq!(allowed(&preflight_of(path, APP)), None, "{path}");
    }
}

#[test]
fn a_preflight_is_answered_before_plugins_and_their_refusals_can_be_read() {
    let plugin = Plugin::new().before_invoke(|c| {
        let told = c.text("no");
        c.tell(&told);
    });
    let files = Files::new();
    let file = files.put("p.wasm", plugin.component());
    let cors = "[server]\n[server.cors]\norigins = [\"https://app.example.com\"]\n";
    let gateway = Gateway::ready(&format!("{cors}{}{}", deployment("it"), table("p", &file, "")));
    assert_eq!(preflight(&gateway, CALL, APP).status, 204);
    let answer = ask(&gateway, "GET", CALL, &[("origin", APP)]);
    assert_eq!((answer.status, allowed(&answer)), (418, Some(APP)));
}

#[test]
fn faults_of_cors_are_found_with_line_and_column() {
    let files = Files::new();
    for (keys, fault) in [
        ("origins = [\"*\"]\ncredentials = true", "3:15: credentials are not for the origin \"*\""),
        ("origins = [\"https://a.example\", \"https://b.example/x\"]", "2:33: "),
        ("origins = [\"https://*.com\"]", "2:12: "),
        ("methods = [\"get\"]", "2:12: "),
        ("headers = [\"a b\"]", "2:12: "),
        ("orgins = []", "2:1: unknown key \"orgins\""),
    ] {
        let own = format!("\n[[deployment]]\nname = \"it\"\npath = \".\"\n[deployment.cors]\n{keys}\n");
        for (text, lines) in [(format!("[server.cors]\n{keys}\n"), 0), (own, 4)] {
            let file = files.put("metagate.toml", text);
            let checked = metagate().arg("check").arg(&file).output().unwrap();
            let said = String::from_utf8(checked.stderr).unwrap();
            let (line, rest) = fault.split_once(':').unwrap();
            let line = line.parse::<usize>().unwrap() + lines;
            let expected = format!("metagate.toml:{line}:{rest}");
            assert!(!checked.status.success() && said.contains(&expected), "no {expected:?} in {said}");
        }
    }
}
