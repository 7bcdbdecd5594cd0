//! Mistakes in a configuration that people make, and what `metagate check` answers, word for word.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::metagate;

/// The exit code, standard output and standard error of `check` in a folder with functions and this metagate.toml.
fn check(text: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("f")).unwrap();
    fs::write(folder.path().join("f/index.js"), "exports.f = () => 1;\n").unwrap();
    fs::write(folder.path().join("hello.wasm"), "hello\n").unwrap();
    fs::write(folder.path().join("metagate.toml"), text).unwrap();
    let mut command = metagate();
    command.current_dir(folder.path()).arg("check").args(arguments).stdin(Stdio::null()).env_remove("NOT_SET");
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(folder.path().to_str().unwrap(), "~");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The mistakes: a metagate.toml each, and after `=> ` the `line:column: message` of each of its faults.
const MISTAKES: &str = include_str!("../fixtures/mistakes.txt");

#[test]
fn mistakes_in_a_configuration_are_answered_word_for_word() {
    for mistake in MISTAKES.split("---\n") {
        let (text, faults) = mistake.split_at(mistake.find("=> ").unwrap());
        let faults: Vec<_> = faults.lines().map(|line| line.strip_prefix("=> ").unwrap()).collect();
        let (code, out, err) = check(text, &[]);
        let found: Vec<_> = err.lines().filter_map(|line| line.strip_prefix("metagate.toml:")).collect();
        assert_eq!((code, out.as_str(), found), (Some(1), "", faults), "{text}\n{err}");
    }
}

#[test]
fn a_check_is_one_json_object_if_asked_for() {
    let sound = "[[deployment]]\nname = \"a\"\npath = \"f\"\n";
    let (code, out, err) = check(&format!("{sound}static_files = \"absent\"\n"), &["--format", "json"]);
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!((&found["faults"], &found["deployments"], &found["plugins"]), (&json!([]), &json!(1), &json!(0)));
    let warnings = found["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|one| one.as_str().unwrap().contains("has no folder \"absent\"")), "{found}");
    let (code, out, err) = check(&format!("{sound}tiemout = 1\n"), &["--format", "json"]);
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, err.as_str()), (Some(1), ""));
    let message = "unknown key \"tiemout\", did you mean \"timeout\"?";
    assert_eq!(found["faults"], json!([{"file": "metagate.toml", "line": 4, "column": 1, "message": message}]));
    let (code, out, _) = check("", &["--format", "json", "none.toml"]);
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, Some(1));
    assert!(found["faults"][0]["message"].as_str().unwrap().contains("no configuration at"), "{found}");
}
