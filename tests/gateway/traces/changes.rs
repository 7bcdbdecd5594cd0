//! Spans of deploys and reloads.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::deploys::versioned;
use crate::exports::folder;
use crate::support::{Gateway, metagate, wait_for};
use crate::traces::{Collector, PARENT, TRACE, assert_nested, attribute, names, of};

#[test]
fn a_deploy_has_a_span_for_each_of_its_steps() {
    let collector = Collector::start(&["200"]);
    let gateway = Gateway::start(&collector.table("sample = 0"));
    let source = folder(&[("index.js", "exports.f = () => 1;"), ("package.json", "{\"dependencies\": {}}")]);
    let deploy = || {
        let mut command = metagate();
        command.args(["deploy", "--name", "it", "--url", &gateway.url("")]).arg(source.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    deploy();
    let spans = collector.trace_with("deploy");
    assert_eq!(
        names(&spans),
        ["deploy", "unpack", "dependencies", "plan", "before-load hooks", "start", "load", "swap"]
    );
    assert_nested(&spans);
    assert_eq!((attribute(&spans[0], "metagate.deployment"), &spans[0]["failed"]), (&json!("it"), &json!(false)));
    deploy();
    // The release before drains in the same trace.
    let second = wait_for("the second deploy", || {
        let spans = collector.spans();
        let drain = spans.iter().find(|span| span["name"] == "drain")?.clone();
        Some(spans.into_iter().filter(|span| span["trace"] == drain["trace"]).collect::<Vec<_>>())
    });
    assert_eq!(names(&second)[7..], ["swap", "drain"], "{second:#?}");
    fs::write(source.path().join("index.js"), "throw new Error('broken')").unwrap();
    let failed = metagate().args(["deploy", "--name", "it", "--url", &gateway.url("")]).arg(source.path()).output();
    assert!(!failed.unwrap().status.success());
    let failed = wait_for("the failed deploy", || {
        let spans = collector.spans();
        spans.into_iter().find(|span| span["name"] == "deploy" && span["failed"] == true)
    });
    let steps: Vec<Value> = collector.spans().into_iter().filter(|span| span["trace"] == failed["trace"]).collect();
    assert_eq!(attribute(of(&steps, "load"), "error.type"), "load_failed", "{steps:#?}");
}

#[test]
fn a_reload_has_a_span_with_the_deploys_that_it_makes() {
    let collector = Collector::start(&["200"]);
    let (one, two) = (folder(&[("index.js", "exports.f = () => 1;")]), folder(&[("index.js", "exports.g = () => 2;")]));
    let deployment = |path: &Path| format!("[[deployment]]\nname = \"it\"\npath = {path:?}\n");
    let gateway = Gateway::ready(&(collector.table("") + &deployment(one.path())));
    let file = gateway.folder.path().join("metagate.toml");
    let text = fs::read_to_string(&file).unwrap().replace(&format!("{:?}", one.path()), &format!("{:?}", two.path()));
    fs::write(&file, text).unwrap();
    gateway.signal(rustix::process::Signal::HUP);
    let spans = wait_for("the drain", || {
        let spans = collector.trace_with("reload");
        spans.iter().any(|span| span["name"] == "drain").then_some(spans)
    });
    let (reload, deploy) = (of(&spans, "reload"), of(&spans, "deploy"));
    assert_eq!((&reload["parent"], &deploy["parent"]), (&json!(""), &reload["id"]));
    assert_eq!((&of(&spans, "plugins")["parent"], &of(&spans, "swap")["parent"]), (&reload["id"], &deploy["id"]));
}

#[test]
fn a_deploy_is_part_of_the_trace_of_who_asks_for_it() {
    let collector = Collector::start(&["200"]);
    let gateway = Gateway::start(&collector.table(""));
    gateway.ship("it", &versioned(1));
    let deploy = |parent: &str| {
        let headers = [("content-type", "application/json"), ("traceparent", parent)];
        let answer = gateway.post("/api/deploy/create", &headers, r#"{"suffix": "it", "env": []}"#);
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    // A caller that does not record its part: nor does the gateway.
    deploy(&format!("00-{}-b7ad6b7169203331-00", TRACE.replace('0', "1")));
    deploy(PARENT);
    let spans = wait_for("the deploy", || {
        let spans: Vec<Value> = collector.spans().into_iter().filter(|span| span["trace"] == TRACE).collect();
        spans.iter().any(|span| span["name"] == "swap").then_some(spans)
    });
    let root = of(&spans, "deploy");
    assert_eq!((&root["parent"], &root["flags"]), (&json!("b7ad6b7169203331"), &json!(0x301)));
    assert_eq!(of(&spans, "load")["parent"], root["id"]);
    assert_eq!(collector.spans().iter().filter(|span| span["name"] == "deploy").count(), 2, "with the first one");
}
