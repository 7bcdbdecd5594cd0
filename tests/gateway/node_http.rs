//! The module `metagate` of Node functions: the request of a call, its log, and answers with more than JSON.

use std::process::Command;

use serde_json::{Value, json};

use crate::exports::folder;
use crate::support::{Answer, Gateway, fixture, wait_for};
use crate::wire::{self, Wire};

const CALL: &str = "/local/it/v1/call";

fn serving() -> Gateway {
    Gateway::ready(&format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", fixture("http-node")))
}

fn get(gateway: &Gateway, function: &str, headers: &[(&str, &str)]) -> Answer {
    wire::send(gateway, "GET", &format!("{CALL}/{function}"), headers, "")
}

#[test]
fn a_function_sees_the_request_of_its_call() {
    let gateway = serving();
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let one = |n: usize| {
            let id = format!("call-{n}");
            get(&gateway, &format!("who?a={n}&a=2"), &[("x-request-id", &id), ("x-a", &id)]).json()
        };
        let calls: Vec<_> = (0..4).map(|n| scope.spawn(move || one(n))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    for (n, answer) in answers.iter().enumerate() {
        let id = format!("call-{n}");
        let expected = json!({"id": id, "method": "GET", "path": format!("{CALL}/who"), "a": [n.to_string(), "2"],
            "header": id, "client": "127.0.0.1", "scheme": "http", "host": "test", "base": CALL, "context": {},
            "isSoon": true});
        assert_eq!(*answer, expected);
    }
}

#[test]
fn lines_of_log_are_json_with_the_id_of_the_request() {
    let gateway = serving();
    let headers = [("x-request-id", "abc"), ("content-type", "application/json")];
    wire::send(&gateway, "POST", &format!("{CALL}/say"), &headers, r#"["warn","größe"]"#);
    let log = wait_for("the lines", || Some(gateway.worker_log("it")).filter(|log| log.contains("without")));
    let lines: Vec<Value> =
        log.lines().filter_map(|line| serde_json::from_str(&line[line.find('{')?..]).ok()).collect();
    let warning = json!({"level": "warn", "message": "größe", "request_id": "abc", "count": 3});
    assert_eq!(lines, [warning, json!({"level": "info", "message": "without a level", "request_id": "abc"})]);
}

#[test]
fn a_response_of_the_web_is_the_answer() {
    let gateway = serving();
    let path = format!("{CALL}/picture");
    let answer = Wire::open(&gateway).send(wire::request("GET", &path, &[], "")).answer_without_body();
    assert_eq!((answer.status, answer.header("content-type")), (201, Some("image/gif")));
    let cookies: Vec<&str> =
        answer.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value.as_str()).collect();
    assert_eq!((cookies, answer.header("content-length")), (vec!["a=1", "b=2"], Some("7")));
    let bytes = Command::new("curl").args(["--silent", &gateway.url(&path)]).output().unwrap().stdout;
    assert_eq!(bytes, b"GIF89a\xff");
    let thrown = get(&gateway, "teapot", &[]);
    assert_eq!((thrown.status, thrown.body.as_str()), (418, "short and stout"));
    assert_eq!(gateway.call("it", "isFile", "").json(), json!(3));
}

#[test]
fn a_thrown_error_has_its_status() {
    let gateway = serving();
    let answer = gateway.call("it", "fail", r#"[404,"no such order"]"#);
    assert_eq!((answer.status, answer.code(), answer.message().as_str()), (404, "function_error", "no such order"));
    assert_eq!(answer.header("retry-after"), Some("5"));
    for status in [399, 600] {
        let answer = gateway.call("it", "fail", &format!("[{status},\"x\"]"));
        assert_eq!((answer.status, answer.code()), (500, "function_error"));
    }
    let hidden = gateway.call("it", "hide", "");
    assert_eq!((hidden.status, hidden.message().as_str()), (503, "Service Unavailable"));
    wait_for("the error itself", || gateway.worker_log("it").contains("the password is wrong").then_some(()));
}

#[test]
fn the_module_is_known_to_scripts_that_others_load() {
    let packages = [
        ("a/index.js", "exports.f = () => require('./inner.js').f();"),
        ("a/inner.js", "exports.f = () => require('metagate').request().id;"),
        ("b/index.mjs", "export { f } from './lib/inner.mjs';"),
        ("b/lib/inner.mjs", "import { request } from 'metagate'; export const f = () => request().id;"),
        ("c/index.mjs", "import { request } from 'metagate'; export const f = () => request();"),
        ("c/node_modules/metagate/index.js", "exports.request = () => 'own';"),
        ("d/index.js", "exports.f = () => require('meta' + 'gate').request();"),
    ];
    let folder = folder(&packages);
    let table = |name| format!("[[deployment]]\nname = {name:?}\npath = {:?}\n", folder.path().join(name));
    let gateway = Gateway::ready(&["a", "b", "c", "d"].map(table).concat());
    let call = |name| wire::send(&gateway, "GET", &format!("/local/{name}/v1/call/f"), &[("x-request-id", "abc")], "");
    assert_eq!([call("a").json(), call("b").json(), call("c").json()], [json!("abc"), json!("abc"), json!("own")]);
    let unknown = call("d");
    assert!(unknown.message().contains("import metagate at the top of the script"), "{unknown:?}");
}

#[test]
fn the_types_of_the_module_are_those_of_the_worker() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = "import { request, log, Response, File } from 'metagate';
        export function f(file: File): Response {
          log('warn', 'size', { size: file.size });
          log(file.name);
          const { id, query, headers, deadline, context, signal } = request();
          const left: number | undefined = deadline && deadline.getTime() - Date.now();
          return Response.json([id, query.get('a'), headers.get('b'), left, context.user.sub, signal.aborted], {
            status: new File([], 'x').size,
          });
        }
        // @ts-expect-error: there is no such level
        log('loud', 'x', {});
        // @ts-expect-error: the request is read
        request().id = 'x';
    ";
    let settings = json!({
        "files": ["index.ts"],
        "compilerOptions": {
            "noEmit": true, "strict": true, "target": "es2022", "module": "esnext", "moduleResolution": "bundler",
            "lib": ["es2022", "dom", "dom.iterable"], "types": [],
            "paths": {"metagate": [root.join("types/metagate.d.ts")]},
        },
    });
    let folder = folder(&[("index.ts", script), ("tsconfig.json", &settings.to_string())]);
    let compiler = root.join("tests/npm/node_modules/typescript/bin/tsc");
    let output = Command::new("node").arg(compiler).arg("-p").arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// A form of `multipart/form-data`: heads of its parts and their contents.
fn form(parts: &[(&str, &str)]) -> String {
    let one =
        |(head, content): &(&str, &str)| format!("--x\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n");
    parts.iter().map(one).collect::<String>() + "--x--\r\n"
}

#[test]
fn fields_and_files_of_a_form_are_arguments() {
    let gateway = serving();
    let send = |function: &str, parts: &[(&str, &str)]| {
        gateway.post(&format!("{CALL}/{function}"), &[("content-type", "multipart/form-data; boundary=x")], form(parts))
    };
    let picture = "name=\"picture\"; filename=\"größe.png\"\r\nContent-Type: image/png";
    let answer = send("upload", &[("name=\"count\"", "7"), (picture, "abc"), ("name=\"title\"", "ü")]);
    let expected = json!({"title": "ü", "name": "größe.png", "type": "image/png", "text": "abc", "count": 7});
    assert_eq!(answer.json(), expected);
    let wrong = send("upload", &[(picture, "abc"), ("name=\"title\"; filename=\"a\"", "ü")]);
    assert_eq!((wrong.status, wrong.code()), (422, "bad_argument"));
    // A file inside a result is what is known of it.
    let known = json!([{"name": "größe.png", "type": "image/png", "size": 3}]);
    assert_eq!(send("echo", &[(picture, "abc")]).json(), known);
    let large = "x".repeat(3 << 20);
    let several = [
        ("name=\"content\"; filename=\"a\"", large.as_str()),
        ("name=\"others[]\"; filename=\"b\"", "1"),
        ("name=\"others[]\"; filename=\"c\"", "12"),
    ];
    assert_eq!(send("sizes", &several).json(), json!([3 << 20, 1, 2]));
    let malformed = gateway.post(
        &format!("{CALL}/upload"),
        &[("content-type", "multipart/form-data; boundary=x")],
        "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1",
    );
    assert_eq!((malformed.status, malformed.code()), (400, "bad_request"));
}

#[test]
fn bodies_of_other_types_are_bytes_or_text() {
    let gateway = serving();
    let send = |function: &str, kind: &str, body: &[u8]| {
        gateway.post(&format!("{CALL}/{function}"), &[("content-type", kind)], body).json()
    };
    assert_eq!(send("bytes", "application/octet-stream", b"[\xff"), json!([true, [91, 255]]));
    assert_eq!(send("sizes", "image/gif", b"GIF89a"), json!([6]));
    assert_eq!(send("echo", "text/plain", b"no JSON\n"), json!(["no JSON\n"]));
    assert_eq!(send("echo", "text/plain", b"[1, 2]"), json!(["[1, 2]"]));
    assert_eq!(send("bytes", "application/x-own", b"a"), json!([true, [97]]));
}
