//! Web applications in Python, with the real frameworks, and handlers of Lambda.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::exports::folder;
use crate::faulty::{assert_error, assert_ok};
use crate::support::{Answer, Gateway, fixture, wait_for};

pub(crate) const BASE: &str = "/local/it/v1/http";

/// Frameworks from PyPI; `tests/run.sh` installs them.
fn packages() -> PathBuf {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pypi/packages");
    assert!(packages.join("fastapi").is_dir(), "run tests/run.sh: there is no fastapi in tests/pypi/packages");
    packages
}

/// A gateway that serves a fixture as `it`, with the frameworks.
pub(crate) fn serving(name: &str, keys: &str) -> (Gateway, TempDir) {
    let copy = tempfile::tempdir().unwrap();
    let copied =
        Command::new("cp").arg("-r").arg(fixture("python-apps").join(name).join(".")).arg(copy.path()).status();
    assert!(copied.unwrap().success());
    std::fs::create_dir(copy.path().join(".packages")).unwrap();
    symlink(packages(), copy.path().join(".packages/python")).unwrap();
    let gateway = Gateway::ready(&format!("[[deployment]]\nname = \"it\"\npath = {:?}\n{keys}\n", copy.path()));
    (gateway, copy)
}

pub(crate) fn get(gateway: &Gateway, path: &str) -> Answer {
    gateway.get(&format!("{BASE}{path}"))
}

fn form() -> (&'static str, &'static str) {
    let body = "--B\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nhello\r\n--B\r\n\
                content-disposition: form-data; name=\"a\"\r\n\r\n1\r\n--B--\r\n";
    ("multipart/form-data; boundary=B", body)
}

pub(crate) fn wait_output(gateway: &Gateway, text: &str) {
    wait_for(text, || gateway.worker_log("it").contains(text).then_some(()));
}

#[test]
fn fastapi_is_served_whole() {
    let (gateway, _copy) = serving("fastapi", "");
    let answer = get(&gateway, "/hi/bob?count=2");
    assert_ok(&answer, r#"{"hi":"bob","count":2,"who":"127.0.0.1"}"#);
    assert_eq!((answer.header("content-type"), answer.header("x-middleware")), (Some("application/json"), Some("ran")));
    assert_eq!(get(&gateway, "/hi/bob?count=x").status, 422);
    let answer = gateway.get_with(&format!("{BASE}/urls"), &[("host", "shop.example")]);
    assert_ok(&answer, &format!(r#"["open","{BASE}","http://shop.example{BASE}/urls"]"#));
    assert_eq!(get(&gateway, "/openapi.json").json()["servers"], json!([{"url": BASE}]));
    assert!(get(&gateway, "/docs").body.contains(&format!("{BASE}/openapi.json")));
    let answer = get(&gateway, "/teapot");
    assert_eq!((answer.status, answer.body.as_str()), (418, r#"{"detail":{"why":"tea"}}"#));
    assert_eq!((answer.header("x-tea"), get(&gateway, "/none").status), (Some("green"), 404));
    assert_eq!((get(&gateway, "/boom").status, get(&gateway, "/boom").body.as_str()), (500, "Internal Server Error"));
    wait_output(&gateway, "ValueError: boom");
    let (content_type, body) = form();
    let answer = gateway.post(&format!("{BASE}/upload"), &[("content-type", content_type)], body);
    assert_ok(&answer, r#"["a.txt","hello"]"#);
    assert_ok(&gateway.post(&format!("{BASE}/length"), &[], vec![0xff; 300_000]), "300000");
    assert_ok(&get(&gateway, "/background"), "\"started\"");
    wait_output(&gateway, "ran in the background");
    for function in ["hi", "helper", "caller"] {
        assert_error(&gateway.call("it", function, "[]"), 404, "function_not_found");
    }
}

#[test]
fn the_lifespan_surrounds_the_calls() {
    let (mut gateway, copy) = serving("fastapi", "concurrency = 1\nworkers = 1");
    wait_output(&gateway, "startup");
    gateway.signal(rustix::process::Signal::TERM);
    gateway.wait_end();
    let found = Command::new("grep").arg("-rh").arg("shutdown").arg(gateway.folder.path()).output().unwrap();
    assert!(String::from_utf8_lossy(&found.stdout).contains("shutdown"), "{found:?}");
    let failing = "from contextlib import asynccontextmanager\nfrom starlette.applications import Starlette\n\n\
                   @asynccontextmanager\nasync def lifespan(app):\n    raise RuntimeError('no database')\n    yield\n\n\
                   app = Starlette(lifespan=lifespan)\n";
    std::fs::write(copy.path().join("main.py"), failing).unwrap();
    let gateway = Gateway::start(&format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", copy.path()));
    wait_for("a load that failed", || gateway.log().contains("RuntimeError: no database").then_some(()));
    assert_eq!(get(&gateway, "/").status, 503);
}

#[test]
fn flask_is_served_with_the_functions_that_are_named() {
    let (gateway, _copy) = serving("flask", "");
    let answer = get(&gateway, "/hi/gr%C3%BCn?a=1&a=2");
    let expected = json!({"hi": "grün", "all": ["1", "2"], "url": format!("{BASE}/hi/x"), "who": "127.0.0.1"});
    assert_eq!(answer.json(), expected);
    assert_ok(&gateway.call("it", "add", r#"{"a":1,"b":2}"#), "3");
    assert_error(&gateway.call("it", "hi", "[]"), 404, "function_not_found");
    let answer = get(&gateway, "/session");
    let cookies = answer.headers.iter().filter(|(name, _)| name == "set-cookie").count();
    assert_eq!((answer.body.as_str(), cookies), ("\"kept\"\n", 2));
    let answer = get(&gateway, "/missing");
    assert_eq!((answer.status, answer.body.contains("no such page")), (404, true));
    let (content_type, body) = form();
    let answer = gateway.post(&format!("{BASE}/form"), &[("content-type", content_type)], body);
    assert_eq!(answer.json(), json!([{"a": "1"}, "hello"]));
    assert_ok(&gateway.post(&format!("{BASE}/length"), &[], vec![0xff; 300_000]), "300000");
}

#[test]
fn the_test_clients_of_the_frameworks_see_the_same_answers() {
    for (framework, requests) in [("fastapi", 10), ("flask", 7)] {
        let (gateway, _copy) = serving(framework, "");
        let mut client = Command::new("python3");
        client.arg(fixture("python-apps").join("compare.py")).args([framework, &gateway.url(""), BASE]);
        let compared = client.env("PYTHONPATH", packages()).env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
        let output = String::from_utf8_lossy(&compared.stdout).replace("startup\n", "");
        let errors = String::from_utf8_lossy(&compared.stderr);
        assert_eq!(output.replace("teardown\n", ""), format!("compared {requests}\n"), "{errors}");
    }
}

#[test]
fn django_is_served_by_the_name_of_its_application() {
    for interface in ["asgi", "wsgi"] {
        let (gateway, _copy) = serving("django", &format!("app = \"shop.{interface}:application\""));
        let answer = get(&gateway, "/hi/bob?count=2");
        assert_eq!(answer.json(), json!({"hi": "bob", "count": "2", "url": format!("{BASE}/hi/x")}), "{interface}");
        assert_ok(&gateway.post(&format!("{BASE}/length"), &[("content-type", "text/plain")], "größe"), "7");
        assert_eq!(get(&gateway, "/none").status, 404);
    }
}

#[test]
fn handlers_of_lambda_get_events() {
    let (gateway, copy) = serving("lambda", "handler = \"lambda\"");
    let answer = gateway.get_with(&format!("{BASE}/hi/bob?count=2"), &[("cookie", "a=1; b=2")]);
    assert_ok(&answer, r#"{"hi":"bob","count":"2","cookies":{"a":"1","b":"2"}}"#);
    assert_ok(&gateway.post(&format!("{BASE}/length"), &[], [0xff, 0xfe]), "2");
    assert_eq!(get(&gateway, "/none").status, 404);
    let keys = "handler = \"lambda\"\napp = \"main:plain\"\nconcurrency = 1";
    let tables = format!("[[deployment]]\nname = \"it\"\npath = {:?}\n{keys}\n", copy.path());
    let gateway = Gateway::ready(&tables);
    let answer = get(&gateway, "/value");
    assert_ok(&answer, r#"{"plain":true}"#);
    assert_eq!(get(&gateway, "/one").header("set-cookie"), Some("a=1"), "a text is one cookie");
    for path in ["/number", "/bad"] {
        assert_error(&get(&gateway, path), 500, "function_error");
    }
    let answer = get(&gateway, "/");
    let cookies = answer.headers.iter().filter(|(name, _)| name == "set-cookie").count();
    assert_eq!((answer.status, answer.header("content-type"), cookies), (202, Some("image/gif"), 2));
    assert_eq!(answer.header("content-length"), Some("4"));
}

const WSGI: &str = "
from shop.text import greeting

def application(environ, start_response):
    start_response('200 OK', [('content-type', 'text/plain')])
    return [greeting.encode()]
";

#[test]
fn a_named_application_needs_no_script_at_the_top() {
    let files = [("shop/__init__.py", ""), ("shop/text.py", "greeting = 'hello'\n"), ("shop/wsgi.py", WSGI)];
    let folder = folder(&files);
    for (app, runtime) in [("shop.wsgi:application", ""), ("shop.wsgi", "runtime = \"python\"\n")] {
        let table = format!("[[deployment]]\nname = \"it\"\npath = {:?}\napp = {app:?}\n{runtime}", folder.path());
        let gateway = Gateway::ready(&table);
        assert_eq!(get(&gateway, "/").body, "hello", "{app}");
        assert_eq!(gateway.call("it", "greeting", "").code(), "function_not_found");
    }
}

#[test]
fn functions_that_an_application_hides_are_named_in_the_log() {
    let application = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return []\n\n\
                       def add(a, b):\n    return a + b\n";
    let gateway_of = |script: &str| {
        let folder = folder(&[("main.py", script)]);
        let gateway = Gateway::ready(&format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", folder.path()));
        (gateway, folder)
    };
    let (gateway, _folder) = gateway_of(application);
    assert_eq!(gateway.call("it", "add", "[1, 2]").code(), "function_not_found");
    wait_output(&gateway, "main.py exports a web app: functions are not called unless __all__ names them (add)");
    let (gateway, _folder) = gateway_of(&format!("__all__ = ['application', 'add']\n{application}"));
    assert_ok(&gateway.call("it", "add", "[1, 2]"), "3");
    assert!(!gateway.worker_log("it").contains("exports a web app"), "{}", gateway.worker_log("it"));
}
