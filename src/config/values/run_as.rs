//! The user that the workers of a deployment run as: `run_as = "shop"`, or `"100000-165535"` for one user a deployment.

use std::fmt;
use std::fs;
use std::str::FromStr;

use schemars::json_schema;

use crate::config::values::written_as_text::written_as_text;

const WORDS: &str = "the name or number of a user other than root, or a range of numbers such as \"100000-165535\"";
/// The users of this machine: `passwd(5)`.
const USERS: &str = "/etc/passwd";

/// The value of `run_as`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunAs {
    /// A user by name.
    Name(String),
    /// A user by number.
    Number(u32),
    /// Each deployment has one of these numbers, except the first, as which git runs.
    Range {
        /// The first number.
        first: u32,
        /// The last number.
        last: u32,
    },
}

/// The ids of a user and of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// The user's id.
    pub uid: u32,
    /// The id of its group.
    pub gid: u32,
}

impl Ids {
    /// The ids of a number: the group of its entry in the file of users, or else a group of the same number.
    #[must_use]
    pub fn of_number(uid: u32) -> Self {
        entry(|_, ids| ids.uid == uid).unwrap_or(Self { uid, gid: uid })
    }

    /// The ids of a name; none if the machine has no such user.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        entry(|of, _| of == name)
    }
}

/// The first entry of the file of users that is wanted.
fn entry(wanted: impl Fn(&str, Ids) -> bool) -> Option<Ids> {
    find(&fs::read_to_string(USERS).ok()?, wanted)
}

fn find(users: &str, wanted: impl Fn(&str, Ids) -> bool) -> Option<Ids> {
    users.lines().find_map(|line| {
        // name:password:uid:gid:…
        let mut fields = line.split(':');
        let name = fields.next()?;
        let ids = Ids { uid: fields.nth(1)?.parse().ok()?, gid: fields.next()?.parse().ok()? };
        wanted(name, ids).then_some(ids)
    })
}

impl FromStr for RunAs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("{text:?} is not {WORDS}");
        let starts_with_digit = text.starts_with(|first: char| first.is_ascii_digit());
        match text.split_once('-').filter(|_| starts_with_digit) {
            Some((first, last)) => {
                let (first, last) = (number(first).ok_or_else(refused)?, number(last).ok_or_else(refused)?);
                if first >= last {
                    return Err(format!("the range {text:?} needs at least two numbers, the smaller one first"));
                }
                Ok(Self::Range { first, last })
            }
            None if starts_with_digit => number(text).map(Self::Number).ok_or_else(refused),
            None if text.is_empty() || text == "root" || text.contains(':') => Err(refused()),
            None => Ok(Self::Name(text.to_owned())),
        }
    }
}

/// The number of a user other than root. The last number means "no change" to the kernel.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number != 0 && *number != u32::MAX)
}

impl fmt::Display for RunAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Number(number) => number.fmt(f),
            Self::Range { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

written_as_text!(RunAs, WORDS, json_schema!({ "type": "string", "minLength": 1 }));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_name_a_number_or_one_of_a_range() {
        assert_eq!("shop".parse(), Ok(RunAs::Name("shop".to_owned())));
        assert_eq!("65534".parse(), Ok(RunAs::Number(65534)));
        assert_eq!("100000-165535".parse(), Ok(RunAs::Range { first: 100_000, last: 165_535 }));
        for bad in ["", "root", "0", "0-5", "5-4", "5-5", "1-x", "1x", "a:b", "4294967295"] {
            assert!(bad.parse::<RunAs>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_user_is_looked_up_by_name_and_by_number() {
        let users = "root:x:0:0:root:/root:/bin/sh\n# comment\nshop:x:1001:100:Shop:/srv:/bin/false\n";
        assert_eq!(find(users, |name, _| name == "shop"), Some(Ids { uid: 1001, gid: 100 }));
        assert_eq!(find(users, |_, ids| ids.uid == 1001), Some(Ids { uid: 1001, gid: 100 }));
        assert_eq!(find(users, |name, _| name == "sho"), None);
    }
}
