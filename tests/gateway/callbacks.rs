//! Callbacks of asynchronous calls, as a receiver gets them that checks signatures with the library of Standard
//! Webhooks; and receivers that are down, that hang, that refuse and that redirect.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::async_calls::{FUNCTIONS, QUICK, accepted, ended};
use crate::exports::folder;
use crate::faulty::python;
use crate::metrics::sample;
use crate::support::{Answer, Gateway, fixture, metagate, wait_for};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A receiver of callbacks.
struct Receiver {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Receiver {
    fn start(secret: &str) -> Self {
        Self::start_at(0, secret)
    }

    fn start_at(port: u16, secret: &str) -> Self {
        let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pypi/packages");
        assert!(packages.join("standardwebhooks").is_dir(), "run tests/run.sh: there is no standardwebhooks");
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(python());
        command.arg(fixture("receiver.py")).arg(packages).arg(folder.path().join("received"));
        let mut child = command.arg(secret).arg(port.to_string()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, port: line.trim().parse().unwrap(), folder }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What it was sent at a path so far.
    fn received(&self, path: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("received")).unwrap_or_default();
        let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        lines.map(|line| serde_json::from_str(line).unwrap()).filter(|line: &Value| line["path"] == path).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// A gateway that permits callbacks to these ports.
fn gateway(ports: &[u16], keys: &str, functions: &Path) -> Gateway {
    let origins: Vec<String> = ports.iter().map(|port| format!("http://127.0.0.1:{port}")).collect();
    Gateway::ready(&format!(
        "{QUICK}[async.callbacks]\nhttp = {origins:?}\nsecret = \"{SECRET}\"\n{keys}\n\
         [[deployment]]\nname = \"m\"\npath = \"{}\"\n",
        functions.display()
    ))
}

fn send(gateway: &Gateway, function: &str, body: &str, callback: &str) -> Answer {
    let headers = [("content-type", "application/json"), ("callback", callback)];
    gateway.post(&format!("/local/m/v1/async/{function}"), &headers, body)
}

/// What is known of the callback of a call when it is in this state.
#[track_caller]
fn callback(gateway: &Gateway, location: &str, state: &str) -> Value {
    wait_for(state, || {
        let callback = gateway.get(location).json()["callback"].clone();
        (callback["state"] == state).then_some(callback)
    })
}

#[test]
fn the_end_of_a_call_is_reported_and_signed() {
    let (functions, receiver) = (folder(&[("main.py", FUNCTIONS)]), Receiver::start(SECRET));
    let gateway = gateway(&[receiver.port], "", functions.path());
    let answer = send(&gateway, "add", "[1, 2]", &receiver.url("/done?shop=1"));
    let location = accepted(&answer);
    assert_eq!(answer.json()["callback"], json!({ "url": receiver.url("/done?shop=1") }));
    let report = callback(&gateway, &location, "done");
    assert_eq!((&report["tries"], &report["error"]), (&json!(1), &Value::Null), "{report}");
    let [received] = &receiver.received("/done?shop=1")[..] else { panic!("not one request") };
    assert_eq!((&received["verified"], &received["type"]), (&json!(true), &json!("application/json")), "{received}");
    assert_eq!(received["id"], report["id"]);
    let mut call = gateway.get(&location).json();
    call.as_object_mut().unwrap().remove("callback");
    assert_eq!((&call["result"], &received["call"]), (&json!(3), &call));

    let dead = accepted(&send(&gateway, "gone", "", &receiver.url("/dead")));
    let slow = accepted(&send(&gateway, "slow", "[30]", &receiver.url("/cancelled")));
    wait_for("the try", || (gateway.get(&slow).json()["state"] == "running").then_some(()));
    let cancel = metagate().args(["calls", "cancel", &slow[11..]]).env("METAGATE_URL", gateway.url("")).status();
    assert!(cancel.unwrap().success());
    for (location, path, state) in [(&dead, "/dead", "dead"), (&slow, "/cancelled", "cancelled")] {
        callback(&gateway, location, "done");
        let received = receiver.received(path);
        assert_eq!((received.len(), &received[0]["call"]["state"]), (1, &json!(state)), "{received:?}");
    }
    // A large result is there by its address.
    let text = "x".repeat(100 << 10);
    let large = accepted(&send(&gateway, "write", &json!(["/dev/null", text]).to_string(), &receiver.url("/large")));
    callback(&gateway, &large, "done");
    let call = &receiver.received("/large")[0]["call"];
    assert_eq!((&call["result_at"], &call["result"]), (&json!(format!("{large}/result")), &Value::Null));
    assert_eq!(gateway.get(call["result_at"].as_str().unwrap()).json(), json!(text));
    assert!((sample(&gateway, "metagate_async_callbacks_ended_total{state=\"done\"}") - 4.0).abs() < 0.1);
    assert!((sample(&gateway, "metagate_async_calls_ended_total{state=\"done\"}") - 2.0).abs() < 0.1, "of functions");
}

#[test]
fn a_callback_goes_only_where_the_configuration_says() {
    let (functions, receiver) = (folder(&[("main.py", FUNCTIONS)]), Receiver::start(SECRET));
    let permitting = gateway(&[receiver.port], "", functions.path());
    for (url, status, code) in [
        ("http://127.0.0.1:1/ok", 403, "callback_not_allowed"),
        ("https://hooks.example.com/", 403, "callback_not_allowed"),
        (&receiver.url("/ok").replace("127.0.0.1", "127.0.0.1.nip.example"), 403, "callback_not_allowed"),
        ("/ok", 400, "bad_request"),
        ("ftp://127.0.0.1/", 400, "bad_request"),
        (&receiver.url("/ok").replace("127", "ann:secret@127"), 400, "bad_request"),
    ] {
        let answer = send(&permitting, "add", "[1]", url);
        assert_eq!((answer.status, answer.code()), (status, code), "{url}: {answer:?}");
        assert!(!answer.message().contains("secret"));
    }
    let redirected = accepted(&send(&permitting, "add", "[1]", &receiver.url("/redirect")));
    let report = wait_for("a try", || {
        let callback = permitting.get(&redirected).json()["callback"].clone();
        (!callback["error"].is_null()).then_some(callback)
    });
    assert_eq!(report["error"]["message"], "the receiver answered with status 307, and redirects are not followed");
    assert_eq!(receiver.received("/private"), [] as [Value; 0]);
    drop(permitting);
    let none = Gateway::ready(&format!("[[deployment]]\nname = \"m\"\npath = \"{}\"\n", functions.path().display()));
    let refused = send(&none, "add", "[1]", &receiver.url("/ok"));
    assert_eq!((refused.status, refused.code()), (403, "callback_not_allowed"));
}

#[test]
fn a_receiver_decides_whether_it_is_asked_again() {
    let (functions, receiver) = (folder(&[("main.py", FUNCTIONS)]), Receiver::start(SECRET));
    let gateway = gateway(&[receiver.port], "max_age = \"2s\"", functions.path());
    let send = |path: &str| accepted(&send(&gateway, "add", "[1]", &receiver.url(path)));
    let (gone, waits, fails) = (send("/status/410"), send("/wait/1"), send("/status/500"));
    let dead = callback(&gateway, &gone, "dead");
    assert_eq!((&dead["tries"], &dead["error"]["code"]), (&json!(1), &json!("callback_failed")), "{dead}");
    assert_eq!(callback(&gateway, &waits, "done")["tries"], 2);
    let dead = callback(&gateway, &fails, "dead");
    assert!(dead["tries"].as_u64() > Some(3), "{dead}");
    let ids: Vec<Value> = receiver.received("/status/500").iter().map(|one| one["id"].clone()).collect();
    assert!(ids.iter().all(|id| *id == dead["id"]), "a try has another id: {ids:?}");
    // A dead callback is one of the dead calls.
    let run = |arguments: &[&str]| {
        let output = metagate().arg("calls").args(arguments).env("METAGATE_URL", gateway.url("")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let listed = run(&["dead"]);
    assert!(listed.contains("callback of m/add") && listed.contains("status 410"), "{listed}");
    let shown: Value = serde_json::from_str(&run(&["show", dead["id"].as_str().unwrap()])).unwrap();
    assert_eq!((&shown["callback_of"], &shown["state"]), (&json!(fails.rsplit('/').next()), &json!("dead")), "{shown}");
    let request = gateway.get(&format!("/api/calls/{}/request", dead["id"].as_str().unwrap()));
    assert_eq!((request.code(), request.message().contains("no request has made it")), ("call_not_found", true));
    assert_eq!(run(&["redrive"]), "2 calls are queued again\n");
    wait_for("another try", || (receiver.received("/status/410").len() == 2).then_some(()));
}

#[test]
fn a_callback_survives_the_gateway_and_its_receivers_absence() {
    let functions = folder(&[("main.py", FUNCTIONS)]);
    // Bound and not listening: connections are refused, and nobody else gets the port.
    let held = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    held.set_reuse_address(true).unwrap();
    held.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let port = held.local_addr().unwrap().as_socket().unwrap().port();
    let mut gateway = gateway(&[port], "", functions.path());
    let url = format!("http://127.0.0.1:{port}/late");
    let locations: Vec<String> = (0..10).map(|_| accepted(&send(&gateway, "add", "[1]", &url))).collect();
    for location in &locations {
        assert_eq!(ended(&gateway, location)["state"], "done");
    }
    // Each has its callback from the moment of its end on.
    gateway.signal(Signal::KILL);
    gateway.wait_end();
    let data = std::mem::replace(&mut gateway.folder, tempfile::tempdir().unwrap());
    drop(gateway);
    let receiver = Receiver::start_at(port, SECRET);
    let gateway = Gateway::start_in(data, |_| {});
    for location in &locations {
        callback(&gateway, location, "done");
    }
    let received = receiver.received("/late");
    let all = |location: &String| received.iter().any(|one| location.ends_with(one["call"]["id"].as_str().unwrap()));
    assert!(locations.iter().all(all) && received.iter().all(|one| one["verified"] == true), "{received:?}");
}

#[test]
fn a_receiver_that_hangs_holds_up_no_other() {
    let functions = folder(&[("main.py", FUNCTIONS)]);
    let (hangs, answers) = (Receiver::start(SECRET), Receiver::start(SECRET));
    let gateway = gateway(&[hangs.port, answers.port], "timeout = \"30s\"", functions.path());
    let sent: Vec<String> = (0..12).map(|_| accepted(&send(&gateway, "add", "[1]", &hangs.url("/hang")))).collect();
    wait_for("requests that hang", || (hangs.received("/hang").len() == 4).then_some(()));
    let other = accepted(&send(&gateway, "add", "[1]", &answers.url("/ok")));
    callback(&gateway, &other, "done");
    assert_eq!(hangs.received("/hang").len(), 4, "at most four at a time");
    let states = sent.iter().map(|location| gateway.get(location).json()["callback"]["state"].clone());
    assert_eq!(states.filter(|state| state == "queued").count(), 8);
}

#[test]
fn a_deployment_and_a_schedule_have_callbacks_of_their_own() {
    let (functions, receiver) = (folder(&[("main.py", FUNCTIONS)]), Receiver::start(SECRET));
    let gateway = Gateway::ready(&format!(
        "[async.callbacks]\nhttp = [\"http://127.0.0.1:{port}\"]\nsecret = \"{SECRET}\"\n\
         [[deployment]]\nname = \"m\"\npath = \"{path}\"\nasync = {{ callback = \"http://127.0.0.1:{port}/own\" }}\n\
         [[schedule]]\nto = \"m/add\"\nevery = \"100ms\"\narguments = [1]\n\
         callback = \"http://127.0.0.1:{port}/tick\"\n",
        port = receiver.port,
        path = functions.path().display()
    ));
    accepted(&gateway.post("/local/m/v1/async/double", &[("content-type", "application/json")], "[4]"));
    let own = wait_for("the deployment's", || receiver.received("/own").into_iter().next());
    let tick = wait_for("the schedule's", || receiver.received("/tick").into_iter().next());
    assert_eq!((&own["call"]["result"], &tick["call"]["result"]), (&json!(8), &json!(2)), "{own} {tick}");
}
