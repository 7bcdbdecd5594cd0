//! The configuration, and its decisions about a release.

use std::collections::BTreeMap;

use plugin_config::{Glob, any_matches, read};
use serde::Deserialize;

use crate::limit::{Limit, LimitText};

/// `[plugin.config]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Deployments that are refused.
    #[serde(default)]
    deny_names: Vec<Glob>,
    /// The languages that a release may have. Default any.
    allow_languages: Option<Vec<String>>,
    /// A release that offers one of these functions is refused.
    #[serde(default)]
    deny_functions: Vec<Glob>,
    /// Functions that are hidden from callers.
    #[serde(default)]
    hide_functions: Vec<Glob>,
    /// Whether a release is refused that breaks callers of the one in service.
    #[serde(default)]
    deny_breaking: bool,
    /// Environment variables of the workers.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Limits that no release may exceed.
    #[serde(default)]
    limits: BTreeMap<String, LimitText>,
    /// Labels of every release.
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// The checked configuration.
pub struct Policy {
    deny_names: Vec<Glob>,
    allow_languages: Option<Vec<String>>,
    deny_functions: Vec<Glob>,
    hide_functions: Vec<Glob>,
    /// Whether a release is refused that breaks callers of the one in service.
    pub deny_breaking: bool,
    /// Environment variables of the workers.
    pub env: BTreeMap<String, String>,
    /// Limits that no release may exceed.
    pub limits: Vec<Limit>,
    /// Labels of every release.
    pub labels: BTreeMap<String, String>,
}

impl Policy {
    /// Reads the configuration; the error is for the operator.
    pub fn read(config: &str) -> Result<Self, String> {
        let config: Config = read(config)?;
        if config.allow_languages.as_ref().is_some_and(Vec::is_empty) {
            return Err(
                "allow_languages: no language at all, so nothing could be deployed; leave the key out".to_owned()
            );
        }
        if let Some(name) = config.env.keys().find(|name| !is_variable(name)) {
            return Err(format!("env.{name}: is no name of an environment variable"));
        }
        let limits = config
            .limits
            .iter()
            .map(|(name, text)| Limit::read(name, text).map_err(|fault| format!("limits.{name}: {fault}")));
        Ok(Self {
            limits: limits.collect::<Result<_, _>>()?,
            deny_names: config.deny_names,
            allow_languages: config.allow_languages,
            deny_functions: config.deny_functions,
            hide_functions: config.hide_functions,
            deny_breaking: config.deny_breaking,
            env: config.env,
            labels: config.labels,
        })
    }

    /// Whether a deployment may have this name.
    pub fn allows_name(&self, deployment: &str) -> Result<(), String> {
        match self.deny_names.iter().find(|glob| glob.matches(deployment)) {
            Some(glob) => Err(format!("the name {deployment:?} is denied by deny_names, {:?}", glob.as_str())),
            None => Ok(()),
        }
    }

    /// Whether a release may have these languages. For a release without scripts its runtime counts: `command`, `wasm`.
    pub fn allows_languages(&self, languages: &[String], runtime: &str) -> Result<(), String> {
        let Some(allowed) = &self.allow_languages else { return Ok(()) };
        let none = [runtime.to_owned()];
        let languages = if languages.is_empty() { &none } else { languages };
        match languages.iter().find(|language| !allowed.contains(language)) {
            Some(language) => {
                Err(format!("the language {language:?} is none of allow_languages, {}", allowed.join(", ")))
            }
            None => Ok(()),
        }
    }

    /// The functions of a release that are hidden from callers.
    pub fn hidden<'a>(&self, functions: &'a [String]) -> Result<Vec<&'a str>, String> {
        for function in functions {
            if let Some(glob) = self.deny_functions.iter().find(|glob| glob.matches(function)) {
                return Err(format!("the function {function:?} is denied by deny_functions, {:?}", glob.as_str()));
            }
        }
        Ok(functions
            .iter()
            .map(String::as_str)
            .filter(|function| any_matches(&self.hide_functions, function))
            .collect())
    }
}

fn is_variable(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn names_are_denied_by_globs() {
        let policy = Policy::read(r#"{"deny_names": ["tmp-*", "test"]}"#).unwrap();
        assert_eq!(policy.allows_name("tmp-1").unwrap_err(), "the name \"tmp-1\" is denied by deny_names, \"tmp-*\"");
        assert!(policy.allows_name("test").is_err());
        assert!(policy.allows_name("math").is_ok() && policy.allows_name("my-tmp-1").is_ok());
    }

    #[test]
    fn every_language_of_a_release_has_to_be_allowed() {
        let policy = Policy::read(r#"{"allow_languages": ["node", "ts", "wasm"]}"#).unwrap();
        assert!(policy.allows_languages(&texts(&["node", "ts"]), "node").is_ok());
        let refusal = policy.allows_languages(&texts(&["node", "py"]), "metacall").unwrap_err();
        assert_eq!(refusal, "the language \"py\" is none of allow_languages, node, ts, wasm");
        assert!(policy.allows_languages(&[], "wasm").is_ok());
        assert!(policy.allows_languages(&[], "command").is_err());
        assert!(Policy::read("{}").unwrap().allows_languages(&texts(&["cob"]), "metacall").is_ok());
    }

    #[test]
    fn functions_are_denied_or_hidden() {
        let policy = Policy::read(r#"{"deny_functions": ["eval"], "hide_functions": ["_*", "debug"]}"#).unwrap();
        assert_eq!(policy.hidden(&texts(&["_a", "debug", "sum"])).unwrap(), ["_a", "debug"]);
        assert!(policy.hidden(&texts(&["eval", "sum"])).unwrap_err().contains("\"eval\" is denied"));
    }

    #[test]
    fn a_refusal_names_the_key() {
        for (config, message) in [
            (r#"{"allow_languages": []}"#, "allow_languages: "),
            (r#"{"allow_language": ["node"]}"#, "allow_language: unknown field"),
            (r#"{"env": {"1A": "x"}}"#, "env.1A: "),
            (r#"{"env": {"A": 1}}"#, "env.A: invalid type"),
            (r#"{"limits": {"timeout": "fast"}}"#, "limits.timeout: "),
            (r#"{"limits": {"timeouts": "1s"}}"#, "limits.timeouts: there is no such limit"),
            (r#"{"limits": {"concurrency": 1.5}}"#, "limits.concurrency: invalid type"),
            (r#"{"deny_breaking": "yes"}"#, "deny_breaking: invalid type"),
            (r#"{"deny_names": "tmp-*"}"#, "deny_names: invalid type"),
        ] {
            let refusal = Policy::read(config).err().unwrap_or_else(|| panic!("accepted: {config}"));
            assert!(refusal.contains(message), "{config}: {refusal}");
        }
    }
}
