//! Files of forms that are on the disk while their call lasts: what the function sees of them, that they are gone after
//! every end of a call, and what bounds them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::deploys::package;
use crate::escapes::place::Place;
use crate::exports::folder;
use crate::faulty::{assert_error, memory_of, reset_peak};
use crate::support::{Gateway, wait_for};
use crate::wire::{self, Wire};

const FORM: &[(&str, &str)] = &[("content-type", "multipart/form-data; boundary=x")];

const NODE: &str = r"
const fs = require('fs');
const path = require('path');
const files = () => fs.readdirSync(process.env.TMPDIR).filter((name) => name.startsWith('upload-'));
exports.look = async (title, file) => {
  const modes = files().map((name) => fs.statSync(path.join(process.env.TMPDIR, name)).mode & 0o777);
  const text = await file.text();
  return [title, file.name, file.type, file.size, text.length, text.slice(0, 2) + text.slice(-2), modes];
};
exports.count = () => files().length;
exports.kinds = (...values) => values.map((value) => (value instanceof File ? 'file' : typeof value));
exports.fail = (file) => { throw new Error('no'); };
exports.wait = (file) => new Promise(() => {});
exports.die = (file) => process.exit(3);
exports.stream = async function* (file) {
  yield 'begun';
  await new Promise((done) => setTimeout(done, 300));
  yield (await file.text()).length;
};
";

const PYTHON: &str = r#"
import os, time
from metagate import File

def files():
    return [name for name in os.listdir(os.environ["TMPDIR"]) if name.startswith("upload-")]

def look(title, file):
    modes = [os.stat(os.path.join(os.environ["TMPDIR"], name)).st_mode & 0o777 for name in files()]
    text = file.read().decode()
    return [title, file.name, file.type, file.size, len(text), text[:2] + text[-2:], modes]

def count():
    return len(files())

def kinds(*values, **named):
    return ["file" if isinstance(value, File) else type(value).__name__ for value in [*values, *named.values()]]

def fail(file):
    raise RuntimeError("no")

def wait(file):
    time.sleep(1000)

def die(file):
    os._exit(3)

def stream(file):
    yield "begun"
    time.sleep(0.3)
    yield len(file.read())
"#;

const CALL: &str = "/local/it/v1/call";

fn scripts() -> [(&'static str, &'static str); 2] {
    [("index.js", NODE), ("main.py", PYTHON)]
}

fn serving(script: (&str, &str), server: &str, keys: &str) -> (Gateway, TempDir) {
    let folder = folder(&[script]);
    let table = format!("[server]\n{server}\n[[deployment]]\nname = \"it\"\npath = {:?}\n{keys}\n", folder.path());
    (Gateway::ready(&table), folder)
}

/// A form with a title and a file of `size` bytes.
fn form(size: usize) -> String {
    let mut form = "--x\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nä\r\n".to_owned();
    form += "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"b.txt\"\r\nContent-Type: text/plain\r\n";
    write!(form, "\r\n<{}>\r\n--x--\r\n", "-".repeat(size - 2)).unwrap();
    form
}

/// A form of a file alone.
fn file(size: usize) -> String {
    form(size).split_once("ä\r\n").unwrap().1.to_owned()
}

fn files(gateway: &Gateway) -> usize {
    let folder = gateway.folder.path().join("data/temp/it");
    fs::read_dir(folder).map_or(0, |entries| {
        entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("upload-")).count()
    })
}

#[track_caller]
fn wait_for_none(gateway: &Gateway) {
    wait_for("the end of all files", || (files(gateway) == 0).then_some(()));
}

#[test]
fn a_large_file_of_a_form_is_on_the_disk_during_its_call() {
    for script in scripts() {
        let (gateway, _folder) = serving(script, "", "");
        let (size, mode) = (3 << 20, 0o600);
        let answer = gateway.post(&format!("{CALL}/look"), FORM, form(size)).json();
        assert_eq!(answer, json!(["ä", "b.txt", "text/plain", size, size, "<-->", [mode]]));
        wait_for_none(&gateway);
        // A small one stays in memory.
        let answer = gateway.post(&format!("{CALL}/look"), FORM, form(100_000)).json();
        assert_eq!((&answer[3], &answer[6]), (&json!(100_000), &json!([])));
        // The call has ended for its caller when the stream has.
        let answer = gateway.post(&format!("{CALL}/stream"), FORM, file(size));
        assert_eq!(answer.json(), json!(["begun", size]));
        wait_for_none(&gateway);
    }
}

#[test]
fn a_function_reads_its_files_without_walls_and_as_another_user() {
    for script in scripts() {
        let (gateway, _folder) = serving(script, "", "isolation = \"none\"\nenv = { TMPDIR = \".\" }");
        let answer = gateway.post(&format!("{CALL}/look"), FORM, form(2 << 20)).json();
        assert_eq!((&answer[4], &answer[5]), (&json!(2 << 20), &json!("<-->")), "{}", script.0);
        wait_for_none(&gateway);
    }
    for isolation in ["standard", "strict"] {
        // Only root can give processes another user.
        let Some(place) = Place::of_users(isolation) else { return };
        place.gateway.ship("stored", &package(&[("app.py", PYTHON)]));
        let answer = place.gateway.post("/local/stored/v1/call/look", FORM, form(2 << 20));
        assert_eq!(answer.status, 200, "{isolation}: {answer:?}");
        let answer = answer.json();
        assert_eq!((&answer[4], &answer[6]), (&json!(2 << 20), &json!([0o600])), "{isolation}");
    }
}

#[test]
fn files_are_gone_after_every_end_of_their_call() {
    for script in scripts() {
        let (mut gateway, _folder) = serving(script, "", "timeout = \"1s\"");
        let send = |function: &str| gateway.post(&format!("{CALL}/{function}"), FORM, file(2 << 20));
        assert_error(&send("fail"), 500, "function_error");
        wait_for_none(&gateway);
        assert_error(&send("nowhere"), 404, "function_not_found");
        assert_eq!(files(&gateway), 0);
        assert_error(&send("wait"), 504, "call_timeout");
        wait_for_none(&gateway);
        assert_error(&send("die"), 502, "worker_crashed");
        wait_for_none(&gateway);
        gateway.wait_ready();
        // A caller that leaves while the function runs, and one that leaves before it has sent all.
        for (function, part) in [("wait", 1), ("look", 2)] {
            let whole = wire::request("POST", &format!("{CALL}/{function}"), FORM, file(4 << 20));
            let mut wire = Wire::open(&gateway);
            wire.send(&whole[..whole.len() / part]);
            wait_for("the file", || (files(&gateway) == 1).then_some(()));
            drop(wire);
            wait_for_none(&gateway);
        }
        let whole = wire::request("POST", &format!("{CALL}/look"), FORM, file(4 << 20));
        let mut wire = Wire::open(&gateway);
        wire.send(&whole[..whole.len() / 2]);
        wait_for("the file", || (files(&gateway) == 1).then_some(()));
        drop(wire);
        gateway.signal(rustix::process::Signal::TERM);
        gateway.wait_end();
        assert_eq!(files(&gateway), 0, "after the end of the gateway");
    }
}

#[test]
fn no_text_of_a_client_is_taken_for_a_file() {
    let forged = json!({"filename": "x", "type": "text/plain", "size": 3, "path": "/etc/hostname"});
    let field = format!("--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{forged}\r\n");
    for (script, object, text) in [(scripts()[0], "object", "string"), (scripts()[1], "dict", "str")] {
        let (gateway, _folder) = serving(script, "", "");
        let send = |query: &str, kind: &str, body: String| -> Value {
            gateway.post(&format!("{CALL}/kinds{query}"), &[("content-type", kind)], body).json()
        };
        assert_eq!(send("", "application/json", json!([forged]).to_string()), json!([object]));
        assert_eq!(send("", "application/json", json!({"a": forged}).to_string()), json!([object]));
        let brackets = "a[filename]=x&a[path]=/etc/hostname".to_owned();
        assert_eq!(send("", "application/x-www-form-urlencoded", brackets), json!([object]));
        let form = FORM[0].1;
        assert_eq!(send("", form, field.clone() + "--x--\r\n"), json!([text]));
        // The same in a form that is read as it arrives, and next to a file.
        let large = field.clone() + &file(2 << 20);
        assert_eq!(send("?b[path]=/etc/hostname", form, large), json!([text, "file"]));
        let padded = field.replace("name=\"a\"", "name=\"a[path]\"") + &file(2 << 20);
        assert_eq!(send("", form, padded), json!([text, "file"]));
    }
}

#[test]
fn forms_are_bounded() {
    let (gateway, _folder) = serving(scripts()[0], "max_body = \"4MiB\"\nbody_timeout = \"1s\"", "");
    let path = format!("{CALL}/look");
    let in_chunks = |body: &[u8]| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-type: {}\r\n\r\n",
            FORM[0].1
        );
        let mut wire = Wire::open(&gateway);
        wire.send(head);
        for chunk in body.chunks(100_000) {
            wire.send(format!("{:x}\r\n", chunk.len())).send(chunk).send("\r\n");
        }
        wire
    };
    assert_error(&in_chunks(form(5 << 20).as_bytes()).send("0\r\n\r\n").answer(), 413, "payload_too_large");
    assert_error(&gateway.post(&path, FORM, form(5 << 20)), 413, "payload_too_large");
    wait_for_none(&gateway);
    // It stalls in its file.
    assert_error(&in_chunks(&form(3 << 20).as_bytes()[..2 << 20]).answer(), 408, "request_timeout");
    wait_for_none(&gateway);
    let part = "--x\r\nContent-Disposition: form-data; name=\"a\"; filename=\"b\"\r\n\r\n1\r\n";
    assert_error(
        &in_chunks((part.repeat(1001) + "--x--\r\n").as_bytes()).send("0\r\n\r\n").answer(),
        400,
        "bad_request",
    );
    let endless = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n".to_owned() + &"x-a: b\r\n".repeat(20_000);
    assert_error(&gateway.post(&path, FORM, endless), 400, "bad_request");
    // It does not end.
    let broken = form(3 << 20);
    assert_error(&gateway.post(&path, FORM, &broken[..2 << 20]), 400, "bad_request");
    wait_for_none(&gateway);
    assert_eq!(gateway.post(&path, FORM, form(3 << 20)).status, 200);
}

#[test]
fn a_form_whose_files_cannot_be_written_is_refused_and_leaves_nothing() {
    let folder = folder(&[scripts()[0]]);
    let table = format!("[server]\n[[deployment]]\nname = \"it\"\npath = {:?}\n", folder.path());
    // No file may have more than 4 MiB: the nearest to a full disk that every machine can make.
    let gateway = Gateway::start_with(&table, |command| {
        let program = command.get_program().to_owned();
        let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let current = command.get_current_dir().map(Path::to_owned);
        let stderr = fs::OpenOptions::new().append(true).open(current.as_ref().unwrap().join("stderr.log")).unwrap();
        *command = std::process::Command::new("sh");
        command.args(["-c", "trap '' XFSZ; ulimit -f 8192; exec \"$0\" \"$@\""]).arg(program).args(args);
        command.current_dir(current.unwrap()).stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::piped()).stderr(stderr);
    });
    gateway.wait_ready();
    let path = format!("{CALL}/look");
    let answer = gateway.post(&path, FORM, form(6 << 20));
    assert_error(&answer, 507, "insufficient_storage");
    wait_for_none(&gateway);
    assert_eq!(gateway.post(&path, FORM, form(2 << 20)).status, 200);
}

#[test]
fn a_large_file_takes_no_memory_of_the_gateway() {
    let (gateway, _folder) = serving(scripts()[0], "max_body = \"1GiB\"", "");
    let path = format!("{CALL}/look");
    assert_eq!(gateway.post(&path, FORM, form(2 << 20)).status, 200);
    let size: usize = std::env::var("METAGATE_FORM_BYTES").map_or(100 << 20, |size| size.parse().unwrap());
    let body = form(size);
    let before = reset_peak(gateway.pid());
    let answer = gateway.post(&path, FORM, body).json();
    assert_eq!(answer[4], json!(size));
    let more = memory_of(gateway.pid(), "VmHWM").saturating_sub(before);
    eprintln!("{size} bytes took {more} KiB");
    assert!(more < 12 * 1024, "{more} KiB more");
}

/// `METAGATE_FORMS` sets how many forms are tried.
#[test]
fn mutated_forms_are_answered_and_leave_no_file() {
    let (gateway, _folder) = serving(scripts()[0], "", "");
    let whole = form(1_100_000).into_bytes();
    let (start, end) = (300.min(whole.len()), whole.len() - 40);
    let mut random = fastrand::Rng::with_seed(7);
    let count: usize = std::env::var("METAGATE_FORMS").map_or(150, |count| count.parse().unwrap());
    for _ in 0..count {
        let mut form = whole.clone();
        for _ in 0..random.usize(1..4) {
            let at = if random.bool() { random.usize(..start) } else { random.usize(end..form.len().max(end + 1)) };
            let at = at.min(form.len() - 1);
            match random.usize(..4) {
                0 => form[at] = random.u8(..),
                1 => form.truncate(at + 1),
                2 => form.insert(at, b"\r\n-x\"=;"[random.usize(..7)]),
                _ => drop(form.splice(at..at, *b"\r\n--x\r\n")),
            }
        }
        let answer = gateway.post(&format!("{CALL}/kinds"), FORM, &form);
        let head = String::from_utf8_lossy(&form[..form.len().min(300)]);
        assert!(matches!(answer.status, 200 | 400 | 422), "{answer:?} to {head:?}");
    }
    wait_for_none(&gateway);
}
