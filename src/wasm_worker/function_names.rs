//! Names of functions of several files and interfaces: each goes by the shortest name that means it alone, and by every
//! longer one.

use std::collections::{BTreeMap, HashMap};

/// The rank of a function for its bare name: of several functions that could have a name, the lowest one gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// The function that handles whole HTTP requests.
    Http,
    /// An export at the root of its file.
    Root,
    /// An export of an interface.
    Interface,
}

/// The names that one function could have.
#[derive(Debug)]
pub(super) struct Claims {
    claim: Claim,
    /// The possible names, the shortest first, each once.
    forms: Vec<String>,
}

/// The names of one function.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// The name; `None` if every name that the function could have means another one too.
    pub(super) name: Option<String>,
    /// Other names that mean it.
    pub(super) aliases: Vec<String>,
}

impl Claims {
    /// The names of an export at the root of the file `stem.wasm`: `add`, `stem/add`.
    pub(super) fn root(claim: Claim, stem: &str, function: &str) -> Self {
        Self { claim, forms: vec![function.to_owned(), format!("{stem}/{function}")] }
    }

    /// The names of an export of an interface such as `example:calc/operations@0.1.0`: `add`, `operations/add`,
    /// `stem/operations/add`, `example:calc/operations@0.1.0/add`.
    pub(super) fn interface(stem: &str, interface: &str, function: &str) -> Self {
        let short = interface.rsplit('/').next().unwrap_or(interface);
        let short = short.split('@').next().unwrap_or(short);
        let mut forms = vec![function.to_owned(), format!("{short}/{function}"), format!("{stem}/{short}/{function}")];
        // An interface that the world defines inline has no package, so its full name is the short one.
        if interface != short {
            forms.push(format!("{interface}/{function}"));
        }
        Self { claim: Claim::Interface, forms }
    }
}

/// Gives each function its names, in the same order.
pub(super) fn resolve(claims: &[Claims]) -> Vec<Names> {
    let mut claimants: HashMap<&str, BTreeMap<Claim, Vec<usize>>> = HashMap::new();
    for (function, Claims { claim, forms }) in claims.iter().enumerate() {
        for (index, form) in forms.iter().enumerate() {
            // Rank decides for the bare name only: a longer name already contains the file or interface.
            let rank = if index == 0 { *claim } else { Claim::Interface };
            claimants.entry(form).or_default().entry(rank).or_default().push(function);
        }
    }
    let owner = |form: &str| match claimants.get(form).and_then(BTreeMap::first_key_value) {
        Some((_, functions)) if functions.len() == 1 => functions.first().copied(),
        _ => None,
    };
    let names = |(function, claims): (usize, &Claims)| {
        let mut owned = claims.forms.iter().filter(|form| owner(form) == Some(function)).cloned();
        Names { name: owned.next(), aliases: owned.collect() }
    };
    claims.iter().enumerate().map(names).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(claims: &[Claims]) -> Vec<String> {
        resolve(claims).into_iter().map(|names| names.name.unwrap_or_default()).collect()
    }

    #[test]
    fn a_function_of_an_interface_goes_by_its_bare_name_and_by_the_longer_ones() {
        let resolved = resolve(&[Claims::interface("calc", "example:calc/operations@0.1.0", "add")]);
        assert_eq!(resolved[0].name.as_deref(), Some("add"));
        assert_eq!(resolved[0].aliases, ["operations/add", "calc/operations/add", "example:calc/operations@0.1.0/add"]);
    }

    #[test]
    fn an_interface_of_the_world_itself_has_one_name() {
        let claims = [Claims::interface("calc", "ops", "add"), Claims::interface("calc", "others", "add")];
        assert_eq!(names(&claims), ["ops/add", "others/add"]);
        let resolved = resolve(&[Claims::interface("calc", "ops", "add")]);
        assert_eq!(resolved[0].aliases, ["ops/add", "calc/ops/add"]);
    }

    #[test]
    fn a_name_that_two_functions_could_have_goes_to_the_one_at_the_root_or_to_neither() {
        let claims = [
            Claims::interface("calc", "a:b/one", "add"),
            Claims::interface("calc", "a:b/two", "add"),
            Claims::interface("calc", "a:b/two", "sub"),
        ];
        assert_eq!(names(&claims), ["one/add", "two/add", "sub"]);
        let claims = [Claims::interface("calc", "a:b/one", "add"), Claims::root(Claim::Root, "calc", "add")];
        assert_eq!(names(&claims), ["one/add", "add"]);
    }

    #[test]
    fn functions_of_two_files_go_by_their_files_names() {
        let claims = [Claims::root(Claim::Root, "one", "add"), Claims::root(Claim::Root, "two", "add")];
        assert_eq!(names(&claims), ["one/add", "two/add"]);
        let claims = [Claims::root(Claim::Root, "a", "x"), Claims::root(Claim::Root, "a", "x")];
        assert_eq!(names(&claims), ["", ""]);
    }
}
