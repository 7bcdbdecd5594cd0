//! Replaces `${env:NAME}`, `${env:NAME:-default}` and `${file:PATH}` in the texts of a parsed file. The file is parsed
//! first, so that no value can change its structure. Records the expressions of each text, since messages must not show
//! the values.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::config::fault::Fault;
use crate::config::reading::source::Source;
use crate::config::reading::tree::{self, Route};
use crate::config::values::variable::is_variable_name;

/// Maximum size of the file of `${file:PATH}`, in bytes. Tokens and certificates are far shorter; `/dev/zero` is not.
const FILE_LIMIT: u64 = 1 << 20;
/// The separator between a variable's name and its default.
pub(super) const DEFAULT: &str = ":-";
const FORMS: &str = "${env:NAME}, ${env:NAME:-default} or ${file:PATH}";

/// Where expressions take their values from.
pub(super) struct ValueSources<'a> {
    /// The folder that relative paths in `${file:PATH}` start at.
    pub(super) folder: &'a Path,
    /// Looks up an environment variable.
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
}

/// The origins of interpolated texts, by where their text starts in the file, in bytes.
pub(super) type Origins = BTreeMap<usize, Origin>;

/// The origin of an interpolated text.
pub(super) struct Origin {
    /// The expressions in it, such as `${env:TOKEN}`, without their defaults, which may be secrets.
    pub(super) expressions: String,
    /// The text, if it reads as a whole number or a boolean and may have to be converted to one.
    pub(super) plain: Option<String>,
    /// The files that the expressions name.
    pub(super) files: Vec<PathBuf>,
}

/// A text that could not be interpolated: its route and its faults.
pub(super) type Uninterpolated = (Route, Vec<Fault>);

/// Replaces every expression in the tree. A text with a faulty expression keeps the expression; these texts are
/// returned second, in the order of the tree.
pub(super) fn interpolate(
    table: &mut DeTable<'_>,
    source: &Source<'_>,
    outside: &ValueSources<'_>,
) -> (Origins, Vec<Uninterpolated>) {
    let mut origins = Origins::new();
    let mut failed = Vec::new();
    tree::each_text(table, &mut |route, span, text| {
        let expanded = outside.expand(text);
        let mut faults = Vec::new();
        for (expression, message) in &expanded.faults {
            let written = &source.text[span.clone()];
            let part = written
                .find(expression.as_str())
                .map_or(span.clone(), |at| span.start + at..span.start + at + expression.len());
            faults.push(Fault::new(source.location(&part), message));
        }
        // Paths and environment variables end at the first NUL, so the rest would be dropped without notice.
        if expanded.text.contains('\0') {
            faults.push(Fault::new(source.location(&span), "text with a NUL character"));
        }
        if !faults.is_empty() {
            failed.push((route.to_vec(), faults));
        }
        if !expanded.expressions.is_empty() {
            let plain = Some(expanded.text.trim()).filter(|text| is_plain(text)).map(str::to_owned);
            let expressions = expanded.expressions.join(" and ");
            origins.insert(span.start, Origin { expressions, plain, files: expanded.files });
        }
        *text = Cow::Owned(expanded.text);
    });
    (origins, failed)
}

#[derive(Default)]
struct Expanded {
    text: String,
    expressions: Vec<String>,
    files: Vec<PathBuf>,
    faults: Vec<(String, String)>,
}

impl ValueSources<'_> {
    fn expand(&self, text: &str) -> Expanded {
        let mut expanded = Expanded::default();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if let Some(before) = rest[..at].strip_suffix('$') {
                expanded.text.push_str(before);
                expanded.text.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            expanded.text.push_str(&rest[..at]);
            let Some(length) = rest[at..].find('}').map(|end| end + 1) else {
                let message = "\"${\" without its \"}\"; a plain \"${\" is written \"$${\"".to_owned();
                expanded.faults.push((rest[at..].to_owned(), message));
                return expanded;
            };
            let expression = &rest[at..at + length];
            let inner = &expression[2..length - 1];
            expanded.files.extend(inner.strip_prefix("file:").map(|path| self.folder.join(path)));
            match self.value(inner) {
                Ok(value) => expanded.text.push_str(&value),
                Err(reason) => {
                    expanded.faults.push((expression.to_owned(), format!("{}: {reason}", without_default(expression))));
                }
            }
            expanded.expressions.push(without_default(expression));
            rest = &rest[at + length..];
        }
        expanded.text.push_str(rest);
        expanded
    }

    fn value(&self, inner: &str) -> Result<String, String> {
        if inner.contains("${") {
            return Err("an expression cannot contain another one".to_owned());
        }
        match inner.split_once(':') {
            Some(("env", rest)) => self.variable(rest),
            Some(("file", path)) => self.file(path),
            _ => Err(format!("unknown expression, use {FORMS}; a plain \"${{\" is written \"$${{\"")),
        }
    }

    // As in a shell, `:-default` also replaces a variable that is set to the empty text.
    fn variable(&self, rest: &str) -> Result<String, String> {
        let (name, default) = rest.split_once(DEFAULT).map_or((rest, None), |(name, default)| (name, Some(default)));
        if !is_variable_name(name) {
            return Err(format!("{name:?} is not the name of an environment variable"));
        }
        match ((self.env)(name), default) {
            (Some(value), None) => Ok(value),
            (Some(value), Some(_)) if !value.is_empty() => Ok(value),
            (_, Some(default)) => Ok(default.to_owned()),
            (None, None) => {
                Err(format!("environment variable {name:?} is not set; ${{env:{name}:-text}} gives a default"))
            }
        }
    }

    fn file(&self, path: &str) -> Result<String, String> {
        let read = || {
            let mut bytes = Vec::new();
            File::open(self.folder.join(path))?.take(FILE_LIMIT + 1).read_to_end(&mut bytes).map(|_| bytes)
        };
        let bytes = read().map_err(|error: std::io::Error| format!("reading the file: {error}"))?;
        if bytes.len() as u64 > FILE_LIMIT {
            return Err(format!("the file exceeds the limit of {FILE_LIMIT} bytes"));
        }
        let mut text = String::from_utf8(bytes).map_err(|_| "the file is not UTF-8 text")?;
        let line_break = if text.ends_with("\r\n") { 2 } else { usize::from(text.ends_with('\n')) };
        text.truncate(text.len() - line_break);
        Ok(text)
    }
}

fn without_default(expression: &str) -> String {
    let at = expression.find(DEFAULT).filter(|_| expression.starts_with("${env:"));
    at.map_or_else(|| expression.to_owned(), |at| format!("{}{DEFAULT}…}}", &expression[..at]))
}

fn is_plain(text: &str) -> bool {
    matches!(text, "true" | "false") || (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "from file\r\n").unwrap();
        std::fs::write(folder.path().join("binary"), [0xff]).unwrap();
        let env = |name: &str| match name {
            "A" => Some("alpha".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let expanded = ValueSources { folder: folder.path(), env: &env }.expand(text);
        expanded.faults.first().map_or(Ok(expanded.text), |(_, message)| Err(message.clone()))
    }

    #[test]
    fn expressions_become_their_values() {
        for (text, value) in [
            ("plain", "plain"),
            ("<${env:A}-${env:A}>", "<alpha-alpha>"),
            ("${env:A:-b}${env:B:-c}${env:EMPTY:-d}${env:EMPTY}${env:B:-}", "alphacd"),
            ("${file:key}", "from file"),
            ("$${env:A} $$ $ {}", "${env:A} $$ $ {}"),
        ] {
            assert_eq!(expand(text), Ok(value.to_owned()), "{text}");
        }
    }

    #[test]
    fn faulty_expressions_say_why() {
        for (text, reason) in [
            ("${env:B}", "\"B\" is not set"),
            ("${HOME}", "unknown expression, use ${env:NAME}"),
            ("${vault:x}", "unknown expression"),
            ("${env:A", "without its \"}\""),
            ("${env:}", "\"\" is not the name"),
            ("${env:1:-hunter2}", "${env:1:-…}: \"1\" is not the name"),
            ("${env:B:-${env:A}}", "cannot contain another"),
            ("${file:none}", "No such file"),
            ("${file:binary}", "not UTF-8"),
        ] {
            let message = expand(text).unwrap_err();
            assert!(message.contains(reason), "{text}: {message}");
        }
    }
}
