//! What a difference is, and how it is told.

use serde::{Deserialize, Serialize};

use crate::describe::difference::covered::{Covered, Mismatch, Of};

/// What a change means for those who call a function as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Some calls fail now, or have a result of another type.
    Breaks,
    /// That depends on what the schemas do not say, or say in a way that is not compared.
    Unclear,
    /// Calls go on as before.
    Compatible,
}

/// A difference between the functions of two releases:
/// `{"function":"add","effect":"breaks","message":"parameter b is new and required"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionChange {
    /// The function, by the name that callers use.
    pub function: String,
    /// What it means for callers.
    pub effect: Effect,
    /// What has changed, for people.
    pub message: String,
}

impl std::fmt::Display for FunctionChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.function, self.message)
    }
}

/// The changes of one function, in the making.
pub(super) struct Changes(pub(super) Vec<(Effect, String)>);

impl Changes {
    pub(super) fn add(&mut self, effect: Effect, message: String) {
        self.0.push((effect, message));
    }

    /// Adds what a comparison of two schemas of one thing has found, if that is something.
    pub(super) fn add_covered(&mut self, what: &str, covered: Covered, of: Of) {
        let (effect, mismatch) = match covered {
            Covered::Yes => return,
            Covered::Unclear(mismatch) => (Effect::Unclear, mismatch),
            Covered::No(mismatch) => (Effect::Breaks, mismatch),
        };
        let Mismatch { path, narrow, wide, is_part } = mismatch;
        let message = match of {
            _ if narrow == wide => format!("{what}{path}: its schema has changed"),
            Of::Arguments if is_part => format!("{what}{path}: no longer takes {narrow}, takes {wide}"),
            Of::Results if is_part => format!("{what}{path}: was {wide}, may also be {narrow}"),
            Of::Arguments => format!("{what}{path}: was {narrow}, is {wide}"),
            Of::Results => format!("{what}{path}: was {wide}, is {narrow}"),
        };
        self.add(effect, message);
    }
}
