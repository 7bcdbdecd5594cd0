//! Web origins that CORS permits: `"https://app.example.com"`, `"https://*.example.com"`, `"http://localhost:*"` or
//! `"*"`.

use std::fmt;
use std::str::FromStr;

use schemars::json_schema;

use crate::config::values::written_as_text::written_as_text;

const WORDS: &str =
    "\"*\", or an origin such as \"https://app.example.com\", \"https://*.example.com\", \"http://localhost:*\"";
const ANY: &str = "*";

/// One entry of `origins`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsOrigin {
    /// Every origin.
    Any,
    /// Those of this form.
    Form(OriginForm),
}

/// The form of an origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginForm {
    scheme: String,
    /// The host, or with `is_domain` what its subdomains end with: `.example.com`.
    host: String,
    is_domain: bool,
    port: Port,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Port {
    /// That of the scheme, which origins leave out.
    Usual,
    Any,
    Number(String),
}

impl CorsOrigin {
    /// Whether an origin, as browsers write it, is permitted.
    ///
    /// ```
    /// use metagate::config::CorsOrigin;
    ///
    /// let origin: CorsOrigin = "https://*.example.com".parse()?;
    /// assert!(origin.permits("https://app.example.com") && !origin.permits("https://example.com.evil"));
    /// # Ok::<(), String>(())
    /// ```
    #[must_use]
    pub fn permits(&self, origin: &str) -> bool {
        let Self::Form(form) = self else { return true };
        let Some((scheme, rest)) = origin.split_once("://") else { return false };
        let (host, port) = host_and_port(rest);
        let fits_port = match (&form.port, port) {
            (Port::Usual, None) => true,
            (Port::Any, port) => port.is_none_or(is_number),
            (Port::Number(number), Some(port)) => number == port,
            (Port::Usual, Some(_)) | (Port::Number(_), None) => false,
        };
        let fits_host = if form.is_domain {
            host.strip_suffix(form.host.as_str()).is_some_and(is_subdomain)
        } else {
            host == form.host
        };
        scheme == form.scheme && fits_port && fits_host
    }
}

/// Splits `host:port`; the host of IPv6 is in brackets.
fn host_and_port(text: &str) -> (&str, Option<&str>) {
    let after_host = text.rfind(']').map_or(0, |end| end + 1);
    match text[after_host..].find(':') {
        Some(colon) => (&text[..after_host + colon], Some(&text[after_host + colon + 1..])),
        None => (text, None),
    }
}

fn is_number(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a text is one label of a host or several: `app`, `a.b`.
fn is_subdomain(text: &str) -> bool {
    text.split('.').all(|label| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
}

impl FromStr for CorsOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("{text:?} is not {WORDS}");
        if text == ANY {
            return Ok(Self::Any);
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(refused)?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+.-".contains(&b));
        let (host, port) = host_and_port(rest);
        let port = match port {
            None => Port::Usual,
            Some(ANY) => Port::Any,
            Some(port) => match (port.parse::<u16>(), scheme) {
                (Ok(80), "http") | (Ok(443), "https") => Port::Usual,
                (Ok(number), _) if number != 0 && number.to_string() == port => Port::Number(port.to_owned()),
                _ => return Err(refused()),
            },
        };
        let domain = host.strip_prefix(ANY);
        let is_host = match domain {
            // One label would permit all sites of a top-level domain.
            Some(domain) => domain.strip_prefix('.').is_some_and(|rest| {
                is_subdomain(rest) && (rest.contains('.') || rest.eq_ignore_ascii_case("localhost"))
            }),
            None if host.starts_with('[') => {
                host[1..].strip_suffix(']').is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
            }
            None => is_subdomain(host),
        };
        if !is_scheme || !is_host {
            return Err(refused());
        }
        let (scheme, is_domain) = (scheme.to_owned(), domain.is_some());
        Ok(Self::Form(OriginForm { scheme, host: domain.unwrap_or(host).to_ascii_lowercase(), is_domain, port }))
    }
}

impl fmt::Display for CorsOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Form(OriginForm { scheme, host, is_domain, port }) = self else { return f.write_str(ANY) };
        write!(f, "{scheme}://{}{host}", if *is_domain { ANY } else { "" })?;
        match port {
            Port::Usual => Ok(()),
            Port::Any => f.write_str(":*"),
            Port::Number(number) => write!(f, ":{number}"),
        }
    }
}

written_as_text!(CorsOrigin, WORDS, json_schema!({ "type": "string", "minLength": 1 }));

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(pattern: &str, origin: &str) -> bool {
        pattern.parse::<CorsOrigin>().unwrap().permits(origin)
    }

    #[test]
    fn an_origin_is_permitted_by_its_scheme_host_and_port() {
        for (pattern, origin) in [
            ("*", "null"),
            ("https://app.example.com", "https://app.example.com"),
            ("https://App.example.com:443", "https://app.example.com"),
            ("http://app.example.com:8080", "http://app.example.com:8080"),
            ("https://*.example.com", "https://a.b.example.com"),
            ("http://localhost:*", "http://localhost"),
            ("http://localhost:*", "http://localhost:5173"),
            ("http://*.localhost:*", "http://shop.localhost:5173"),
            ("http://[::1]:*", "http://[::1]:3000"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert!(permits(pattern, origin), "{pattern} {origin}");
        }
        for (pattern, origin) in [
            ("https://app.example.com", "http://app.example.com"),
            ("https://app.example.com", "https://app.example.com:8443"),
            ("https://app.example.com", "https://app.example.com.evil"),
            ("https://app.example.com", "https://evil.app.example.com"),
            ("https://app.example.com", "null"),
            ("https://app.example.com", ""),
            ("https://*.example.com", "https://example.com"),
            ("https://*.example.com", "https://.example.com"),
            ("https://*.example.com", "https://evilexample.com"),
            ("https://*.example.com", "https://evil.com/.example.com"),
            ("https://*.example.com", "https://evil.com#.example.com"),
            ("https://*.example.com", "https://user@a.example.com"),
            ("https://*.example.com", "https://a.example.com:1"),
            ("http://localhost:*", "http://localhost:"),
            ("http://localhost:*", "http://localhost:1:2"),
            ("http://localhost:*", "http://localhost:80@evil.com"),
        ] {
            assert!(!permits(pattern, origin), "{pattern} {origin}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for bad in [
            "",
            "null",
            "example.com",
            "https://",
            "https://a.example/",
            "https://a.example/path",
            "https://*",
            "https://*.com",
            "https://*example.com",
            "https://a.*.example.com",
            "https://**.example.com",
            "https://a.example:",
            "https://a.example:0",
            "https://a.example:080",
            "https://a.example:99999",
            "https://u@a.example",
            "HTTPS://a.example",
            "https://[::1",
            "https://a b",
        ] {
            assert!(bad.parse::<CorsOrigin>().is_err(), "{bad:?}");
        }
    }
}
