//! Names of tools. Clients accept `A-Z a-z 0-9 _ -` and 64 characters; names of functions may have more. A name depends
//! on its deployment and function only, so that it stays the same whatever else is deployed.

use sha2::{Digest as _, Sha256};

use crate::hex;

/// Most characters of a name.
const LIMIT: usize = 64;
/// What stands between a deployment and its function.
const SEPARATOR: &str = "__";
/// Digits of the digest in names that cannot be written as they are.
const DIGITS: usize = 12;

/// The name of a function's tool among those of its deployment: its own, if clients accept it.
///
/// ```
/// use metagate::describe::tool_names::of_function;
///
/// assert_eq!(of_function("order"), "order");
/// assert!(of_function("orders/new").starts_with("orders_new-"));
/// ```
#[must_use]
pub fn of_function(function: &str) -> String {
    if is_plain(function) { function.to_owned() } else { digested(function, function) }
}

/// The name of a function's tool among those of all deployments: `<deployment>__<function>`, if clients accept that and
/// it can be read in one way only.
///
/// ```
/// use metagate::describe::tool_names::of_deployment;
///
/// assert_eq!(of_deployment("shop", "order"), "shop__order");
/// assert_ne!(of_deployment("a__b", "c"), of_deployment("a", "b__c"));
/// ```
#[must_use]
pub fn of_deployment(deployment: &str, function: &str) -> String {
    let name = format!("{deployment}{SEPARATOR}{function}");
    let is_clear = name.matches("__").count() == 1 && !deployment.ends_with('_') && !function.starts_with('_');
    if is_clear && is_plain(&name) {
        return name;
    }
    // No name has a "/" in the place of this one twice: names of deployments have none.
    digested(&name, &format!("{deployment}/{function}"))
}

/// Whether a name is accepted as it is, and cannot be taken for one with a digest.
fn is_plain(name: &str) -> bool {
    let fits = (1..=LIMIT).contains(&name.len()) && name.bytes().all(is_accepted);
    let ends_as_digest = name.rsplit_once('-').is_some_and(|(_, end)| {
        end.len() == DIGITS && end.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    });
    fits && !ends_as_digest
}

fn is_accepted(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// The accepted characters of a name with a digest of the whole, which tells it from others like it.
fn digested(name: &str, whole: &str) -> String {
    let similar = name.chars().map(|c| if u8::try_from(c).is_ok_and(is_accepted) { c } else { '_' });
    let similar: String = similar.take(LIMIT - DIGITS - 1).collect();
    format!("{similar}-{}", &hex::text(&Sha256::digest(whole))[..DIGITS])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_functions_share_a_name() {
        let parts = ["a", "a_", "_a", "a__a", "a.a", "a-a", "a/a", "ä", "__", "a-0123456789ab", &"x".repeat(64)];
        let mut names = BTreeSet::new();
        for deployment in parts {
            for function in parts {
                let name = of_deployment(deployment, function);
                assert!(name.len() <= LIMIT && name.bytes().all(is_accepted), "{name}");
                assert!(names.insert(name), "{deployment} {function}");
            }
        }
        let of_one: BTreeSet<String> = parts.iter().map(|function| of_function(function)).collect();
        assert_eq!(of_one.len(), parts.len());
    }

    #[test]
    fn a_function_that_looks_like_a_digest_of_another_gets_one_itself() {
        let other = of_function("a/b");
        assert_ne!(of_function(&other), other);
    }
}
