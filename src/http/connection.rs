//! Connections of clients: accepted up to a limit, HTTP/1 and HTTP/2 told apart by their first bytes, every stage with
//! a deadline.

pub mod accept;
mod activity;
mod backlog;
mod frame_heads;
pub mod framing;
pub mod head;
pub mod open_connections;
pub mod open_streams;
pub mod paced_body;
pub mod peers;
mod proxy_header;
mod serve;
pub mod stream;
mod turn;
