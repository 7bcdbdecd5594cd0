//! The tracer that a configuration asks for.

use std::sync::Arc;

use anyhow::Context;
use http::{HeaderName, HeaderValue};

use crate::config::{Compression, Config, Secret};
use crate::traces::Tracer;
use crate::traces::settings::Settings;

/// Starts the tracer of a configuration, if it has one.
pub(super) fn start(config: &Config) -> anyhow::Result<Option<Arc<Tracer>>> {
    let Some(traces) = &config.traces else { return Ok(None) };
    let settings = Settings {
        url: traces.endpoint.url().clone(),
        headers: traces.headers.iter().filter_map(|(name, value)| header(name, value)).collect(),
        sample: traces.sample.get(),
        service_name: traces.service_name.clone(),
        queue: traces.queue as usize,
        interval: traces.interval.get(),
        timeout: traces.timeout.get(),
        compresses: traces.compression == Compression::Gzip,
    };
    Ok(Some(Arc::new(Tracer::start(settings).context("starting the thread that sends spans")?)))
}

/// Has the spans sent that wait.
pub(super) async fn flush(tracer: Option<&Arc<Tracer>>) {
    if let Some(tracer) = tracer.cloned() {
        let _panicked = tokio::task::spawn_blocking(move || tracer.flush()).await;
    }
}

/// A header of the table; its reading has checked that it is one.
fn header(name: &str, value: &Secret) -> Option<(HeaderName, HeaderValue)> {
    let mut value = HeaderValue::from_str(value.expose()).ok()?;
    value.set_sensitive(true);
    Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
}
