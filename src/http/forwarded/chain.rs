//! Reads the headers in which proxies name the hops of a request: lists of `X-Forwarded-*`, and `Forwarded` of RFC
//! 7239. Which hops are believed is left to the parent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue};

/// A `Forwarded` header that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// An element of `Forwarded`: one hop.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    by_for: Option<String>,
    pub(super) proto: Option<String>,
    pub(super) host: Option<String>,
}

impl Element {
    /// The address that it names.
    pub(super) fn address(&self) -> Option<IpAddr> {
        address(self.by_for.as_deref()?)
    }
}

/// The items of a list in one header or several, in order. Bytes that are not UTF-8 spoil their own item only.
pub(super) fn texts(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let items = lines.flat_map(|line| line.split(|byte| *byte == b','));
    items.map(|item| String::from_utf8_lossy(item.trim_ascii()).into_owned()).collect()
}

/// The addresses of a list; none where an item is not one.
pub(super) fn addresses(headers: &HeaderMap, name: &HeaderName) -> Vec<Option<IpAddr>> {
    texts(headers, name).iter().map(|text| address(text)).collect()
}

/// An address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let is_port = |text: &str| {
        let number = text.strip_prefix(':')?;
        (!number.is_empty() && number.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))).then_some(())
    };
    let found: IpAddr = match text.strip_prefix('[') {
        Some(rest) => {
            let (inner, port) = rest.split_once(']')?;
            if !port.is_empty() {
                is_port(port)?;
            }
            inner.parse::<Ipv6Addr>().ok()?.into()
        }
        None => match text.parse() {
            Ok(address) => address,
            Err(_) => {
                let colon = text.find(':')?;
                is_port(&text[colon..])?;
                text[..colon].parse::<Ipv4Addr>().ok()?.into()
            }
        },
    };
    // The unspecified address is nobody's; here it stands for peers of UNIX sockets.
    Some(found.to_canonical()).filter(|address| !address.is_unspecified())
}

/// The elements of all `Forwarded` headers, in order.
pub(super) fn elements(headers: &HeaderMap) -> Result<Vec<Element>, Malformed> {
    let mut found = Vec::new();
    for line in headers.get_all(FORWARDED) {
        let mut rest = line.to_str().map_err(|_| Malformed)?;
        loop {
            let (element, after) = element(rest)?;
            found.push(element);
            match after {
                Some(after) => rest = after,
                None => break,
            }
        }
    }
    Ok(found)
}

/// Reads `for=192.0.2.1;proto=https` up to a comma or the end. Returns what comes after the comma.
fn element(text: &str) -> Result<(Element, Option<&str>), Malformed> {
    let mut element = Element::default();
    let mut rest = text.trim_ascii_start();
    loop {
        // An empty element, or an empty pair, is allowed: RFC 9110, section 5.6.1.
        if !rest.starts_with([',', ';']) && !rest.is_empty() {
            rest = pair(rest, &mut element)?.trim_ascii_start();
        }
        match rest.as_bytes().first() {
            None => return Ok((element, None)),
            Some(b',') => return Ok((element, Some(&rest[1..]))),
            Some(b';') => rest = rest[1..].trim_ascii_start(),
            // What follows a quote: a stranger's quote may have swallowed what the proxy wrote.
            Some(_) => return Err(Malformed),
        }
    }
}

/// Reads `name=value` or `name="value"`, and returns the rest.
fn pair<'t>(text: &'t str, element: &mut Element) -> Result<&'t str, Malformed> {
    let (name, rest) = text.split_once('=').ok_or(Malformed)?;
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)) {
        return Err(Malformed);
    }
    let (value, rest) = match rest.strip_prefix('"') {
        Some(quoted) => unquoted(quoted)?,
        None => {
            let end = rest.find([',', ';', '"', ' ', '\t']).unwrap_or(rest.len());
            (rest[..end].to_owned(), &rest[end..])
        }
    };
    let Element { by_for, proto, host } = element;
    let place = match name.to_ascii_lowercase().as_str() {
        "for" => by_for,
        "proto" => proto,
        "host" => host,
        _ => return Ok(rest),
    };
    match place.replace(value) {
        Some(_) => Err(Malformed),
        None => Ok(rest),
    }
}

/// The text up to the closing quote, and the rest after it.
fn unquoted(text: &str) -> Result<(String, &str), Malformed> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => value.push(chars.next().ok_or(Malformed)?.1),
            c => value.push(c),
        }
    }
    Err(Malformed)
}
