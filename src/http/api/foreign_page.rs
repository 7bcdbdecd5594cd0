//! Answers of functions at addresses of the gateway's own: one may be a page, and where it is shown is the origin of
//! the admin API.

use http::HeaderMap;
use http::header::{CONTENT_SECURITY_POLICY, HeaderValue, SET_COOKIE, X_CONTENT_TYPE_OPTIONS};

/// Has a browser run no script of such an answer, and change nothing of the origin.
pub fn confine(headers: &mut HeaderMap) {
    for name in [SET_COOKIE.as_str(), "service-worker-allowed", "clear-site-data"] {
        headers.remove(name);
    }
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
