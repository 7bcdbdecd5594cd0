//! Web apps of Node: real frameworks from npm, handlers and `fetch`, found among the exports or named, and handlers of
//! AWS Lambda. No app opens a port.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::exports::folder;
use crate::faulty::assert_error;
use crate::support::{Answer, Gateway, wait_for};
use crate::wire;

const HTTP: &str = "/local/it/v1/http";

/// Packages from npm; `tests/run.sh` installs them.
fn packages() -> PathBuf {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/npm/node_modules");
    assert!(packages.join("express").is_dir(), "run \"npm install\" in tests/npm: there is no express");
    packages
}

/// Serves a folder with these files as `it`, with more lines of its table.
fn serving(files: &[(&str, &str)], keys: &str) -> (Gateway, TempDir) {
    let folder = folder(files);
    symlink(packages(), folder.path().join("node_modules")).unwrap();
    let table = format!("[[deployment]]\nname = \"it\"\npath = {:?}\n{keys}", folder.path());
    (Gateway::ready(&table), folder)
}

fn get(gateway: &Gateway, path: &str) -> Answer {
    wire::send(gateway, "GET", &format!("{HTTP}{path}"), &[], "")
}

fn post(gateway: &Gateway, path: &str, body: &str) -> Answer {
    wire::send(gateway, "POST", &format!("{HTTP}{path}"), &[("content-type", "application/json")], body)
}

/// The bytes at /binary.
fn binary(gateway: &Gateway) -> Vec<u8> {
    let url = gateway.url(&format!("{HTTP}/binary"));
    Command::new("curl").args(["--silent", "--fail", &url]).output().unwrap().stdout
}

const EXPRESS: &str = r#"
const express = require('express');
const app = express();
app.use(express.json());
app.get('/users/:id', (req, res) => res.set('x-a', 'b').cookie('c', '1').cookie('d', '2').json({
  id: req.params.id, query: req.query, ip: req.ip, host: req.hostname, protocol: req.protocol,
}));
app.post('/users', (req, res) => res.status(201).json(req.body));
app.get('/binary', (req, res) => res.type('png').send(Buffer.from([0, 255, 1])));
app.get('/fail', () => { throw Object.assign(new Error('no such user'), { status: 404 }); });
const router = express.Router();
router.get('/deep', (req, res) => res.json([req.baseUrl, req.url, req.originalUrl]));
app.use('/sub', router);
"#;

#[test]
fn an_express_app_is_served() {
    let (gateway, _folder) = serving(&[("index.js", &format!("{EXPRESS}module.exports = app;"))], "");
    let answer = get(&gateway, "/users/7?a=1&a=2");
    let expected =
        json!({"id": "7", "query": {"a": ["1", "2"]}, "ip": "127.0.0.1", "host": "test", "protocol": "http"});
    assert_eq!((answer.status, answer.header("x-a"), answer.json()), (200, Some("b"), expected));
    let cookies: Vec<&str> =
        answer.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value.as_str()).collect();
    assert_eq!(cookies, ["c=1; Path=/", "d=2; Path=/"]);
    let created = post(&gateway, "/users", r#"{"name":"Ada"}"#);
    assert_eq!((created.status, created.json()), (201, json!({"name": "Ada"})));
    assert_eq!(binary(&gateway), b"\x00\xff\x01");
    // The framework answers for its own errors.
    for (path, words) in [("/fail", "no such user"), ("/nowhere", "Cannot GET")] {
        let failed = get(&gateway, path);
        assert_eq!((failed.status, failed.header("x-metagate-error")), (404, None), "{failed:?}");
        assert!(failed.body.contains(words), "{failed:?}");
    }
    let expected = [format!("{HTTP}/sub"), "/deep".to_owned(), format!("{HTTP}/sub/deep")];
    assert_eq!(get(&gateway, "/sub/deep").json(), json!(expected));
    // Nothing of it is a function.
    assert_eq!(gateway.call("it", "http", "").code(), "function_not_found");
}

#[test]
fn an_app_is_served_by_routes() {
    let routes = "[[route]]\npath = \"/shop/{rest...}\"\nto = \"it\"\n\
        [[route]]\npath = \"/{rest...}\"\nhost = \"shop.test\"\nto = \"it\"\n";
    let (gateway, _folder) = serving(&[("index.js", &format!("{EXPRESS}module.exports = app;"))], routes);
    let below = wire::send(&gateway, "GET", "/shop/sub/deep?a=1", &[], "");
    assert_eq!(below.json(), json!(["/shop/sub", "/deep?a=1", "/shop/sub/deep?a=1"]));
    let mut wire = wire::Wire::open(&gateway);
    wire.send("GET /sub/deep HTTP/1.1\r\nhost: shop.test\r\n\r\n");
    assert_eq!(wire.answer().json(), json!(["/sub", "/deep", "/sub/deep"]));
}

#[test]
fn an_app_passes_the_same_tests_served_and_alone() {
    let (gateway, folder) =
        serving(&[("index.js", &format!("{EXPRESS}exports.app = app; exports.add = () => 1;"))], "");
    let test = r#"
const request = require('supertest');
const { app } = require('./index.js');
(async () => {
  for (const target of [app, process.argv[2]]) {
    const shown = await request(target).get('/users/7').query({ q: 'ü' }).expect(200).expect('Content-Type', /json/);
    if (shown.body.id !== '7' || shown.body.query.q !== 'ü') throw new Error(shown.text);
    await request(target).post('/users').send({ name: 'Ada' }).expect(201, { name: 'Ada' });
    await request(target).head('/users/7').expect(200).expect('x-a', 'b');
    await request(target).get('/fail').expect(404);
    await request(target).get('/binary').expect('content-length', '3').expect(200);
  }
})().catch((error) => { console.error(error); process.exit(1); });
"#;
    fs::write(folder.path().join("test.js"), test).unwrap();
    let output = Command::new("node").arg(folder.path().join("test.js")).arg(gateway.url(HTTP)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(gateway.call("it", "add", "").code(), "function_not_found");
    let log = gateway.worker_log("it");
    assert!(log.contains("index.js exports a web app: functions are not called (add)"), "{log}");
}

#[test]
fn apps_of_other_frameworks_are_served() {
    let fastify = "const app = require('fastify')();
        app.get('/a', async (request) => ({ url: request.url, ip: request.ip }));
        app.post('/b', async (request, reply) => { reply.code(201); return request.body; });
        module.exports = app;";
    let koa = "const Koa = require('koa');
        const app = new Koa();
        app.use(async (ctx) => {
          if (ctx.method === 'POST') { ctx.status = 201; ctx.type = 'json'; ctx.body = ctx.req; return; }
          ctx.body = { url: ctx.url, ip: ctx.ip };
        });
        module.exports = { app };";
    let handler = "exports.handler = async (req, res) => {
          if (req.method === 'POST') { res.statusCode = 201; req.pipe(res); return; }
          res.end(JSON.stringify({ url: req.url, ip: req.socket.remoteAddress }));
        };";
    let server =
        format!("const http = require('http'); {handler} module.exports = http.createServer(exports.handler);");
    let fetch = "import { request } from 'metagate';
        export default {
          async fetch(incoming) {
            if (incoming.method === 'POST') return new Response(incoming.body, { status: 201 });
            const { pathname, search } = new URL(incoming.url);
            return Response.json({ url: pathname + search, ip: request().client });
          },
        };";
    let files = [("index.js", fastify), ("index.js", koa), ("index.js", handler), ("index.js", &server)];
    for (file, text) in files.into_iter().chain([("index.mjs", fetch)]) {
        let package = format!("{{\"exports\":\"./{file}\"}}");
        let (gateway, _folder) = serving(&[(file, text), ("package.json", &package)], "");
        let shown = get(&gateway, "/a?b=1");
        assert_eq!((shown.status, shown.json()), (200, json!({"url": "/a?b=1", "ip": "127.0.0.1"})), "{text}");
        let created = post(&gateway, "/b", r#"{"name":"Ada"}"#);
        assert_eq!((created.status, created.json()), (201, json!({"name": "Ada"})), "{text}");
    }
}

#[test]
fn what_a_listener_of_a_server_throws_at_once_is_the_error_of_its_call() {
    let server = "const http = require('http');
        module.exports = http.createServer((req, res) => {
          if (req.url === '/bad') throw new Error('thrown at once');
          res.end(String(process.pid));
        });";
    let (gateway, _folder) = serving(&[("index.js", server)], "");
    let before = get(&gateway, "/").body;
    let answer = get(&gateway, "/bad");
    assert_eq!((answer.status, answer.code()), (500, "function_error"), "{answer:?}");
    assert!(answer.message().contains("thrown at once"), "{answer:?}");
    assert_eq!(get(&gateway, "/").body, before);
}

#[test]
fn an_app_that_listens_opens_no_port() {
    let listening = "let at;
        const server = app.listen(3000, () => { at = server.address().port; });
        app.get('/port', (req, res) => res.json([at, server.listening]));";
    let (gateway, _folder) = serving(&[("index.js", &format!("{EXPRESS}{listening}"))], "");
    assert_eq!(get(&gateway, "/port").json(), json!([3000, true]));
    let log = gateway.worker_log("it");
    assert!(log.contains("listen(3000) opens no port"), "{log}");
    let [pid] = gateway.worker_pids()[..] else { panic!("one worker") };
    assert_eq!(listening_sockets(pid), 0);
}

/// How many sockets of a process wait for connections of the network.
fn listening_sockets(pid: u32) -> usize {
    let tables = ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default());
    let rows = tables.iter().flat_map(|table| table.lines().skip(1));
    let fields = rows.map(|row| row.split_whitespace().collect::<Vec<_>>());
    let waiting: Vec<String> =
        fields.filter(|fields| fields[3] == "0A").map(|fields| format!("socket:[{}]", fields[9])).collect();
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(Result::unwrap);
    let targets = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.filter(|target| waiting.iter().any(|socket| target.as_os_str() == socket.as_str())).count()
}

#[test]
fn a_server_that_functions_use_listens() {
    let helper = "const server = require('http').createServer((req, res) => res.end('inner'));
        server.listen(0, '127.0.0.1');
        exports.inner = async () => (await fetch(`http://127.0.0.1:${server.address().port}`)).text();";
    let (gateway, _folder) = serving(&[("index.js", helper)], "");
    assert_eq!(gateway.call("it", "inner", "").json(), json!("inner"));
}

#[test]
fn an_app_may_be_named() {
    let files = [
        ("index.js", "throw new Error('this is another program');"),
        ("web/main.js", "exports.apps = { shop: (req, res) => res.end(`shop ${req.url}`), other: 1 };"),
    ];
    let (gateway, _folder) = serving(&files, "app = \"web/main:apps.shop\"\n");
    assert_eq!(get(&gateway, "/a").body, "shop /a");
}

#[test]
fn a_missing_app_is_a_failed_load() {
    let folder = folder(&[("index.js", "exports.f = () => 1;")]);
    let table = |app| format!("[[deployment]]\nname = \"it\"\npath = {:?}\napp = {app:?}\n", folder.path());
    for (app, words) in [("index:shop", "there is no app at \"index:shop\""), ("main", "there is no script \"main\"")] {
        let gateway = Gateway::start(&table(app));
        wait_for("the reason", || gateway.worker_log("it").contains(words).then_some(()));
    }
}

#[test]
fn an_exception_out_of_a_handler_is_the_calls_error() {
    let handler = "module.exports = (req, res) => {
          if (req.url === '/later') return Promise.reject(new Error('later'));
          if (req.url === '/cut') { res.writeHead(200, { 'content-length': 9 }).write('a'); res.destroy(); return; }
          if (req.url === '/now') throw new Error('now');
          res.end('ok');
        };";
    let (gateway, _folder) = serving(&[("index.js", handler)], "");
    for (path, words) in [("/now", "now"), ("/later", "later"), ("/cut", "closed the connection")] {
        let failed = get(&gateway, path);
        assert_eq!((failed.status, failed.code()), (500, "function_error"));
        assert!(failed.message().contains(words), "{failed:?}");
    }
    assert_eq!(get(&gateway, "/").body, "ok");
}

#[test]
fn handlers_of_lambda_take_events() {
    let handler = "exports.handler = async (event, context) => {
          if (event.rawPath === '/event') return { ...event, left: context.getRemainingTimeInMillis() > 0 };
          if (event.rawPath === '/one') return { statusCode: 200, cookies: 'a=1' };
          if (event.rawPath === '/number') return { statusCode: 200, cookies: 1 };
          if (event.rawPath === '/bad') return { statusCode: 200, body: 'no base64!', isBase64Encoded: true };
          return { statusCode: 202, headers: { 'X-A': 1, 'content-type': 'text/plain' },
            multiValueHeaders: { 'x-m': ['1', '2'] }, cookies: ['a=1', 'b=2'], body: 'aGk=', isBase64Encoded: true };
        };";
    let (gateway, _folder) = serving(&[("index.js", handler)], "handler = \"lambda\"\n");
    let headers = [("cookie", "c=1; d=2"), ("x-twice", "1"), ("x-twice", "2"), ("user-agent", "test")];
    let event = wire::send(&gateway, "POST", &format!("{HTTP}/event?a=1&a=2"), &headers, b"\xff").json();
    let part = |path: &str| event.pointer(path).cloned().unwrap_or(Value::Null);
    assert_eq!(
        (part("/version"), part("/rawQueryString"), part("/left")),
        (json!("2.0"), json!("a=1&a=2"), json!(true))
    );
    assert_eq!((part("/body"), part("/isBase64Encoded")), (json!("/w=="), json!(true)));
    assert_eq!((part("/cookies"), part("/headers/x-twice")), (json!(["c=1", "d=2"]), json!("1,2")));
    assert_eq!((part("/queryStringParameters"), part("/headers/cookie")), (json!({"a": "1,2"}), Value::Null));
    let http = json!({"method": "POST", "path": "/event", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1",
        "userAgent": "test"});
    assert_eq!(part("/requestContext/http"), http);
    let answer = get(&gateway, "/");
    assert_eq!((answer.status, answer.body.as_str(), answer.header("x-a")), (202, "hi", Some("1")));
    let all = |name: &str| answer.headers.iter().filter(|(key, _)| key == name).count();
    assert_eq!((all("x-m"), all("set-cookie"), all("content-type")), (2, 2, 1));
    assert_eq!(get(&gateway, "/one").header("set-cookie"), Some("a=1"), "a text is one cookie");
    for path in ["/number", "/bad"] {
        assert_error(&get(&gateway, path), 500, "function_error");
    }
}

#[test]
fn an_app_of_serverless_http_is_a_handler_of_lambda() {
    let wrapped = format!("{EXPRESS}exports.handler = require('serverless-http')(app, {{ binary: ['image/*'] }});");
    let (gateway, _folder) = serving(&[("index.js", &wrapped)], "handler = \"lambda\"\n");
    let shown = get(&gateway, "/users/7?a=1");
    assert_eq!(
        (shown.status, shown.json()["id"].clone(), shown.json()["ip"].clone()),
        (200, json!("7"), json!("127.0.0.1"))
    );
    let created = post(&gateway, "/users", r#"{"name":"Ada"}"#);
    assert_eq!((created.status, created.json()), (201, json!({"name": "Ada"})));
    assert_eq!(binary(&gateway), b"\x00\xff\x01");
}
