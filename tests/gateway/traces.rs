//! `[traces]`: spans of calls and changes, as a collector gets them that reads them with the official classes; the
//! places of calls in the traces of their callers; and collectors that are down, slow or hostile.

mod changes;
mod exports;
mod plugins;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::exports::folder;
use crate::faulty::{assert_error, python};
use crate::metrics::sample;
use crate::plugins::component::Plugin;
use crate::plugins::{Files, table};
use crate::streams::{accepting, ask};
use crate::support::{Gateway, fixture, wait_for};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Packages from PyPI; `tests/run.sh` installs them.
fn packages() -> std::path::PathBuf {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pypi/packages");
    assert!(packages.join("opentelemetry/proto").is_dir(), "run tests/run.sh: there is no opentelemetry-proto");
    packages
}

/// A collector that gives these answers.
struct Collector {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Collector {
    fn start(answers: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(python());
        command.arg(fixture("collector.py")).arg(packages()).arg(folder.path().join("received")).args(answers);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, port: line.trim().parse().unwrap(), folder }
    }

    /// The table of a gateway that sends its spans here at once.
    fn table(&self, keys: &str) -> String {
        format!("[traces]\nendpoint = \"http://127.0.0.1:{}\"\ninterval = \"20ms\"\n{keys}\n", self.port)
    }

    fn requests(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("received")).unwrap_or_default();
        text.split_inclusive('\n').filter_map(|line| serde_json::from_str(line.strip_suffix('\n')?).ok()).collect()
    }

    /// The spans so far, by when they began; at one instant, the outer ones first.
    fn spans(&self) -> Vec<Value> {
        let requests = self.requests();
        let all = requests.iter().flat_map(|request| request["spans"].as_array().unwrap().clone());
        let mut spans: Vec<Value> = all.collect();
        spans.sort_by_key(|span| span["start"].as_u64());
        spans
    }

    /// The spans of the trace that has a span of this name, once there is one.
    #[track_caller]
    fn trace_with(&self, name: &str) -> Vec<Value> {
        wait_for(name, || {
            let spans = self.spans();
            let trace = spans.iter().find(|span| span["name"] == name)?["trace"].clone();
            Some(spans.into_iter().filter(|span| span["trace"] == trace).collect())
        })
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn names(spans: &[Value]) -> Vec<&str> {
    spans.iter().map(|span| span["name"].as_str().unwrap()).collect()
}

#[track_caller]
fn of<'s>(spans: &'s [Value], name: &str) -> &'s Value {
    spans.iter().find(|span| span["name"] == name).unwrap_or_else(|| panic!("no {name} in {spans:#?}"))
}

fn attribute<'s>(span: &'s Value, key: &str) -> &'s Value {
    &span["attributes"][key]
}

/// Every span lies within its parent, in time and in the trace.
#[track_caller]
fn assert_nested(spans: &[Value]) {
    let root = &spans[0];
    for span in &spans[1..] {
        assert_eq!((&span["trace"], &span["parent"]), (&root["trace"], &root["id"]), "{span:#}");
        let inside = span["start"].as_u64() >= root["start"].as_u64() && span["end"].as_u64() <= root["end"].as_u64();
        assert!(inside && span["start"].as_u64() <= span["end"].as_u64(), "{span:#} in {root:#}");
    }
    for pair in spans[1..].windows(2) {
        assert!(pair[0]["end"].as_u64() <= pair[1]["start"].as_u64(), "one after the other: {pair:#?}");
    }
}

#[test]
fn a_call_has_a_span_for_each_of_its_parts_in_order() {
    let (collector, files) = (Collector::start(&["200"]), Files::new());
    let plugin = |name: &str| {
        let file =
            files.put(&format!("{name}.wasm"), Plugin::new().before_invoke(|_| {}).after_invoke(|_| {}).component());
        table(name, &file, "")
    };
    let tables = [collector.table(""), crate::plugins::deployment("it"), plugin("first"), plugin("second")].concat();
    let gateway = Gateway::ready(&tables);
    let headers = [("traceparent", PARENT), ("tracestate", "a=1"), ("x-request-id", "mine"), ("user-agent", "tests")];
    let answer = gateway.post("/local/it/v1/call/args", &headers, "[1]");
    assert_eq!(answer.status, 200, "{answer:?}");
    let spans = collector.trace_with("POST /local/it/v1/call/args");
    let order = [
        "POST /local/it/v1/call/args",
        "plugin first before-invoke",
        "plugin second before-invoke",
        "queue",
        "call args",
        "plugin second after-invoke",
        "plugin first after-invoke",
    ];
    assert_eq!(names(&spans), order);
    assert_nested(&spans);
    let root = &spans[0];
    assert_eq!((&root["trace"], &root["parent"]), (&json!(TRACE), &json!("b7ad6b7169203331")));
    assert_eq!((&root["kind"], &root["state"], &root["flags"]), (&json!("server"), &json!("a=1"), &json!(0x301)));
    for (key, value) in [
        ("http.request.method", json!("POST")),
        ("http.route", json!("/local/it/v1/call/args")),
        ("http.response.status_code", json!(200)),
        ("url.path", json!("/local/it/v1/call/args")),
        ("url.scheme", json!("http")),
        ("network.protocol.version", json!("1.1")),
        ("client.address", json!("127.0.0.1")),
        ("user_agent.original", json!("tests")),
        ("http.request.body.size", json!(3)),
        ("metagate.request_id", json!("mine")),
        ("metagate.deployment", json!("it")),
        ("metagate.function", json!("args")),
    ] {
        assert_eq!(attribute(root, key), &value, "{key}");
    }
    assert_eq!(attribute(root, "error.type"), &Value::Null);
    assert_eq!(
        (attribute(&spans[1], "metagate.plugin"), attribute(&spans[1], "metagate.verdict")),
        (&json!("first"), &json!("continue"))
    );
    assert_eq!(spans[4]["kind"], "client");
    let resource = &collector.requests()[0]["resources"][0];
    assert_eq!(
        (&resource["service.name"], &resource["service.version"]),
        (&json!("metagate"), &json!(env!("CARGO_PKG_VERSION")))
    );
    wait_for("the count", || (sample(&gateway, "metagate_trace_spans_total{outcome=\"sent\"}") >= 7.0).then_some(()));
}

#[test]
fn spans_say_how_a_call_failed_and_that_its_client_left() {
    let collector = Collector::start(&["200"]);
    let gateway = Gateway::ready(&(crate::streams::config() + &collector.table("")));
    let get = |function: &str| accepting(&gateway, "*/*", function, "[0]");
    assert_error(&get("fail_after"), 500, "function_error");
    assert_error(&get("exit_after"), 502, "worker_crashed");
    gateway.wait_ready();
    assert_error(&get("nothing-like-it"), 404, "function_not_found");
    assert_error(&gateway.call("absent", "f", "[]"), 404, "deployment_not_found");
    let mut left = gateway.connect();
    std::io::Write::write_all(
        &mut left,
        b"POST /local/x/v1/call/late HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n[10]",
    )
    .unwrap();
    wait_for("the call", || (gateway.call("x", "told", "[]").json()["running"] == 1).then_some(()));
    drop(left);
    for (function, code, step, failed) in [
        ("fail_after", "function_error", "stream", true),
        ("exit_after", "worker_crashed", "stream", true),
        ("late", "client_gone", "call late", false),
    ] {
        let spans = collector.trace_with(&format!("POST /local/x/v1/call/{function}"));
        assert_eq!(attribute(&spans[0], "error.type"), code, "{spans:#?}");
        assert_eq!(spans[0]["failed"], failed);
        assert_eq!(attribute(of(&spans, step), "error.type"), code, "{spans:#?}");
    }
    // Names that callers make up are not in the names of spans.
    assert_eq!(names(&collector.trace_with("POST /local/x/v1/call/{function}")), ["POST /local/x/v1/call/{function}"]);
    let unknown = collector.trace_with("POST");
    assert_eq!(attribute(&unknown[0], "error.type"), "deployment_not_found");
}

#[test]
fn the_span_of_a_worker_says_how_its_function_failed() {
    let script = "exports.boom = () => { throw new Error('x'); }; exports.slow = () => new Promise(() => {});";
    let (collector, folder) = (Collector::start(&["200"]), folder(&[("index.js", script)]));
    let deployment = format!("[[deployment]]\nname = \"it\"\npath = {:?}\ntimeout = \"200ms\"\n", folder.path());
    let gateway = Gateway::ready(&(collector.table("") + &deployment));
    for (function, status, code) in [("boom", 500, "function_error"), ("slow", 504, "call_timeout")] {
        assert_error(&gateway.call("it", function, "[]"), status, code);
        let spans = collector.trace_with(&format!("POST /local/it/v1/call/{function}"));
        let call = of(&spans, &format!("call {function}"));
        assert_eq!((attribute(call, "error.type"), &call["failed"]), (&json!(code), &json!(true)), "{call:#}");
        assert_eq!(attribute(&spans[0], "http.response.status_code"), status);
        assert_nested(&spans);
    }
}

#[test]
fn a_stream_has_a_span_until_it_ends() {
    let collector = Collector::start(&["200"]);
    let gateway = Gateway::ready(&(crate::streams::config() + &collector.table("")));
    assert_eq!(accepting(&gateway, "application/x-ndjson", "count", "[5, 0.02]").status, 200);
    let spans = collector.trace_with("POST /local/x/v1/call/count");
    assert_eq!(names(&spans), ["POST /local/x/v1/call/count", "queue", "call count", "stream"]);
    assert_nested(&spans);
    let stream = &spans[3];
    assert!(stream["end"].as_u64().unwrap() - stream["start"].as_u64().unwrap() > 50_000_000, "{stream:#}");
    let mut leaves = ask(&gateway, "text/event-stream", "endless", "[10]");
    leaves.read_exact(&mut [0; 20]).unwrap();
    drop(leaves);
    let spans = collector.trace_with("POST /local/x/v1/call/endless");
    assert_eq!(attribute(of(&spans, "stream"), "error.type"), "client_gone");
}

/// What functions with the libraries of OpenTelemetry see.
#[track_caller]
fn assert_joins(gateway: &Gateway, collector: &Collector, name: &str) {
    let answer = gateway.get_with(&format!("/local/{name}/v1/call/joined"), &[("traceparent", PARENT)]);
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = answer.json();
    let root = format!("GET /local/{name}/v1/call/joined");
    let spans = collector.trace_with(&root);
    let function = of(&spans, "call joined");
    assert_eq!(told["trace"], TRACE, "{told}");
    assert_eq!(told["parent"], function["id"], "{told}");
    assert_eq!(told["header"], format!("00-{TRACE}-{}-01", function["id"].as_str().unwrap()));
}

#[test]
fn what_a_node_function_does_is_part_of_the_trace() {
    let script = "
        const { trace } = require('@opentelemetry/api');
        const { NodeTracerProvider } = require('@opentelemetry/sdk-trace-node');
        const { request } = require('metagate');
        new NodeTracerProvider().register();
        exports.joined = async () => {
          await new Promise((resolve) => setTimeout(resolve, 5));
          const span = trace.getTracer('tests').startSpan('inner');
          const parent = span.parentSpanContext ?? { spanId: span.parentSpanId };
          return { trace: span.spanContext().traceId, parent: parent.spanId,
            header: request().headers.get('traceparent') };
        };";
    let folder = folder(&[("index.js", script)]);
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/npm/node_modules");
    assert!(modules.join("@opentelemetry/api").is_dir(), "run \"npm install\" in tests/npm");
    std::os::unix::fs::symlink(modules, folder.path().join("node_modules")).unwrap();
    let collector = Collector::start(&["200"]);
    let tables = format!("{}[[deployment]]\nname = \"it\"\npath = {:?}\n", collector.table(""), folder.path());
    assert_joins(&Gateway::ready(&tables), &collector, "it");
}

#[test]
fn what_a_python_function_does_is_part_of_the_trace() {
    let script = "
import asyncio
from metagate import request
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

trace.set_tracer_provider(TracerProvider())

def told():
    span = trace.get_tracer('tests').start_span('inner')
    return {'trace': f'{span.context.trace_id:032x}', 'parent': f'{span.parent.span_id:016x}',
            'header': request().headers['traceparent']}

async def joined():
    await asyncio.sleep(0.005)
    return told()

def joined_in_a_thread():
    return told()
";
    let folder = folder(&[("main.py", script)]);
    fs::create_dir(folder.path().join(".packages")).unwrap();
    std::os::unix::fs::symlink(packages(), folder.path().join(".packages/python")).unwrap();
    let collector = Collector::start(&["200"]);
    let tables = format!("{}[[deployment]]\nname = \"it\"\npath = {:?}\n", collector.table(""), folder.path());
    let gateway = Gateway::ready(&tables);
    assert_joins(&gateway, &collector, "it");
    let answer = gateway.get_with("/local/it/v1/call/joined_in_a_thread", &[("traceparent", PARENT)]);
    assert_eq!(answer.json()["trace"], TRACE, "{answer:?}");
}

/// A function that says which `traceparent` and `tracestate` it sees.
fn seeing(collector: &Collector, keys: &str) -> (Gateway, TempDir) {
    let script = "const { request } = require('metagate');
        exports.seen = () => ['traceparent', 'tracestate'].map((name) => request().headers.get(name));";
    let folder = folder(&[("index.js", script)]);
    let tables = format!("{}[[deployment]]\nname = \"it\"\npath = {:?}\n", collector.table(keys), folder.path());
    (Gateway::ready(&tables), folder)
}

#[test]
fn a_caller_decides_about_its_trace_and_a_malformed_parent_is_ignored() {
    let collector = Collector::start(&["200"]);
    let (gateway, _folder) = seeing(&collector, "sample = 0");
    let seen = |headers: &[(&str, &str)]| gateway.get_with("/local/it/v1/call/seen", headers).json();
    // Not recorded: neither by itself nor for its caller; the function gets to know.
    let own = seen(&[]);
    assert!(own[0].as_str().unwrap().starts_with("00-") && own[0].as_str().unwrap().ends_with("-00"), "{own}");
    let passed = seen(&[("traceparent", &PARENT.replace("-01", "-00")), ("tracestate", "a=1")]);
    assert!(passed[0].as_str().unwrap().starts_with(&format!("00-{TRACE}-")), "{passed}");
    assert!(passed[0].as_str().unwrap().ends_with("-00") && passed[1] == "a=1", "{passed}");
    for malformed in ["nonsense", &PARENT.to_uppercase(), &PARENT.replace("00-", "ff-"), &format!("{PARENT}-1")] {
        let new = seen(&[("traceparent", malformed), ("tracestate", "a=1")]);
        assert!(!new[0].as_str().unwrap().contains(TRACE) && new[1].is_null(), "{malformed}: {new}");
    }
    // Recorded, since the caller does.
    seen(&[("traceparent", PARENT), ("x-request-id", "the-only-one")]);
    let spans = collector.trace_with("GET /local/it/v1/call/seen");
    assert_eq!(attribute(&spans[0], "metagate.request_id"), "the-only-one");
    let roots = collector.spans().iter().filter(|span| span["kind"] == "server").count();
    assert_eq!(roots, 1);
}

#[test]
fn answers_say_how_long_their_parts_took_only_where_that_is_switched_on() {
    let gateway = Gateway::ready(&crate::streams::config());
    assert_eq!(accepting(&gateway, "*/*", "told", "[]").header("server-timing"), None);
    let gateway = Gateway::ready(&format!("[server]\nserver_timing = true\n{}", crate::streams::config()));
    let parts = |function: &str, body: &str| {
        let answer = accepting(&gateway, "application/x-ndjson", function, body);
        let text = answer.header("server-timing").unwrap_or_default().to_owned();
        (answer.status, text.split(", ").map(|part| part.split(';').next().unwrap().to_owned()).collect::<Vec<_>>())
    };
    let whole: Vec<String> = ["queue", "worker", "total"].map(str::to_owned).into();
    assert_eq!(parts("told", "[]"), (200, whole.clone()));
    assert_eq!(parts("count", "[5, 0.01]"), (200, whole.clone()), "a stream has them in its head");
    assert_eq!(parts("fail_after", "[0]").0, 500);
    assert_eq!(parts("told", "[1"), (400, vec!["total".to_owned()]));
}
