//! The whole body of a request, within limits of size, time and pace, as it was sent: when and where it is inflated is
//! left to `bodies`. The body of a refused request is left unread, or read and dropped where it is small.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http::header::{CONTENT_LENGTH, EXPECT};
use http::request::Parts;
use http::{HeaderMap, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use crate::http::buffers::{Class, ConnectionBuffers, Held, SMALL};
use crate::http::inflate::{Encoding, InflateError, inflate};
use crate::http::problem::{Code, Problem};

/// After this time a body must arrive at [`MIN_PACE`].
const PACE_GRACE: Duration = Duration::from_secs(10);
/// Bytes a second, on average. Slower clients hold a connection and a buffer for too long.
const MIN_PACE: u64 = 1024;

/// Bytes of a refused HTTP/2 body that are read and dropped, and the time for it.
pub(crate) const DISCARD_BYTES: usize = 256 * 1024;
pub(crate) const DISCARD_TIME: Duration = Duration::from_secs(1);

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
    /// The body, as it was sent until [`Self::inflate`].
    pub bytes: Bytes,
    encoding: Encoding,
    held: Held,
}

impl ReadBody {
    /// Whether nothing takes long that is made of it: it is neither large nor compressed.
    #[must_use]
    pub fn is_quick(&self) -> bool {
        self.encoding == Encoding::Identity && self.bytes.len() <= SMALL
    }

    /// Inflates it, if it arrived compressed, to at most `limit` bytes. Takes time.
    ///
    /// # Errors
    ///
    /// `payload_too_large`, `overloaded`, or `bad_request` if it is not in the encoding that its header names.
    pub fn inflate(&mut self, limit: u64) -> Result<(), Problem> {
        if self.encoding == Encoding::Identity {
            return Ok(());
        }
        self.bytes = inflate(self.encoding, &self.bytes, limit).map_err(|error| match error {
            InflateError::TooLarge(_) | InflateError::Ratio => {
                Problem::new(Code::PayloadTooLarge, error.to_string()).closing()
            }
            InflateError::Broken(_) => Problem::new(Code::BadRequest, error.to_string()),
        })?;
        self.encoding = Encoding::Identity;
        self.held.grow_to(self.bytes.len(), Class::of_body(self.bytes.len()))
    }

    /// What counts it in the budgets, without its bytes.
    #[must_use]
    pub fn into_held(self) -> Held {
        self.held
    }

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
    body: Incoming,
    limits: BodyLimits,
    buffers: &Arc<ConnectionBuffers>,
) -> Result<ReadBody, Problem> {
    let mut held = Held::nothing(buffers);
    if body.is_end_stream() {
        return Ok(ReadBody { bytes: Bytes::new(), encoding: Encoding::Identity, held });
    }
    let Some(encoding) = Encoding::of(&head.headers) else {
        let problem = Problem::new(Code::UnsupportedMediaType, "content-encoding other than gzip and deflate");
        return Err(Box::pin(refuse(head, body, problem)).await);
    };
    let (announced, body) = check_announced(head, body, limits).await?;
    let mut arriving = Arriving::new(body, limits);
    let mut arrived = Arrived::default();
    while let Some(data) = arriving.next().await? {
        arrived.add(data, announced.unwrap_or(0).min(limits.size), &mut held)?;
    }
    Ok(ReadBody { bytes: arrived.into_bytes(), encoding, held })
}

/// Checks the announced length of a body, if there is one. Returns both.
///
/// # Errors
///
/// `payload_too_large`.
pub async fn check_announced(
    head: &Parts,
    body: Incoming,
    limits: BodyLimits,
) -> Result<(Option<u64>, Incoming), Problem> {
    let announced = announced(&head.headers);
    if announced.is_none_or(|length| length <= limits.size) {
        return Ok((announced, body));
    }
    if head.version == Version::HTTP_2 {
        Box::pin(discard(body, DISCARD_BYTES)).await;
    }
    Err(too_large(limits.size))
}

/// A body that is being read, within its limits.
#[derive(Debug)]
pub struct Arriving {
    body: Incoming,
    limits: BodyLimits,
    /// Bytes so far.
    total: u64,
    /// The time that the client has taken so far, and since when it takes more.
    waited: Duration,
    waiting_since: Instant,
}

impl Arriving {
    /// Begins to read.
    #[must_use]
    pub fn new(body: Incoming, limits: BodyLimits) -> Self {
        Self { body, limits, total: 0, waited: Duration::ZERO, waiting_since: Instant::now() }
    }

    /// Its pieces from now on. A fault is the last of them.
    #[must_use]
    pub fn into_pieces(self) -> BoxStream<'static, Result<Bytes, Problem>> {
        let pieces = stream::unfold(Some(self), |arriving| async {
            let mut arriving = arriving?;
            // The client takes no time from the last piece until now: nobody has asked for another.
            arriving.waiting_since = Instant::now();
            match arriving.next().await {
                Ok(piece) => Some((Ok(piece?), Some(arriving))),
                Err(problem) => Some((Err(problem), None)),
            }
        });
        pieces.fuse().boxed()
    }

    /// The next piece; none at the end. Cancelling it loses nothing.
    ///
    /// # Errors
    ///
    /// `payload_too_large`, `request_timeout`, or `bad_request` for a body that broke off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let frame = match tokio::time::timeout(self.limits.stall, self.body.frame()).await {
                Err(_) => return Err(too_slow()),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => {
                    return Err(Problem::new(Code::BadRequest, format!("the body broke off: {error}")).closing());
                }
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(data) = frame.into_data() else { continue };
            self.total += data.len() as u64;
            if self.total > self.limits.size {
                return Err(too_large(self.limits.size));
            }
            let now = Instant::now();
            self.waited += now - self.waiting_since;
            self.waiting_since = now;
            if is_too_slow(self.waited, self.total) {
                return Err(too_slow());
            }
            return Ok(Some(data));
        }
    }
}

/// Bytes of the body by its header; none for a body in chunks, and for one of HTTP/2 that does not say.
#[must_use]
pub fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
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

/// Leaves the body of a refused request unread, and returns its answer. A small body is read and dropped, so that the
/// connection can be used again; with a large one the answer comes at once, and closes a connection of HTTP/1.
pub(crate) async fn refuse(head: &Parts, body: Incoming, problem: Problem) -> Problem {
    if drop_unread(head, body).await { problem } else { problem.closing() }
}

/// Drops the body of a refused request. Returns whether its connection can be used again.
pub(crate) async fn drop_unread(head: &Parts, body: Incoming) -> bool {
    if body.is_end_stream() {
        return true;
    }
    if head.version == Version::HTTP_2 {
        discard(body, DISCARD_BYTES).await;
        return true;
    }
    let is_large = announced(&head.headers).is_some_and(|length| length > DISCARD_BYTES as u64);
    // A client that waits for 100 Continue may not send its body after this answer.
    let waits = head.headers.contains_key(EXPECT);
    !is_large && !waits && discard(body, DISCARD_BYTES).await
}

/// Reads and drops a part of a refused body: some HTTP/2 clients lose an answer that arrives before they have sent the
/// body. Returns whether this was all of it.
pub(crate) async fn discard(mut body: Incoming, bytes: usize) -> bool {
    let discarding = async {
        let mut discarded = 0;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            discarded += frame.data_ref().map_or(0, Bytes::len);
            if discarded > bytes {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(DISCARD_TIME, discarding).await.unwrap_or(false)
}

fn too_large(limit: u64) -> Problem {
    Problem::new(Code::PayloadTooLarge, format!("a body of more than {limit} bytes")).closing()
}

/// The answer to a body that stalled or arrived too slowly.
pub(crate) fn too_slow() -> Problem {
    Problem::new(Code::RequestTimeout, "the body came too slowly").closing()
}
