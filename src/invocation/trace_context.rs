//! The place of a call in a trace: `traceparent` and `tracestate` of W3C Trace Context
//! (<https://www.w3.org/TR/trace-context/>).

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header with the ids.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header with what tracing systems add.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Bytes of a `traceparent` of version 00: `00-<32 digits>-<16 digits>-<2 digits>`.
const LENGTH: usize = 55;
/// The most members of a `tracestate`, and the most bytes of it that are passed on.
const MEMBERS: usize = 32;
const STATE_LENGTH: usize = 512;
/// The flag of a caller that records its part of the trace.
const SAMPLED: u8 = 1;

/// The id of a trace, not zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId(u128);

/// The id of a span, not zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpanId(u64);

/// A span of a trace, as others refer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// Whether it is recorded.
    pub is_sampled: bool,
    /// What tracing systems have added, as a `tracestate`.
    pub state: Option<HeaderValue>,
}

impl TraceId {
    /// A new id.
    #[must_use]
    pub fn random() -> Self {
        Self(fastrand::u128(1..))
    }

    /// The id as bytes.
    #[must_use]
    pub fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Half of the id, which decides about sampling: the same in every program that sees the trace.
    #[must_use]
    pub fn low_half(self) -> u64 {
        (self.0 & u128::from(u64::MAX)).try_into().unwrap_or(u64::MAX)
    }
}

impl SpanId {
    /// A new id.
    #[must_use]
    pub fn random() -> Self {
        Self(fastrand::u64(1..))
    }

    /// The id as bytes.
    #[must_use]
    pub fn bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TraceContext {
    /// The span that a request comes from; none if it names none, or not as the specification says.
    #[must_use]
    pub fn of_headers(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let (Some(parent), None) = (parents.next(), parents.next()) else { return None };
        let (trace, span, is_sampled) = parse(parent.as_bytes())?;
        Some(Self { trace, span, is_sampled, state: state(headers) })
    }

    /// Another span of the same trace.
    #[must_use]
    pub fn with_span(&self, span: SpanId) -> Self {
        Self { span, ..self.clone() }
    }

    /// Makes the headers of a request name this span as the one that it comes from.
    pub fn set_headers(&self, headers: &mut HeaderMap) {
        let text = self.to_string();
        headers.insert(TRACEPARENT, HeaderValue::from_str(&text).expect("ids are hexadecimal digits"));
        match &self.state {
            Some(state) => drop(headers.insert(TRACESTATE, state.clone())),
            None => drop(headers.remove(TRACESTATE)),
        }
    }
}

/// The value of a `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, if self.is_sampled { SAMPLED } else { 0 })
    }
}

fn parse(text: &[u8]) -> Option<(TraceId, SpanId, bool)> {
    let (head, rest) = text.split_at_checked(LENGTH)?;
    let separators = [head[2], head[35], head[52]];
    let version = u8::try_from(hexadecimal(&head[..2])?).ok()?;
    // Later versions may have more after another separator; 255 is none.
    let is_of_version = match version {
        0 => rest.is_empty(),
        255 => false,
        _ => rest.is_empty() || rest[0] == b'-',
    };
    if separators != [b'-'; 3] || !is_of_version {
        return None;
    }
    let trace = hexadecimal(&head[3..35])?;
    let span = u64::try_from(hexadecimal(&head[36..52])?).ok()?;
    let flags = u8::try_from(hexadecimal(&head[53..])?).ok()?;
    (trace != 0 && span != 0).then_some((TraceId(trace), SpanId(span), flags & SAMPLED != 0))
}

/// A number in lower-case digits.
fn hexadecimal(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

/// The `tracestate`; none if there is none, or one that is malformed or too long.
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(TRACESTATE).iter();
    let first = values.next()?;
    let joined;
    let value = match values.next() {
        None => first,
        Some(second) => {
            let all = [first, second].into_iter().chain(values).map(HeaderValue::as_bytes);
            joined = HeaderValue::from_bytes(&all.collect::<Vec<_>>().join(&b","[..])).ok()?;
            &joined
        }
    };
    is_state(value.as_bytes()).then(|| value.clone())
}

fn is_state(text: &[u8]) -> bool {
    let members = text.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let mut keys: Vec<&[u8]> = Vec::new();
    for member in members.filter(|member| !member.is_empty()) {
        let Some(at) = member.iter().position(|byte| *byte == b'=') else { return false };
        let (key, value) = (&member[..at], &member[at + 1..]);
        if !is_key(key) || !is_value(value) || keys.contains(&key) || keys.len() == MEMBERS {
            return false;
        }
        keys.push(key);
    }
    !keys.is_empty() && text.len() <= STATE_LENGTH
}

/// `vendor` or `tenant@vendor`.
fn is_key(key: &[u8]) -> bool {
    let of = |bytes: &[u8], most: usize, first: fn(&u8) -> bool| {
        let is_of =
            |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'*' | b'/');
        bytes.len() <= most && bytes.first().is_some_and(first) && bytes.iter().all(is_of)
    };
    match key.iter().position(|byte| *byte == b'@') {
        None => of(key, 256, u8::is_ascii_lowercase),
        Some(at) => {
            let is_first = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            of(&key[..at], 241, is_first) && of(&key[at + 1..], 14, u8::is_ascii_lowercase)
        }
    }
}

fn is_value(value: &[u8]) -> bool {
    let is_of = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'=');
    (1..=256).contains(&value.len()) && value.iter().all(is_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn of(parent: &str) -> Option<TraceContext> {
        TraceContext::of_headers(&headers(&[(TRACEPARENT, parent)]))
    }

    #[test]
    fn a_valid_parent_is_taken_over_and_written_as_it_came() {
        let context = of(PARENT).unwrap();
        assert_eq!(context.to_string(), PARENT);
        assert_eq!(context.span.to_string(), "b7ad6b7169203331");
        assert!(!of(&PARENT.replace("-01", "-00")).unwrap().is_sampled);
        // Flags and fields that are not known are not passed on.
        assert_eq!(of(&PARENT.replace("-01", "-ff")).unwrap().to_string(), PARENT);
        assert_eq!(of(&format!("01{}-more", &PARENT[2..])).unwrap().to_string(), PARENT);
    }

    #[test]
    fn a_malformed_parent_is_none() {
        for malformed in [
            "",
            "00",
            &PARENT[..54],
            &format!("{PARENT}-00"),
            &format!("{PARENT} "),
            &format!("01{}x", &PARENT[2..]),
            &PARENT.to_uppercase(),
            &PARENT.replacen("00-", "ff-", 1),
            &PARENT.replacen("00-", "0g-", 1),
            &PARENT.replacen('-', "_", 1),
            &PARENT.replace("0af7651916cd43dd8448eb211c80319c", "00000000000000000000000000000000"),
            &PARENT.replace("b7ad6b7169203331", "0000000000000000"),
            &PARENT.replace("-01", "-0x"),
        ] {
            assert_eq!(of(malformed), None, "{malformed}");
        }
        assert_eq!(TraceContext::of_headers(&headers(&[(TRACEPARENT, PARENT), (TRACEPARENT, PARENT)])), None);
    }

    #[test]
    fn a_state_is_passed_on_only_if_it_is_well_formed() {
        let state_of = |values: &[&str]| {
            let mut pairs = vec![(TRACEPARENT, PARENT)];
            pairs.extend(values.iter().map(|value| (TRACESTATE, *value)));
            let state = TraceContext::of_headers(&headers(&pairs)).unwrap().state;
            state.map(|state| state.to_str().unwrap().to_owned())
        };
        for good in ["a=1", "rojo=00f067aa0ba902b7, congo=t61rcWkgMzE", "1a@b=x y", "a=1,,b=2"] {
            assert_eq!(state_of(&[good]).as_deref(), Some(good));
        }
        assert_eq!(state_of(&["a=1", "b=2"]).as_deref(), Some("a=1,b=2"));
        let many: Vec<String> = (0..33).map(|at| format!("k{at}=1")).collect();
        let long = format!("a={}", "x".repeat(257));
        for bad in ["", ",", "a", "A=1", "a=", "a=1,a=2", "a=b=c", "1a=1", "a@1=1", "@a=1", &many.join(","), &long] {
            assert_eq!(state_of(&[bad]), None, "{bad}");
        }
    }

    #[test]
    fn headers_name_the_span_that_a_call_comes_from() {
        let mut request = headers(&[(TRACEPARENT, "nonsense"), (TRACESTATE, "a=1")]);
        of(PARENT).unwrap().set_headers(&mut request);
        assert_eq!(request, headers(&[(TRACEPARENT, PARENT)]));
    }
}
