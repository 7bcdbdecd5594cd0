//! Routes: which request reaches which function, with which arguments, and through which plugins.

mod configuration;

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::extended_protocol::extended;
use crate::plugins::component::Plugin;
use crate::plugins::{Files, table};
use crate::support::{Answer, Gateway, wait_for};
use crate::wire::{Wire, assert_refused, request};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// `[[route]]` tables of lines with `; ` between them.
fn routes(tables: &[&str]) -> String {
    tables.iter().map(|keys| format!("[[route]]\n{}\n", keys.replace("; ", "\n"))).collect()
}

/// A gateway with the function `told`, which returns what its worker got, a function for whole requests, and routes.
fn serving(tables: &[&str]) -> Gateway {
    Gateway::ready(&(extended(&[("SERVES_HTTP", "yes")]) + &routes(tables)))
}

fn ask(gateway: &Gateway, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut wire = Wire::open(gateway);
    wire.send(request(method, path, headers, body));
    if matches!(method, "HEAD" | "OPTIONS") { wire.answer_without_body() } else { wire.answer() }
}

/// The arguments by name that the function got, and whether they are text.
#[track_caller]
fn told(answer: &Answer) -> (Value, bool) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut call = answer.json();
    let names: Vec<String> = serde_json::from_value(call["names"].take()).unwrap();
    let args: Vec<Value> = serde_json::from_value(call["args"].take()).unwrap();
    (names.into_iter().zip(args).collect(), call["text"] == true)
}

#[test]
fn path_query_and_body_are_arguments_by_name() {
    let gateway = serving(&[
        "path = \"/orders/{id}\"; to = \"x/told\"; methods = [\"GET\", \"PUT\", \"POST\"]",
        "path = \"/files/{path...}\"; to = \"x/told\"",
        "path = \"/list\"; to = \"x/told\"",
    ]);
    for (method, path, headers, body, expected, is_text) in [
        ("GET", "/orders/7", &[][..], "", json!({"id": "7"}), true),
        ("GET", "/orders/a%20b%25?q=1&q=2&id=8", &[], "", json!({"id": "a b%", "q": ["1", "2"]}), true),
        ("PUT", "/orders/7?q=1", &JSON, r#"{"id": 9, "n": [1]}"#, json!({"id": "7", "q": "1", "n": [1]}), false),
        (
            "POST",
            "/orders/7",
            &[("content-type", "application/x-www-form-urlencoded")],
            "a=1",
            json!({"id": "7", "a": "1"}),
            true,
        ),
        ("GET", "/files/a/b%20c", &[], "", json!({"path": "a/b c"}), true),
        ("GET", "/files", &[], "", json!({"path": ""}), true),
        ("POST", "/list?q=1", &JSON, r#"{"n": 1}"#, json!({"q": "1", "n": 1}), false),
    ] {
        let answer = ask(&gateway, method, path, headers, body);
        assert_eq!(told(&answer), (expected, is_text), "{method} {path}");
    }
    let array = ask(&gateway, "POST", "/list", &JSON, "[1, 2]").json();
    assert_eq!((&array["args"], &array["names"]), (&json!([1, 2]), &Value::Null));
    assert_refused(&ask(&gateway, "PUT", "/orders/7", &JSON, "[1]"), 400, "bad_request");
    assert_refused(&ask(&gateway, "PUT", "/orders/7", &JSON, "{"), 400, "invalid_json");
    for path in ["/orders/%2e%2e", "/orders/a%2fb", "/orders/%00", "/orders/%ff", "/files/a/../b", "/files/a//b"] {
        assert_refused(&ask(&gateway, "GET", path, &[], ""), 400, "bad_name");
    }
    for path in ["/orders", "/orders/", "/orders/7/x", "/Orders/7", "/list/"] {
        assert_eq!(ask(&gateway, "GET", path, &[], "").status, 404, "{path}");
    }
}

#[test]
fn parameters_of_a_typed_function_are_converted() {
    let folder = tempfile::tempdir().unwrap();
    let script = "def double(id: int, more: bool = False, note: str = ''):\n    return [id * 2, more, note]\n";
    fs::write(folder.path().join("app.py"), script).unwrap();
    let deployment = format!("[[deployment]]\nname = \"typed\"\npath = {:?}\n", folder.path());
    let route = routes(&["path = \"/double/{id}\"; to = \"typed/double\"; methods = [\"GET\", \"PUT\"]"]);
    let gateway = Gateway::ready(&(deployment + &route));
    assert_eq!(ask(&gateway, "GET", "/double/21?more=true&note=7", &[], "").json(), json!([42, true, "7"]));
    let mixed = ask(&gateway, "PUT", "/double/21?more=true", &JSON, r#"{"id": 1, "note": "n"}"#);
    assert_eq!(mixed.json(), json!([42, true, "n"]));
    for (method, body) in [("GET", ""), ("PUT", r#"{"note": "n"}"#)] {
        let answer = ask(&gateway, method, "/double/x", &JSON, body);
        assert_eq!(
            (answer.status, answer.code(), &answer.json()["error"]["argument"]),
            (422, "bad_argument", &json!("id"))
        );
    }
}

#[test]
fn methods_and_hosts_choose_among_routes() {
    let gateway = serving(&[
        "path = \"/a\"; to = \"x/told\"",
        "path = \"/{name}\"; to = \"x/told\"; methods = [\"DELETE\"]",
        "path = \"/{name}\"; to = \"x/told\"; host = \"*.example.com\"; methods = [\"GET\"]",
    ]);
    let of = |method: &str, host: &str| {
        let text = format!("{method} /a HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n\r\n");
        Wire::open(&gateway).send(text).answer()
    };
    assert_eq!(told(&of("DELETE", "test")).0, json!({"name": "a"}));
    assert_eq!(told(&of("GET", "Shop.example.com:8080")).0, json!({"name": "a"}));
    assert_eq!(of("GET", "example.com").json()["args"], json!([]));
    let refused = of("PATCH", "shop.example.com");
    assert_refused(&refused, 405, "method_not_allowed");
    assert_eq!(refused.header("allow"), Some("DELETE, GET, HEAD, POST, OPTIONS"));
    assert_refused(&of("PATCH", "test"), 405, "method_not_allowed");
}

#[test]
fn over_http_2_the_authority_is_the_host_of_a_route() {
    let gateway = serving(&["path = \"/a\"; to = \"x/told\"; host = \"shop.example\""]);
    for (host, status) in [("shop.example", "200"), ("shop.example:81", "200"), ("other.example", "404")] {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--http2-prior-knowledge", "--write-out", "%{http_code}", "--output", "/dev/null"]);
        let output = curl.args(["--header", &format!("host: {host}")]).arg(gateway.url("/a")).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), status, "{host}");
    }
}

#[test]
fn head_and_options_of_a_route_are_as_expected() {
    let gateway = serving(&[
        "path = \"/a/{id}\"; to = \"x/told\"; methods = [\"GET\"]",
        "path = \"/app/{x...}\"; to = \"x\"",
        "path = \"/later\"; to = \"x/told\"; async = true",
    ]);
    let get = ask(&gateway, "GET", "/a/7", &[], "");
    let head = ask(&gateway, "HEAD", "/a/7", &[], "");
    assert_eq!((head.status, head.header("content-type")), (200, get.header("content-type")));
    assert!(head.header("content-length").is_some(), "{head:?}");
    let options = ask(&gateway, "OPTIONS", "/a/7", &[], "");
    assert_eq!((options.status, options.header("allow")), (204, Some("GET, HEAD, OPTIONS")));
    // There is no result yet that a HEAD could be about.
    for path in ["/later", "/local/x/v1/async/told"] {
        let (head, options) = (ask(&gateway, "HEAD", path, &[], ""), ask(&gateway, "OPTIONS", path, &[], ""));
        assert_eq!((head.status, options.status), (405, 204), "{path}");
        assert_eq!((head.header("allow"), options.header("allow")), (Some("GET, POST, OPTIONS"), head.header("allow")));
    }
    // An app answers for itself.
    let mut wire = Wire::open(&gateway);
    let answer = wire.send(request("OPTIONS", "/app/", &[], "")).answer();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/told")), "{answer:?}");
}

#[test]
fn a_whole_app_sees_the_path_below_its_route() {
    let gateway =
        serving(&["path = \"/shop/{rest...}\"; to = \"x\"", "path = \"/hook/{id}\"; to = \"x\"; methods = [\"POST\"]"]);
    let seen = |method: &str, path: &str| {
        let answer = ask(&gateway, method, path, &[], "");
        assert_eq!(answer.status, 200, "{answer:?}");
        let (request, headers): (Value, Vec<(String, String)>) = serde_json::from_str(&answer.body).unwrap();
        let prefix = headers.into_iter().find(|(name, _)| name == "x-forwarded-prefix").map(|(_, value)| value);
        (request["uri"].as_str().unwrap().to_owned(), prefix)
    };
    let below = |uri: &str| (uri.to_owned(), Some("/shop".to_owned()));
    for (path, uri) in
        [("/shop", "/"), ("/shop/", "/"), ("/shop?a=1", "/?a=1"), ("/shop/a%20b/c?d=%2F", "/a%20b/c?d=%2F")]
    {
        for method in ["GET", "DELETE", "PROPFIND"] {
            assert_eq!(seen(method, path), below(uri), "{method} {path}");
        }
    }
    assert_eq!(seen("POST", "/hook/7?a"), ("/hook/7?a".to_owned(), None));
    assert_refused(&ask(&gateway, "PUT", "/hook/7", &[], ""), 405, "method_not_allowed");
    for path in ["/shop/../x", "/shop/%2e%2e/x", "/shop/a%5cb", "/shop/%0d%0a"] {
        assert_refused(&ask(&gateway, "GET", path, &[], ""), 400, "bad_name");
    }
    assert_refused(&ask(&gateway, "TRACE", "/shop/a", &[], ""), 405, "method_not_allowed");
}

#[test]
fn the_gateways_own_addresses_are_never_taken() {
    let gateway = serving(&["path = \"/{rest...}\"; to = \"x\""]);
    for (path, status) in
        [("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/api/inspect", 200), ("/api/none", 404)]
    {
        let answer = ask(&gateway, "GET", path, &[], "");
        assert_eq!((answer.status, answer.header("content-type") == Some("text/told")), (status, false), "{path}");
    }
    for path in ["/local/x/v1/call/none", "/loca%6c/x/v1/call/none", "/local/none", "/%61pi/inspect", "/local"] {
        assert_eq!(ask(&gateway, "GET", path, &[], "").status, 404, "{path}");
    }
    for path in ["/", "/index.html", "/a/b", "/localhost"] {
        assert_eq!(ask(&gateway, "GET", path, &[], "").header("content-type"), Some("text/told"), "{path}");
    }
}

#[test]
fn a_function_has_the_same_plugins_by_a_route() {
    let plugin = Plugin::new().before_invoke(|c| {
        let method = c.call("invocation", "method", "");
        c.tell(&method.text());
    });
    let files = Files::new();
    let file = files.put("p.wasm", plugin.component());
    let tables = extended(&[("SERVES_HTTP", "yes")])
        + &table("p", &file, "deployments = [\"x\"]\nfunctions = [\"told\"]")
        + &routes(&[
            "path = \"/told/{id}\"; to = \"x/told\"; methods = [\"GET\", \"PUT\"]",
            "path = \"/app/{r...}\"; to = \"x\"",
        ]);
    let gateway = Gateway::ready(&tables);
    for method in ["GET", "PUT"] {
        assert_eq!(ask(&gateway, method, "/told/1", &[], "").message(), method);
    }
    assert_eq!(ask(&gateway, "GET", "/app/call/told", &[], "").status, 200);
}

#[test]
fn a_reload_swaps_all_routes_at_once_and_an_upload_fills_one() {
    let server = "[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\ndata_dir = \"data\"\n";
    let tables = |paths: &[&str]| {
        let own: Vec<String> = paths.iter().map(|path| format!("path = {path:?}; to = \"x/told\"")).collect();
        let own: Vec<&str> = own.iter().map(String::as_str).chain(["path = \"/later\"; to = \"later/f\""]).collect();
        format!("{server}{}{}", extended(&[]), routes(&own))
    };
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("metagate.toml"), tables(&["/a", "/b"])).unwrap();
    let gateway = Gateway::start_in(folder, |_| {});
    gateway.wait_ready();
    gateway.wait_log("route /later leads to \"later\", which is no deployment of this file");
    let status = |path: &str| ask(&gateway, "GET", path, &[], "").status;
    assert_eq!(["/a", "/b", "/c"].map(status), [200, 200, 404]);
    assert_refused(&ask(&gateway, "GET", "/later", &[], ""), 404, "deployment_not_found");
    gateway.ship("later", &crate::deploys::package(&[("app.py", "def f():\n    return 5\n")]));
    assert_eq!(ask(&gateway, "GET", "/later", &[], "").body, "5");
    let workers = gateway.worker_pids();
    fs::write(gateway.folder.path().join("metagate.toml"), tables(&["/b", "/c"])).unwrap();
    wait_for("the reload", || (status("/c") == 200).then_some(()));
    assert_eq!(["/a", "/b", "/c", "/later"].map(status), [404, 200, 200, 200]);
    fs::write(gateway.folder.path().join("metagate.toml"), tables(&["/{id}/{id}"])).unwrap();
    gateway.wait_log("two parameters have one name");
    assert_eq!(["/a", "/b", "/c"].map(status), [404, 200, 200]);
    assert_eq!(gateway.worker_pids(), workers);
}

#[test]
fn a_route_has_its_own_cors() {
    let cors = "[server]\n[server.cors]\norigins = [\"https://a.example\"]\n".to_owned();
    let tables = cors
        + &extended(&[])
        + &routes(&[
            "path = \"/a\"; to = \"x/told\"",
            "path = \"/b\"; to = \"x/told\"; [route.cors]; origins = [\"https://b.example\"]",
        ]);
    let gateway = Gateway::ready(&tables);
    let allowed = |path: &str, origin: &str| {
        let headers = [("origin", origin), ("access-control-request-method", "GET")];
        let preflight = ask(&gateway, "OPTIONS", path, &headers, "");
        let answer = ask(&gateway, "GET", path, &headers[..1], "");
        let name = "access-control-allow-origin";
        assert_eq!(preflight.header(name), answer.header(name), "{path} {origin}");
        answer.header(name).is_some()
    };
    assert!(allowed("/a", "https://a.example") && !allowed("/a", "https://b.example"));
    assert!(allowed("/b", "https://b.example") && !allowed("/b", "https://a.example"));
}
