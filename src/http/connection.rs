//! Connections of clients: accepted up to a limit, HTTP/1 and HTTP/2 told apart by their first bytes, every stage with
//! a deadline.

pub mod accept;
mod activity;
mod backlog;
mod client;
mod frame_heads;
pub mod framing;
mod handshake;
pub mod head;
pub mod listener;
pub mod open_connections;
pub mod open_streams;
pub mod paced_body;
pub mod peers;
mod proxy_header;
mod serve;
pub mod socket;
pub mod stream;
mod turn;
