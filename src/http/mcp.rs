//! The Model Context Protocol: functions as tools, at `/mcp` and at the address of each deployment. A call of a tool is
//! a call of its function, with everything that belongs to one. Protocol:
//! <https://modelcontextprotocol.io/specification/2026-07-28> and 2025-11-25.

pub mod answered;
pub mod answers;
pub mod asked;
pub mod asker;
pub mod calling;
pub mod catalog;
pub mod client_answers;
pub mod completion;
pub mod dialogue;
pub mod function_call;
pub mod gathered;
pub mod input_required;
pub mod listing;
pub mod message;
pub mod offer;
pub mod pages;
pub mod params;
pub mod progress;
pub mod repeated;
pub mod request_states;
pub mod revision;
pub mod rpc_error;
pub mod server;
pub mod sessions;
pub mod tool_result;
