//! Looks at the bytes of an HTTP/1 connection before hyper does, to refuse what hyper lets pass and two parties could read
//! in two ways: bare line feeds, two lengths, no or two hosts, oversized heads. Parsing itself is hyper's.

use crate::http::error::{Code, Problem};

/// Bytes of an address.
pub const URI_LIMIT: usize = 8 * 1024;
const METHOD_LIMIT: usize = 16;
/// Bytes of all headers.
pub const HEADERS_LIMIT: usize = 16 * 1024;
/// Headers of a request.
pub const HEADER_COUNT: usize = 100;
/// The request line around its address: method, version, spaces.
const LINE_LIMIT: usize = URI_LIMIT + METHOD_LIMIT + 12;
/// No body is that long; hyper takes the last few numbers for something else.
const LENGTH_LIMIT: u64 = u64::MAX / 2;
/// hyper refuses longer ones by itself.
const CHUNK_LINE_LIMIT: usize = 16 * 1024;

/// Where a connection is between the start of one request and the start of the next.
#[derive(Debug)]
pub struct Framing {
    state: State,
}

#[derive(Debug)]
enum State {
    /// In the head of a request; what came of it so far.
    Head(Vec<u8>),
    /// In a body of known length.
    Body(u64),
    /// In a body of chunks.
    Chunks(Chunk),
    /// Not to be followed any further: hyper ends the connection by itself.
    Unknown,
}

#[derive(Debug)]
enum Chunk {
    /// In the line with a chunk's size.
    Size(Vec<u8>),
    /// In a chunk's data and its line break.
    Data(u64),
    /// Behind the last chunk, up to an empty line.
    Trailers(Vec<u8>),
}

/// How the body after a head is delimited.
#[derive(Debug, PartialEq, Eq)]
enum Delimited {
    Length(u64),
    Chunks,
}

/// A head that is refused: how many of the bytes before it are fine, and what is wrong.
#[derive(Debug)]
pub struct Refused {
    /// Bytes of this reading that belong to earlier requests.
    pub good: usize,
    /// What to answer.
    pub problem: Problem,
}

impl Default for Framing {
    fn default() -> Self {
        Self { state: State::Head(Vec::new()) }
    }
}

impl Framing {
    /// Whether the next byte begins a request.
    #[must_use]
    pub fn is_between_requests(&self) -> bool {
        matches!(&self.state, State::Head(seen) if seen.is_empty())
    }

    /// Whether a head has begun and not ended.
    #[must_use]
    pub fn is_in_head(&self) -> bool {
        matches!(&self.state, State::Head(seen) if !seen.is_empty())
    }

    /// Follows the next bytes of the connection.
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

/// Takes bytes of a head: how many, and how its body is delimited if it is whole now.
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

/// Behind the empty line that ends a head; also one of bare line feeds, so that it is seen and refused.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', bytes).find_map(|at| match &bytes[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

fn check_unfinished(seen: &[u8]) -> Result<(), Problem> {
    // What is no HTTP at all should not have to wait for a deadline.
    check_method(seen.split(|b| *b == b' ').next().unwrap_or_default())?;
    match memchr::memchr(b'\n', seen) {
        None if seen.len() > LINE_LIMIT => Err(uri_too_long()),
        Some(line) if seen.len() - line > HEADERS_LIMIT => Err(headers_too_large()),
        _ => Ok(()),
    }
}

fn check_head(head: &[u8]) -> Result<Delimited, Problem> {
    let bad = |message: &str| Err(Problem::new(Code::BadRequest, message));
    let mut line_start = 0;
    let mut lines = memchr::memchr_iter(b'\n', head).map(|newline| {
        let line = &head[line_start..newline];
        line_start = newline + 1;
        line.strip_suffix(b"\r")
    });
    let Some(request_line) = lines.next() else { return bad("no request line") };
    let Some(request_line) = request_line else { return bad("a line that ends without a carriage return") };
    let http_1_1 = check_line(request_line)?;
    if head.len() - request_line.len() > HEADERS_LIMIT + 4 {
        return Err(headers_too_large());
    }
    let (mut hosts, mut count) = (0, 0);
    let mut length: Option<u64> = None;
    let mut chunked = false;
    for line in lines {
        let Some(line) = line else { return bad("a line that ends without a carriage return") };
        if line.is_empty() {
            break;
        }
        if line[0] == b' ' || line[0] == b'\t' {
            return bad("a header that is folded over two lines");
        }
        count += 1;
        let Some(colon) = memchr::memchr(b':', line) else { return bad("a header without a colon") };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || !name.iter().all(|b| is_token_byte(*b)) {
            return bad("a header whose name is none");
        }
        if value.iter().any(|b| *b < b' ' && *b != b'\t' || *b == 0x7f) {
            return bad("a control byte in a header");
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => hosts += 1,
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if length.is_some() {
                    return bad("two content-length headers");
                }
                let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
                let text = std::str::from_utf8(value).ok().filter(|_| digits);
                let Some(parsed) = text.and_then(|text| text.parse().ok()) else {
                    return bad("a content-length that is no number");
                };
                if parsed > LENGTH_LIMIT {
                    return Err(too_long());
                }
                length = Some(parsed);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return bad("a transfer-encoding other than chunked");
                }
                chunked = true;
            }
            _ => {}
        }
    }
    match (hosts, length, chunked) {
        _ if count > HEADER_COUNT => Err(headers_too_large()),
        (0, ..) if http_1_1 => bad("no host header"),
        (2.., ..) => bad("two host headers"),
        (_, Some(_), true) => bad("both content-length and transfer-encoding"),
        (_, _, true) => Ok(Delimited::Chunks),
        (_, length, false) => Ok(Delimited::Length(length.unwrap_or(0))),
    }
}

/// Checks a request line; tells whether it is of HTTP/1.1.
fn check_line(line: &[u8]) -> Result<bool, Problem> {
    let mut parts = line.splitn(3, |b| *b == b' ');
    let (method, target, version) = (parts.next(), parts.next(), parts.next());
    check_method(method.unwrap_or_default())?;
    if target.is_some_and(|target| target.len() > URI_LIMIT) {
        return Err(uri_too_long());
    }
    if !target.is_some_and(is_address) {
        return Err(Problem::new(Code::BadRequest, "an address that is none"));
    }
    match version {
        Some(b"HTTP/1.1") => Ok(true),
        Some(b"HTTP/1.0") => Ok(false),
        _ => Err(Problem::new(Code::BadRequest, "a request line that is not of HTTP/1.1 or HTTP/1.0")),
    }
}

fn check_method(method: &[u8]) -> Result<(), Problem> {
    if method.is_empty() || method.len() > METHOD_LIMIT || !method.iter().all(|b| is_token_byte(*b)) {
        let message = format!("a method of more than {METHOD_LIMIT} bytes, or none");
        return Err(Problem::new(Code::BadRequest, message));
    }
    Ok(())
}

/// RFC 9110, section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether hyper will take an address; nearly all are plain paths.
fn is_address(target: &[u8]) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"/-._~%?&=+:@,".contains(b);
    target.first() == Some(&b'/') && target.iter().all(plain) || http::Uri::try_from(target).is_ok()
}

fn too_long() -> Problem {
    Problem::new(Code::PayloadTooLarge, "a body of more bytes than there are")
}

fn uri_too_long() -> Problem {
    Problem::new(Code::UriTooLong, format!("an address of more than {URI_LIMIT} bytes"))
}

/// Too many headers, or too large ones.
#[must_use]
pub fn headers_too_large() -> Problem {
    let message = format!("more than {HEADER_COUNT} headers or {HEADERS_LIMIT} bytes of them");
    Problem::new(Code::HeadersTooLarge, message)
}

/// Takes bytes of a body of chunks: how many, and whether it is over. Nothing when it cannot be followed.
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
