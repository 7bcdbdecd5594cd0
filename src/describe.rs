//! What functions say about themselves, made of their signatures alone: documents for programs and people, tools for
//! models. Who may read them, and how they are sent, is left to `http`.

mod abilities;
pub mod client;
pub mod declaration;
pub mod declared;
pub mod deferred;
mod definitions;
pub mod difference;
pub mod fit;
pub mod function_address;
pub mod gateway;
mod guarded;
pub mod guards;
pub mod members;
pub mod mirrored;
pub mod openapi;
pub mod operation;
pub mod prompt;
pub mod query;
pub mod reference;
mod responses;
pub mod schema;
pub mod signatures;
pub mod tool_input;
pub mod tool_names;
pub mod tool_output;
pub mod tools;
pub mod words;

pub use abilities::Abilities;
pub use definitions::Definitions;
