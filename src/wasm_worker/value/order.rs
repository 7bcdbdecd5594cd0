//! Which parameter each argument of a call is for, by the names that the caller gave.

use std::borrow::Cow;

use crate::invocation::{ArgumentFault, ArgumentName};
use crate::wasm_worker::value::mismatch::Mismatch;
use crate::wasm_worker::value::parameters::Parameters;
use crate::wasm_worker::value::quote::quoted;
use crate::wasm_worker::value::shape::Shape;

/// How the arguments of a call belong to parameters.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The first argument is for the first parameter, and so on.
    ByPosition,
    /// The parameter of each argument.
    ByName(Vec<usize>),
    /// All of them, with their names, are one object for the only parameter.
    Whole,
}

impl Order {
    /// Decides by the names of the arguments: all are parameters, none is, or the only parameter takes the object.
    /// `args` is the text of the arguments.
    ///
    /// # Errors
    ///
    /// Some names are parameters and others are not.
    pub(super) fn of_names(parameters: &Parameters, names: &[Cow<'_, str>], args: &str) -> Result<Self, Mismatch> {
        let known = &parameters.names;
        let mut order = Vec::with_capacity(names.len().min(known.len()));
        order.extend(names.iter().enumerate().map_while(|(guess, name)| known.find(name, guess)));
        if order.len() == names.len() && !names.is_empty() && !parameters.has_own(names, args) {
            return Ok(Self::ByName(order));
        }
        match parameters.only_object(names) {
            // An empty object names nothing, and an option needs nothing.
            Some(Shape::Option(_)) if names.is_empty() => return Ok(Self::ByPosition),
            Some(_) => return Ok(Self::Whole),
            None => {}
        }
        let mut unknown = names.iter().filter(|name| known.find(name, 0).is_none());
        match unknown.next() {
            Some(name) if 1 + unknown.count() < names.len() => Err(unknown_name(parameters, name)),
            _ => Ok(Self::ByPosition),
        }
    }
}

fn unknown_name(parameters: &Parameters, name: &str) -> Mismatch {
    let near = parameters.names.did_you_mean(name);
    Mismatch {
        message: format!("no parameter {}{near}: {}", quoted(name), parameters.signature()),
        fault: ArgumentFault { argument: Some(ArgumentName::Name(name.to_owned())), ..ArgumentFault::default() },
    }
}
