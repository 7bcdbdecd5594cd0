//! The channel between the gateway and a worker: messages, framing and the matching of answers to calls. Which worker,
//! when it is started and what its death means is left to `worker`.

pub mod client;
pub mod codec;
pub mod message;
pub mod metadata;
pub mod outcome;
pub mod pending;

pub use client::Client;
pub use outcome::{CallFailure, Incoming, SendError};
