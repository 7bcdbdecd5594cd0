//! What plugins and functions see of a client's certificate: the header `x-client-subject`, which only the gateway
//! sets.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header with the subject, such as `CN=alice,O=Acme`.
const SUBJECT: HeaderName = HeaderName::from_static("x-client-subject");

/// Sets the header to the subject of the certificate that a connection has shown, and removes what a client has written
/// there.
pub fn set_header(headers: &mut HeaderMap, subject: Option<&Arc<str>>) {
    match subject.and_then(|subject| HeaderValue::from_str(subject).ok()) {
        Some(subject) => drop(headers.insert(SUBJECT, subject)),
        None => drop(headers.remove(SUBJECT)),
    }
}
