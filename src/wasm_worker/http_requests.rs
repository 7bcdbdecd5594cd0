//! Whole HTTP requests for components that export `wasi:http/incoming-handler`: runs the component, and sends its
//! response as a result if it is short and complete at once, else as a stream. Source of the format:
//! `docs/worker-protocol.md`.

mod exchange;
mod request;
mod response;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use serde_json::{Value, json};

use crate::wasm_worker::blocking;
use crate::wasm_worker::component::Program;
use crate::wasm_worker::failure::Failure;
use crate::wasm_worker::host::Host;
use crate::wasm_worker::http_requests::exchange::{Exchange, Part};
use crate::wasm_worker::running_call::RunningCall;
use crate::wasm_worker::value::Mismatch;

/// Longest piece of a stream, and longest body of a result, in bytes.
const PIECE: usize = 64 << 10;
/// The text of a piece is at most this many times as long as the piece: a control character is six bytes of JSON.
const ESCAPED: usize = 8;
/// Longer than any call: calls of components that serve HTTP are ended from outside, when the gateway says so.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// How a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answered {
    /// With a result, whose JSON was appended.
    Whole,
    /// With a stream, which is complete but for its end.
    Streamed,
}

/// The signature in MetaData: two maps, and a map as result.
pub(super) fn signature() -> Value {
    let map = |name: &str| json!({"name": name, "type": {"name": "", "id": 10}});
    json!({"ret": {"type": {"name": "response", "id": 10}}, "args": [map("request"), map("headers")]})
}

/// Runs a request in a fresh instance of a component. Appends the JSON of a short response to `out`, or sends a stream.
pub(super) fn serve(
    program: &Program,
    host: &Host,
    args: &str,
    call: &Arc<RunningCall>,
    deadline: Instant,
    out: &mut Vec<u8>,
) -> Result<Answered, Failure> {
    let (request, body_follows) = request::read(args, call).map_err(Mismatch::of_whole)?;
    call.start_time(deadline, body_follows);
    let work = async {
        let mut sleep = pin!(tokio::time::sleep_until(deadline.into()));
        let mut answer = pin!(answer(Exchange::begin(program, host, request, deadline)?, host, call, out));
        poll_fn(|context| {
            // An endless loop in the component yields every few milliseconds, so this is looked at in time.
            if let Poll::Ready(ended) = call.poll_end(sleep.as_mut(), context) {
                return Poll::Ready(Err(Failure::Trapped(ended.into(), None)));
            }
            answer.as_mut().poll(context)
        })
        .await
    };
    blocking::block_on(work, Instant::now() + NEVER).map_err(|error| Failure::Trapped(error, None))?
}

async fn answer(
    mut exchange: Exchange<'_>,
    host: &Host,
    call: &RunningCall,
    out: &mut Vec<u8>,
) -> Result<Answered, Failure> {
    let longest = PIECE.min(host.settings().max_message / ESCAPED).max(1);
    let head = exchange.head().await?;
    let mut gathered = BytesMut::new();
    loop {
        let part = match exchange.part_at_once().await? {
            Some(part) => part,
            // The time of the call runs until there is something to send.
            None if gathered.is_empty() => exchange.part().await?,
            None => break,
        };
        match part {
            Part::Piece(piece) => gathered.extend_from_slice(&piece),
            Part::End => {
                response::write_whole(&head, &gathered, out);
                return Ok(Answered::Whole);
            }
        }
        if gathered.len() > longest {
            break;
        }
    }
    stream(&mut exchange, call, &head, gathered.freeze(), longest).await?;
    Ok(Answered::Streamed)
}

async fn stream(
    exchange: &mut Exchange<'_>,
    call: &RunningCall,
    head: &Parts,
    first: Bytes,
    longest: usize,
) -> Result<(), Failure> {
    call.stop_time();
    let gone = |error: std::io::Error| Failure::Trapped(error.into(), None);
    call.send(&response::stream_start(call.id(), head)).map_err(gone)?;
    let mut sent = 0_u64;
    let mut gathered = first;
    let mut end = None;
    loop {
        while !gathered.is_empty() {
            let credit = exchange.run_until(|| call.credit(sent)).await;
            let length = usize::try_from(credit).unwrap_or(usize::MAX).min(gathered.len()).min(longest);
            let now = gathered.split_to(length);
            call.send(&response::stream_data(call.id(), &now)).map_err(gone)?;
            sent += now.len() as u64;
        }
        if let Some(end) = end {
            return end;
        }
        (gathered, end) = gather(exchange, longest).await;
    }
}

/// Waits for a piece, and takes those that the component writes after it without a wait: components write 4 KiB at a
/// time. Also returns how the body has ended, if it has.
async fn gather(exchange: &mut Exchange<'_>, longest: usize) -> (Bytes, Option<Result<(), Failure>>) {
    let mut gathered = BytesMut::new();
    let mut part = exchange.part().await.map(Some);
    loop {
        let end = match part {
            Ok(Some(Part::Piece(piece))) => {
                gathered.extend_from_slice(&piece);
                None
            }
            Ok(Some(Part::End)) => Some(Ok(())),
            Ok(None) => return (gathered.freeze(), None),
            Err(failure) => Some(Err(failure)),
        };
        if end.is_some() || gathered.len() >= longest {
            return (gathered.freeze(), end);
        }
        part = exchange.part_at_once().await;
    }
}
