//! One request in one instance: runs the component, and takes its response as it comes. The component runs only while
//! one of the functions here is awaited.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::Request;
use http::response::Parts;
use http_body::Body as _;
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::{HyperIncomingBody, HyperOutgoingBody};

use crate::wasm_worker::component::{Program, trapped};
use crate::wasm_worker::failure::Failure;
use crate::wasm_worker::host::{Host, State};

/// Times that the component may run on before its response counts as not complete: it wakes itself when it has filled
/// the stream that is taken from it here.
const TURNS: u32 = 3;

type Response = Result<http::Response<HyperOutgoingBody>, ErrorCode>;
type Handling<'a> = Pin<Box<dyn Future<Output = (Store<State>, Result<(), Failure>)> + 'a>>;

/// A part of a response's body.
pub(super) enum Part {
    /// A piece.
    Piece(Bytes),
    /// The end of a complete body.
    End,
}

/// A request that a component handles.
pub(super) struct Exchange<'a> {
    handling: Option<Handling<'a>>,
    /// The instance and what came of it, once the component has ended. An unfinished body would look complete once the
    /// store is dropped.
    ended: Option<(Store<State>, Result<(), Failure>)>,
    response: oneshot::Receiver<Response>,
    body: Option<HyperOutgoingBody>,
}

impl<'a> Exchange<'a> {
    /// Makes an instance for the request.
    pub(super) fn begin(
        program: &'a Program,
        host: &'a Host,
        request: Request<HyperIncomingBody>,
        deadline: Instant,
    ) -> Result<Self, Failure> {
        let fault = |error| Failure::Trapped(error, None);
        let mut store = host.http_store(deadline).map_err(fault)?;
        let (sender, response) = oneshot::channel();
        let request = store.data_mut().http().new_incoming_request(Scheme::Http, request).map_err(fault)?;
        let out = store.data_mut().http().new_response_outparam(sender).map_err(fault)?;
        let handling = async move {
            let handled = match program.http(&mut store).await {
                Some(Ok(proxy)) => proxy.wasi_http_incoming_handler().call_handle(&mut store, request, out).await,
                Some(Err(error)) => Err(error),
                None => return (store, Err(Failure::Unknown)),
            };
            store.data().end();
            let handled = handled.map_err(|error| trapped(host, &store, error));
            (store, handled)
        };
        Ok(Self { handling: Some(Box::pin(handling)), ended: None, response, body: None })
    }

    /// Waits for the head of the response.
    pub(super) async fn head(&mut self) -> Result<Parts, Failure> {
        let response = poll_fn(|context| {
            self.run(context);
            match (Pin::new(&mut self.response).poll(context), &self.ended) {
                (Poll::Ready(response), _) => Poll::Ready(response.ok()),
                (Poll::Pending, Some(_)) => Poll::Ready(None),
                (Poll::Pending, None) => Poll::Pending,
            }
        });
        let Some(response) = response.await else {
            let none = || Failure::Unwritable("the component sent no response".to_owned());
            return Err(self.failure().unwrap_or_else(none));
        };
        let response = response.map_err(|error| {
            Failure::Unwritable(format!("the component sent an error instead of a response: {error:?}"))
        })?;
        let (head, body) = response.into_parts();
        self.body = Some(body);
        Ok(head)
    }

    /// Waits for the next part of the body. Needs the head first.
    pub(super) async fn part(&mut self) -> Result<Part, Failure> {
        poll_fn(|context| self.poll_part(context)).await
    }

    /// The next part of the body, if the component need not wait for anything before it writes it.
    pub(super) async fn part_at_once(&mut self) -> Result<Option<Part>, Failure> {
        for _ in 0..TURNS {
            let polled = poll_fn(|context| Poll::Ready(self.poll_part(context))).await;
            if let Poll::Ready(part) = polled {
                return part.map(Some);
            }
            tokio::task::yield_now().await;
        }
        Ok(None)
    }

    /// Lets the component run until there is an amount of something. Whoever changes it wakes the task.
    pub(super) async fn run_until(&mut self, amount: impl Fn() -> u64) -> u64 {
        poll_fn(|context| {
            let mut now = amount();
            if now == 0 {
                self.run(context);
                now = amount();
            }
            if now > 0 { Poll::Ready(now) } else { Poll::Pending }
        })
        .await
    }

    fn run(&mut self, context: &mut Context<'_>) {
        let Some(handling) = &mut self.handling else { return };
        if let Poll::Ready(ended) = handling.as_mut().poll(context) {
            self.ended = Some(ended);
            self.handling = None;
        }
    }

    fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<Result<Part, Failure>> {
        self.run(context);
        loop {
            let Some(body) = &mut self.body else { return Poll::Ready(Ok(Part::End)) };
            return match Pin::new(body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(piece) => Poll::Ready(Ok(Part::Piece(piece))),
                    // Trailers have no form in the protocol.
                    Err(_) => continue,
                },
                // A complete response counts, even if the component failed after it.
                Poll::Ready(None) => Poll::Ready(Ok(Part::End)),
                Poll::Ready(Some(Err(error))) => {
                    let words = || Failure::Unwritable(format!("the response's body is incomplete: {error}"));
                    Poll::Ready(Err(self.failure().unwrap_or_else(words)))
                }
                Poll::Pending => match self.failure() {
                    Some(failure) => Poll::Ready(Err(failure)),
                    // The component returned and left its body open.
                    None if self.handling.is_none() => Poll::Ready(Ok(Part::End)),
                    None => Poll::Pending,
                },
            };
        }
    }

    /// Takes the failure of a component that has ended with one.
    fn failure(&mut self) -> Option<Failure> {
        let (_, handled) = self.ended.as_mut()?;
        std::mem::replace(handled, Ok(())).err()
    }
}
