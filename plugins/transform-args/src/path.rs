//! A fault in the arguments, with the path of the value at fault: `arguments[0].limit: expected an integer, got
//! "x"`.

use std::fmt;

use serde_json::Value;

/// A fault in the arguments, for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// From the value itself up to the arguments: the innermost step first.
    steps: Vec<Step>,
    what: String,
}

/// One step down into a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// To a member of an object.
    Key(String),
    /// To an item of an array.
    Index(usize),
    /// To an argument that has a name.
    Named(String),
}

impl Fault {
    /// A fault of a value whose path is not yet known.
    pub fn new(what: impl Into<String>) -> Self {
        Self { steps: Vec::new(), what: what.into() }
    }

    /// A fault of a value that is not of the expected kind.
    pub fn expected(what: &str, value: &Value) -> Self {
        Self::new(format!("expected {what}, got {}", Shown(value)))
    }

    /// The same fault seen from the enclosing value.
    pub fn below(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// The fault without its path.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The fault with its path, seen from the value: `.zip: expected …`.
    pub fn within(&self) -> String {
        let path: String = self.steps.iter().rev().map(Step::to_string).collect();
        if path.is_empty() { self.what.clone() } else { format!("{path}: {}", self.what) }
    }

    /// The same fault with the name of the argument instead of its position, if the argument has a name.
    pub fn with_names(mut self, names: &[String]) -> Self {
        if let Some(outermost) = self.steps.last_mut()
            && let Step::Index(at) = outermost
            && let Some(name) = names.get(*at)
        {
            *outermost = Step::Named(name.clone());
        }
        self
    }

    /// The same fault, of an object that holds the arguments by their names.
    pub fn outermost_named(mut self) -> Self {
        if let Some(outermost) = self.steps.last_mut()
            && let Step::Key(name) = outermost
        {
            *outermost = Step::Named(std::mem::take(name));
        }
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.steps.last() {
            Some(Step::Named(name)) => f.write_str(name)?,
            Some(step) => write!(f, "arguments{step}")?,
            None => f.write_str("arguments")?,
        }
        for step in self.steps.iter().rev().skip(1) {
            write!(f, "{step}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(at) => write!(f, "[{at}]"),
            Self::Key(key) | Self::Named(key) if is_plain(key) => write!(f, ".{key}"),
            Self::Key(key) | Self::Named(key) => write!(f, "[{}]", Shown(&Value::String(key.clone()))),
        }
    }
}

fn is_plain(key: &str) -> bool {
    (1..=64).contains(&key.len())
        && key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-' || c == '$')
        && !key.starts_with(|c: char| c.is_ascii_digit())
}

/// A value as a message shows it: a short one as JSON, of a long one the beginning or the kind.
pub struct Shown<'a>(pub &'a Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 40;
        match self.0 {
            Value::Array(_) => f.write_str("an array"),
            Value::Object(_) => f.write_str("an object"),
            Value::Null | Value::Bool(_) => write!(f, "{}", self.0),
            Value::Number(number) if number.as_str().len() <= LONGEST => f.write_str(number.as_str()),
            Value::Number(number) => write!(f, "{}…", &number.as_str()[..LONGEST]),
            Value::String(text) => match text.char_indices().nth(LONGEST) {
                Some((end, _)) => write!(f, "{:?}…", &text[..end]),
                None => write!(f, "{text:?}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fault_names_the_place_from_the_outside_in() {
        let fault =
            Fault::new("expected x").below(Step::Key("zip".to_owned())).below(Step::Index(2)).below(Step::Index(0));
        assert_eq!(fault.to_string(), "arguments[0][2].zip: expected x");
        let names = ["address".to_owned()];
        assert_eq!(fault.with_names(&names).to_string(), "address[2].zip: expected x");
        assert_eq!(Fault::new("too few").with_names(&names).to_string(), "arguments: too few");
        let odd = Fault::new("no").below(Step::Key("a b".to_owned())).below(Step::Key("1".to_owned()));
        assert_eq!(odd.to_string(), "arguments[\"1\"][\"a b\"]: no");
    }

    #[test]
    fn long_values_are_cut() {
        let fault = Fault::expected("a number", &json!("ä".repeat(100)));
        assert_eq!(fault.what(), format!("expected a number, got \"{}\"…", "ä".repeat(40)));
        assert_eq!(Fault::expected("null", &json!([1])).what(), "expected null, got an array");
    }
}
