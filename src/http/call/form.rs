//! Form bodies with brackets: `c[d]=3&e[]=4` becomes `{"c":{"d":"3"},"e":["4"]}`. Source of the format: the extended
//! form parsing of Express, on which MetaCall FaaS is built.

use serde_json::{Map, Value};

/// Brackets deeper than this stay part of a key.
const DEPTH: usize = 5;
/// An index beyond this makes an object instead of an array.
const INDEX_LIMIT: usize = 20;
/// Pairs beyond this are refused.
pub const PAIR_LIMIT: usize = 1000;

/// More than [`PAIR_LIMIT`] pairs.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {PAIR_LIMIT} pairs in a form")]
pub struct TooManyPairs;

/// Parses a form body. Keys are in the order of their first occurrence.
pub fn parse(body: &[u8]) -> Result<Map<String, Value>, TooManyPairs> {
    let mut form = Map::new();
    for (count, (key, value)) in form_urlencoded::parse(body).enumerate() {
        if count >= PAIR_LIMIT {
            return Err(TooManyPairs);
        }
        let (first, rest) = split_key(&key);
        if first.is_empty() {
            continue;
        }
        insert(form.entry(first.to_owned()).or_insert(Value::Null), &rest, Value::from(value.into_owned()));
    }
    Ok(form)
}

/// `a[b][]` → `a` and `b`, ``.
fn split_key(key: &str) -> (&str, Vec<&str>) {
    let Some(open) = key.find('[').filter(|at| *at > 0) else { return (key, Vec::new()) };
    let (first, mut rest) = key.split_at(open);
    let mut parts = Vec::new();
    while let Some(inner) = rest.strip_prefix('[') {
        let Some(close) = inner.find(']').filter(|_| parts.len() < DEPTH) else { break };
        parts.push(&inner[..close]);
        rest = &inner[close + 1..];
    }
    if parts.is_empty() { (key, parts) } else { (first, parts) }
}

fn insert(place: &mut Value, path: &[&str], value: Value) {
    let Some((part, rest)) = path.split_first() else {
        // A key given twice becomes an array of its values.
        match place {
            Value::Null => *place = value,
            Value::Array(values) => values.push(value),
            Value::Object(map) => {
                if let Value::String(key) = value {
                    map.insert(key, Value::Bool(true));
                }
            }
            other => {
                let before = other.take();
                *other = Value::Array(vec![before, value]);
            }
        }
        return;
    };
    let index = if part.is_empty() { Some(usize::MAX) } else { part.parse().ok().filter(|i| *i <= INDEX_LIMIT) };
    match (&mut *place, index) {
        (Value::Null, Some(_)) => {
            *place = Value::Array(Vec::new());
            insert(place, path, value);
        }
        (Value::Null, None) => {
            *place = Value::Object(Map::new());
            insert(place, path, value);
        }
        (Value::Array(values), Some(at)) if at >= values.len() => {
            let mut item = Value::Null;
            insert(&mut item, rest, value);
            values.push(item);
        }
        (Value::Array(values), Some(at)) => insert(&mut values[at], rest, value),
        (Value::Array(values), None) => {
            let map = std::mem::take(values).into_iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect();
            *place = Value::Object(map);
            insert(place, path, value);
        }
        (Value::Object(map), _) => {
            let key = if part.is_empty() { map.len().to_string() } else { (*part).to_owned() };
            insert(map.entry(key).or_insert(Value::Null), rest, value);
        }
        _ => {
            let before = place.take();
            *place = Value::Array(vec![before]);
            insert(place, path, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> String {
        Value::Object(parse(text.as_bytes()).unwrap()).to_string()
    }

    #[test]
    fn brackets_make_objects_and_arrays() {
        assert_eq!(form("a=1&b=x+y%21"), r#"{"a":"1","b":"x y!"}"#);
        assert_eq!(form("c[d]=3&e[]=4"), r#"{"c":{"d":"3"},"e":["4"]}"#);
        assert_eq!(form("e[]=4&e[]=5&e=6"), r#"{"e":["4","5","6"]}"#);
        assert_eq!(form("a=1&a=2"), r#"{"a":["1","2"]}"#);
        assert_eq!(form("a[b][c][]=1&a[b][d]=2"), r#"{"a":{"b":{"c":["1"],"d":"2"}}}"#);
        assert_eq!(form("a[0][x]=1&a[0][y]=2&a[1][x]=3"), r#"{"a":[{"x":"1","y":"2"},{"x":"3"}]}"#);
        assert_eq!(form("a[100]=x"), r#"{"a":{"100":"x"}}"#);
        assert_eq!(form("[x]=1&a[=2&=3"), r#"{"[x]":"1","a[":"2"}"#);
    }

    #[test]
    fn depth_and_pairs_are_bounded() {
        let deep = format!("a{}=1", "[b]".repeat(5000));
        assert!(form(&deep).len() < 100);
        let many = "a=1&".repeat(PAIR_LIMIT + 1);
        assert_eq!(parse(many.as_bytes()), Err(TooManyPairs));
    }
}
