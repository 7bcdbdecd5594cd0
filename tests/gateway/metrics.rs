//! What `/metrics` counts: every call once with how it ended, its parts, workers, hooks; in both formats, as the parser
//! of Prometheus' own Python library reads them.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::plugins::component::Plugin;
use crate::plugins::{asked, call_do, with_plugin};
use crate::streams::{accepting, ask, raw};
use crate::support::{Gateway, wait_for};

/// The value of a sample; 0 if there is none.
#[track_caller]
pub(crate) fn sample(gateway: &Gateway, name: &str) -> f64 {
    let text = gateway.get("/metrics").body;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

/// The value of a counter.
fn count(gateway: &Gateway, name: &str) -> u32 {
    format!("{}", sample(gateway, name)).parse().unwrap()
}

/// The calls of a function of the deployment `x` that ended so.
fn calls(gateway: &Gateway, function: &str, status: u16, code: &str) -> u32 {
    let name =
        format!("metagate_calls_total{{deployment=\"x\",function=\"{function}\",status=\"{status}\",code=\"{code}\"}}");
    count(gateway, &name)
}

fn streaming(more: &str) -> Gateway {
    Gateway::ready(&(crate::streams::config() + more))
}

#[test]
fn every_call_is_counted_once_with_how_it_ended() {
    let gateway = streaming("");
    for _ in 0..3 {
        assert_eq!(gateway.call("x", "told", "[]").status, 200);
    }
    gateway.call("x", "told", "[1");
    gateway.call("x", "nothing-like-it", "[]");
    gateway.call("x", "nor-this", "[]");
    assert_eq!(gateway.get("/local/x/v1/call/told").status, 200);
    assert_eq!(gateway.call("absent", "f", "[]").status, 404);
    assert_eq!(accepting(&gateway, "*/*", "fail_after", "[0]").status, 500);
    for (function, status, code, count) in [
        ("told", 200, "", 4),
        ("told", 400, "invalid_json", 1),
        ("", 404, "function_not_found", 2),
        ("fail_after", 500, "function_error", 1),
    ] {
        assert_eq!(calls(&gateway, function, status, code), count, "{function} {status} {code}");
    }
    let name = "metagate_calls_total{deployment=\"\",function=\"\",status=\"404\",code=\"deployment_not_found\"}";
    assert_eq!(sample(&gateway, name), 1.0);
    let of = |name: &str, more: &str| format!("metagate_{name}{{deployment=\"x\",{more}}}");
    assert_eq!(sample(&gateway, &of("call_duration_seconds_count", "function=\"told\"")), 5.0);
    // Three of "[]": the body that is no JSON was refused. An answer is {"cancelled":[],"running":0}.
    assert_eq!(sample(&gateway, &of("call_request_bytes_total", "function=\"told\"")), 6.0);
    assert!(sample(&gateway, &of("call_answer_bytes_total", "function=\"told\"")) >= 4.0 * 20.0);
    // Those that came to a worker.
    assert_eq!(sample(&gateway, &of("call_part_duration_seconds_count", "part=\"worker\"")), 5.0);
    assert_eq!(sample(&gateway, &of("call_part_duration_seconds_count", "part=\"queue\"")), 5.0);
    assert_eq!(sample(&gateway, &of("call_part_duration_seconds_count", "part=\"plugins\"")), 0.0);
}

#[test]
fn a_stream_counts_when_it_has_ended() {
    let gateway = streaming("");
    assert!(raw(&gateway, "application/x-ndjson", "count", "[40000]").1);
    assert!(!raw(&gateway, "application/x-ndjson", "fail_after", "[40000]").1);
    let mut leaves = ask(&gateway, "text/event-stream", "endless", "[10]");
    leaves.read_exact(&mut [0; 20]).unwrap();
    assert_eq!(calls(&gateway, "endless", 200, "client_gone"), 0);
    drop(leaves);
    let mut left = gateway.connect();
    write!(left, "POST /local/x/v1/call/late HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n[10]").unwrap();
    wait_for("the call", || (gateway.call("x", "told", "[]").json()["running"] == 1).then_some(()));
    drop(left);
    for (function, status, code) in [
        ("count", 200, ""),
        ("fail_after", 200, "function_error"),
        ("endless", 200, "client_gone"),
        ("late", 408, "client_gone"),
    ] {
        wait_for(function, || (calls(&gateway, function, status, code) == 1).then_some(()));
    }
    let name = "metagate_call_answer_bytes_total{deployment=\"x\",function=\"count\"}";
    // The numbers below 40,000, with a line break each.
    assert_eq!(sample(&gateway, name), 228_890.0);
    let streams = "metagate_call_part_duration_seconds_count{deployment=\"x\",part=\"stream\"}";
    assert_eq!(sample(&gateway, streams), 3.0);
    let head = Command::new("curl").args(["-sI", &gateway.url("/local/x/v1/call/told")]).output().unwrap();
    assert!(head.stdout.starts_with(b"HTTP/1.1 200"));
    assert_eq!(calls(&gateway, "told", 408, "client_gone"), 0);
}

#[test]
fn an_answer_that_breaks_off_with_its_request_counts_as_one_whose_client_left() {
    let app = "exports.default = { async fetch(request) {
          const reader = request.body.getReader();
          const readAll = async () => { while (!(await reader.read()).done); };
          readAll().catch(() => {});
          return new Response(new ReadableStream({ start(all) { all.enqueue('begun'); } }));
        } };";
    let folder = crate::exports::folder(&[("index.js", app)]);
    let gateway = Gateway::ready(&format!("[[deployment]]\nname = \"x\"\npath = {:?}\n", folder.path()));
    let mut wire = gateway.connect();
    write!(wire, "POST /local/x/v1/http/ HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n").unwrap();
    wire.write_all(&[b'a'; 200_000]).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"begun\r\n") {
        let mut byte = [0];
        wire.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    // The connection stays open for the answer.
    wire.shutdown(Shutdown::Write).unwrap();
    wait_for("the call", || (calls(&gateway, "http", 200, "client_gone") == 1).then_some(()));
    assert_eq!(calls(&gateway, "http", 200, "internal"), 0);
}

#[test]
fn a_body_that_is_announced_and_not_sent_counts_none() {
    let gateway = streaming("");
    let mut wire = gateway.connect();
    write!(wire, "POST /local/x/v1/call/told HTTP/1.1\r\nhost: x\r\ncontent-length: 9223372036854775807\r\n\r\n[1")
        .unwrap();
    let mut answer = String::new();
    let _reset = wire.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    wait_for("the call", || (calls(&gateway, "told", 413, "payload_too_large") == 1).then_some(()));
    assert_eq!(sample(&gateway, "metagate_call_request_bytes_total{deployment=\"x\",function=\"told\"}"), 0.0);
    assert!(sample(&gateway, "metagate_call_answer_bytes_total{deployment=\"x\",function=\"told\"}") > 50.0);
}

#[test]
fn the_parts_of_a_stream_add_up_to_the_whole() {
    let gateway = streaming("");
    // Eight items, 50 ms apart, as one array that is held back at first.
    assert_eq!(accepting(&gateway, "*/*", "count", "[8, 0.05]").status, 200);
    let of = |name: &str| sample(&gateway, &format!("metagate_{name}"));
    let whole = of("call_duration_seconds_sum{deployment=\"x\",function=\"count\"}");
    let part = |part: &str| of(&format!("call_part_duration_seconds_sum{{deployment=\"x\",part=\"{part}\"}}"));
    let parts = part("queue") + part("worker") + part("stream");
    assert!(whole > 0.3 && parts <= whole && parts > whole * 0.9, "{parts} of {whole}");
}

#[test]
fn workers_are_counted_with_what_they_use_and_why_they_were_replaced() {
    let gateway = streaming("");
    assert_eq!(accepting(&gateway, "*/*", "exit_after", "[0]").status, 502);
    gateway.wait_ready();
    assert_eq!(gateway.call("x", "told", "[]").status, 200);
    assert_eq!(calls(&gateway, "exit_after", 502, "worker_crashed"), 1);
    let of = |name: &str, more: &str| sample(&gateway, &format!("metagate_{name}{{deployment=\"x\"{more}}}"));
    assert_eq!(of("worker_restarts_total", ",reason=\"crashed\""), 1.0);
    assert_eq!(of("worker_restarts_total", ",reason=\"asked\""), 0.0);
    assert_eq!(of("workers", ",state=\"ready\""), 1.0);
    assert!(of("worker_memory_bytes", "") > 1e6);
    wait_for("processor time", || (of("worker_cpu_seconds_total", "") > 0.0).then_some(()));
    assert!(sample(&gateway, "process_resident_memory_bytes") > 1e6);
    assert!(sample(&gateway, "metagate_open_connections") >= 1.0);
    let build = format!("metagate_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(sample(&gateway, &build), 1.0);
}

/// The names, types and samples that the Python library finds.
fn parsed(text: &str, parser: &str) -> BTreeMap<String, (String, usize)> {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pypi/packages");
    let program = format!(
        "import sys\nfrom {parser} import text_string_to_metric_families as families\n\
         for f in families(sys.stdin.read()):\n    print(f.name, f.type, len(f.samples))"
    );
    let mut python = Command::new("python3");
    python.args(["-c", &program]).env("PYTHONPATH", packages).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = python.stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let found = lines.lines().map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        (fields[0].to_owned(), (fields[1].to_owned(), fields[2].parse().unwrap()))
    });
    found.collect()
}

#[test]
fn the_parsers_of_the_python_library_read_both_formats_alike() {
    let gateway = streaming("");
    gateway.call("x", "told", "[]");
    accepting(&gateway, "text/event-stream", "count", "[3]");
    let scrape = |accept: &str| {
        let answer = gateway.get_with("/metrics", &[("accept", accept)]);
        assert_eq!(answer.status, 200);
        let kind = answer.header("content-type").unwrap().to_owned();
        (kind, answer.body)
    };
    let (kind, text) = scrape("*/*");
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    let of_text = parsed(&text, "prometheus_client.parser");
    // What a Prometheus server sends.
    let (kind, text) =
        scrape("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1");
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let of_open_metrics = parsed(&text, "prometheus_client.openmetrics.parser");
    assert_eq!(of_open_metrics["metagate_calls"], ("counter".to_owned(), 2));
    assert_eq!(of_open_metrics["metagate_call_duration_seconds"].0, "histogram");
    assert_eq!(of_open_metrics["metagate_build"], ("info".to_owned(), 1));
    for (name, (kind, samples)) in &of_open_metrics {
        let (name, kind) =
            if kind == "info" { (format!("{name}_info"), "gauge") } else { (name.clone(), kind.as_str()) };
        // The value of a metric may have come into being between the scrapes, a metric not.
        assert_eq!(of_text.get(&name).map(|found| found.0.as_str()), Some(kind), "{name}: {samples}");
    }
}

#[test]
fn metrics_may_be_switched_off() {
    let gateway = streaming("[metrics]\nenabled = false\n");
    assert_eq!(gateway.call("x", "told", "[]").status, 200);
    let answer = gateway.get("/metrics");
    assert_eq!((answer.status, answer.code()), (404, "not_found"));
    assert_eq!(answer.message(), "metrics are switched off: enabled = false in [metrics]");
}

#[test]
fn calls_by_routes_and_of_apps_are_counted_by_their_function() {
    let app = tempfile::tempdir().unwrap();
    std::fs::write(app.path().join("index.mjs"), "export default { fetch: () => new Response('hello') }\n").unwrap();
    let gateway = streaming(&format!(
        "[[route]]\npath = \"/told\"\nto = \"x/told\"\n[[route]]\npath = \"/app/{{rest...}}\"\nto = \"app\"\n\
         [[deployment]]\nname = \"app\"\npath = {:?}\n",
        app.path()
    ));
    assert_eq!(gateway.get("/told").status, 200);
    assert_eq!(gateway.get("/app/a").body, "hello");
    assert_eq!(gateway.get("/local/app/v1/http/a").body, "hello");
    assert_eq!(calls(&gateway, "told", 200, ""), 1);
    let name = "metagate_calls_total{deployment=\"app\",function=\"http\",status=\"200\",code=\"\"}";
    assert_eq!(sample(&gateway, name), 2.0, "{}", gateway.get("/metrics").body);
}

#[test]
fn hooks_are_counted_with_their_verdicts_and_failures() {
    let plugin = Plugin::new()
        .before_invoke(|c| {
            let asked = asked(c);
            asked.on(c, 'u', |c| c.raw("(unreachable)"));
            asked.on(c, 'r', |c| {
                let message = c.text("no");
                c.reject(418, "no_tea", &message, &[]);
            });
        })
        .after_invoke(|_| {});
    let (gateway, _files) = with_plugin("", plugin, "");
    for what in ["nothing", "nothing", "reject", "unreachable"] {
        call_do(&gateway, what);
    }
    let of = |name: &str, hook: &str, more: &str| {
        let labels = format!("plugin=\"p\",hook=\"{hook}\"{more}");
        count(&gateway, &format!("metagate_plugin_hook_{name}{{{labels}}}"))
    };
    for (hook, verdict, count) in [
        ("before-invoke", "continue", 2),
        ("before-invoke", "reject", 1),
        ("before-invoke", "failed", 1),
        ("before-invoke", "respond", 0),
        ("after-invoke", "continue", 2),
    ] {
        let verdict = format!(",verdict=\"{verdict}\"");
        assert_eq!(of("calls_total", hook, &verdict), count, "{hook}{verdict}");
    }
    assert_eq!(of("failures_total", "before-invoke", ",kind=\"trap\""), 1);
    assert_eq!(of("duration_seconds_count", "before-invoke", ""), 4);
    // All four passed plugins, two came to a worker.
    let part = |part| {
        sample(&gateway, &format!("metagate_call_part_duration_seconds_count{{deployment=\"it\",part=\"{part}\"}}"))
    };
    assert_eq!((part("plugins"), part("worker")), (4.0, 2.0));
    // The instance that trapped is gone; the next one stays.
    call_do(&gateway, "nothing");
    assert!(sample(&gateway, "metagate_plugin_instance_memory_bytes{plugin=\"p\"}") >= 65536.0);
    let name = "metagate_calls_total{deployment=\"it\",function=\"args\",status=\"418\",code=\"no_tea\"}";
    assert_eq!(sample(&gateway, name), 1.0, "{}", gateway.get("/metrics").body);
}
