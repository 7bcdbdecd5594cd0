//! The `.env` of a release: variables for its workers. References such as `$HOME` are not expanded, because their
//! values would come from the gateway's own environment.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::config::{Secret, check_variable};

/// The name of the file in the release's folder.
pub const FILE: &str = ".env";
/// Most bytes of the file.
const SIZE_LIMIT: u64 = 64 * 1024;
const FORM: &str = "expected NAME=value; a name has letters, digits and _, and does not start with a digit";

/// Why a `.env` cannot be used. An error quotes nothing of the file except for names that may not be set: the rest may
/// be secret.
#[derive(Debug, thiserror::Error)]
pub enum EnvFileError {
    /// The file cannot be read.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// The file is too long.
    #[error("the file exceeds {SIZE_LIMIT} bytes")]
    TooLong,
    /// The file is not text.
    #[error("not UTF-8 text")]
    NoText,
    /// A line is malformed.
    #[error("line {line}: {reason}")]
    Line {
        /// The number of the line, from 1.
        line: usize,
        /// The reason.
        reason: String,
    },
}

/// The variables of a folder's `.env`; none if it does not exist or is a folder itself.
///
/// ```text
/// # a comment
/// GREETING=hello, world       # up to the end of the line or a # after a blank
/// export TOKEN='as it is'
/// KEY="line\nline, a tab \t, a quote \", a backslash \\, a dollar \$
/// and a line break"
/// ```
pub fn read(folder: &Path) -> Result<BTreeMap<String, Secret>, EnvFileError> {
    let path = folder.join(FILE);
    match fs::metadata(&path) {
        Ok(there) if there.is_file() => {}
        Ok(_) => return Ok(BTreeMap::new()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.into()),
    }
    read_file(&path)
}

/// The variables of a file in the same format, which must exist.
pub fn read_file(path: &Path) -> Result<BTreeMap<String, Secret>, EnvFileError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(SIZE_LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SIZE_LIMIT {
        return Err(EnvFileError::TooLong);
    }
    let text = String::from_utf8(bytes).map_err(|_| EnvFileError::NoText)?;
    parse(text.trim_start_matches('\u{feff}'))
}

/// The variables of a text in the same format.
pub fn parse(text: &str) -> Result<BTreeMap<String, Secret>, EnvFileError> {
    let mut variables = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let line = 1 + text[..text.len() - rest.len()].matches('\n').count();
        let entry = entry(rest).map_err(|reason| EnvFileError::Line { line, reason })?;
        if let Some((name, value)) = entry.variable {
            variables.insert(name.to_owned(), Secret::new(value));
        }
        rest = entry.rest;
    }
    Ok(variables)
}

/// A variable, unless the line is blank or a comment, and the text after it.
struct Entry<'a> {
    variable: Option<(&'a str, String)>,
    rest: &'a str,
}

fn entry(text: &str) -> Result<Entry<'_>, String> {
    let (line, after) = text.split_once('\n').unwrap_or((text, ""));
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(Entry { variable: None, rest: after });
    }
    // A quoted value may span several lines.
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.trim_start().contains('\n')).ok_or(FORM)?;
    let name = checked_name(name.trim())?;
    let value = value.trim_start_matches([' ', '\t']);
    let (value, rest) = match value.as_bytes().first() {
        Some(b'\'') => single_quoted(&value[1..])?,
        Some(b'"') => double_quoted(&value[1..])?,
        _ => {
            let (value, rest) = value.split_once('\n').unwrap_or((value, ""));
            (unquoted(value), rest)
        }
    };
    if value.contains('\0') {
        return Err("a value cannot hold a zero byte".to_owned());
    }
    Ok(Entry { variable: Some((name, value)), rest })
}

fn checked_name(name: &str) -> Result<&str, String> {
    let name = match name.strip_prefix("export") {
        Some(exported) if exported.starts_with([' ', '\t']) => exported.trim_start(),
        _ => name,
    };
    let of_form = !name.is_empty()
        && !name.as_bytes()[0].is_ascii_digit()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !of_form {
        // The text in front of a stray `=` may be part of a secret, so the error does not quote it.
        return Err(FORM.to_owned());
    }
    check_variable(name).map(|()| name)
}

fn unquoted(line: &str) -> String {
    let comment = line.match_indices('#').map(|(at, _)| at).find(|at| *at == 0 || line[..*at].ends_with([' ', '\t']));
    line[..comment.unwrap_or(line.len())].trim().to_owned()
}

/// The value up to the closing quote, unchanged. `text` starts after the opening quote.
fn single_quoted(text: &str) -> Result<(String, &str), String> {
    let (value, rest) = text.split_once('\'').ok_or("the quote ' is not closed")?;
    Ok((value.replace("\r\n", "\n"), after_quote(rest)?))
}

fn double_quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, after_quote(&text[at + 1..])?)),
            '\r' if text[at + 1..].starts_with('\n') => {}
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, 't')) => value.push('\t'),
                Some((_, escaped @ ('"' | '\\' | '$'))) => value.push(escaped),
                Some((_, other)) => value.extend(['\\', other]),
                None => break,
            },
            other => value.push(other),
        }
    }
    Err("the quote \" is not closed".to_owned())
}

/// The text after the line of a closing quote. Only a comment may follow the quote.
fn after_quote(text: &str) -> Result<&str, String> {
    let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') { Ok(rest) } else { Err("text after the closing quote".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<(String, String)> {
        let variables = parse(text).unwrap();
        variables.into_iter().map(|(name, value)| (name, value.expose().to_owned())).collect()
    }

    fn refused(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn values_are_read_in_each_form() {
        for (text, value) in [
            ("A=1", "1"),
            ("A=", ""),
            ("A = spaced out \r\n", "spaced out"),
            ("A=x # comment", "x"),
            ("A=#comment", ""),
            ("A=pass#word", "pass#word"),
            ("A=a=b=c", "a=b=c"),
            ("A=it's", "it's"),
            ("export A=1", "1"),
            ("  export\tA=1", "1"),
            ("A='$HOME \\n \"x\"' # comment", "$HOME \\n \"x\""),
            ("A=\"$HOME ${HOME} $(id)\"", "$HOME ${HOME} $(id)"),
            ("A=$HOME", "$HOME"),
            (r#"A="a\nb\tc\"d\\e\$f\d""#, "a\nb\tc\"d\\e$f\\d"),
            ("A=\"one\r\ntwo\"\r\n", "one\ntwo"),
            (r#"A="one\r\ntwo""#, "one\r\ntwo"),
            ("A='one\ntwo'", "one\ntwo"),
            ("A=1\nA=2", "2"),
            ("\n# B=1\n\nA=ä\n", "ä"),
        ] {
            assert_eq!(values(text), [("A".to_owned(), value.to_owned())], "{text:?}");
        }
        assert_eq!(values("exported=1\nB=\"x\ny\"\nC=3").len(), 3);
        assert_eq!(values(""), []);
    }

    #[test]
    fn a_fault_names_its_line_and_no_value() {
        assert_eq!(refused("A=1\nno value here"), format!("line 2: {FORM}"));
        assert_eq!(refused("KEY=-----BEGIN\nsecret/part+x=\n"), format!("line 2: {FORM}"));
        assert_eq!(refused("A=\"x\ny\"\n1B=2"), format!("line 3: {FORM}"));
        assert_eq!(refused("A='x"), "line 1: the quote ' is not closed");
        assert_eq!(refused("\nA=\"secret\\"), "line 2: the quote \" is not closed");
        assert_eq!(refused("A=\"x\"secret"), "line 1: text after the closing quote");
        assert_eq!(refused("A=a\0b"), "line 1: a value cannot hold a zero byte");
        assert_eq!(refused("=x"), format!("line 1: {FORM}"));
        assert_eq!(refused("export"), format!("line 1: {FORM}"));
        for name in ["PATH", "LD_PRELOAD", "NODE_CHANNEL_FD", "METAGATE_WORKER"] {
            let message = refused(&format!("A=1\n{name}=secret"));
            assert!(message.starts_with(&format!("line 2: \"{name}\" may not be set")), "{message}");
            assert!(!message.contains("secret"));
        }
    }

    #[test]
    fn a_file_that_is_missing_or_a_folder_gives_nothing_and_a_long_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path()).unwrap().is_empty());
        fs::create_dir(folder.path().join(FILE)).unwrap();
        assert!(read(folder.path()).unwrap().is_empty());
        fs::remove_dir(folder.path().join(FILE)).unwrap();
        fs::write(folder.path().join(FILE), "\u{feff}A=1").unwrap();
        assert_eq!(read(folder.path()).unwrap()["A"].expose(), "1");
        fs::write(folder.path().join(FILE), "#".repeat(64 * 1024 + 1)).unwrap();
        assert!(matches!(read(folder.path()), Err(EnvFileError::TooLong)));
        fs::write(folder.path().join(FILE), b"A=\xff").unwrap();
        assert!(matches!(read(folder.path()), Err(EnvFileError::NoText)));
    }

    proptest::proptest! {
        #[test]
        fn a_quoted_value_comes_back_as_it_was(value in "[^\0\r]{0,40}") {
            let mut quoted = String::new();
            for character in value.chars() {
                match character {
                    '"' | '\\' => quoted.extend(['\\', character]),
                    other => quoted.push(other),
                }
            }
            let text = format!("# first\nA=\"{quoted}\" # then\nB=2\n");
            assert_eq!(values(&text), [("A".to_owned(), value), ("B".to_owned(), "2".to_owned())]);
        }

        #[test]
        fn no_text_breaks_the_reader(text in "\\PC{0,80}|[A='\"#\\n\\\\ ]{0,40}") {
            let _read = parse(&text);
        }
    }
}
