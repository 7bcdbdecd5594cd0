//! Names of branches, checked by git's own rules before git gets them.

use std::fmt;

/// Most bytes of a name; git keeps each part in a file of that name.
const LENGTH: usize = 255;

/// A valid name of a branch. Source of the rules: git-check-ref-format(1) with `--branch`; `@`, which git takes for
/// HEAD, is refused as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch(String);

impl Branch {
    /// Checks a name.
    ///
    /// # Errors
    /// The reason why a branch cannot have this name.
    pub fn new(name: &str) -> Result<Self, String> {
        match fault(name) {
            Some(fault) => Err(format!("{:?} is no name of a branch: {fault}", shown(name))),
            None => Ok(Self(name.to_owned())),
        }
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

fn fault(name: &str) -> Option<&'static str> {
    let forbidden = |c: char| c.is_ascii_control() || " ~^:?*[\\".contains(c);
    let parts = || name.split('/');
    match name {
        "" => Some("it is empty"),
        "@" | "HEAD" => Some("this word means something else to git"),
        _ if name.len() > LENGTH => Some("it is longer than 255 bytes"),
        _ if name.starts_with('-') => Some("it begins with a hyphen"),
        _ if name.contains(forbidden) => Some("it has a blank, a control character or one of ~ ^ : ? * [ \\"),
        _ if name.contains("..") || name.contains("@{") => Some("it has .. or @{"),
        _ if name.ends_with('.') => Some("it ends in a dot"),
        _ if parts().any(str::is_empty) => Some("it has a / without a name next to it"),
        _ if parts().any(|part| part.starts_with('.') || part.ends_with(".lock")) => {
            Some("a part of it begins with a dot or ends in .lock")
        }
        _ => None,
    }
}
