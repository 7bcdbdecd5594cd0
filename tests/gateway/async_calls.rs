//! Asynchronous calls: accepted once they are on the disk, tried until they have ended, kept for who asks.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::exports::folder;
use crate::support::{Answer, Gateway, metagate, wait_for};

pub(crate) const FUNCTIONS: &str = "
import os
import time

import metagate


def add(a: int, b: int = 1) -> int:
    return a + b


def slow(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def flaky(path: str) -> int:
    count = len(open(path).read()) if os.path.exists(path) else 0
    with open(path, 'a') as file:
        file.write('x')
    if count < 2:
        raise RuntimeError('not yet')
    return count


def fails():
    raise ValueError('never')


def die():
    os._exit(3)


def gone():
    return metagate.Response('no such order', status=404)


def who():
    return metagate.request().context


def write(path: str, text: str) -> str:
    with open(path, 'a') as file:
        file.write(text + '\\n')
    return text


def double(n: int) -> int:
    return n * 2


def page():
    headers = {'content-type': 'text/html', 'x-own': '1', 'set-cookie': 'a=1', 'service-worker-allowed': '/'}
    return metagate.Response('<p>', headers=headers)


def items(count: int):
    for number in range(count):
        yield number
";

pub(crate) const QUICK: &str = "[async]\nattempts = 3\nbackoff = \"20ms\"\nmax_backoff = \"40ms\"\n";

pub(crate) fn gateway_with(tables: &str, functions: &Path) -> Gateway {
    let deployment = format!("[[deployment]]\nname = \"m\"\npath = \"{}\"\n", functions.display());
    Gateway::ready(&format!("{deployment}{tables}"))
}

fn send(gateway: &Gateway, function: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers = [&[("content-type", "application/json"), ("prefer", "respond-async")], headers].concat();
    gateway.post(&format!("/local/m/v1/call/{function}"), &headers, body)
}

/// The address of a call that was accepted.
#[track_caller]
pub(crate) fn accepted(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{answer:?}");
    let location = answer.header("location").unwrap().to_owned();
    assert_eq!(location, format!("/api/calls/{}", answer.json()["id"].as_str().unwrap()));
    location
}

/// A call when it has ended.
#[track_caller]
pub(crate) fn ended(gateway: &Gateway, location: &str) -> Value {
    let answer = gateway.get(&format!("{location}?wait=20s"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let call = answer.json();
    assert!(["done", "dead", "cancelled"].contains(&call["state"].as_str().unwrap()), "{call}\n{}", gateway.log());
    call
}

#[track_caller]
fn call(gateway: &Gateway, function: &str, body: &str) -> Value {
    ended(gateway, &accepted(&send(gateway, function, &[], body)))
}

#[test]
fn a_call_that_nobody_waits_for_is_made_and_kept() {
    let functions = folder(&[("main.py", FUNCTIONS)]);
    let gateway = gateway_with(QUICK, functions.path());
    assert!(!gateway.folder.path().join("data/async/calls.sqlite").exists(), "a file that nobody asked for");
    let answer = send(&gateway, "add", &[], "[1, 2]");
    let location = accepted(&answer);
    assert_eq!(answer.header("preference-applied"), Some("respond-async"));
    let done = ended(&gateway, &location);
    assert_eq!((&done["state"], &done["result"], &done["tries"]), (&json!("done"), &json!(3), &json!(1)), "{done}");
    assert_eq!((&done["deployment"], &done["function"]), (&json!("m"), &json!("add")));
    let result = gateway.get(&format!("{location}/result"));
    assert_eq!(
        (result.status, result.body.as_str(), result.header("content-type")),
        (200, "3", Some("application/json"))
    );
    // The other ways to ask for it: the address, names in a query, a form, and another preference beside it.
    let by_address =
        gateway.post("/local/m/v1/async/add", &[("content-type", "application/json")], r#"{"b": 5, "a": 2}"#);
    assert_eq!(by_address.header("preference-applied"), None);
    assert_eq!(ended(&gateway, &accepted(&by_address))["result"], 7);
    let by_query = gateway.get_with("/local/m/v1/call/add?a=4", &[("prefer", "wait=5, RESPOND-ASYNC")]);
    assert_eq!(ended(&gateway, &accepted(&by_query))["result"], 5);
    // A plain call is none.
    assert_eq!(gateway.call("m", "add", "[1]").body, "2");
    let page = call(&gateway, "page", "");
    assert_eq!((&page["result"], &page["content_type"]), (&json!("<p>"), &json!("text/html")));
    let page = gateway.get(&format!("/api/calls/{}/result", page["id"].as_str().unwrap()));
    assert_eq!((page.body.as_str(), page.header("x-own")), ("<p>", Some("1")));
    assert_eq!((page.header("content-security-policy"), page.header("set-cookie")), (Some("sandbox"), None));
    assert_eq!(call(&gateway, "items", "[3]")["result"], json!([0, 1, 2]));
    let who = call(&gateway, "who", "");
    assert_eq!(who["result"]["async"], json!({"id": who["id"], "try": 1}));
}

#[test]
fn what_cannot_be_accepted_is_refused_at_once() {
    let functions = folder(&[("main.py", FUNCTIONS)]);
    let off = format!(
        "[[deployment]]\nname = \"off\"\npath = \"{}\"\nasync = {{ enabled = false }}\n",
        functions.path().display()
    );
    let gateway = gateway_with(&format!("{QUICK}{off}"), functions.path());
    let refused = |answer: Answer| (answer.status, answer.code().to_owned());
    assert_eq!(refused(send(&gateway, "nothing", &[], "")), (404, "function_not_found".into()));
    assert_eq!(refused(send(&gateway, "add", &[], "[1")), (400, "invalid_json".into()));
    let nowhere = gateway.post("/local/nothing/v1/async/f", &[], "");
    assert_eq!(refused(nowhere), (404, "deployment_not_found".into()));
    assert_eq!(refused(send(&gateway, "add", &[("idempotency-key", "")], "[1]")), (400, "bad_request".into()));
    assert_eq!(refused(send(&gateway, "add", &[("x-metagate-priority", "top")], "[1]")), (400, "bad_request".into()));
    assert_eq!(refused(gateway.post("/local/off/v1/async/add", &[], "[1]")), (404, "not_found".into()));
    // A preference is none that must be met.
    let json = ("content-type", "application/json");
    let plain = gateway.post("/local/off/v1/call/add", &[json, ("prefer", "respond-async")], "[1]");
    assert_eq!((plain.status, plain.body.as_str(), plain.header("preference-applied")), (200, "2", None));
    for id in ["0", "etc", &"0".repeat(32), &"g".repeat(32), &"A".repeat(32)] {
        assert_eq!(refused(gateway.get(&format!("/api/calls/{id}"))), (404, "call_not_found".into()));
    }
    let location = accepted(&send(&gateway, "add", &[], "[1]"));
    for query in ["wait=2m", "wait=-1", "wait=", "wait=x", "wit=1"] {
        assert_eq!(refused(gateway.get(&format!("{location}?{query}"))), (400, "bad_request".into()), "{query}");
    }
    assert_eq!(gateway.get(&format!("{location}?wait=0")).status, 200);
}

#[test]
fn errors_are_tried_again_unless_another_try_would_not_help() {
    let functions = folder(&[("main.py", FUNCTIONS)]);
    let gateway = gateway_with(QUICK, functions.path());
    let count = functions.path().join("count");
    let flaky = call(&gateway, "flaky", &json!([count]).to_string());
    assert_eq!((&flaky["state"], &flaky["tries"], &flaky["result"]), (&json!("done"), &json!(3), &json!(2)), "{flaky}");
    let dead = call(&gateway, "fails", "");
    assert_eq!((&dead["state"], &dead["tries"], &dead["status"]), (&json!("dead"), &json!(3), &json!(500)), "{dead}");
    assert_eq!(dead["error"]["code"], "function_error");
    assert!(dead["error"]["message"].as_str().unwrap().contains("never"), "{dead}");
    for (function, body, status, code) in
        [("add", r#"["x"]"#, 422, "bad_argument"), ("gone", "", 404, "function_error")]
    {
        let last = call(&gateway, function, body);
        assert_eq!(
            (&last["state"], &last["tries"], &last["status"]),
            (&json!("dead"), &json!(1), &json!(status)),
            "{last}"
        );
        assert_eq!(last["error"]["code"], code, "{last}");
    }
    let result = gateway.get(&format!("/api/calls/{}/result", dead["id"].as_str().unwrap()));
    assert_eq!((result.status, result.code()), (500, "function_error"));
    let died = call(&gateway, "die", "");
    assert_eq!((&died["state"], &died["tries"]), (&json!("dead"), &json!(3)), "{died}");
    assert_eq!(died["error"]["code"], "worker_crashed");
}

#[test]
fn a_call_that_is_taken_back_is_not_made() {
    let functions = folder(&[("main.py", FUNCTIONS)]);
    let gateway = gateway_with("[deployment.async]\nconcurrency = 1\n", functions.path());
    let delete = |location: &str| {
        let output = metagate()
            .args(["calls", "cancel", location.rsplit('/').next().unwrap()])
            .env("METAGATE_URL", gateway.url(""))
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let running = accepted(&send(&gateway, "slow", &[], "[30]"));
    wait_for("the try", || (gateway.get(&running).json()["state"] == "running").then_some(()));
    let path = functions.path().join("written");
    let waiting = accepted(&send(&gateway, "write", &[], &json!([path, "no"]).to_string()));
    assert_eq!(gateway.get(&waiting).json()["state"], "queued");
    assert_eq!(delete(&waiting), (true, String::new()));
    assert_eq!(delete(&waiting), (true, String::new()), "twice is once");
    assert_eq!(ended(&gateway, &waiting)["state"], "cancelled");
    assert_eq!(delete(&running), (true, String::new()));
    assert_eq!(ended(&gateway, &running)["state"], "cancelled");
    // Its place is free again.
    let next = accepted(&send(&gateway, "add", &[], "[1]"));
    let done = ended(&gateway, &next);
    assert_eq!(done["state"], "done", "{done}");
    let (succeeded, error) = delete(&next);
    assert!(!succeeded && error.contains("call_state") && error.contains("is done"), "{error}");
    assert!(!path.exists());
}

#[test]
fn one_key_is_one_call() {
    let functions = folder(&[("main.py", FUNCTIONS)]);
    let gateway = gateway_with(QUICK, functions.path());
    let path = functions.path().join("written");
    let body = json!([path, "once"]).to_string();
    let key = ("idempotency-key", "k-1");
    let first = accepted(&send(&gateway, "write", &[key], &body));
    assert_eq!(accepted(&send(&gateway, "write", &[key], &body)), first);
    let other = send(&gateway, "write", &[key], &json!([path, "twice"]).to_string());
    assert_eq!((other.status, other.code()), (422, "idempotency_key_reused"));
    // Of another caller or function, the key is another one.
    let ann = [key, ("authorization", "Bearer ann")];
    assert_ne!(accepted(&send(&gateway, "write", &ann, &body)), first);
    assert_ne!(accepted(&send(&gateway, "add", &[key], "[1]")), first);
    ended(&gateway, &first);
    assert_eq!(accepted(&send(&gateway, "write", &[key], &body)), first);
    wait_for("two lines", || (fs::read_to_string(&path).ok()? == "once\nonce\n").then_some(()));

    // A plain call under a key of its own.
    let json = ("content-type", "application/json");
    let plain = |key: &str, function: &str, body: &str| {
        gateway.post(&format!("/local/m/v1/call/{function}"), &[json, ("idempotency-key", key)], body)
    };
    let body = json!([path, "plain"]).to_string();
    let first = plain("p-1", "write", &body);
    assert_eq!((first.status, first.body.as_str(), first.header("idempotency-replayed")), (200, "\"plain\"", None));
    let again = plain("p-1", "write", &body);
    assert_eq!(
        (again.status, again.body.as_str(), again.header("idempotency-replayed")),
        (200, "\"plain\"", Some("true"))
    );
    assert_eq!(again.header("content-type"), first.header("content-type"));
    assert_eq!(plain("p-1", "write", &json!([path, "other"]).to_string()).code(), "idempotency_key_reused");
    assert_eq!(fs::read_to_string(&path).unwrap(), "once\nonce\nplain\n");
    let refused = plain("p-2", "add", r#"["x"]"#);
    assert_eq!((refused.status, refused.code()), (422, "bad_argument"));
    let again = plain("p-2", "add", r#"["x"]"#);
    assert_eq!((again.status, again.code(), again.header("idempotency-replayed")), (422, "bad_argument", Some("true")));
    // What has failed is made again.
    let count = functions.path().join("count");
    let body = json!([count]).to_string();
    let statuses: Vec<u16> = (0..4).map(|_| plain("p-3", "flaky", &body).status).collect();
    assert_eq!(statuses, [500, 500, 200, 200]);
    assert_eq!(fs::read_to_string(&count).unwrap(), "xxx");
    thread::scope(|scope| {
        let slow = scope.spawn(|| plain("p-4", "slow", "[1]"));
        let meanwhile = wait_for("a call under way", || {
            let answer = plain("p-4", "slow", "[1]");
            (answer.status == 409 || slow.is_finished()).then_some(answer)
        });
        // Whichever of the two was first, the other one is refused.
        let first = slow.join().unwrap();
        let codes = [first.status, meanwhile.status];
        assert!(codes == [200, 409] || codes == [409, 200], "{first:?} {meanwhile:?}");
    });
}

#[test]
fn accepted_calls_survive_every_end_of_the_gateway() {
    const CALLS: usize = 300;
    let functions = folder(&[("main.py", FUNCTIONS)]);
    let tables = format!("{QUICK}[[deployment]]\nname = \"m\"\npath = \"{}\"\n", functions.path().display());
    let mut gateway = Gateway::ready(&tables);
    let mut calls = BTreeMap::new();
    for number in 0..CALLS {
        let sent = gateway.try_post(
            "/local/m/v1/async/double",
            &[("content-type", "application/json")],
            json!([number]).to_string(),
        );
        if let Some(answer) = sent.filter(|answer| answer.status == 202) {
            calls.insert(accepted(&answer), number);
        }
        if number % 100 == 60 {
            gateway.signal(Signal::KILL);
            gateway.wait_end();
            let folder = std::mem::replace(&mut gateway.folder, tempfile::tempdir().unwrap());
            drop(gateway);
            gateway = Gateway::start_in(folder, |_| {});
        }
    }
    assert!(calls.len() > CALLS / 2, "only {} calls were accepted", calls.len());
    for (location, number) in &calls {
        let done = ended(&gateway, location);
        assert_eq!((&done["state"], &done["result"]), (&json!("done"), &json!(number * 2)), "{done}");
    }
    let left = gateway.get("/api/calls?state=queued").json();
    assert_eq!((&left["waiting"], left["calls"].as_array().unwrap().len()), (&json!(0), 0));
    // A stop in peace leaves nothing undone either.
    let location = accepted(&gateway.post("/local/m/v1/async/slow", &[("content-type", "application/json")], "[0.3]"));
    wait_for("the try", || (gateway.get(&location).json()["state"] == "running").then_some(()));
    gateway.signal(Signal::TERM);
    gateway.wait_end();
    let folder = std::mem::replace(&mut gateway.folder, tempfile::tempdir().unwrap());
    drop(gateway);
    let gateway = Gateway::start_in(folder, |_| {});
    let done = ended(&gateway, &location);
    assert_eq!((&done["state"], &done["tries"]), (&json!("done"), &json!(1)), "{done}");
}

#[test]
fn calls_are_listed_tried_again_and_removed() {
    let functions = folder(&[("main.py", FUNCTIONS)]);
    let gateway = gateway_with("[async]\nattempts = 1\n", functions.path());
    let run = |arguments: &[&str]| {
        let output = metagate().arg("calls").args(arguments).env("METAGATE_URL", gateway.url("")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(run(&["list"]), "ID  STATE  FUNCTION  TRIES  ACCEPTED  ERROR\n");
    let done = call(&gateway, "add", "[1]");
    let dead = call(&gateway, "fails", "");
    let (done, dead) = (done["id"].as_str().unwrap(), dead["id"].as_str().unwrap());
    let listed = run(&["list"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert!(
        lines[1].starts_with(dead) && lines[1].contains("function_error") && lines[2].starts_with(done),
        "{listed}"
    );
    assert!(run(&["dead"]).contains(dead) && !run(&["dead"]).contains(done));
    assert!(run(&["list", "--deployment", "other"]).lines().count() == 1);
    assert!(run(&["show", done]).contains("\"result\": 2"));
    assert_eq!(run(&["retry", dead]), format!("call {dead} is queued again\n"));
    let again = ended(&gateway, &format!("/api/calls/{dead}"));
    assert_eq!((&again["state"], &again["tries"]), (&json!("dead"), &json!(2)), "{again}");
    assert_eq!(run(&["redrive", "--deployment", "m"]), "1 call is queued again\n");
    wait_for("the third try", || (gateway.get(&format!("/api/calls/{dead}")).json()["tries"] == 3).then_some(()));
    ended(&gateway, &format!("/api/calls/{dead}"));
    assert_eq!(run(&["purge", "--state", "dead"]), "1 call is removed\n");
    assert_eq!(gateway.get(&format!("/api/calls/{dead}")).code(), "call_not_found");
    let mut all = metagate();
    let asked =
        all.args(["calls", "purge"]).env("METAGATE_URL", gateway.url("")).stdin(Stdio::null()).output().unwrap();
    assert_eq!((asked.status.code(), asked.stdout.is_empty()), (Some(2), true), "{asked:?}");
    assert!(String::from_utf8_lossy(&asked.stderr).ends_with("add --all\n"), "{asked:?}");
    assert_eq!(run(&["purge", "--all"]), "1 call is removed\n");
    let first: Vec<String> = (0..3).map(|_| accepted(&send(&gateway, "add", &[], "[1]"))).collect();
    let page = gateway.get("/api/calls?limit=2").json();
    let ids = |page: &Value| -> Vec<String> {
        let calls = page["calls"].as_array().unwrap().iter();
        calls.map(|call| format!("/api/calls/{}", call["id"].as_str().unwrap())).collect()
    };
    assert_eq!(ids(&page), [first[2].clone(), first[1].clone()]);
    let rest = gateway.get(&format!("/api/calls?before={}", page["before"])).json();
    assert_eq!((ids(&rest), rest.get("before")), (vec![first[0].clone()], None));
    for query in ["state=lost", "limit=0", "limit=501", "before=x", "what=1"] {
        assert_eq!(gateway.get(&format!("/api/calls?{query}")).code(), "bad_request", "{query}");
    }
    let purged = gateway.post("/api/calls/purge?state=queued", &[], "");
    assert_eq!(purged.code(), "bad_request");
}

#[test]
fn only_who_has_the_id_or_a_token_sees_a_call() {
    let functions = folder(&[("main.py", FUNCTIONS)]);
    let gateway = gateway_with("[admin]\ntoken = \"0123456789abcdef0123456789abcdef\"\n", functions.path());
    let location = accepted(&send(&gateway, "add", &[], "[1]"));
    assert_eq!(ended(&gateway, &location)["result"], 2);
    for path in ["/api/calls", "/api/calls?deployment=m"] {
        assert_eq!(gateway.get(path).code(), "unauthorized");
    }
    for path in ["/api/calls/redrive", "/api/calls/purge", &format!("{location}/retry")] {
        assert_eq!(gateway.post(path, &[], "").code(), "unauthorized", "{path}");
    }
}

#[test]
fn bounds_hold() {
    let functions = folder(&[("main.py", FUNCTIONS)]);
    let tables = "[async]\nmax_waiting = 3\nmax_bytes = \"500KiB\"\n[[deployment]]\nname = \"slow\"\n\
                  async = { concurrency = 1 }\n";
    let tables = format!("{tables}path = \"{}\"\n", functions.path().display());
    let gateway = gateway_with(&tables, functions.path());
    let json = ("content-type", "application/json");
    let slow = |seconds: f32| gateway.post("/local/slow/v1/async/slow", &[json], json!([seconds]).to_string());
    let locations: Vec<String> = (0..3).map(|_| accepted(&slow(30.0))).collect();
    let refused = slow(30.0);
    assert_eq!((refused.status, refused.code()), (503, "overloaded"), "{refused:?}");
    assert!(refused.header("retry-after").is_some());
    for location in locations {
        let cancelled = ureq::delete(gateway.url(&location)).call().unwrap();
        assert_eq!(cancelled.status(), 200);
    }
    // Large bodies are files beside the calls; the oldest results make room, calls that wait do not.
    let text = "x".repeat(300_000);
    let write = |path: &str| send(&gateway, "write", &[], &json!([path, text]).to_string());
    let first = accepted(&write("/dev/null"));
    assert_eq!(ended(&gateway, &first)["result"].as_str().map(str::len), Some(300_000));
    let second = accepted(&write("/dev/null"));
    assert_eq!(ended(&gateway, &second)["state"], "done");
    assert_eq!(gateway.get(&first).code(), "call_not_found");
    let files = fs::read_dir(gateway.folder.path().join("data/async/bodies")).unwrap().count();
    assert_eq!(files, 1, "the result of one call; its request is needed no more");
    let too_large = send(&gateway, "write", &[], &json!(["/dev/null", "x".repeat(800_000)]).to_string());
    assert_eq!((too_large.status, too_large.code()), (507, "insufficient_storage"));
}

#[test]
fn a_call_is_kept_for_its_time() {
    let functions = folder(&[("main.py", FUNCTIONS)]);
    let gateway = Gateway::start(&format!(
        "[async]\nkeep = \"1s\"\n[[deployment]]\nname = \"m\"\npath = \"{}\"\n\
         [[deployment]]\nname = \"never\"\npath = \"nowhere\"\nasync = {{ max_age = \"200ms\" }}\n",
        functions.path().display()
    ));
    wait_for("a plain call", || (gateway.call("m", "add", "[1]").status == 200).then_some(()));
    let location = accepted(&send(&gateway, "add", &[], "[1]"));
    assert_eq!(ended(&gateway, &location)["state"], "done");
    wait_for("the removal", || (gateway.get(&location).status == 404).then_some(()));
    let waiting = accepted(&gateway.post("/local/never/v1/async/f", &[], "[1]"));
    let dead = ended(&gateway, &waiting);
    assert_eq!((&dead["state"], &dead["error"]["code"]), (&json!("dead"), &json!("expired")), "{dead}");
}
