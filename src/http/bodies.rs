//! The bodies of one listener's requests, and the budget of its answers that are streams. Bodies are read whole,
//! inflated, and turned into what a handler needs. Small plain bodies are worked on at once. Large and compressed ones
//! take long enough to delay every other client of the gateway's one thread, so other threads work on them, few at a
//! time: the rest wait their turn, and leave when their client does.

use std::panic::resume_unwind;
use std::sync::Arc;

use http::request::Parts;
use hyper::body::Incoming;
use tokio::sync::Semaphore;

use crate::http::buffers::ConnectionBuffers;
use crate::http::buffers::streams::Streams;
use crate::http::problem::{Code, Problem};
use crate::http::request_body::{self, BodyLimits, ReadBody};

/// Reads the bodies of one listener's requests.
#[derive(Debug)]
pub struct Bodies {
    limits: BodyLimits,
    /// For work on bodies at the same time. Half of the cores: the gateway's own thread and the workers need the rest.
    places: Semaphore,
    /// The streams of answers.
    streams: Arc<Streams>,
}

impl Bodies {
    /// With limits for each body.
    #[must_use]
    pub fn new(limits: BodyLimits) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { limits, places: Semaphore::new((cores / 2).max(1)), streams: Arc::default() }
    }

    /// The limits of each body.
    #[must_use]
    pub fn limits(&self) -> BodyLimits {
        self.limits
    }

    /// The streams of answers.
    #[must_use]
    pub fn streams(&self) -> &Arc<Streams> {
        &self.streams
    }

    /// Reads the whole body of a request, and has `work` make something of it. Returns both: the body counts in the
    /// budgets of its connection until it is dropped.
    ///
    /// # Errors
    ///
    /// Those of [`request_body::read`], of [`ReadBody::inflate`] and of `work`.
    pub async fn read<T: Send + 'static>(
        &self,
        head: &Parts,
        body: Incoming,
        buffers: &Arc<ConnectionBuffers>,
        work: impl FnOnce(&mut ReadBody) -> Result<T, Problem> + Send + 'static,
    ) -> Result<(T, ReadBody), Problem> {
        let mut body = request_body::read(head, body, self.limits, buffers).await?;
        if body.is_quick() {
            return Ok((work(&mut body)?, body));
        }
        // Boxed: it would enlarge the future of every call.
        Box::pin(self.work_elsewhere(body, work)).await
    }

    async fn work_elsewhere<T: Send + 'static>(
        &self,
        mut body: ReadBody,
        work: impl FnOnce(&mut ReadBody) -> Result<T, Problem> + Send + 'static,
    ) -> Result<(T, ReadBody), Problem> {
        let limit = self.limits.size;
        self.elsewhere(move || {
            body.inflate(limit)?;
            Ok((work(&mut body)?, body))
        })
        .await
    }

    /// Has another thread work on what is large.
    ///
    /// # Errors
    ///
    /// Those of `work`; `draining` if the gateway stops.
    pub async fn elsewhere<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let _place = self.places.acquire().await.expect("the semaphore is never closed");
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => Err(Problem::new(Code::Draining, "the gateway is stopping")),
            },
        }
    }
}
