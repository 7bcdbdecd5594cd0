//! The variables that a deploy sends: from the folder's `.env` or another file, and from the command line.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use anyhow::Context;
use serde_json::{Value, json};

use crate::config::{Secret, check_variable};
use crate::source::env_file;

/// One variable of the command line: `NAME=VALUE`, or `NAME` for the value from this command's environment.
#[derive(Debug, Clone)]
pub(crate) struct Variable {
    name: String,
    value: Secret,
}

impl FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => match std::env::var(text) {
                Ok(value) => (text, value),
                Err(_) => return Err("the variable is not set in this environment: write NAME=VALUE".to_owned()),
            },
        };
        check_variable(name)?;
        Ok(Self { name: name.to_owned(), value: Secret::new(value) })
    }
}

/// Variables by name; printed without their values.
#[derive(Debug)]
pub(crate) struct Environment {
    variables: BTreeMap<String, Secret>,
    /// The file that some variables were read from.
    file: Option<String>,
}

impl Environment {
    /// The variables of `file`, or else of the folder's `.env` if there is a folder, overridden by those of the command
    /// line.
    pub(crate) fn read(folder: Option<&Path>, file: Option<&Path>, given: &[Variable]) -> anyhow::Result<Self> {
        let mut variables = match (file, folder) {
            (Some(file), _) => env_file::read_file(file).with_context(|| format!("reading {}", file.display()))?,
            (None, Some(folder)) => env_file::read(folder).context("reading .env")?,
            (None, None) => BTreeMap::new(),
        };
        let from_file = !variables.is_empty();
        let file = file.map_or_else(|| env_file::FILE.to_owned(), |file| file.display().to_string());
        variables.extend(given.iter().map(|variable| (variable.name.clone(), variable.value.clone())));
        Ok(Self { variables, file: from_file.then_some(file) })
    }

    /// Whether there are no variables.
    pub(crate) fn is_empty(&self) -> bool {
        self.variables.is_empty()
    }

    /// The form that the deploy API takes: `[{"name":"A","value":"1"}]`.
    pub(super) fn to_json(&self) -> Value {
        let one = |(name, value): (&String, &Secret)| json!({ "name": name, "value": value.expose() });
        self.variables.iter().map(one).collect()
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.variables.keys().map(String::as_str).collect();
        f.write_str(&names.join(", "))?;
        match &self.file {
            Some(file) => write!(f, " (from {file})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_command_line_wins_over_the_file_and_values_are_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".env"), "A=one\nB=two\n").unwrap();
        let given = ["B=three".parse().unwrap(), "C=a=b".parse().unwrap()];
        let environment = Environment::read(Some(folder.path()), None, &given).unwrap();
        let sent = environment.to_json();
        assert_eq!(sent, json!([{"name":"A","value":"one"},{"name":"B","value":"three"},{"name":"C","value":"a=b"}]));
        assert_eq!(environment.to_string(), "A, B, C (from .env)");
        assert!(!format!("{environment:?}").contains("three"));
    }

    #[test]
    fn another_file_replaces_the_env_file_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".env"), "A=one\n").unwrap();
        let file = folder.path().join("other");
        fs::write(&file, "B=two\n").unwrap();
        let environment = Environment::read(Some(folder.path()), Some(&file), &[]).unwrap();
        assert_eq!(environment.to_json(), json!([{"name":"B","value":"two"}]));
        assert!(Environment::read(Some(folder.path()), Some(&folder.path().join("none")), &[]).is_err());
    }

    #[test]
    fn variables_that_a_deployment_may_not_set_are_refused() {
        for text in ["PATH=/x", "LD_PRELOAD=x", "1A=x", "=x", "METAGATE_TEST_NONE"] {
            assert!(text.parse::<Variable>().is_err(), "{text}");
        }
    }
}
