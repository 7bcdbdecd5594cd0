//! Requests that web pages make: which are of the gateway's own pages, and which may be of an attacker's.

use std::net::IpAddr;

use http::Uri;
use http::header::{HOST, HeaderMap, ORIGIN};

/// Whether a request comes from a page of the address that it is for, such as the dashboard, or from no page.
/// Browsers set the header, pages cannot.
#[must_use]
pub fn is_of_own_page(uri: &Uri, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let authority = match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => headers.get(HOST).and_then(|host| host.to_str().ok()),
    };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let (Some(authority), Some((scheme, host))) = (authority, origin) else { return false };
    matches!(scheme, "http" | "https") && host.eq_ignore_ascii_case(authority)
}

/// Whether a request names this machine by a name that an attacker's DNS server may have pointed here (DNS rebinding):
/// to a browser, a page under that name has the gateway's own origin. IP addresses and names without a dot are safe
/// from that.
#[must_use]
pub fn may_be_rebound(uri: &Uri, headers: &HeaderMap) -> bool {
    let host = match uri.host() {
        Some(host) => host,
        None => match headers.get(HOST).and_then(|host| host.to_str().ok()) {
            Some(host) => host.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map_or(host, |(host, _)| host),
            None => return true,
        },
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    let is_safe = host.parse::<IpAddr>().is_ok() || host.to_ascii_lowercase().ends_with(".localhost");
    host.contains('.') && !is_safe
}
