//! The functions of a deployment as the methods of a client: their names, their parameters, their types.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::deployment::{Parameter, ParameterKind, Signature};
use crate::describe::client::schemas::{Types, described};
use crate::describe::client::types::{Named, Side, Type};
use crate::describe::client::words::{self, Names};
use crate::describe::declared::{self, Declared};
use crate::describe::{Definitions, function_address, operation, schema};

/// What a module is made of, as `signatures.json` of a deployment has it.
#[derive(Debug, Deserialize)]
pub struct Subject {
    /// The name of the deployment.
    pub name: String,
    /// Its address: `/local/math/v1`.
    pub base: String,
    /// The number of its release, if it has one.
    #[serde(default)]
    pub release: Option<u64>,
    /// Its functions by name. Those that take whole requests are no part of a client.
    pub functions: BTreeMap<String, Signature>,
}

/// The words that have a meaning in a language where a module has names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reserved {
    /// As methods.
    pub(super) methods: &'static [&'static str],
    /// As parameters of a method.
    pub(super) parameters: &'static [&'static str],
    /// As types.
    pub(super) types: &'static [&'static str],
}

/// What a module consists of.
#[derive(Debug)]
pub(super) struct Module {
    /// The methods, by the names of their functions.
    pub(super) methods: Vec<Method>,
    /// The types that they name.
    pub(super) types: Vec<Named>,
}

/// A method that calls a function.
#[derive(Debug)]
pub(super) struct Method {
    /// Its name.
    pub(super) name: String,
    /// The name of the function.
    pub(super) function: String,
    /// The address of the function below that of the deployment.
    pub(super) address: String,
    /// What its author says of it.
    pub(super) description: String,
    /// The statuses of errors that it declares.
    pub(super) declared: Vec<Declared>,
    /// What is given by order or by name.
    pub(super) positional: Vec<Argument>,
    /// All further arguments by order.
    pub(super) rest: Option<Argument>,
    /// What is given by name only.
    pub(super) named: Vec<Argument>,
    /// All further arguments by name.
    pub(super) further: Option<Argument>,
    /// Whether an object can carry the arguments.
    pub(super) has_names: bool,
    /// Whether it takes files, which only a form carries.
    pub(super) takes_files: bool,
    /// The type of its result, or of the items of its stream.
    pub(super) result: Type,
    /// Whether it answers with a stream.
    pub(super) is_stream: bool,
}

/// A parameter of a method.
#[derive(Debug)]
pub(super) struct Argument {
    /// Its name in the method.
    pub(super) name: String,
    /// Its name in the function.
    pub(super) key: String,
    /// Whether it must be given.
    pub(super) required: bool,
    /// The type of its values.
    pub(super) kind: Type,
    /// What its author says of it.
    pub(super) description: Option<String>,
    /// The JSON of its default, if that is known.
    pub(super) default: Option<String>,
}

impl Argument {
    /// What is said of it: its description, its default.
    #[must_use]
    pub(super) fn words(&self) -> Option<String> {
        let default = self.default.as_ref().map(|json| format!("(default: {json})"));
        let words: Vec<&str> = self.description.as_deref().into_iter().chain(default.as_deref()).collect();
        (!words.is_empty()).then(|| words.join(" "))
    }
}

impl Method {
    /// All parameters in the order in which people read them.
    pub(super) fn arguments(&self) -> impl Iterator<Item = &Argument> {
        self.positional.iter().chain(&self.rest).chain(&self.named).chain(&self.further)
    }

    /// How many positional parameters, from the first, are followed by one that must be given.
    #[must_use]
    pub(super) fn before_last_required(&self) -> usize {
        self.positional.iter().rposition(|one| one.required).unwrap_or(0)
    }

    /// Whether optional arguments may be left out in front of others, which then need their names.
    #[must_use]
    pub(super) fn may_have_gaps(&self) -> bool {
        let optional = self.positional.iter().filter(|one| !one.required).count();
        optional > 0 && (self.rest.is_some() || self.positional.last().is_none_or(|last| last.required || optional > 1))
    }
}

impl Module {
    /// The methods and types of a deployment's functions.
    #[must_use]
    pub(super) fn new(subject: &Subject, reserved: Reserved) -> Self {
        let mut definitions = Definitions::in_schema();
        let functions = subject.functions.iter().filter(|(name, _)| function_address::exists(name));
        let functions: Vec<(&String, Signature)> =
            functions.map(|(name, one)| (name, adopted(one, &mut definitions))).collect();
        let texts: Vec<&str> = functions.iter().map(|(name, _)| name.as_str()).collect();
        let names = Names::new(reserved.methods).take_all(&texts, "function");
        let mut for_types = Names::new(reserved.types);
        // Methods and parameters hide types of their names.
        names.iter().for_each(|name| for_types.avoid(name));
        for parameter in functions.iter().flat_map(|(_, one)| &one.parameters) {
            for_types.avoid(&words::identifier(&parameter.name));
        }
        let mut types = Types::new(definitions, for_types);
        // First those of results, which keep their names where arguments have other types.
        let results: Vec<Type> = functions.iter().map(|(name, one)| result(name, one, &mut types)).collect();
        let methods = functions.iter().zip(names).zip(results);
        let methods = methods
            .map(|(((function, signature), name), result)| {
                let arguments = arguments(function, signature, reserved, &mut types);
                method(function, signature, name, arguments, result)
            })
            .collect();
        Self { methods, types: types.into_named() }
    }
}

/// The signature with schemas that refer to these definitions.
fn adopted(signature: &Signature, definitions: &mut Definitions) -> Signature {
    let mut signature = signature.clone();
    for one in &mut signature.parameters {
        one.schema = definitions.adopt(&one.schema);
    }
    signature.returns = definitions.adopt(&signature.returns);
    signature.items = signature.items.map(|items| definitions.adopt(&items));
    signature
}

fn result(function: &str, signature: &Signature, types: &mut Types) -> Type {
    match &signature.items {
        Some(items) => types.of(items, Side::Result, format!("{function} item")),
        None => types.of(&signature.returns, Side::Result, format!("{function} result")),
    }
}

fn arguments(function: &str, signature: &Signature, reserved: Reserved, types: &mut Types) -> Vec<Argument> {
    let keys: Vec<&str> = signature.parameters.iter().map(|one| one.name.as_str()).collect();
    let names = Names::new(reserved.parameters).take_all(&keys, "argument");
    let argument = |(one, name): (&Parameter, String)| {
        let kind = types.of(&one.schema, Side::Argument, format!("{function} {name}"));
        Argument {
            key: one.name.clone(),
            required: one.required,
            kind,
            description: described(&one.schema),
            default: one.schema.get("default").map(ToString::to_string),
            name,
        }
    };
    signature.parameters.iter().zip(names).map(argument).collect()
}

fn method(function: &str, signature: &Signature, name: String, arguments: Vec<Argument>, result: Type) -> Method {
    let (declared, description) = declared::of_description(signature.description.as_deref().unwrap_or_default());
    let takes_files = arguments.iter().any(|one| is_file(&one.kind));
    let mut method = Method {
        name,
        function: function.to_owned(),
        address: operation::address(function),
        description,
        declared,
        positional: Vec::new(),
        rest: None,
        named: Vec::new(),
        further: None,
        has_names: schema::has_names(signature),
        takes_files,
        result,
        is_stream: signature.items.is_some(),
    };
    for (one, parameter) in arguments.into_iter().zip(&signature.parameters) {
        match parameter.kind {
            ParameterKind::Positional => method.positional.push(one),
            ParameterKind::KeywordOnly => method.named.push(one),
            ParameterKind::Rest => method.rest = Some(one),
            ParameterKind::RestByName => method.further = Some(one),
        }
    }
    method
}

/// Whether values of a type are files, or some of them.
fn is_file(kind: &Type) -> bool {
    match kind {
        Type::File => true,
        Type::List(item) => is_file(item),
        Type::Union(kinds) => kinds.iter().any(is_file),
        _ => false,
    }
}
