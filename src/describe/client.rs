//! Client modules: the source of a typed client of one deployment, made of the signatures of its functions.
//!
//! Signatures come from deployments that others have written. Nothing in them becomes code: names become identifiers,
//! keys and values become literals of ASCII, and comments cannot be ended.

mod functions;
mod python;
mod schemas;
mod types;
mod typescript;
mod words;

use crate::describe::client::functions::Module;

pub use functions::Subject;

/// A language that clients are made in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// TypeScript, for Node 22 and browsers.
    TypeScript,
    /// Python 3.9 or newer.
    Python,
}

impl Language {
    /// As in `--lang`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TypeScript => "ts",
            Self::Python => "python",
        }
    }

    fn comment(self) -> &'static str {
        match self {
            Self::TypeScript => "//",
            Self::Python => "#",
        }
    }

    /// What every module in this language begins with.
    #[must_use]
    pub fn mark(self) -> String {
        format!("{} Made by `metagate client ", self.comment())
    }
}

/// The text of the module of a deployment. Equal subjects have equal texts.
///
/// ```
/// use metagate::deployment::Signature;
/// use metagate::describe::client::{Language, Subject, module};
/// use serde_json::json;
///
/// let signature = json!({"parameters": [{"name": "class", "required": true, "schema": {"type": "string"}}],
///     "returns": {"type": "integer"}, "description": "Counts */ letters."});
/// let functions = [("count".to_owned(), serde_json::from_value::<Signature>(signature).unwrap())].into();
/// let subject = Subject { name: "text".to_owned(), base: "/local/text/v1".to_owned(), release: Some(7), functions };
/// let text = module(&subject, Language::TypeScript);
/// assert!(text.starts_with("// Made by `metagate client text --lang ts` of release 7.\n"));
/// assert!(text.contains("  /** Counts *\\/ letters. */\n  async count(class_: string): Promise<number> {\n"));
/// assert!(module(&subject, Language::Python).contains("    def count(self, class_: str) -> int:\n"));
/// ```
#[must_use]
pub fn module(subject: &Subject, language: Language) -> String {
    let release = subject.release.map_or_else(String::new, |number| format!(" of release {number}"));
    let name = words::lines(&subject.name, usize::MAX).join(" ");
    let (mark, comment) = (language.mark(), language.comment());
    let mut text = format!("{mark}{name} --lang {}`{release}.\n", language.as_str());
    text.push_str(&format!(
        "{comment} metagate {}. To follow the functions, make it again.\n",
        env!("CARGO_PKG_VERSION")
    ));
    match language {
        Language::TypeScript => {
            text.push_str("/* eslint-disable */\n\n");
            text.push_str(&typescript::module(subject, &Module::new(subject, typescript::reserved::RESERVED)));
        }
        Language::Python => {
            text.push_str("# ruff: noqa\n\n");
            text.push_str(&python::module(subject, &Module::new(subject, python::reserved::RESERVED)));
        }
    }
    text
}
