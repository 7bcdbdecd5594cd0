//! `GET /metrics`: what the gateway counts, read at each scrape. A scraper that asks for OpenMetrics gets that, any
//! other the text format of Prometheus.

mod async_calls;
mod calls;
mod cluster;
mod families;
mod gateway;
mod plugins;
mod process;
mod text_format;
mod workers;

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{self, ACCEPT, HeaderMap};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::gateway::deployer::Deployer;
use crate::http::api::metrics::families::family;
use crate::http::api::metrics::workers::ProcessorTimes;
use crate::http::api::reply;
use crate::http::buffers::Budget;
use crate::http::connection::open_connections::OpenConnections;
use crate::http::front::Front;
use crate::http::problem::{Code, Problem};
use crate::http::tls::Handshakes;

/// The media types of the two formats.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Where the figures of `http` are.
#[derive(Debug, Clone)]
pub struct Figures {
    buffers: Arc<Budget>,
    front: Arc<Front>,
    connections: OpenConnections,
    processor_times: ProcessorTimes,
    /// Those of TLS, if there are certificates.
    handshakes: Option<Arc<Handshakes>>,
}

impl Figures {
    /// The bytes held for clients, what the front has counted, and the connections.
    #[must_use]
    pub fn new(buffers: &Arc<Budget>, front: &Arc<Front>, connections: &OpenConnections) -> Self {
        let (buffers, front, connections) = (Arc::clone(buffers), Arc::clone(front), connections.clone());
        Self { buffers, front, connections, processor_times: ProcessorTimes::default(), handshakes: None }
    }
}

impl Figures {
    /// With what is counted of handshakes.
    #[must_use]
    pub fn with_handshakes(self, handshakes: Option<Arc<Handshakes>>) -> Self {
        Self { handshakes, ..self }
    }

    /// The routes, which count preflights.
    #[must_use]
    pub fn front(&self) -> &Arc<Front> {
        &self.front
    }

    /// What is held of requests and answers.
    #[must_use]
    pub fn buffers(&self) -> &Arc<Budget> {
        &self.buffers
    }
}

/// Answers a scrape.
pub async fn metrics(State((deployer, figures)): State<(Arc<Deployer>, Figures)>, headers: HeaderMap) -> Response {
    if deployer.gateway.calls().is_none() {
        let message = "metrics are switched off: enabled = false in [metrics]";
        return reply::problem(Problem::new(Code::NotFound, message), &headers);
    }
    // Large tables of deployments take milliseconds, and the files of the processes are read.
    let rendered = tokio::task::spawn_blocking(move || render(deployer, figures)).await;
    let Ok(Ok(open_metrics)) = rendered else {
        return reply::problem(Problem::new(Code::Internal, "the metrics cannot be written"), &headers);
    };
    if wants_open_metrics(&headers) {
        return ([(header::CONTENT_TYPE, OPEN_METRICS)], open_metrics).into_response();
    }
    ([(header::CONTENT_TYPE, TEXT)], text_format::of_open_metrics(&open_metrics)).into_response()
}

/// Whether a scraper names the type among those that it accepts. Prometheus sends it first where it can read it.
fn wants_open_metrics(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = accepted.flat_map(|value| value.split(','));
    types.any(|one| one.trim().starts_with("application/openmetrics-text"))
}

/// All metrics in the format of OpenMetrics.
fn render(deployer: Arc<Deployer>, figures: Figures) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Counters { deployer, figures }));
    let mut rendered = String::new();
    text::encode(&mut rendered, &registry)?;
    Ok(rendered)
}

struct Counters {
    deployer: Arc<Deployer>,
    figures: Figures,
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counters")
    }
}

impl Collector for Counters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self { deployer, figures } = self;
        let readiness = deployer.readiness();
        let deployments: Vec<_> = readiness.deployments.iter().map(|one| (one.name.as_str(), one)).collect();
        calls::calls(&mut encoder, &deployer.gateway)?;
        async_calls::async_calls(&mut encoder, &deployer.gateway)?;
        cluster::cluster(&mut encoder, deployer.cluster.as_deref())?;
        family(&mut encoder, "deployment", &deployments, &gateway::DEPLOYMENT_GAUGES, MetricType::Gauge)?;
        family(&mut encoder, "deployment", &deployments, &gateway::DEPLOYMENT_COUNTERS, MetricType::Counter)?;
        workers::workers(&mut encoder, &deployer.gateway.deployments(), &figures.processor_times)?;
        plugins::plugins(&mut encoder, &deployer.gateway.inspect_plugins())?;
        plugins::hooks(&mut encoder, &deployer.gateway.plugins().plugins)?;
        plugins::memory(&mut encoder, deployer.gateway.plugin_memory())?;
        gateway::buffers(&mut encoder, &figures.buffers)?;
        gateway::changes(&mut encoder, &deployer.changes)?;
        gateway::connections(&mut encoder, &figures.connections)?;
        if let Some(handshakes) = &figures.handshakes {
            gateway::handshakes(&mut encoder, handshakes)?;
        }
        gateway::preflights(&mut encoder, &figures.front)?;
        gateway::spans(&mut encoder, deployer.gateway.tracer().map(Arc::as_ref))?;
        gateway::walls(&mut encoder, deployer.gateway.walls())?;
        gateway::task_restarts(&mut encoder)?;
        process::build_info(&mut encoder)?;
        process::process(&mut encoder)
    }
}
