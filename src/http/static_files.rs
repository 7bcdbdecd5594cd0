//! `GET /<prefix>/<name>/v1/static/<file>`: files of a deployment that serves them, whole or in part, or 304 if the
//! client has the current one. Opening a file is left to `file`, conditions to `conditions`.

mod conditions;
mod content;
mod file;
mod range;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED, LOCATION,
    X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::gateway::Gateway;
use crate::http::call::lookup;
use crate::http::path::{INDEX, StaticAddress};
use crate::http::problem::{self, Code, Problem};
use crate::http::reply_body::ReplyBody;
use crate::http::request_id;
use crate::http::static_files::conditions::Precondition;
use crate::http::static_files::file::{OpenError, StaticFile};
use crate::registry::{ServedFiles, State};

/// The bytes of a name that are encoded in an address.
const ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const METHODS: &str = "GET, HEAD, OPTIONS";
/// `Retry-After` while the deployment starts.
const STARTING_RETRY: Duration = Duration::from_secs(1);

/// Answers with a file of a deployment. Files that are not served get the same 404 as missing ones: hidden files,
/// links, folders, `node_modules`, the gateway's configuration and data.
pub async fn file(
    gateway: &Gateway,
    address: &StaticAddress<'_>,
    request: &Parts,
    id: &HeaderValue,
) -> Result<Response<ReplyBody>, Problem> {
    let Parts { method, headers, .. } = request;
    if !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        let problem = Problem::new(Code::MethodNotAllowed, format!("a file is read with GET or HEAD, not {method}"));
        return Err(problem.allowing(METHODS));
    }
    let served = served_files(gateway, address)?;
    if *method == Method::OPTIONS {
        return Ok(problem::methods(METHODS));
    }
    if address.path.iter().any(|part| is_hidden(part)) {
        return Err(no_file(address));
    }
    let path: PathBuf = address.path.iter().map(AsRef::<str>::as_ref).collect();
    let private = Arc::clone(&gateway.private);
    let opened = tokio::task::spawn_blocking(move || open_or_index(&served, &path, &private)).await;
    let file = match opened {
        Ok(Ok(Opened::File(file))) => file,
        Ok(Ok(Opened::Folder)) => return Ok(to_folder(address, request.uri.query())),
        Ok(Err(OpenError::None)) => return Err(no_file(address)),
        Ok(Err(OpenError::Fault(fault))) => {
            tracing::warn!(deployment = %address.name, path = wanted(address), error = %fault, "file cannot be read");
            return Err(Problem::new(Code::Internal, "the file cannot be read"));
        }
        Err(_) => return Err(Problem::new(Code::Internal, "the gateway failed")),
    };
    let mut response = match conditions::check(method, headers, &file) {
        Precondition::Changed => {
            let message = "the file is not the one that if-match or if-unmodified-since names";
            return Err(Problem::new(Code::PreconditionFailed, message));
        }
        Precondition::Unsatisfiable => {
            let message = format!("the file has {} bytes", file.size);
            let mut response = Problem::new(Code::RangeNotSatisfiable, message).into_response(request_id::text(id));
            response.headers_mut().insert(CONTENT_RANGE, header(&format!("bytes */{}", file.size)));
            return Ok(response);
        }
        Precondition::NotModified => not_modified(),
        Precondition::Part(first, last) => part(&file, address, first, last),
        Precondition::Whole => whole(&file, address),
    };
    let headers = response.headers_mut();
    headers.insert(ETAG, header(&file.etag));
    headers.insert(LAST_MODIFIED, header(&httpdate::fmt_http_date(file.modified)));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // Clients may keep it but must revalidate: the next release may have another file here.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

/// The files of a deployment that serves files and has loaded: before that, a plugin may still refuse the release.
fn served_files(gateway: &Gateway, address: &StaticAddress<'_>) -> Result<ServedFiles, Problem> {
    let StaticAddress { prefix, name, version, .. } = address;
    let deployment = lookup::deployment_at(gateway, prefix, name, version)?;
    let Some(files) = &deployment.static_files else {
        let table = if deployment.stored().is_some() { "[deploy]" } else { "its [[deployment]]" };
        let message = format!(
            "deployment {name:?} serves no files: static_files in {table} switches them on, with a folder such as \
             \"public\", or with true for all files"
        );
        return Err(Problem::new(Code::NotFound, message));
    };
    match &deployment.state {
        State::Running(_) if deployment.has_loaded() => Ok(files.clone()),
        State::Running(_) | State::Pending => {
            let message = format!("no worker of {name:?} is ready yet");
            Err(Problem::new(Code::Starting, message).retry_after(STARTING_RETRY))
        }
        State::Failed(_) => Err(Problem::new(Code::NotFound, format!("deployment {name:?} has not loaded"))),
    }
}

/// What is at the address of a file.
enum Opened {
    File(StaticFile),
    /// A folder with an index, whose address ends with a slash.
    Folder,
}

/// Opens a file, or finds the index of a folder. Blocks.
fn open_or_index(served: &ServedFiles, path: &Path, private: &[PathBuf]) -> Result<Opened, OpenError> {
    match open(served, path, private) {
        Err(OpenError::None) => open(served, &path.join(INDEX), private).map(|_| Opened::Folder),
        opened => opened.map(Opened::File),
    }
}

/// Leads to the address of a folder that ends with a slash: there the relative addresses of its index are right.
fn to_folder(address: &StaticAddress<'_>, query: Option<&str>) -> Response<ReplyBody> {
    let name = address.path.last().map_or("static", AsRef::as_ref);
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    let mut response = Response::new(ReplyBody::Full(None));
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    // Relative, because a proxy may have changed the beginning of the path.
    let location = format!("./{}/{query}", utf8_percent_encode(name, &ENCODED));
    response.headers_mut().insert(LOCATION, header(&location));
    response
}

/// Opens a file by its path below the served part of the folder, or else by its path in the whole folder, as MetaCall
/// has it. No part of the path may be a link: the deployment's own code could point one elsewhere. Blocks.
fn open(served: &ServedFiles, path: &Path, private: &[PathBuf]) -> Result<StaticFile, OpenError> {
    let ServedFiles { folder, part } = served;
    match file::open(folder, &part.join(path), private) {
        Err(OpenError::None) if !part.as_os_str().is_empty() && path.starts_with(part) => {
            file::open(folder, path, private)
        }
        opened => opened,
    }
}

fn is_hidden(part: &str) -> bool {
    part.starts_with('.') || part == "node_modules"
}

fn wanted(address: &StaticAddress<'_>) -> String {
    address.path.join("/")
}

fn no_file(address: &StaticAddress<'_>) -> Problem {
    Problem::new(Code::NotFound, format!("deployment {:?} has no file {:?}", address.name, wanted(address)))
}

fn not_modified() -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::Full(None));
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

fn whole(file: &StaticFile, address: &StaticAddress<'_>) -> Response<ReplyBody> {
    let mut response = Response::new(content::bytes(file, 0, file.size));
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(file.size));
    headers.insert(CONTENT_TYPE, header(&content_type(address)));
    response
}

fn part(file: &StaticFile, address: &StaticAddress<'_>, first: u64, last: u64) -> Response<ReplyBody> {
    let mut response = Response::new(content::bytes(file, first, last + 1));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(last + 1 - first));
    headers.insert(CONTENT_TYPE, header(&content_type(address)));
    headers.insert(CONTENT_RANGE, header(&format!("bytes {first}-{last}/{}", file.size)));
    response
}

/// The content type by the extension. Text is declared as UTF-8.
fn content_type(address: &StaticAddress<'_>) -> String {
    let name = address.path.last().map_or("", AsRef::as_ref);
    let kind = mime_guess::from_path(name).first_or_octet_stream();
    if kind.type_() == "text" { format!("{}; charset=utf-8", kind.essence_str()) } else { kind.to_string() }
}

/// A header value made here: digits, dates, types, all of them ASCII.
fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
