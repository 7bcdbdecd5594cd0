//! Calls over HTTP: a request becomes a call, and the outcome of the call an answer. The call itself is left to
//! `gateway`.

pub mod answer;
pub mod arguments;
pub mod body_kind;
mod call_end;
pub mod call_head;
mod call_spans;
pub mod deferral;
pub mod form;
pub mod framing;
pub mod invoke;
pub mod lookup;
mod multipart;
pub mod observers;
pub mod record;
mod recorded_stream;
pub mod route_arguments;
pub mod routed;
mod server_timing;
pub mod spooled_form;
pub mod stream_answer;
pub mod stream_body;
mod tied_body;
pub mod whole_request;
