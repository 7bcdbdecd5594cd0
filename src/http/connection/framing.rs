//! Follows the bytes of an HTTP/1 connection before hyper sees them, from one head to the next, so that each head can
//! be checked. The checks are in `head`; parsing is left to hyper.

use crate::http::connection::head::{Delimited, HEADERS_LIMIT, LINE_LIMIT, check_head, check_unfinished};
use crate::http::problem::Problem;

/// Bytes of the line with a chunk's size. hyper refuses longer ones itself.
const CHUNK_LINE_LIMIT: usize = 16 * 1024;

/// Where a connection is between the start of one request and the start of the next.
#[derive(Debug)]
pub struct Framing {
    state: State,
}

#[derive(Debug)]
enum State {
    /// In the head of a request, of which these bytes have arrived.
    Head(Vec<u8>),
    /// In a body of known length.
    Body(u64),
    /// In a chunked body.
    Chunks(Chunk),
    /// The bytes cannot be followed further. hyper refuses them and closes the connection.
    Unknown,
}

#[derive(Debug)]
enum Chunk {
    /// In the line with a chunk's size.
    Size(Vec<u8>),
    /// In a chunk's data and its line break.
    Data(u64),
    /// After the last chunk, up to an empty line.
    Trailers(Vec<u8>),
}

/// A head that is refused.
#[derive(Debug)]
pub struct Refused {
    /// How many of the bytes before it belong to earlier requests.
    pub good: usize,
    /// The answer.
    pub problem: Problem,
}

impl Default for Framing {
    fn default() -> Self {
        Self { state: State::Head(Vec::new()) }
    }
}

impl Framing {
    /// Whether the next byte starts a request.
    #[must_use]
    pub fn is_between_requests(&self) -> bool {
        matches!(&self.state, State::Head(seen) if seen.is_empty())
    }

    /// Whether a head has started and not ended.
    #[must_use]
    pub fn is_in_head(&self) -> bool {
        matches!(&self.state, State::Head(seen) if !seen.is_empty())
    }

    /// Follows the next bytes of the connection.
    ///
    /// # Errors
    ///
    /// A head that is refused.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            at += match &mut self.state {
                State::Head(seen) => match head(seen, rest) {
                    Ok((used, None)) => used,
                    Ok((used, Some(Delimited::Length(0)))) => {
                        seen.clear();
                        used
                    }
                    Ok((used, Some(Delimited::Length(length)))) => {
                        self.state = State::Body(length);
                        used
                    }
                    Ok((used, Some(Delimited::Chunks))) => {
                        self.state = State::Chunks(Chunk::Size(Vec::new()));
                        used
                    }
                    Err(problem) => return Err(Refused { good: at, problem: problem.closing() }),
                },
                State::Body(left) => {
                    let used = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= used as u64;
                    if *left == 0 {
                        self.state = State::Head(Vec::new());
                    }
                    used
                }
                State::Chunks(chunk) => match follow_chunks(chunk, rest) {
                    Some((used, false)) => used,
                    Some((used, true)) => {
                        self.state = State::Head(Vec::new());
                        used
                    }
                    None => {
                        self.state = State::Unknown;
                        rest.len()
                    }
                },
                State::Unknown => rest.len(),
            };
        }
        Ok(())
    }
}

/// Takes bytes of a head. Returns how many, and how the body is delimited once the head is whole.
fn head(seen: &mut Vec<u8>, bytes: &[u8]) -> Result<(usize, Option<Delimited>), Problem> {
    if seen.is_empty() {
        // An empty line before a request is allowed.
        let blank = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        if blank > 0 {
            return Ok((blank, None));
        }
        if let Some(end) = end_of_head(bytes) {
            return Ok((end, Some(check_head(&bytes[..end])?)));
        }
    }
    let before = seen.len();
    seen.extend_from_slice(&bytes[..bytes.len().min(LINE_LIMIT + HEADERS_LIMIT + 4)]);
    if let Some(end) = end_of_head(seen) {
        let delimited = check_head(&seen[..end])?;
        seen.clear();
        return Ok((end - before, Some(delimited)));
    }
    check_unfinished(seen)?;
    Ok((bytes.len(), None))
}

/// The position after the empty line that ends a head. Bare line feeds end it too, so that they are seen and refused.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', bytes).find_map(|at| match &bytes[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// Takes bytes of a chunked body. Returns how many, and whether the body is over; none if it cannot be followed.
fn follow_chunks(chunk: &mut Chunk, bytes: &[u8]) -> Option<(usize, bool)> {
    match chunk {
        Chunk::Size(line) => {
            let newline = memchr::memchr(b'\n', bytes);
            let used = newline.map_or(bytes.len(), |at| at + 1);
            line.extend_from_slice(&bytes[..used]);
            if line.len() > CHUNK_LINE_LIMIT {
                return None;
            }
            if newline.is_some() {
                let text = line.strip_suffix(b"\r\n")?.split(|b| *b == b';').next()?;
                let size = u64::from_str_radix(std::str::from_utf8(text.trim_ascii_end()).ok()?, 16).ok()?;
                *chunk = if size == 0 { Chunk::Trailers(Vec::new()) } else { Chunk::Data(size.checked_add(2)?) };
            }
            Some((used, false))
        }
        Chunk::Data(left) => {
            let used = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
            *left -= used as u64;
            if *left == 0 {
                *chunk = Chunk::Size(Vec::new());
            }
            Some((used, false))
        }
        Chunk::Trailers(line) => {
            let newline = memchr::memchr(b'\n', bytes);
            let used = newline.map_or(bytes.len(), |at| at + 1);
            line.extend_from_slice(&bytes[..used]);
            if line.len() > HEADERS_LIMIT {
                return None;
            }
            let over = newline.is_some() && line == b"\r\n";
            if newline.is_some() {
                line.clear();
            }
            Some((used, over))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::connection::head::{HEADER_COUNT, URI_LIMIT};
    use crate::http::problem::Code;

    fn follow_in_pieces(bytes: &[u8], size: usize) -> Result<Framing, Code> {
        let mut framing = Framing::default();
        for piece in bytes.chunks(size) {
            framing.follow(piece).map_err(|refused| refused.problem.code())?;
        }
        Ok(framing)
    }

    fn code_of(head: &str) -> Option<Code> {
        let whole = follow_in_pieces(head.as_bytes(), usize::MAX).err();
        let bytewise = follow_in_pieces(head.as_bytes(), 1).err();
        assert_eq!(whole, bytewise, "{head:?}");
        whole
    }

    #[test]
    fn ambiguous_heads_are_refused() {
        for head in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n X: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "GET /\r\n\r\n",
            &format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(17)),
        ] {
            assert_eq!(code_of(head), Some(Code::BadRequest), "{head:?}");
        }
    }

    #[test]
    fn oversized_heads_have_their_own_codes() {
        let long_uri = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(URI_LIMIT));
        assert_eq!(code_of(&long_uri), Some(Code::UriTooLong));
        let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(HEADERS_LIMIT));
        assert_eq!(code_of(&long), Some(Code::HeadersTooLarge));
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: a\r\n".repeat(HEADER_COUNT));
        assert_eq!(code_of(&many), Some(Code::HeadersTooLarge));
    }

    #[test]
    fn requests_on_one_connection_are_told_apart_however_they_are_cut() {
        let requests = "\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET \n\
            POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\na\n\n\r\n0\r\nT: r\r\n\r\n\
            GET / HTTP/1.0\r\n\r\n";
        for size in 1..requests.len() {
            let framing = follow_in_pieces(requests.as_bytes(), size).unwrap();
            assert!(framing.is_between_requests(), "pieces of {size}");
        }
    }

    #[test]
    fn bytes_before_a_refused_head_are_still_good() {
        let first = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut framing = Framing::default();
        let refused = framing.follow(format!("{first}GET / HTTP/1.1\r\n\r\n").as_bytes()).unwrap_err();
        assert_eq!(refused.good, first.len());
    }
}
