//! The documentation is correct: every `console` block is run against the gateway of an example and each answer is
//! compared, every link leads to a file and a heading that exist, and the README stays short.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Gateway, wait_for};
use crate::walks::{defines, source};

const ADDRESS: &str = "http://localhost:9000";
/// The log line after which calls run through the plugin of the README.
const WAIT_FOR: &str = "configuration reloaded plugins=[\"api-key\"]";

pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The `console` commands of a file, each with the output that the file shows.
fn commands(file: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(repository().join(file)).unwrap();
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

/// The gateway of an example: the same configuration with a free port and a data folder in a temporary folder.
fn example(name: &str) -> Gateway {
    let example = repository().join("examples").join(name);
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(example.join("metagate.toml")).unwrap();
    let text = text.replace("127.0.0.1:9000", "127.0.0.1:0");
    // Paths of folders become absolute; those of routes begin with a slash.
    let routes = text.replace("path = \"/", "path  = \"/");
    let text = routes.replace("path = \"", &format!("path = \"{}/", example.display()));
    fs::write(folder.path().join("metagate.toml"), text).unwrap();
    // Drop-ins are copied during the test: the folder must not be the one of the repository.
    let drop_ins = example.join("drop-in");
    if drop_ins.is_dir() {
        fs::create_dir(folder.path().join("drop-in")).unwrap();
        fs::copy(drop_ins.join("api-key.toml"), folder.path().join("drop-in/api-key.toml")).unwrap();
    }
    let gateway = Gateway::start_in(folder, |_| {});
    gateway.wait_ready();
    gateway
}

/// An output without durations: `…, in 0.2 s`.
fn without_times(output: &str) -> Vec<&str> {
    let took = |line: &&str| line.ends_with(" s");
    let cut = |line: &'_ str| {
        line.rsplit_once(", in ").filter(|(_, time)| took(time)).map_or(line.len(), |(rest, _)| rest.len())
    };
    output.trim_end().lines().map(|line| &line[..cut(line)]).collect()
}

/// Runs a command of a page in the root of the repository, against the gateway, and returns its output with the page's
/// address.
fn run(gateway: &Gateway, command: &str) -> String {
    let program = env!("CARGO_BIN_EXE_metagate");
    let drop_ins = gateway.folder.path().join("drop-in");
    let line = command.replace(ADDRESS, &gateway.url("")).replace("curl ", "curl -sS ");
    let line = line.replace("metagate ", &format!("{program} "));
    let line = line.replace("examples/hello/drop-in", &drop_ins.display().to_string());
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(&line).current_dir(repository()).env("METAGATE_URL", gateway.url(""));
    String::from_utf8_lossy(&shell.output().unwrap().stdout).replace(&gateway.url(""), ADDRESS)
}

/// Runs the commands of these files against the gateway, and compares the outputs.
fn check(gateway: &Gateway, files: &[String], at_least: usize) {
    let mut count = 0;
    for file in files {
        for (command, expected) in commands(file) {
            let printed = run(gateway, &command);
            assert_eq!(without_times(&printed), without_times(&expected), "{file}: {command}\n{}", gateway.log());
            count += 1;
        }
    }
    assert!(count >= at_least, "only {count} commands were found");
}

/// The Markdown files of a folder of the repository.
fn pages(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(repository().join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut found: Vec<String> = names
        .filter(|name| name.ends_with(".md"))
        .map(|name| Path::new(folder).join(name).display().to_string())
        .collect();
    found.sort();
    found
}

#[test]
fn a_plugin_copied_into_the_drop_in_folder_guards_calls_as_the_readme_shows() {
    let gateway = example("hello");
    let transcript = commands("README.md");
    for (command, expected) in &transcript {
        if command.starts_with("metagate serve") {
            assert_eq!(expected, "listening on http://127.0.0.1:9000\n");
            continue;
        }
        assert_eq!(run(&gateway, command).trim_end(), expected.trim_end(), "{command}\n{}", gateway.log());
        if command.starts_with("cp ") {
            // The reader waits for this line, which the page shows.
            wait_for("the plugin's line in the log", || gateway.log().contains(WAIT_FOR).then_some(()));
        }
    }
    let page = fs::read_to_string(repository().join("README.md")).unwrap();
    assert!(page.contains(WAIT_FOR), "README.md does not show the line to wait for");
    assert!(transcript.len() >= 6, "only {} commands were found", transcript.len());
}

#[test]
fn every_command_of_the_documentation_answers_as_written() {
    let mut files = pages("docs");
    files.push("examples/quickstart/README.md".to_owned());
    check(&example("quickstart"), &files, 20);
}

#[test]
fn every_command_of_the_plugins_readme_answers_as_written() {
    check(&example("plugins"), &["examples/plugins/README.md".to_owned()], 10);
}

#[test]
fn every_command_of_the_wasm_readme_answers_as_written() {
    check(&example("wasm"), &["examples/wasm/README.md".to_owned()], 11);
}

#[test]
fn the_readme_has_at_most_150_lines() {
    let lines = fs::read_to_string(repository().join("README.md")).unwrap().lines().count();
    assert!(lines <= 150, "README.md has {lines} lines");
}

/// The targets of a page's Markdown links within the repository.
fn links(text: &str) -> Vec<&str> {
    let targets =
        prose(text).into_iter().flat_map(|line| line.split("](").skip(1)).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://")).collect()
}

/// The lines of a page outside its code blocks.
fn prose(text: &str) -> Vec<&str> {
    let mut in_block = false;
    let mut prose = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            prose.push(line);
        }
    }
    prose
}

/// The anchors that headings of a page have on GitHub: lower case, spaces as hyphens, without punctuation.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter_map(|line| line.strip_prefix('#'));
    let kept = |c: char| c.is_alphanumeric() || c == ' ' || c == '-' || c == '_';
    let anchor = |heading: &str| {
        let title = heading.trim_start_matches('#').trim().to_lowercase();
        title.chars().filter(|c| kept(*c)).collect::<String>().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_of_the_documentation_leads_to_a_file_and_a_heading() {
    let mut files = [pages(""), pages("docs")].concat();
    for folder in ["examples", "plugins"] {
        let folders = fs::read_dir(repository().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let readmes = folders.map(|path| path.join("README.md")).filter(|path| path.is_file());
        files.extend(readmes.map(|path| path.strip_prefix(repository()).unwrap().display().to_string()));
    }
    let mut broken = Vec::new();
    for file in files {
        let path = repository().join(&file);
        let text = fs::read_to_string(&path).unwrap();
        for link in links(&text) {
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if target.is_empty() { path.clone() } else { path.parent().unwrap().join(target) };
            let found = target.exists() && (anchor.is_empty() || has_anchor(&target, anchor));
            if !found {
                broken.push(format!("{file}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

fn has_anchor(page: &PathBuf, anchor: &str) -> bool {
    fs::read_to_string(page).is_ok_and(|text| anchors(&text).iter().any(|known| known == anchor))
}

/// The code spans of a page, without its code blocks.
fn code_spans(page: &str) -> Vec<String> {
    let text = fs::read_to_string(repository().join(page)).unwrap();
    prose(&text).join("\n").split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_function_that_the_architecture_names_is_in_its_file() {
    let spans = code_spans("ARCHITECTURE.md");
    let named = spans.iter().filter_map(|span| span.split_once(".rs: "));
    let missing: Vec<_> = named.filter(|(file, function)| !defines(&source(file), function)).collect();
    assert!(missing.is_empty(), "not in the code: {missing:?}");
}

#[test]
fn every_file_that_the_pages_for_contributors_name_exists() {
    let spans = ["ARCHITECTURE.md", "CONTRIBUTING.md"].map(code_spans).concat();
    // Names such as `src/cli/<name>.rs` stand for many files.
    let named = spans.iter().filter(|span| ["src/", "tests/", "wit/"].iter().any(|folder| span.starts_with(folder)));
    let missing: Vec<_> =
        named.filter(|span| !span.contains(['<', ' ', ':']) && !repository().join(span).exists()).collect();
    assert!(missing.is_empty(), "no such file: {missing:?}");
}
