//! Cases: hook calls with what is expected of them, for `metagate plugin test`. Their form (`form`), how a file of
//! them is read (`read`), what lies outside of the plugin (`world`), running them by the gateway's own code
//! (`runner`), what differs (`compare`), and the same calls with a stopwatch (`bench`).

mod bench;
mod check;
mod compare;
mod difference;
mod form;
mod moment;
mod number;
mod prepare;
mod read;
mod runner;
mod texts;
mod value;
mod world;

pub use self::bench::Timing;
pub use self::difference::Difference;
pub use self::form::{Case, Hook};
pub use self::read::{Cases, Common, read};
pub use self::runner::{Report, Runner};
