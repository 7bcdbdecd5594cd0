//! Objects of parts that are made already. `json!` would copy each of them.

use serde_json::{Map, Value};

/// The object with these members.
///
/// ```
/// use metagate::describe::members::of_members;
/// use serde_json::json;
///
/// assert_eq!(of_members([("type", "array".into()), ("items", json!({}))]), json!({"type": "array", "items": {}}));
/// ```
#[must_use]
pub fn of_members<const COUNT: usize>(members: [(&str, Value); COUNT]) -> Value {
    let mut object = Map::with_capacity(COUNT);
    for (name, value) in members {
        object.insert(name.to_owned(), value);
    }
    object.into()
}
