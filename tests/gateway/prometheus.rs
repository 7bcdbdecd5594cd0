//! A real Prometheus with the configuration of `examples/observability`: it scrapes a gateway with the token for that,
//! answers what operators ask, and evaluates every expression of the alerts and of the dashboard.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::plugins::component::Plugin;
use crate::plugins::{Files, asked, call_do, deployment, table};
use crate::readme::repository;
use crate::support::{Gateway, metagate, wait_for};

const SCRAPES: &str = "scrapes-with-a-token-that-is-long-enough";

/// Metrics that have no series as long as nothing has failed.
const SERIES_OF_FAULTS: [&str; 2] = ["metagate_plugin_hook_failures_total", "metagate_task_restarts_total"];

/// A Prometheus that scrapes a gateway every half second. Ends when it is dropped.
struct Prometheus {
    child: Child,
    address: String,
    folder: TempDir,
}

impl Prometheus {
    fn start(gateway: &Gateway) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let example = repository().join("examples/observability");
        fs::copy(example.join("alerts.yml"), folder.path().join("alerts.yml")).unwrap();
        fs::write(folder.path().join("scrape-token"), SCRAPES).unwrap();
        let config = fs::read_to_string(example.join("prometheus.yml")).unwrap();
        let config = config.replace("127.0.0.1:9000", &gateway.address.to_string()).replace("15s", "500ms");
        fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        // Free when it is asked for.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new("prometheus");
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
        command.arg(format!("--web.listen-address={address}")).current_dir(folder.path());
        let child = command.stdout(Stdio::null()).stderr(log).spawn();
        let child = child.expect("prometheus is not installed: run tests/run.sh");
        Self { child, address, folder }
    }

    /// The result of a query; none while Prometheus does not answer.
    fn query(&self, expression: &str) -> Option<Vec<Value>> {
        let url = format!("http://{}/api/v1/query", self.address);
        let mut command = Command::new("curl");
        command.args(["-s", "--max-time", "20", "--data-urlencode", &format!("query={expression}"), &url]);
        let answer: Value = serde_json::from_slice(&command.output().unwrap().stdout).ok()?;
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        Some(answer["data"]["result"].as_array().unwrap().clone())
    }

    /// The value of each series of a query, by these labels, once there are some.
    #[track_caller]
    fn series(&self, expression: &str, labels: &[&str]) -> Vec<(String, f64)> {
        let found = wait_for(expression, || self.query(expression).filter(|found| !found.is_empty()));
        let value = |one: &Value| one["value"][1].as_str().unwrap().parse::<f64>().unwrap();
        let name = |one: &Value| {
            let texts: Vec<&str> = labels.iter().map(|label| one["metric"][label].as_str().unwrap_or("")).collect();
            texts.join(" ")
        };
        found.iter().map(|one| (name(one), value(one))).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.folder.path().join("log")).unwrap());
        }
    }
}

/// Every expression of the dashboard, with its variables set.
fn dashboard_expressions() -> BTreeSet<String> {
    let text = fs::read_to_string(repository().join("examples/observability/grafana-dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let set = |expression: &str| {
        let set = expression.replace("$__rate_interval", "1m").replace("$instance", ".*");
        set.replace("$deployment", ".*")
    };
    targets.map(|target| set(target["expr"].as_str().unwrap())).collect()
}

#[test]
fn prometheus_answers_what_operators_ask() {
    let plugin = Plugin::new().before_invoke(|c| {
        let asked = asked(c);
        asked.on(c, 'r', |c| {
            let message = c.text("no");
            c.reject(418, "no_tea", &message, &[]);
        });
    });
    let files = Files::new();
    let file = files.put("p.wasm", plugin.component());
    let tokens = format!("tokens = [{{ name = \"prometheus\", token = {SCRAPES:?}, may = [\"metrics\"] }}]");
    // Nothing listens there: spans are counted as well when they are dropped.
    let traces = "[traces]\nendpoint = \"http://127.0.0.1:1\"\n";
    let tables = format!("[admin]\ntoken = \"everything\"\n{tokens}\n{traces}");
    let gateway = Gateway::ready(&format!("{tables}{}{}", deployment("it"), table("p", &file, "")));
    let prometheus = Prometheus::start(&gateway);
    wait_for("the first scrape", || {
        let up = prometheus.query("up{job=\"metagate\"}")?;
        (up.first()?["value"][1] == "1").then_some(())
    });
    // Between two scrapes: rates need both.
    wait_for("two scrapes with calls", || {
        call_do(&gateway, "nothing");
        call_do(&gateway, "reject");
        gateway.call("it", "nothing-like-it", "[]");
        let counts = prometheus.query("count_over_time(metagate_calls_total{code=\"no_tea\"}[1m]) > 2")?;
        (!counts.is_empty()).then_some(())
    });
    let errors = prometheus.series(
        "sum by (deployment, function, code) (rate(metagate_calls_total{code!=\"\"}[1m]))",
        &["deployment", "function", "code"],
    );
    let of = |name: &str| errors.iter().find(|(found, _)| found == name).map(|(_, rate)| *rate);
    assert!(of("it args no_tea").is_some_and(|rate| rate > 0.0), "{errors:?}");
    assert!(of("it  function_not_found").is_some_and(|rate| rate > 0.0), "{errors:?}");
    let slow = prometheus.series(
        "histogram_quantile(0.99, sum by (deployment, le) (rate(metagate_call_duration_seconds_bucket[1m]))) > 0",
        &["deployment"],
    );
    assert!(slow.iter().any(|(name, seconds)| name == "it" && *seconds < 64.0), "{slow:?}");
    let cost = prometheus.series(
        "sum by (plugin, hook) (rate(metagate_plugin_hook_duration_seconds_sum[1m])) / sum by (plugin, hook) \
         (rate(metagate_plugin_hook_duration_seconds_count[1m])) > 0",
        &["plugin", "hook"],
    );
    assert_eq!(cost.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["p before-invoke"], "{cost:?}");
    let expressions = dashboard_expressions();
    assert!(expressions.len() > 15, "{expressions:?}");
    for expression in &expressions {
        assert!(prometheus.query(expression).is_some(), "{expression}");
    }
    check_names(&prometheus, &expressions);
    let alerts = prometheus.series("count by (alertname) (ALERTS) or vector(0)", &["alertname"]);
    assert!(!alerts.iter().any(|(name, _)| name == "MetagateDown"), "{alerts:?}");
}

/// Each metric that an expression or the documentation names is there.
fn check_names(prometheus: &Prometheus, expressions: &BTreeSet<String>) {
    let names: BTreeSet<String> = prometheus
        .series("count by (__name__) ({job=\"metagate\"})", &["__name__"])
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let alerts = fs::read_to_string(repository().join("examples/observability/alerts.yml")).unwrap();
    let page = fs::read_to_string(repository().join("docs/observability.md")).unwrap();
    for text in expressions.iter().chain([&alerts, &page]) {
        for name in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            // The tests of clusters look at those of clusters.
            let is_metric = name.starts_with("metagate_") && !name.starts_with("metagate_cluster_");
            let there = names.contains(name) || names.contains(&format!("{name}_count"));
            assert!(!is_metric || there || SERIES_OF_FAULTS.contains(&name), "{name}: {names:?}");
        }
    }
}

#[test]
fn the_example_is_valid_for_promtool_and_for_the_gateway() {
    let example = repository().join("examples/observability");
    let folder = tempfile::tempdir().unwrap();
    for file in ["prometheus.yml", "alerts.yml"] {
        fs::copy(example.join(file), folder.path().join(file)).unwrap();
    }
    fs::write(folder.path().join("scrape-token"), SCRAPES).unwrap();
    let promtool = |args: &[&str], path: &Path| {
        let checked = Command::new("promtool").args(args).arg(path).output();
        let checked = checked.expect("promtool is not installed: run tests/run.sh");
        assert!(checked.status.success(), "{checked:?}");
    };
    promtool(&["check", "config"], &folder.path().join("prometheus.yml"));
    promtool(&["check", "rules"], &folder.path().join("alerts.yml"));
    let tokens = [("METAGATE_TOKEN", "one-that-is-for-everything-and-long-enough"), ("METAGATE_SCRAPE_TOKEN", SCRAPES)];
    let checked = metagate().arg("check").arg(example.join("metagate.toml")).envs(tokens).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
}
