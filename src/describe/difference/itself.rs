//! Whether callers may send the object that a function takes as the arguments, without the name of its only parameter.

use serde_json::Value;

use crate::deployment::{Parameter, ParameterKind};
use crate::describe::difference::change::{Changes, Effect};
use crate::describe::difference::parameters::title;
use crate::describe::difference::part::Part;
use crate::describe::schema::is_name;

/// Most alternatives within alternatives.
const DEEPEST: usize = 16;

/// What an only parameter takes that gets the object with the arguments itself. An object that just names the parameter
/// has its value there, unless it has a field of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Itself {
    /// Such an object has no other fields than the parameter's own ones.
    has_own_name: bool,
    /// An object with any keys names the parameter only if the value there is an object.
    has_free_keys: bool,
}

/// Adds what differs between the objects that are taken in place of the arguments.
pub(super) fn compare(old: &[Parameter], new: &[Parameter], changes: &mut Changes) {
    let ([only], Some(before)) = (old, of(old)) else { return };
    let what = title(only, 0);
    match (of(new), new) {
        (_, []) => {}
        (None, _) => {
            let message = format!("{what}: a call may not be the object itself any more, its members are arguments");
            changes.add(Effect::Breaks, message);
        }
        (Some(after), [one]) if one.name == only.name && before.has_own_name != after.has_own_name => {
            let is = if after.has_own_name { "a field of the object" } else { "the parameter" };
            changes.add(Effect::Breaks, format!("{what}: its name in a call that is an object stands for {is} now"));
        }
        (Some(after), _) if before.has_free_keys != after.has_free_keys => {
            let message = format!("{what}: a call that is an object is read in another way if it just has this name");
            changes.add(Effect::Unclear, message);
        }
        (Some(_), _) => {}
    }
}

fn of(parameters: &[Parameter]) -> Option<Itself> {
    let [only] = parameters else { return None };
    if only.kind != ParameterKind::Positional {
        return None;
    }
    let found = of_schema(Part::whole(&only.schema), &only.name, DEEPEST);
    // A destructured one has no name that callers could use.
    let is_pattern = !only.name.is_empty() && !is_name(&only.name);
    found.or_else(|| is_pattern.then_some(Itself { has_own_name: true, has_free_keys: true }))
}

/// What a schema of objects says of this. `None` if it has other values than objects and null, or no objects.
fn of_schema(schema: Part<'_>, name: &str, depth: usize) -> Option<Itself> {
    let part = schema.resolved().filter(|_| depth > 0)?;
    if let Some(choices) = part.choices() {
        let objects =
            choices.iter().map(|choice| part.at(choice)).filter(|choice| choice.get("type") != Some(&"null".into()));
        let all: Option<Vec<_>> = objects.map(|choice| of_schema(choice, name, depth - 1)).collect();
        return all?.into_iter().reduce(|one, other| Itself {
            has_own_name: one.has_own_name || other.has_own_name,
            has_free_keys: one.has_free_keys || other.has_free_keys,
        });
    }
    let is_object = part.get("type") == Some(&Value::from("object"));
    let properties = part.get("properties").and_then(Value::as_object);
    is_object.then(|| Itself {
        has_own_name: properties.is_some_and(|all| all.contains_key(name)),
        has_free_keys: properties.is_none_or(serde_json::Map::is_empty),
    })
}
