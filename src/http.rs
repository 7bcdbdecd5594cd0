//! The gateway over HTTP: its own accept loop with limits and deadlines, calls and files of deployments straight on hyper,
//! everything else on axum's router. What a call or a deployment is, is left to `gateway`.

pub mod accept;
pub mod admin;
pub mod arguments;
pub mod body;
pub mod call;
pub mod deploy;
pub mod error;
pub mod form;
pub mod framing;
pub mod head;
pub mod json_body;
pub mod logs;
pub mod metacall;
pub mod metrics;
pub mod path;
pub mod request_body;
pub mod request_id;
pub mod service;
pub mod static_files;
pub mod stream;
pub mod streamed_body;
pub mod streams;
pub mod upload;
