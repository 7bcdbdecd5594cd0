//! The READMEs are true: every `console` block is run against the quickstart's gateway, and each answer is as written.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::Gateway;

const ADDRESS: &str = "http://localhost:9000";

/// The commands of a file's `console` blocks, each with what it prints.
fn commands(file: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let mut found: Vec<(String, String)> = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.starts_with("```") {
            in_block = line == "```console";
        } else if in_block {
            match (line.strip_prefix("$ "), found.last_mut()) {
                (Some(command), _) => found.push((command.to_owned(), String::new())),
                (None, Some((_, output))) => {
                    output.push_str(line);
                    output.push('\n');
                }
                (None, None) => panic!("{file}: a console block begins with an answer: {line}"),
            }
        }
    }
    found
}

/// The gateway of an example: the same file, but for a free port and a data folder of the test's own.
fn example(name: &str) -> Gateway {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(example.join("metagate.toml")).unwrap();
    let text = text.replace("127.0.0.1:9000", "127.0.0.1:0");
    let text = text.replace("path = \"", &format!("path = \"{}/", example.display()));
    fs::write(folder.path().join("metagate.toml"), text).unwrap();
    let gateway = Gateway::start_in(folder, |_| {});
    gateway.wait_ready();
    gateway
}

/// An output without how long something took: `…, in 0.2 s`.
fn without_times(output: &str) -> Vec<&str> {
    let took = |line: &&str| line.ends_with(" s");
    let cut = |line: &'_ str| {
        line.rsplit_once(", in ").filter(|(_, time)| took(time)).map_or(line.len(), |(rest, _)| rest.len())
    };
    output.trim_end().lines().map(|line| &line[..cut(line)]).collect()
}

/// Runs the commands of these files against the gateway, and compares.
fn check(gateway: &Gateway, files: &[&str], at_least: usize) {
    let program = env!("CARGO_BIN_EXE_metagate");
    let mut run = 0;
    for file in files {
        for (command, expected) in commands(file) {
            let line = command.replace(ADDRESS, &gateway.url("")).replace("curl ", "curl -sS ");
            let line = line.replace("metagate ", &format!("{program} "));
            let output = Command::new("sh").arg("-c").arg(&line).env("METAGATE_URL", gateway.url("")).output().unwrap();
            let printed = String::from_utf8_lossy(&output.stdout).replace(&gateway.url(""), ADDRESS);
            assert_eq!(without_times(&printed), without_times(&expected), "{file}: {command}\n{}", gateway.log());
            run += 1;
        }
    }
    assert!(run >= at_least, "only {run} commands were found");
}

#[test]
fn every_command_of_the_readmes_answers_as_written() {
    check(&example("quickstart"), &["README.md", "examples/quickstart/README.md"], 15);
}

#[test]
fn every_command_of_the_plugins_readme_answers_as_written() {
    check(&example("plugins"), &["examples/plugins/README.md"], 10);
}

#[test]
fn every_command_of_the_wasm_readme_answers_as_written() {
    check(&example("wasm"), &["examples/wasm/README.md"], 11);
}
