//! What plugins do for a call: requests to other servers and calls of functions are in its trace, their log lines have
//! its id, and their calls are counted.

use std::thread;

use serde_json::{Value, json};

use crate::exports::folder;
use crate::metrics::sample;
use crate::plugins::component::Plugin;
use crate::plugins::held::{self, Held};
use crate::plugins::{Files, table};
use crate::support::{Gateway, wait_for};
use crate::traces::{Collector, PARENT, TRACE, attribute, names};

/// Logs a line, requests a URL and calls `it/inner`, before each call of `outer`.
fn busy(url: &str) -> Plugin {
    Plugin::new().before_invoke(|c| {
        let line = c.text("busy with it");
        c.log(&line);
        held::get(c, url);
        let (deployment, function, arguments) = (c.text("it"), c.text("inner"), c.text("[]"));
        c.call("invoke", "call", format!("{deployment} {function} {arguments}"));
    })
}

#[test]
fn what_a_plugin_does_for_a_call_is_in_its_trace_also_in_a_process_of_its_own() {
    let script = "const { request } = require('metagate');
        let seen;
        exports.inner = () => { seen = request().headers.get('traceparent'); };
        exports.seen = () => seen;
        exports.outer = () => 1;";
    let functions = folder(&[("index.js", script)]);
    for isolation in ["none", "process"] {
        let (collector, files, server) = (Collector::start(&["200"]), Files::new(), Held::new());
        let file = files.put("busy.wasm", busy(&server.url("/keys?secret=1")).component());
        let keys = format!("isolation = {isolation:?}\n{}", grants(&server));
        let deployment = format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", functions.path());
        let gateway = Gateway::ready(&[collector.table(""), deployment, table("busy", &file, &keys)].concat());
        let headers = [("traceparent", PARENT), ("tracestate", "a=1")];
        let parent = thread::scope(|scope| {
            let call = scope.spawn(|| gateway.post("/local/it/v1/call/outer", &headers, "[]"));
            let request = server.next();
            let header = |name: &str| {
                let start = format!("{name}: ");
                request.head.iter().find_map(|line| line.strip_prefix(&start)).map(str::to_owned)
            };
            let (parent, state) = (header("traceparent"), header("tracestate"));
            assert_eq!(state.as_deref(), Some("a=1"), "{:?}", request.head);
            request.answer("404 Not Found", "", "{}");
            assert_eq!(call.join().unwrap().status, 200);
            parent.expect("a traceparent")
        });
        let spans = wait_for("all spans", || Some(collector.trace_with("GET")).filter(|spans| spans.len() >= 8));
        let root = "POST /local/it/v1/call/outer";
        let order = [
            root,
            "plugin busy before-invoke",
            "GET",
            "INTERNAL it/inner",
            "queue",
            "call inner",
            "queue",
            "call outer",
        ];
        assert_eq!(names(&spans), order, "{isolation}");
        let (root, hook, request, inner) = (&spans[0], &spans[1], &spans[2], &spans[3]);
        assert_eq!((&root["trace"], &hook["parent"]), (&json!(TRACE), &root["id"]), "{isolation}");
        assert_eq!((&request["parent"], &inner["parent"]), (&hook["id"], &hook["id"]), "{isolation} {spans:#?}");
        assert_eq!((&spans[4]["parent"], &spans[5]["parent"]), (&inner["id"], &inner["id"]), "{isolation}");
        assert_eq!((&spans[6]["parent"], &spans[7]["parent"]), (&root["id"], &root["id"]), "{isolation}");
        assert_eq!(parent, format!("00-{TRACE}-{}-01", request["id"].as_str().unwrap()), "{isolation}");
        assert_describes(request, &server);
        assert_eq!((&request["kind"], &inner["kind"]), (&json!("client"), &json!("internal")));
        assert_eq!(attribute(inner, "metagate.function"), "inner");
        // The function that the plugin has called is below that call.
        let seen = gateway.call("it", "seen", "[]").json();
        assert_eq!(seen, format!("00-{TRACE}-{}-01", spans[5]["id"].as_str().unwrap()));
        assert_traced_line(&gateway);
        let counted = "metagate_calls_total{deployment=\"it\",function=\"inner\",status=\"200\",code=\"\"}";
        wait_for("the count", || (sample(&gateway, counted) >= 1.0).then_some(()));
    }
}

/// What the plugin is granted, and which calls it applies to.
fn grants(server: &Held) -> String {
    let grants = format!("{{ http = [{:?}], invoke = [\"it/inner\"] }}", server.origin);
    format!("functions = [\"outer\"]\ntimeout = \"10s\"\ngrants = {grants}")
}

/// The span of a request has what the conventions for HTTP clients ask for, and no query.
#[track_caller]
fn assert_describes(request: &Value, server: &Held) {
    let port: u64 = server.origin.rsplit(':').next().unwrap().parse().unwrap();
    for (key, value) in [
        ("http.request.method", json!("GET")),
        ("http.response.status_code", json!(404)),
        ("server.address", json!("127.0.0.1")),
        ("server.port", json!(port)),
        ("url.full", json!(server.url("/keys"))),
        ("error.type", json!("404")),
    ] {
        assert_eq!(attribute(request, key), &value, "{key}");
    }
}

/// The line that the plugin has logged has the id of the trace.
#[track_caller]
fn assert_traced_line(gateway: &Gateway) {
    let log = gateway.log();
    let line = log.lines().find(|line| line.contains("busy with it")).unwrap_or_else(|| panic!("{log}"));
    let line: Value = serde_json::from_str(line).unwrap_or_else(|_| json!({ "text": line }));
    let has_id = line["span"]["trace_id"] == TRACE || line["text"].as_str().is_some_and(|line| line.contains(TRACE));
    assert!(has_id, "{line}");
}

#[test]
fn lines_have_no_trace_where_none_is_made() {
    let (files, server) = (Files::new(), Held::new());
    let file = files.put("busy.wasm", busy(&server.url("/")).component());
    let functions = folder(&[("index.js", "exports.outer = () => 1;")]);
    let deployment = format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", functions.path());
    let gateway = Gateway::ready(&(deployment + &table("busy", &file, &grants(&server))));
    let call = || gateway.get_with("/local/it/v1/call/outer", &[("traceparent", PARENT)]);
    thread::scope(|scope| {
        let call = scope.spawn(call);
        let request = server.next();
        assert!(request.head.iter().all(|line| !line.starts_with("traceparent")), "{:?}", request.head);
        request.answer("200 OK", "", "{}");
        assert_eq!(call.join().unwrap().status, 200);
    });
    let line =
        wait_for("the line", || gateway.log().lines().find(|line| line.contains("busy with it")).map(str::to_owned));
    assert!(!line.contains(TRACE) && !line.contains("trace_id"), "{line}");
}

#[test]
fn the_calls_of_plugins_count_by_status_and_code() {
    let (files, functions) = (Files::new(), folder(&[("index.js", "exports.outer = () => 1;")]));
    let calls = |deployment: &'static str, function: &'static str| {
        Plugin::new().before_invoke(move |c| {
            let (deployment, function, arguments) = (c.text(deployment), c.text(function), c.text("[]"));
            c.call("invoke", "call", format!("{deployment} {function} {arguments}"));
        })
    };
    let one = files.put("one.wasm", calls("it", "absent").component());
    let other = files.put("other.wasm", calls("gone", "f").component());
    let keys = "functions = [\"outer\"]\ngrants = { invoke = [\"it/*\", \"gone/*\"] }";
    let deployment = format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", functions.path());
    let gateway = Gateway::ready(&[deployment, table("one", &one, keys), table("other", &other, keys)].concat());
    assert_eq!(gateway.call("it", "outer", "[]").status, 200);
    for (deployment, function, status, code) in
        [("it", "", 404, "function_not_found"), ("", "", 404, "deployment_not_found"), ("it", "outer", 200, "")]
    {
        let labels = format!("deployment={deployment:?},function={function:?},status=\"{status}\",code={code:?}");
        let count = sample(&gateway, &format!("metagate_calls_total{{{labels}}}"));
        assert_eq!(count.to_string(), "1", "{labels}");
    }
}
