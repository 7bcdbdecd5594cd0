//! Cases for `metagate plugin test`: hook calls with their expected results. `form` is the form of a case, `read`
//! reads a file of cases, `check` finds faults in them, `prepare` makes the input of a hook, `world` replaces the
//! world outside the plugin, `runner` runs cases through the gateway's own code, `replay` runs recorded ones again,
//! `compare` finds differences, and `bench` measures hook calls.

mod bench;
mod check;
mod compare;
mod difference;
mod form;
mod moment;
mod number;
mod prepare;
mod read;
mod replay;
mod runner;
mod texts;
mod value;
mod world;

pub use self::bench::Timing;
pub use self::difference::Difference;
pub use self::form::{Case, Hook};
pub use self::read::{Cases, Common, read};
pub use self::replay::{ReplayError, Replayed, replay};
pub use self::runner::{Report, Runner};
