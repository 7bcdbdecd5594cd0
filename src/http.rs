//! The gateway over HTTP. `connection` accepts connections and limits them, `service` answers each request: `call` for
//! functions, `static_files` for files of deployments, `api` for everything else. What a call or a deployment is, is
//! left to `gateway`.

pub mod access_log;
pub mod api;
pub mod bodies;
pub mod buffers;
pub mod call;
pub mod client_certificate;
pub mod client_connection;
pub mod connection;
pub mod dashboard;
pub mod disk_fault;
pub mod form_feed;
pub mod forwarded;
pub mod front;
pub mod inflate;
pub mod mcp;
pub mod path;
pub mod problem;
pub mod recent_calls;
pub mod reply_body;
pub mod request_body;
pub mod request_id;
pub mod response_headers;
pub mod service;
pub mod static_files;
pub mod streamed_body;
pub mod streamed_upload;
pub mod tls;
pub mod web_pages;
