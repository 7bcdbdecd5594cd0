//! Checks of one HTTP/1 head before hyper sees it: its sizes, and everything that hyper accepts but a proxy in front
//! of the gateway could read differently (request smuggling). Where heads start and end is left to `framing`.

use crate::http::problem::{Code, Problem};

/// Bytes of an address.
pub const URI_LIMIT: usize = 8 * 1024;
const METHOD_LIMIT: usize = 16;
/// Bytes of all headers.
pub const HEADERS_LIMIT: usize = 16 * 1024;
/// Headers of a request.
pub const HEADER_COUNT: usize = 100;
/// The request line around its address: method, version, spaces.
pub(super) const LINE_LIMIT: usize = URI_LIMIT + METHOD_LIMIT + 12;
/// The largest content-length: hyper gives the last few numbers of `u64` another meaning.
const LENGTH_LIMIT: u64 = u64::MAX / 2;

/// How the body after a head is delimited.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Delimited {
    Length(u64),
    Chunks,
}

/// Checks the part of a head that has arrived.
pub(super) fn check_unfinished(seen: &[u8]) -> Result<(), Problem> {
    // Bytes that are not HTTP at all are refused at once, not at the deadline.
    check_method(seen.split(|b| *b == b' ').next().unwrap_or_default())?;
    match memchr::memchr(b'\n', seen) {
        None if seen.len() > LINE_LIMIT => Err(uri_too_long()),
        None => Ok(()),
        Some(line) if seen.len() - line > HEADERS_LIMIT => Err(headers_too_large()),
        // hyper would answer a bad request line by itself.
        Some(line) => seen[..line].strip_suffix(b"\r").map_or(Ok(()), |line| check_line(line).map(|_| ())),
    }
}

/// Checks a whole head, up to and with its empty line.
pub(super) fn check_head(head: &[u8]) -> Result<Delimited, Problem> {
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
    let mut headers = Headers::default();
    for line in lines {
        match line {
            None => return bad("a line that ends without a carriage return"),
            Some([]) => break,
            Some(line) => headers.add(line)?,
        }
    }
    headers.delimited(http_1_1)
}

/// The headers of a request that decide about its body.
#[derive(Default)]
struct Headers {
    count: usize,
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
}

impl Headers {
    fn add(&mut self, line: &[u8]) -> Result<(), Problem> {
        if line[0] == b' ' || line[0] == b'\t' {
            return bad("a header that is folded over two lines");
        }
        self.count += 1;
        let Some(colon) = memchr::memchr(b':', line) else { return bad("a header without a colon") };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || !name.iter().all(|b| is_token_byte(*b)) {
            return bad("a header name that is not valid");
        }
        if value.iter().any(|b| *b < b' ' && *b != b'\t' || *b == 0x7f) {
            return bad("a control byte in a header");
        }
        // Most names differ in length already.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.hosts += 1,
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return bad("two content-length headers");
                }
                self.length = Some(content_length(value)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return bad("a transfer-encoding other than chunked");
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn delimited(&self, http_1_1: bool) -> Result<Delimited, Problem> {
        match (self.hosts, self.length, self.chunked) {
            _ if self.count > HEADER_COUNT => Err(headers_too_large()),
            (0, ..) if http_1_1 => bad("no host header"),
            (2.., ..) => bad("two host headers"),
            (_, Some(_), true) => bad("both content-length and transfer-encoding"),
            (_, _, true) => Ok(Delimited::Chunks),
            (_, length, false) => Ok(Delimited::Length(length.unwrap_or(0))),
        }
    }
}

/// Digits only: `u64`'s own parser would accept a sign.
fn content_length(value: &[u8]) -> Result<u64, Problem> {
    let is_digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| is_digits);
    match text.and_then(|text| text.parse().ok()) {
        None => bad("a content-length that is not a number"),
        Some(length) if length > LENGTH_LIMIT => Err(too_long()),
        Some(length) => Ok(length),
    }
}

fn bad<T>(message: &str) -> Result<T, Problem> {
    Err(Problem::new(Code::BadRequest, message))
}

/// Checks a request line. Returns whether its version is HTTP/1.1, not HTTP/1.0.
fn check_line(line: &[u8]) -> Result<bool, Problem> {
    let mut parts = line.splitn(3, |b| *b == b' ');
    let (method, target, version) = (parts.next(), parts.next(), parts.next());
    check_method(method.unwrap_or_default())?;
    if target.is_some_and(|target| target.len() > URI_LIMIT) {
        return Err(uri_too_long());
    }
    if !target.is_some_and(is_address) {
        return Err(Problem::new(Code::BadRequest, "an address that is not valid"));
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

/// Whether a byte may stand in a token: RFC 9110, section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether hyper accepts an address. Nearly all are plain paths, for which the parser is not needed.
fn is_address(target: &[u8]) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"/-._~%?&=+:@,".contains(b);
    target.first() == Some(&b'/') && target.iter().all(plain) || http::Uri::try_from(target).is_ok()
}

fn too_long() -> Problem {
    Problem::new(Code::PayloadTooLarge, "a content-length that is too large")
}

fn uri_too_long() -> Problem {
    Problem::new(Code::UriTooLong, format!("an address of more than {URI_LIMIT} bytes"))
}

/// The answer to too many headers, or too long ones.
#[must_use]
pub fn headers_too_large() -> Problem {
    let message = format!("more than {HEADER_COUNT} headers or {HEADERS_LIMIT} bytes of them");
    Problem::new(Code::HeadersTooLarge, message)
}
