//! The dashboard: files that are part of the program, at `/dashboard` and, where no route takes it, at `/`. They hold
//! no data, so whoever reaches the listener of the admin API gets them; what the page shows and does goes through that
//! API and its rules.

use std::sync::LazyLock;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderMap, StatusCode};
use sha2::{Digest as _, Sha256};

use crate::config;

/// Nothing is loaded from elsewhere, nothing inline runs, and no other page may show this one.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; img-src 'self' data:";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A file: its address, its type, its contents.
type File = (&'static str, &'static str, &'static str);

/// The page that describes functions, among the files for it.
pub const DOCS_PAGE: &str = "docs.html";

const DOCS: [File; 6] = [
    (DOCS_PAGE, HTML, include_str!("dashboard/docs.html")),
    ("docs.js", SCRIPT, include_str!("dashboard/docs.js")),
    ("api.js", SCRIPT, include_str!("dashboard/api.js")),
    ("dom.js", SCRIPT, include_str!("dashboard/dom.js")),
    ("values.js", SCRIPT, include_str!("dashboard/values.js")),
    ("style.css", CSS, include_str!("dashboard/style.css")),
];

const FILES: [File; 25] = [
    ("/", HTML, include_str!("dashboard/index.html")),
    ("/dashboard", HTML, include_str!("dashboard/index.html")),
    ("/dashboard/", HTML, include_str!("dashboard/index.html")),
    ("/dashboard/style.css", CSS, include_str!("dashboard/style.css")),
    ("/dashboard/app.js", SCRIPT, include_str!("dashboard/app.js")),
    ("/dashboard/api.js", SCRIPT, include_str!("dashboard/api.js")),
    ("/dashboard/call.js", SCRIPT, include_str!("dashboard/call.js")),
    ("/dashboard/calls.js", SCRIPT, include_str!("dashboard/calls.js")),
    ("/dashboard/chain.js", SCRIPT, include_str!("dashboard/chain.js")),
    ("/dashboard/deploy.js", SCRIPT, include_str!("dashboard/deploy.js")),
    ("/dashboard/deployment.js", SCRIPT, include_str!("dashboard/deployment.js")),
    ("/dashboard/dom.js", SCRIPT, include_str!("dashboard/dom.js")),
    ("/dashboard/events.js", SCRIPT, include_str!("dashboard/events.js")),
    ("/dashboard/format.js", SCRIPT, include_str!("dashboard/format.js")),
    ("/dashboard/invoke.js", SCRIPT, include_str!("dashboard/invoke.js")),
    ("/dashboard/logs.js", SCRIPT, include_str!("dashboard/logs.js")),
    ("/dashboard/overview.js", SCRIPT, include_str!("dashboard/overview.js")),
    ("/dashboard/plugins.js", SCRIPT, include_str!("dashboard/plugins.js")),
    ("/dashboard/queue.js", SCRIPT, include_str!("dashboard/queue.js")),
    ("/dashboard/queued.js", SCRIPT, include_str!("dashboard/queued.js")),
    ("/dashboard/values.js", SCRIPT, include_str!("dashboard/values.js")),
    ("/dashboard/recording.js", SCRIPT, include_str!("dashboard/recording.js")),
    ("/dashboard/timeline.js", SCRIPT, include_str!("dashboard/timeline.js")),
    ("/dashboard/wiring.js", SCRIPT, include_str!("dashboard/wiring.js")),
    ("/dashboard/zip.js", SCRIPT, include_str!("dashboard/zip.js")),
];

/// The files' entity tags, in the same order.
static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| FILES.iter().map(|(_, _, content)| tag(content)).collect());

/// The routes of the dashboard's files.
pub fn routes() -> Router {
    FILES.iter().enumerate().fold(Router::new(), |router, (at, file)| {
        router.route(file.0, get(move |headers: HeaderMap| async move { answer(file, &TAGS[at], &headers) }))
    })
}

/// A file of the pages that describe functions, which stand next to the documents that they show.
pub fn docs(name: &str, headers: &HeaderMap) -> Option<Response> {
    static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| DOCS.iter().map(|(_, _, content)| tag(content)).collect());
    let found = DOCS.iter().zip(TAGS.iter()).find(|((own, _, _), _)| *own == name);
    found.map(|(file, tag)| answer(file, tag, headers))
}

fn answer((_, content_type, content): &'static File, tag: &str, headers: &HeaderMap) -> Response {
    let safety = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_FRAME_OPTIONS, "DENY"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // Another version of the gateway has other files: a browser asks each time.
        (CACHE_CONTROL, "no-cache"),
        (ETAG, tag),
    ];
    let is_known = is_known(headers, tag);
    if is_known {
        return (StatusCode::NOT_MODIFIED, safety).into_response();
    }
    (safety, [(CONTENT_TYPE, *content_type)], *content).into_response()
}

/// Whether a client says that it has what has this tag: one of a list, maybe weak, or any (RFC 9110, section 13.1.2).
pub fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let lists = headers.get_all(IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
    let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

/// The entity tag of a text.
pub fn tag(content: &str) -> String {
    let digest = config::Sha256::new(Sha256::digest(content.as_bytes()).into()).to_string();
    format!("\"{}\"", &digest[..24])
}
