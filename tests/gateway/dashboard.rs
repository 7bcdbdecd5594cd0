//! The dashboard and `GET /api/overview`: who gets what, what pages may do, and every page used in a real browser.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::readme::repository;
use crate::support::{Gateway, fixture, metagate, wait_for};
use crate::wire::{self, Wire, assert_refused};

fn config(tables: &str) -> String {
    format!("{tables}[[deployment]]\nname = \"math\"\npath = {:?}\n", fixture("dashboard"))
}

const TOKENS: &str = "[admin]\ntoken = \"everything\"\n\
                      tokens = [{ name = \"looker\", token = \"look\", may = [\"read\"] }, \
                      { name = \"shops\", token = \"shops\", may = [\"deploy:shop\"] }]\n";

fn bearer(token: &str) -> [(&str, String); 1] {
    [("authorization", format!("Bearer {token}"))]
}

fn overview(gateway: &Gateway, token: &str) -> Value {
    let [(name, value)] = bearer(token);
    gateway.get_with("/api/overview", &[(name, &value)]).json()
}

#[test]
fn the_dashboard_holds_no_data_and_no_page_may_frame_it() {
    let gateway = Gateway::ready(&config(TOKENS));
    for path in ["/", "/dashboard", "/dashboard/app.js", "/dashboard/style.css"] {
        let answer = gateway.get(path);
        assert_eq!(answer.status, 200, "{path}");
        for (name, value) in [
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'self';") && policy.contains("frame-ancestors 'none'"), "{policy}");
        let tag = answer.header("etag").unwrap();
        let again = gateway.get_with(path, &[("if-none-match", tag)]);
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
    }
    assert_eq!(gateway.get("/api/overview").status, 401);
    assert_eq!(gateway.get("/dashboard/other.js").status, 404);
}

#[test]
fn a_route_for_the_root_comes_before_the_dashboard() {
    let route = "[[route]]\npath = \"/\"\nto = \"math/sum\"\n";
    let gateway = Gateway::ready(&config(route));
    assert!(!gateway.get("/").body.contains("<html"), "{}", gateway.get("/").body);
    assert!(gateway.get("/dashboard").body.contains("<html"));
    let gateway = Gateway::ready(&config("[dashboard]\nenabled = false\n"));
    assert_eq!((gateway.get("/").status, gateway.get("/dashboard").status), (404, 404));
}

#[test]
fn the_dashboard_may_change_what_pages_of_other_origins_may_not() {
    let gateway = Gateway::ready(&config(""));
    let posted = |origin: &str, host: &str| {
        let body = "{\"suffix\":\"math\"}";
        let request = format!(
            "POST /api/deploy/logs HTTP/1.1\r\nhost: {host}\r\norigin: {origin}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        Wire::open(&gateway).send(request).answer()
    };
    for (origin, host) in [("http://localhost:9000", "localhost:9000"), ("https://LOCALHOST", "localhost")] {
        assert_eq!(posted(origin, host).status, 200, "{origin}");
    }
    for (origin, host) in [
        ("http://localhost:9001", "localhost:9000"),
        ("http://localhost.page.example:9000", "localhost:9000"),
        ("null", "localhost:9000"),
        ("file://localhost:9000", "localhost:9000"),
        ("http://page.example", "page.example"),
    ] {
        assert_refused(&posted(origin, host), 403, "forbidden");
    }
    let answer = wire::send(&gateway, "POST", "/api/reload", &[("origin", "")], "");
    assert_refused(&answer, 403, "forbidden");
}

#[test]
fn the_overview_has_the_figures_of_what_a_caller_may_see() {
    let gateway = Gateway::ready(&config(TOKENS));
    for _ in 0..20 {
        gateway.call("math", "sum", "[1, 2]");
    }
    gateway.call("math", "sum", "[1]");
    let line = wait_for("calls in the overview", || {
        let line = overview(&gateway, "look")["deployments"][0].clone();
        (line["last_used"].is_string() && line["calls_per_second"].as_f64() > Some(0.0)).then_some(line)
    });
    assert_eq!((&line["name"], &line["state"]), (&"math".into(), &"ready".into()));
    assert_eq!((&line["origin"], &line["release"]), (&"configuration".into(), &Value::Null));
    assert_eq!(line["workers"]["ready"], 1);
    assert!(line["p50_ms"].as_f64() > Some(0.0) && line["p99_ms"].as_f64() >= line["p50_ms"].as_f64(), "{line}");
    assert!(line["memory"].as_u64() > Some(1 << 20), "{line}");
    assert_eq!(line["history"]["calls"].as_array().unwrap().last().unwrap(), 21);
    let [(name, value)] = bearer("look");
    let metrics = gateway.get_with("/metrics", &[(name, &value)]).body;
    assert!(metrics.contains("metagate_deployment_last_use_timestamp_seconds{deployment=\"math\"} "), "{metrics}");
    let all = overview(&gateway, "look");
    assert_eq!((&all["prefix"], &all["status"]), (&"local".into(), &"ready".into()));
    assert_eq!(all["caller"]["may"][0], "read");
    assert_eq!(overview(&gateway, "shops")["deployments"], Value::Array(Vec::new()), "it sees its own deployments");
}

#[test]
fn the_dashboard_is_used_in_a_browser() {
    let tables = "[async]\nbackoff = \"1h\"\nmax_backoff = \"1h\"\n\
                  [async.callbacks]\nhttp = [\"http://127.0.0.1:9\"]\n\
                  secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n\
                  [[schedule]]\nname = \"hourly\"\nto = \"math/sum\"\ncron = \"0 * 29 2 *\"\narguments = [1, 2]\n";
    let gateway = Gateway::ready(&config(&format!("{TOKENS}{tables}")));
    let origin = gateway.url("");
    for _ in 0..2 {
        let mut deploy = metagate();
        deploy.args(["deploy", "--name", "shop", "--url", &origin, "--token", "everything"]).arg(fixture("dashboard"));
        let deployed = deploy.output().unwrap();
        assert!(deployed.status.success(), "{}", String::from_utf8_lossy(&deployed.stderr));
    }
    gateway.call("math", "sum", "[1, 2]");
    let screenshots = screenshots();
    let mut zip = Command::new("zip");
    zip.args(["-q", "-j", "-FS"]).arg(screenshots.join("package.zip")).arg(fixture("dashboard").join("index.js"));
    assert!(zip.status().unwrap().success());
    browse("run.mjs", &origin, &[&fixture("dashboard")]);
}

fn screenshots() -> PathBuf {
    let screenshots = repository().join("target/dashboard");
    std::fs::create_dir_all(&screenshots).unwrap();
    screenshots
}

/// Runs a script that uses the dashboard at `origin` in a browser.
pub(crate) fn browse(script: &str, origin: &str, more: &[&Path]) {
    let modules = repository().join("tests/npm/node_modules");
    let mut browser = Command::new("node");
    browser.arg(repository().join("tests/dashboard").join(script)).args([origin, "/usr/bin/chromium"]);
    let ran = browser.arg(modules).arg(screenshots()).args(more).output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{said}{complained}\n(tests/run.sh installs chromium and the programs from npm)");
    if std::env::var_os("METAGATE_WRITE_IMAGES").is_some() {
        refresh_images();
    }
}

/// Replaces the pictures of the documentation by those that the scripts have painted.
fn refresh_images() {
    for image in std::fs::read_dir(repository().join("docs/images")).unwrap() {
        let image = image.unwrap();
        let painted = screenshots().join(image.file_name());
        if painted.exists() {
            std::fs::copy(painted, image.path()).unwrap();
        }
    }
}
