//! The channel between the gateway and a worker: messages, framing, and matching answers to calls. Choosing a worker,
//! starting it and reacting to its end is the job of `worker`.

pub mod client;
pub mod codec;
pub mod counters;
pub mod failure;
pub mod inbox;
pub mod message;
pub mod metadata;
pub mod outbox;
pub mod pending;
mod upload;

pub use client::{Client, Limits};
pub use failure::SendError;
pub use inbox::{Inbox, Incoming};
pub use outbox::WriteEnd;
