//! Bodies of requests that apps get as they come, with apps in Python and Node: what the app sees, what bounds it, and
//! what happens when the client, the app or the worker leaves midway.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::exports::folder;
use crate::plugins::component::Plugin;
use crate::plugins::{Files, table};
use crate::python_apps;
use crate::support::{Gateway, wait_for};
use crate::wire::{self, Wire};

const HTTP: &str = "/local/it/v1/http";
const LARGE: usize = 48 << 20;

/// Answers each piece with the bytes so far; `/early` answers at once, `/idle` never, `/die` exits at the first piece.
const ASGI: &str = r#"
import os

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    path = scope["path"]
    if path.endswith("/early"):
        await send({"type": "http.response.start", "status": 403, "headers": []})
        return await send({"type": "http.response.body", "body": b"no"})
    if path.endswith("/idle"):
        import asyncio
        await asyncio.sleep(1000)
    total, has_begun = 0, False
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return print("the client has left", flush=True)
        if path.endswith("/die"):
            os._exit(3)
        total += len(message["body"])
        if not has_begun:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
            has_begun = True
        await send({"type": "http.response.body", "body": b"%d\n" % total, "more_body": message["more_body"]})
        if not message["more_body"]:
            return
"#;

const FETCH: &str = r"
exports.fetch = async (request) => {
  const { pathname } = new URL(request.url);
  if (pathname === '/early') return new Response('no', { status: 403 });
  if (pathname === '/idle') await new Promise(() => {});
  let total = 0;
  const text = new TextEncoder();
  return new Response(new ReadableStream({
    async start(controller) {
      try {
        for await (const piece of request.body) {
          if (pathname === '/die') process.exit(3);
          total += piece.length;
          controller.enqueue(text.encode(`${total}\n`));
        }
        controller.close();
      } catch (error) {
        console.log('the client has left');
        controller.error(error);
      }
    },
  }), { headers: { 'content-type': 'text/plain' } });
};
";

const LISTENER: &str = r"
module.exports = (req, res) => {
  if (req.url === '/early') return res.writeHead(403).end('no');
  if (req.url === '/idle') return;
  let total = 0;
  req.on('data', (piece) => {
    if (req.url === '/die') process.exit(3);
    total += piece.length;
    res.write(`${total}\n`);
  });
  req.on('end', () => res.end());
  req.on('close', () => { if (!req.complete) console.log('the client has left'); });
};
";

fn apps() -> [(&'static str, &'static str); 3] {
    [("main.py", ASGI), ("index.js", FETCH), ("index.cjs", LISTENER)]
}

fn serving(file: &str, app: &str, keys: &str) -> (Gateway, TempDir) {
    let folder = folder(&[(file, app)]);
    let table = deployment(&folder, keys);
    let server = "[server]\nmax_body = \"64MiB\"\n";
    (Gateway::ready(&format!("{server}{table}")), folder)
}

fn deployment(folder: &TempDir, keys: &str) -> String {
    format!("[[deployment]]\nname = \"it\"\npath = {:?}\n{keys}\n", folder.path())
}

/// Sends the head of an upload in chunks.
fn begin(gateway: &Gateway, path: &str) -> TcpStream {
    let mut stream = gateway.connect();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!("POST {HTTP}{path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn send_chunk(stream: &mut TcpStream, bytes: &[u8]) {
    write!(stream, "{:x}\r\n", bytes.len()).unwrap();
    stream.write_all(bytes).unwrap();
    stream.write_all(b"\r\n").unwrap();
}

/// Sends the head of an upload in chunks, and a first one that is large.
fn upload(gateway: &Gateway, path: &str) -> TcpStream {
    let mut stream = begin(gateway, path);
    send_chunk(&mut stream, &[b'x'; 70_000]);
    stream
}

/// Reads until the answer so far has this text.
fn read_until(stream: &mut TcpStream, answer: &mut String, text: &str) {
    let mut buffer = [0; 4096];
    while !answer.contains(text) {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the answer ended: {answer}");
        answer.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
}

#[test]
fn an_app_gets_a_body_as_it_comes() {
    for (file, app) in apps() {
        let (gateway, _folder) = serving(file, app, "");
        let mut stream = begin(&gateway, "/");
        let mut answer = String::new();
        send_chunk(&mut stream, &[b'x'; 70_000]);
        read_until(&mut stream, &mut answer, "\n70000\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{file}: {answer}");
        send_chunk(&mut stream, "ä".as_bytes());
        read_until(&mut stream, &mut answer, "\n70002\n");
        stream.write_all(b"0\r\n\r\n").unwrap();
        read_until(&mut stream, &mut answer, "\r\n0\r\n\r\n");
        // What comes slowly begins to be passed on before it is large.
        let mut slow = begin(&gateway, "/");
        send_chunk(&mut slow, b"a");
        read_until(&mut slow, &mut String::new(), "\n1\n");
    }
}

#[test]
fn a_large_body_takes_no_memory_of_the_gateway() {
    for (file, app) in apps() {
        let (gateway, _folder) = serving(file, app, "");
        let before = gateway.resident_bytes();
        let mut stream = gateway.connect();
        let mut sending = stream.try_clone().unwrap();
        let head = format!("POST {HTTP}/ HTTP/1.1\r\nhost: x\r\ncontent-length: {LARGE}\r\nconnection: close\r\n\r\n");
        let sender = thread::spawn(move || {
            sending.write_all(head.as_bytes()).unwrap();
            let piece: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
            for _ in 0..LARGE >> 20 {
                sending.write_all(&piece).unwrap();
            }
        });
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        sender.join().unwrap();
        assert!(answer.ends_with(&format!("{LARGE}\n\r\n0\r\n\r\n")), "{file}: {}", &answer[..200]);
        let more = gateway.resident_bytes().saturating_sub(before);
        assert!(more < 12 << 20, "{file}: {more} bytes more");
    }
}

#[test]
fn an_app_learns_that_its_client_has_left() {
    for (file, app) in apps() {
        let (gateway, _folder) = serving(file, app, "");
        let mut stream = upload(&gateway, "/");
        read_until(&mut stream, &mut String::new(), "\n70000\n");
        drop(stream);
        wait_for("the app to see it", || gateway.worker_log("it").contains("the client has left").then_some(()));
    }
}

#[test]
fn an_answer_may_come_before_the_body_is_whole() {
    for (file, app) in apps() {
        let (gateway, _folder) = serving(file, app, "timeout = \"1s\"");
        let mut stream = upload(&gateway, "/early");
        let mut answer = String::new();
        read_until(&mut stream, &mut answer, "no");
        assert!(answer.starts_with("HTTP/1.1 403"), "{file}: {answer}");
        // An app that neither reads nor answers is bound by its time.
        let mut stream = begin(&gateway, "/idle");
        for _ in 0..4 {
            send_chunk(&mut stream, &[b'x'; 70_000]);
        }
        let mut answer = String::new();
        read_until(&mut stream, &mut answer, "call_timeout");
        assert!(answer.starts_with("HTTP/1.1 504"), "{file}: {answer}");
    }
}

#[test]
fn the_time_of_an_app_does_not_run_while_its_client_sends() {
    let (gateway, _folder) = serving("main.py", ASGI, "timeout = \"1s\"");
    let mut stream = begin(&gateway, "/");
    let mut answer = String::new();
    for count in 1..=4 {
        send_chunk(&mut stream, &[b'x'; 70_000]);
        if count == 1 {
            read_until(&mut stream, &mut answer, "\n70000\n");
        }
        thread::sleep(Duration::from_millis(500));
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    read_until(&mut stream, &mut answer, "280000\n");
}

#[test]
fn a_worker_that_dies_midway_is_no_silent_end() {
    for (file, app) in apps() {
        let (gateway, _folder) = serving(file, app, "");
        let mut stream = upload(&gateway, "/die");
        let mut answer = String::new();
        read_until(&mut stream, &mut answer, "worker_crashed");
        assert!(answer.starts_with("HTTP/1.1 502"), "{file}: {answer}");
        gateway.wait_ready();
    }
}

#[test]
fn a_body_that_is_too_large_or_too_slow_is_refused_midway() {
    let (gateway, _folder) = serving("main.py", ASGI, "");
    let mut connection = Wire::open(&gateway);
    let length = (64 << 20) + 1;
    connection.send(format!("POST {HTTP}/ HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n"));
    wire::assert_refused(&connection.answer(), 413, "payload_too_large");
    drop(gateway);
    let folder = folder(&[("index.js", "exports.fetch = async (request) => new Response(await request.text());")]);
    let server = "[server]\nmax_body = \"100KiB\"\nbody_timeout = \"2s\"\n";
    let gateway = Gateway::ready(&(server.to_owned() + &deployment(&folder, "")));
    let mut stream = upload(&gateway, "/");
    send_chunk(&mut stream, &[b'x'; 70_000]);
    read_until(&mut stream, &mut String::new(), "payload_too_large");
    let mut stream = upload(&gateway, "/");
    read_until(&mut stream, &mut String::new(), "request_timeout");
    // The worker goes on.
    let answer = gateway.post(&format!("{HTTP}/"), &[], "y".repeat(80_000));
    assert_eq!((answer.status, answer.body.len()), (200, 80_000));
}

#[test]
fn frameworks_that_need_a_length_get_one() {
    for (name, keys) in [("django", "app = \"shop.wsgi:application\""), ("flask", "")] {
        let (gateway, _copy) = python_apps::serving(name, keys);
        let mut stream = begin(&gateway, "/length");
        for _ in 0..3 {
            send_chunk(&mut stream, &[b'x'; 70_000]);
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
        read_until(&mut stream, &mut String::new(), "\r\n\r\n210000");
        let answer = gateway.post(&format!("{HTTP}/length"), &[], "y".repeat(300_000));
        assert_eq!((answer.status, answer.body.as_str()), (200, "300000"), "{name}");
    }
}

#[test]
fn plugins_that_look_at_no_body_leave_it_on_its_way() {
    let looking = Plugin::new().before_invoke(|c| {
        let size = c.call("invocation", "arguments-size", "");
        let size = c.decimal(size.i64_at(0));
        let set = c.set_header("invocation", "x-size", &size);
        c.expect_ok(set);
    });
    let blind = Plugin::new().before_invoke(|c| {
        let value = c.text("seen");
        let set = c.set_header("invocation", "x-seen", &value);
        c.expect_ok(set);
    });
    let files = Files::new();
    let (looking, blind) = (files.put("l.wasm", looking.component()), files.put("b.wasm", blind.component()));
    let app = ASGI
        .replace("b\"content-type\", b\"text/plain\"", "b\"x-size\", dict(scope[\"headers\"]).get(b\"x-size\", b\"\")");
    let folder = folder(&[("main.py", &app)]);
    for keys in ["", "isolation = \"process\""] {
        let blind = table("b", &blind, keys);
        let gateway = Gateway::ready(&(deployment(&folder, "") + &blind));
        let mut stream = upload(&gateway, "/");
        read_until(&mut stream, &mut String::new(), "\n70000\n");
        drop(gateway);
        let gateway = Gateway::ready(&(deployment(&folder, "") + &blind + &table("l", &looking, keys)));
        let answer = gateway.post(&format!("{HTTP}/"), &[], "y".repeat(300_000));
        assert_eq!((answer.status, answer.body.as_str()), (200, "300000\n"));
        let size: usize = answer.header("x-size").unwrap().parse().unwrap();
        assert!(size > 300_000, "{size}");
    }
}

#[test]
fn slow_uploads_leave_places_for_other_calls() {
    let (gateway, _folder) = serving("main.py", ASGI, "concurrency = 4");
    let mut uploads: Vec<TcpStream> = Vec::new();
    for number in 0..6 {
        let mut stream = upload(&gateway, "/");
        if number < 2 {
            read_until(&mut stream, &mut String::new(), "\n70000\n");
        }
        uploads.push(stream);
    }
    let answer = gateway.post(&format!("{HTTP}/"), &[], "abc");
    assert_eq!((answer.status, answer.body.as_str()), (200, "3\n"));
    for (number, mut stream) in uploads.into_iter().enumerate() {
        stream.write_all(b"0\r\n\r\n").unwrap();
        read_until(&mut stream, &mut String::new(), if number < 2 { "\r\n0\r\n\r\n" } else { "\n70000\n" });
    }
}

#[test]
fn an_early_answer_reaches_a_client_of_http_2() {
    let (gateway, folder) = serving("main.py", ASGI, "");
    let file = folder.path().join("upload");
    std::fs::write(&file, vec![b'x'; 4 << 20]).unwrap();
    let url = gateway.url(&format!("{HTTP}/early"));
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--http2-prior-knowledge", "--max-time", "30", "--write-out", " %{http_code}"]);
    let sent = curl.arg("--data-binary").arg(format!("@{}", file.display())).arg(&url).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&sent.stdout), "no 403");
}
