//! The figures of `metagate top`: the gateway's overview, sorted, filtered, and as the texts of a table.

use std::cmp::Ordering;
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;

use crate::cli::client::Client;
use crate::cli::plain::plain_line;
use crate::cli::top::order::Order;

/// The columns.
pub(super) const HEAD: [&str; 12] = [
    "NAME", "STATE", "RELEASE", "WORKERS", "CALLS/S", "ERRORS/S", "P50 MS", "P99 MS", "ACTIVE", "QUEUED", "MEMORY",
    "CPU",
];

/// How long the gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// `GET /api/overview`.
#[derive(Debug, Deserialize)]
pub(super) struct Overview {
    pub(super) status: String,
    pub(super) prefix: String,
    pub(super) version: String,
    pub(super) deployments: Vec<Deployment>,
}

/// A deployment. Figures that are not known are missing.
#[derive(Debug, Deserialize)]
pub(super) struct Deployment {
    pub(super) name: String,
    pub(super) state: String,
    release: Option<u64>,
    workers: Workers,
    pub(super) calls_per_second: Option<f64>,
    pub(super) errors_per_second: Option<f64>,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    in_flight: u64,
    queued: u64,
    pub(super) last_used: Option<String>,
    memory: u64,
    cpu: Option<f64>,
    pub(super) error: Option<Reason>,
}

#[derive(Debug, Deserialize)]
struct Workers {
    ready: u64,
    all: u64,
}

/// Why a deployment does not serve.
#[derive(Debug, Deserialize)]
pub(super) struct Reason {
    pub(super) code: String,
    pub(super) message: String,
}

impl Overview {
    /// Asks the gateway.
    pub(super) fn fetch(client: &Client) -> anyhow::Result<Self> {
        let mut answer = client.get_within("/api/overview", PATIENCE)?;
        // A thousand deployments with an hour of minutes each are some megabytes.
        let text = answer.body_mut().with_config().limit(64 << 20).read_to_string();
        serde_json::from_str(&text?).context("reading the gateway's answer")
    }

    /// The deployments whose names contain `filter`, in this order; those that are equal by name.
    pub(super) fn sorted(&self, order: Order, filter: &str) -> Vec<&Deployment> {
        let mut found: Vec<&Deployment> = self.deployments.iter().filter(|one| one.name.contains(filter)).collect();
        let figure = |one: &Deployment| match order {
            Order::Calls => one.calls_per_second,
            Order::Errors => one.errors_per_second,
            Order::P99 => one.p99_ms,
            #[expect(clippy::cast_precision_loss, reason = "only for the order")]
            Order::Memory => Some(one.memory as f64),
            Order::Name => None,
        };
        found.sort_by(|one, other| {
            let largest_first = figure(other).partial_cmp(&figure(one)).unwrap_or(Ordering::Equal);
            largest_first.then_with(|| one.name.cmp(&other.name))
        });
        found
    }

    /// The sum of a figure.
    pub(super) fn sum(&self, figure: impl Fn(&Deployment) -> Option<f64>) -> f64 {
        self.deployments.iter().filter_map(figure).sum()
    }
}

impl Deployment {
    /// The texts of its row.
    pub(super) fn cells(&self) -> [String; 12] {
        let Workers { ready, all } = self.workers;
        [
            plain_line(&self.name),
            plain_line(&self.state),
            self.release.map_or_else(|| "-".to_owned(), |number| number.to_string()),
            format!("{ready}/{all}"),
            number(self.calls_per_second),
            number(self.errors_per_second),
            number(self.p50_ms),
            number(self.p99_ms),
            self.in_flight.to_string(),
            self.queued.to_string(),
            size(self.memory),
            number(self.cpu),
        ]
    }
}

/// Three digits that count, as far as the figure has them.
fn number(figure: Option<f64>) -> String {
    match figure {
        None => "-".to_owned(),
        Some(figure) if figure >= 1e9 => format!("{figure:.1e}"),
        Some(figure) if figure >= 100.0 => format!("{figure:.0}"),
        Some(figure) if figure >= 10.0 => format!("{figure:.1}"),
        Some(figure) => format!("{figure:.2}"),
    }
}

/// Mebibytes, or gibibytes from 10 GiB on.
fn size(bytes: u64) -> String {
    let mebibytes = bytes >> 20;
    if mebibytes < 10 << 10 { format!("{mebibytes} MiB") } else { format!("{} GiB", mebibytes >> 10) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overview() -> Overview {
        let deployment = |name: &str, calls: &str, errors: &str, memory: u64| {
            format!(
                r#"{{"name":"{name}","state":"ready","release":null,"workers":{{"ready":1,"all":2}},"in_flight":3,
                    "queued":0,"calls_per_second":{calls},"errors_per_second":{errors},"p50_ms":0.5,"p99_ms":null,
                    "last_used":null,"memory":{memory},"cpu":1.5,"error":null,"further":true}}"#
            )
        };
        let all =
            [deployment("b", "null", "0", 5), deployment("a", "120.4", "2", 11 << 30), deployment("c", "3", "2", 9)];
        let head = r#""status":"ready","prefix":"local","version":"1.0.0""#;
        serde_json::from_str(&format!("{{{head},\"deployments\":[{}]}}", all.join(","))).unwrap()
    }

    #[test]
    fn deployments_are_sorted_and_filtered() {
        let overview = overview();
        let names = |order, filter| -> String {
            overview.sorted(order, filter).iter().map(|deployment| deployment.name.as_str()).collect()
        };
        assert_eq!(names(Order::Calls, ""), "acb");
        assert_eq!(names(Order::Errors, ""), "acb");
        assert_eq!(names(Order::Memory, ""), "acb");
        assert_eq!(names(Order::Name, ""), "abc");
        assert_eq!(names(Order::Name, "c"), "c");
    }

    #[test]
    fn unknown_figures_are_dashes() {
        let overview = overview();
        let row = |name: &str| overview.deployments.iter().find(|one| one.name == name).unwrap().cells().join(" ");
        assert_eq!(row("b"), "b ready - 1/2 - 0.00 0.50 - 3 0 0 MiB 1.50");
        assert_eq!(row("a"), "a ready - 1/2 120 2.00 0.50 - 3 0 11 GiB 1.50");
    }
}
