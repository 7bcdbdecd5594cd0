//! The whole body of a request, within limits of size, time and pace. A compressed body is decompressed within the
//! same size.

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderMap, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use crate::http::buffers::{Class, ConnectionBuffers, Held};
use crate::http::problem::{Code, Problem};

/// After this time a body must arrive at [`MIN_PACE`].
const PACE_GRACE: Duration = Duration::from_secs(10);
/// Bytes a second, on average. Slower clients hold a connection and a buffer for too long.
const MIN_PACE: u64 = 1024;

/// Bytes of a refused HTTP/2 body that are read and dropped, and the time for it.
const DISCARD_BYTES: usize = 256 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// Limits of a body.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// Bytes.
    pub size: u64,
    /// The longest time without a byte.
    pub stall: Duration,
}

/// A whole body, counted in the budgets of its connection until it is dropped.
#[derive(Debug)]
pub struct ReadBody {
    /// The body, decompressed.
    pub bytes: Bytes,
    held: Held,
}

impl ReadBody {
    /// Counts a large body a second time: as the line that its worker gets.
    ///
    /// # Errors
    ///
    /// `overloaded` if the gateway holds too much for clients.
    pub fn hold_line(&mut self) -> Result<(), Problem> {
        match Class::of_body(self.bytes.len()) {
            Class::Large => self.held.grow_to(2 * self.bytes.len(), Class::Large),
            _ => Ok(()),
        }
    }
}

/// Reads the whole body, and counts its bytes as they arrive.
///
/// # Errors
///
/// `payload_too_large`, `request_timeout`, `unsupported_media_type`, `overloaded`, or `bad_request` for a body that
/// cannot be read.
pub async fn read(
    head: &Parts,
    mut body: Incoming,
    limits: BodyLimits,
    buffers: &Arc<ConnectionBuffers>,
) -> Result<ReadBody, Problem> {
    let headers = &head.headers;
    let mut held = Held::nothing(buffers);
    if body.is_end_stream() {
        return Ok(ReadBody { bytes: Bytes::new(), held });
    }
    let announced =
        headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    if announced.is_some_and(|length: u64| length > limits.size) {
        if head.version == Version::HTTP_2 {
            discard(body, DISCARD_BYTES).await;
        }
        return Err(too_large(limits.size));
    }
    let started = Instant::now();
    let mut arrived = Arrived::default();
    loop {
        let frame = match tokio::time::timeout(limits.stall, body.frame()).await {
            Err(_) => return Err(too_slow()),
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                return Err(Problem::new(Code::BadRequest, format!("the body broke off: {error}")).closing());
            }
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        let total = (arrived.length() + data.len()) as u64;
        if total > limits.size {
            return Err(too_large(limits.size));
        }
        if is_too_slow(started.elapsed(), total) {
            return Err(too_slow());
        }
        arrived.add(data, announced.unwrap_or(0).min(limits.size), &mut held)?;
    }
    let bytes = unpack(headers, arrived.into_bytes(), limits.size)?;
    held.grow_to(bytes.len(), Class::of_body(bytes.len()))?;
    Ok(ReadBody { bytes, held })
}

/// The bytes of a body so far. One frame is kept as it came.
#[derive(Debug, Default)]
struct Arrived {
    first: Bytes,
    /// All bytes, once there are two frames.
    all: BytesMut,
}

impl Arrived {
    fn length(&self) -> usize {
        self.first.len().max(self.all.len())
    }

    fn add(&mut self, data: Bytes, announced: u64, held: &mut Held) -> Result<(), Problem> {
        let length = self.length() + data.len();
        let class = Class::of_body(length);
        if self.length() == 0 {
            held.grow_to(length, class)?;
            self.first = data;
            return Ok(());
        }
        if self.all.is_empty() {
            // Memory that nothing was written to yet costs nothing, so the announced length is not counted.
            self.all.reserve(length.max(usize::try_from(announced).unwrap_or(0)));
            self.all.extend_from_slice(&self.first);
        } else if self.all.capacity() < length {
            // Without an announced length the buffer doubles.
            held.grow_to(2 * self.all.capacity(), class)?;
        }
        held.grow_to(length, class)?;
        self.all.extend_from_slice(&data);
        Ok(())
    }

    fn into_bytes(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}

/// Whether a body has arrived at less than [`MIN_PACE`] after the grace time.
pub(crate) fn is_too_slow(elapsed: Duration, total: u64) -> bool {
    elapsed > PACE_GRACE && total < MIN_PACE * elapsed.as_secs()
}

/// Reads and drops a part of a refused body: some HTTP/2 clients lose an answer that arrives before they have sent the
/// body.
pub(crate) async fn discard(mut body: Incoming, bytes: usize) {
    let discarding = async {
        let mut discarded = 0;
        while let Some(Ok(frame)) = body.frame().await {
            discarded += frame.data_ref().map_or(0, Bytes::len);
            if discarded > bytes {
                break;
            }
        }
    };
    let _slow = tokio::time::timeout(DISCARD_TIME, discarding).await;
}

fn unpack(headers: &HeaderMap, body: Bytes, limit: u64) -> Result<Bytes, Problem> {
    let Some(encoding) = headers.get(CONTENT_ENCODING) else { return Ok(body) };
    let encoding = encoding.as_bytes().trim_ascii();
    if encoding.is_empty() || encoding.eq_ignore_ascii_case(b"identity") {
        return Ok(body);
    }
    let mut text = Vec::new();
    let result = if encoding.eq_ignore_ascii_case(b"gzip") {
        MultiGzDecoder::new(&body[..]).take(limit + 1).read_to_end(&mut text)
    } else if encoding.eq_ignore_ascii_case(b"deflate") {
        ZlibDecoder::new(&body[..]).take(limit + 1).read_to_end(&mut text)
    } else {
        let message = "content-encoding other than gzip and deflate";
        return Err(Problem::new(Code::UnsupportedMediaType, message));
    };
    if let Err(error) = result {
        return Err(Problem::new(Code::BadRequest, format!("the body cannot be decompressed: {error}")));
    }
    if text.len() as u64 > limit {
        return Err(too_large(limit));
    }
    Ok(text.into())
}

fn too_large(limit: u64) -> Problem {
    Problem::new(Code::PayloadTooLarge, format!("a body of more than {limit} bytes")).closing()
}

/// The answer to a body that stalled or arrived too slowly.
pub(crate) fn too_slow() -> Problem {
    Problem::new(Code::RequestTimeout, "the body came too slowly").closing()
}
