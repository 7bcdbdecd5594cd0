//! What differs, for callers, between the functions of two releases.

mod change;
mod covered;
mod covering;
mod itself;
mod parameters;
mod part;

use std::sync::Arc;

use serde_json::Value;

use crate::deployment::{Exports, Function, HTTP_FUNCTION, Signature, Takes};
use crate::describe::difference::change::Changes;
pub use crate::describe::difference::change::{Effect, FunctionChange};
use crate::describe::difference::covered::{Covered, Of};
use crate::describe::difference::covering::Comparison;
use crate::describe::difference::part::Part;

/// Most changes that are listed; further ones are left out.
const MOST: usize = 1_000;

/// How the functions of a release differ from those of the one before, those that break callers first.
#[must_use]
pub fn between(before: &Exports, after: &Exports) -> Vec<FunctionChange> {
    let mut changes = Vec::new();
    let mut add = |function: &str, effect, message: String| {
        changes.push(FunctionChange { function: function.to_owned(), effect, message });
    };
    for (name, old) in &before.functions {
        match after.function(name) {
            Some(new) => {
                of_function(old, new).0.into_iter().for_each(|(effect, message)| add(name, effect, message));
            }
            None => add(name, Effect::Breaks, gone(after, name)),
        }
    }
    for (alias, name) in &before.aliases {
        let Some(old) = before.functions.get(name) else { continue };
        let same = after.function(name);
        match after.function(alias) {
            None if same.is_some() => add(alias, Effect::Breaks, gone(after, alias)),
            // Callers of this name reach another function now.
            Some(new) if same.is_none_or(|same| !Arc::ptr_eq(same, new)) => {
                of_function(old, new).0.into_iter().for_each(|(effect, message)| add(alias, effect, message));
            }
            _ => {}
        }
    }
    for name in after.functions.keys().filter(|name| before.function(name).is_none()) {
        add(name, Effect::Compatible, "is new".to_owned());
    }
    changes.sort_by(|one, other| (one.effect, &one.function).cmp(&(other.effect, &other.function)));
    changes.truncate(MOST);
    changes
}

/// Whether some of the changes break callers.
#[must_use]
pub fn breaks(changes: &[FunctionChange]) -> bool {
    changes.iter().any(|change| change.effect == Effect::Breaks)
}

fn gone(after: &Exports, name: &str) -> String {
    match after.namesakes(name) {
        Some(all) => {
            format!("several functions have this name now, and are called by their full ones: {}", all.join(", "))
        }
        None => "is gone".to_owned(),
    }
}

fn of_function(old: &Function, new: &Function) -> Changes {
    let mut changes = Changes(Vec::new());
    match (old.takes, new.takes) {
        (Takes::Arguments, Takes::Arguments) => of_signature(&old.signature, &new.signature, &mut changes),
        // What a web app serves is known to itself only.
        (Takes::Request, Takes::Request) => {}
        (Takes::Arguments, Takes::Request) => {
            changes.add(Effect::Breaks, format!("takes whole HTTP requests now, at …/{HTTP_FUNCTION}/"));
        }
        (Takes::Request, Takes::Arguments) => {
            changes.add(Effect::Breaks, "does not take whole HTTP requests any more".to_owned());
        }
    }
    changes
}

fn of_signature(old: &Signature, new: &Signature, changes: &mut Changes) {
    parameters::compare(&old.parameters, &new.parameters, changes);
    itself::compare(&old.parameters, &new.parameters, changes);
    match (&old.items, &new.items) {
        (Some(old), Some(new)) => changes.add_covered("the items", results(old, new), Of::Results),
        (None, Some(_)) => changes.add(Effect::Breaks, "the result is a stream now".to_owned()),
        (Some(_), None) => changes.add(Effect::Breaks, "the result is no stream any more".to_owned()),
        (None, None) => changes.add_covered("the result", results(&old.returns, &new.returns), Of::Results),
    }
}

/// Whether results are as they were. A schema that says nothing now, or said nothing, is no proof of anything.
fn results(old: &Value, new: &Value) -> Covered {
    match Comparison::of(Of::Results).covers(old, new) {
        Covered::No(mismatch) if Part::whole(new).says_nothing() => Covered::Unclear(mismatch),
        covered => covered,
    }
}

#[cfg(test)]
mod sampled;
#[cfg(test)]
mod tests;
