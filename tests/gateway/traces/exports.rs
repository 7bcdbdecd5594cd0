//! What is sent to collectors, and collectors that are down, slow or hostile; faults in the table.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::exports::folder;
use crate::metrics::sample;
use crate::support::{Gateway, metagate, wait_for};
use crate::traces::{Collector, names};

#[test]
fn the_collector_gets_headers_and_compressed_spans_as_configured() {
    let collector = Collector::start(&["200"]);
    let keys = "compression = \"gzip\"\nservice_name = \"edge\"\nheaders = { X-Key = \"${env:OTLP_KEY}\" }";
    let folder = folder(&[("index.js", "exports.f = () => 1;")]);
    let tables = format!("{}[[deployment]]\nname = \"it\"\npath = {:?}\n", collector.table(keys), folder.path());
    let gateway = Gateway::start_with(&tables, |command| {
        command.env("OTLP_KEY", "hunter2");
    });
    gateway.wait_ready();
    gateway.call("it", "f", "[]");
    collector.trace_with("POST /local/it/v1/call/f");
    let request = &collector.requests()[0];
    assert_eq!(
        (&request["path"], &request["headers"]["content-type"]),
        (&json!("/v1/traces"), &json!("application/x-protobuf"))
    );
    assert_eq!(
        (&request["headers"]["x-key"], &request["headers"]["content-encoding"]),
        (&json!("hunter2"), &json!("gzip"))
    );
    assert_eq!(request["resources"][0]["service.name"], "edge");
    assert!(!gateway.log().contains("hunter2"));
}

#[test]
fn spans_are_sent_again_when_the_collector_asks_for_it_and_counted_when_it_rejects_them() {
    let collector = Collector::start(&["503:0", "429", "close", "200", "partial", "400", "garbage"]);
    let folder = folder(&[("index.js", "exports.f = () => 1;")]);
    let tables = format!("{}[[deployment]]\nname = \"it\"\npath = {:?}\n", collector.table(""), folder.path());
    let gateway = Gateway::ready(&tables);
    let count = |outcome: &str| sample(&gateway, &format!("metagate_trace_spans_total{{outcome=\"{outcome}\"}}"));
    let answers = || {
        let requests = collector.requests();
        requests.iter().map(|request| request["answer"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // The first request has the start's own spans, or those of the first call.
    gateway.call("it", "f", "[]");
    wait_for("the fourth attempt", || (answers().len() >= 4).then_some(()));
    assert_eq!(answers()[..4], ["503:0", "429", "close", "200"]);
    let requests = collector.requests();
    assert!(requests[..3].iter().all(|request| request["spans"] == requests[3]["spans"]), "the same spans");
    wait_for("what was accepted", || (count("sent") >= 1.0).then_some(()));
    gateway.wait_log("spans were not accepted");
    while answers().len() < 7 {
        let before = answers().len();
        gateway.call("it", "f", "[]");
        wait_for("another request", || (answers().len() > before).then_some(()));
    }
    wait_for("what was rejected", || (count("refused") >= 2.0).then_some(()));
    gateway.wait_log("one is too old");
    assert_eq!((count("queue_full"), count("unreachable")), (0.0, 0.0));
}

#[test]
fn a_collector_that_is_down_or_hostile_costs_spans_and_nothing_else() {
    for answer in ["hang", "huge", "trickle", "down"] {
        let collector = Collector::start(&[answer]);
        let folder = folder(&[("index.js", "exports.f = () => 1;")]);
        let keys = "queue = 256\ntimeout = \"300ms\"";
        let tables = format!("{}[[deployment]]\nname = \"it\"\npath = {:?}\n", collector.table(keys), folder.path());
        if answer == "down" {
            drop(collector);
        }
        let gateway = Gateway::ready(&tables);
        let begun = Instant::now();
        for _ in 0..300 {
            assert_eq!(gateway.call("it", "f", "[]").status, 200);
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{answer}: {:?}", begun.elapsed());
        let count = |outcome: &str| sample(&gateway, &format!("metagate_trace_spans_total{{outcome=\"{outcome}\"}}"));
        if answer == "hang" || answer == "down" {
            wait_for("dropped spans", || (count("queue_full") > 300.0).then_some(()));
        }
        let begun = Instant::now();
        assert!(gateway.stop().success());
        assert!(begun.elapsed() < Duration::from_secs(5), "{answer}: {:?}", begun.elapsed());
    }
}

#[test]
fn spans_that_wait_are_sent_when_the_gateway_stops() {
    let collector = Collector::start(&["200"]);
    let folder = folder(&[("index.js", "exports.f = () => 1;")]);
    let table = collector.table("").replace("20ms", "1h");
    let gateway = Gateway::ready(&format!("{table}[[deployment]]\nname = \"it\"\npath = {:?}\n", folder.path()));
    gateway.call("it", "f", "[]");
    gateway.stop();
    assert!(names(&collector.spans()).contains(&"POST /local/it/v1/call/f"));
}

#[test]
fn mistakes_in_the_table_are_faults_at_their_places() {
    for (keys, place, told) in [
        ("endpoint = \"127.0.0.1:4318\"", "3:12", "the scheme is missing"),
        ("endpoint = \"grpc://h:4317\"", "3:12", "scheme \"grpc\" is not http or https"),
        ("endpoint = \"http://me:pw@h\"", "3:12", "takes an address that begins with http:// or https://"),
        ("endpoint = \"http://h\"\nsample = 2", "4:10", "a number from 0 to 1"),
        ("endpoint = \"http://h\"\nheaders = { \"a b\" = \"c\" }", "4:", "is not the name of a header"),
        ("endpoint = \"http://h\"\nheaders = { host = \"c\" }", "4:", "the gateway sets \"host\" itself"),
        ("endpoint = \"http://h\"\nheaders = { a = \"b\\nc\" }", "4:", "control characters"),
        ("endpoint = \"http://h\"\nqueue = 1", "4:9", "from 256 to 1000000"),
        ("endpoint = \"http://h\"\ncompression = \"zip\"", "4:15", "\"gzip\" or \"none\""),
        ("endpont = \"http://h\"", "3:1", "endpoint"),
        ("sample = 0.5", "2:1", "endpoint"),
    ] {
        let folder = folder(&[("metagate.toml", &format!("[server]\n[traces]\n{keys}\n"))]);
        let checked = metagate().arg("check").arg(folder.path().join("metagate.toml")).output().unwrap();
        let errors = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert_eq!(checked.status.code(), Some(1), "{keys}: {errors}");
        assert!(errors.contains(&format!("metagate.toml:{place}")) && errors.contains(told), "{keys}: {errors}");
    }
}
