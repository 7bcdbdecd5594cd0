//! `metagate plugin new`, `inspect` and `bench`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::plugin_tools::{Bench, examples, json, plugin};
use crate::plugins::component::Plugin;
use crate::plugins::{Files, deployment, refusal_of};
use crate::support::{Gateway, metagate};

fn all_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(all_files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn a_new_plugin_has_its_name_everywhere_and_the_gateways_interface() {
    let files = Files::new();
    for (language, source, build) in [
        ("rust", "src/lib.rs", "cargo build --release"),
        ("js", "plugin.js", "npm run build"),
        ("python", "app.py", "python3 build.py"),
        ("c", "hooks.c", "sh build.sh"),
    ] {
        let folder = files.path().join(language);
        let output = plugin(files.path(), &["new", "my-greeter", "--lang", language, "--dir", language]);
        assert_eq!((output.code, output.err.as_str()), (0, ""), "{output:?}");
        for words in [build, "metagate plugin test ", "greeter.wasm cases.toml"] {
            assert!(output.out.contains(words), "{}", output.out);
        }
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        assert!(readme.contains("my-greeter") && readme.contains(build), "{readme}");
        assert!(folder.join(source).is_file() && folder.join("cases.toml").is_file());
        let written = all_files(&folder);
        assert!(written.iter().all(|file| file.extension().is_none_or(|extension| extension != "in")), "{written:?}");
        for file in written {
            let text = fs::read_to_string(&file).unwrap();
            assert!(!text.contains("{{"), "{}: {text}", file.display());
        }
        let interface = Path::new(env!("CARGO_MANIFEST_DIR")).join("wit");
        for file in all_files(&interface) {
            let copied = folder.join("wit/deps/metagate-plugin").join(file.file_name().unwrap());
            assert_eq!(fs::read(&copied).unwrap(), fs::read(&file).unwrap(), "{}", copied.display());
        }
        // The interface resolves everything in its world, which exports one hook and what the plugin declares.
        let mut resolve = wit_parser::Resolve::default();
        let (package, _) = resolve.push_dir(folder.join("wit")).unwrap();
        let world = resolve.select_world(&[package], None).unwrap();
        assert_eq!(resolve.worlds[world].exports.len(), 2, "{language}");
    }
}

#[test]
fn a_new_plugin_overwrites_nothing_and_its_name_is_checked() {
    let files = Files::new();
    let new = |name: &str, more: &[&str]| plugin(files.path(), &[&["new", name, "--lang", "rust"], more].concat());
    fs::create_dir(files.path().join("empty")).unwrap();
    assert_eq!(new("p", &["--dir", "empty"]).code, 0);
    assert_eq!(new("fine", &[]).code, 0);
    files.put("taken", "");
    for (name, dir) in [("p", "empty"), ("fine", "fine"), ("p", "taken")] {
        let before = all_files(files.path());
        let output = new(name, &["--dir", dir]);
        assert_eq!(output.code, 1, "{output:?}");
        assert!(output.err.contains(&format!("{dir} exists and is not an empty folder")), "{output:?}");
        assert_eq!(all_files(files.path()), before);
    }
    for name in ["", "Big", "9lives", "a b", "a/b", "..", "ä", "a.b", &"a".repeat(65), "match", "std"] {
        let output = new(name, &[]);
        assert_eq!(output.code, 1, "{name:?} {output:?}");
        assert!(output.err.contains(&format!("{name:?} is not a valid plugin name")), "{output:?}");
    }
    assert_eq!(plugin(files.path(), &["new", "p", "--lang", "cobol"]).code, 2);
}

fn needy() -> Plugin {
    Plugin::new()
        .lifecycle(Some("{\"type\":\"object\",\"title\":\"needs\"}"), |_| {})
        .before_invoke(|c| {
            let key = c.text("k");
            c.call("store", "get", &key);
            c.call("env", "get", &key);
            c.call("clock", "now", "");
        })
        .after_invoke(|_| {})
}

#[test]
fn inspect_shows_hooks_imports_and_the_table_that_runs_the_plugin() {
    let bench = Bench::new(needy());
    let output = plugin(bench.files.path(), &["inspect", "p.wasm"]);
    assert_eq!((output.code, output.err.as_str()), (0, ""), "{output:?}");
    for words in [
        "interface  metagate:plugin@0.1.0\n",
        "hooks      before-invoke, after-invoke\n",
        "lifecycle  checks its configuration\n",
        "wasi       none\n",
        "  \"title\": \"needs\"\n",
        "\n[[plugin]]\nname   = \"p\"\npath   = \"p.wasm\"\n# sha256 = \"",
        "\ngrants = { store = true, env = [\"NAME\"] }\n[plugin.config]\n",
    ] {
        assert!(output.out.contains(words), "no {words:?} in {}", output.out);
    }
    let output = plugin(bench.files.path(), &["inspect", "--json", "p.wasm"]);
    let report = json(&output.out);
    assert_eq!(report["hooks"], json!(["before-invoke", "after-invoke"]));
    assert_eq!((&report["lifecycle"], &report["wasi"]), (&json!(true), &json!([])));
    assert_eq!(report["config_schema"], json!({ "type": "object", "title": "needs" }));
    assert_eq!(report["size"], fs::metadata(bench.files.path().join("p.wasm")).unwrap().len());
    for import in ["store", "env", "clock"] {
        assert!(report["imports"].as_array().unwrap().contains(&json!(import)), "{report}");
    }
    // A gateway accepts the table unchanged, and refuses it without its grants.
    let table = report["toml"].as_str().unwrap();
    let table = table.replace("\"p.wasm\"", &format!("{:?}", bench.files.path().join("p.wasm")));
    let _runs = Gateway::ready(&format!("{}{table}\n", deployment("it")));
    let without: String =
        table.lines().filter(|line| !line.starts_with("grants")).fold(String::new(), |all, line| all + line + "\n");
    assert!(refusal_of(&without).contains("grants = { store = true, env = [\"NAME\"] }"), "{without}");
}

#[test]
fn inspect_names_the_tools_that_built_a_plugin() {
    let report = json(&plugin(&examples().join("api-key"), &["inspect", "--json", "api-key.wasm"]).out);
    let made_by = report["made_by"].as_array().unwrap();
    assert!(made_by.iter().any(|tool| tool.as_str().unwrap().starts_with("wit-bindgen-rust ")), "{report}");
}

#[test]
fn inspect_test_and_bench_report_why_a_file_is_not_a_plugin() {
    let files = Files::new();
    files.put("text.wasm", "not this");
    files.put("core.wasm", Plugin::new().core_module());
    for (file, reason) in [
        ("text.wasm", "this is not WebAssembly"),
        ("core.wasm", "this is a core module, not a component"),
        ("none.wasm", "No such file"),
    ] {
        let arguments: [&[&str]; 3] = [&["inspect", file], &["test", file, "cases.toml"], &["bench", file]];
        files.put("cases.toml", "[[case]]\nname = \"c\"\nhook = \"start\"\nexpect = { verdict = \"accept\" }\n");
        for arguments in arguments {
            let output = plugin(files.path(), arguments);
            assert_eq!((output.code, output.out.as_str()), (1, ""), "{arguments:?} {output:?}");
            assert!(output.err.contains(reason) && output.err.contains(file), "{arguments:?} {output:?}");
        }
    }
}

#[test]
fn bench_measures_each_hook_with_warm_and_fresh_instances() {
    let bench = Bench::new(needy());
    let output = plugin(bench.files.path(), &["bench", "p.wasm", "--seconds", "1"]);
    assert_eq!((output.code, output.err.as_str()), (0, ""), "{output:?}");
    let rows: Vec<Vec<&str>> = output.out.lines().map(|line| line.split_whitespace().collect()).collect();
    let heads: Vec<[&str; 2]> = rows[1..].iter().map(|row| [row[0], row[1]]).collect();
    let [before, after] = ["before-invoke", "after-invoke"];
    assert_eq!(heads, [[before, "warm"], [before, "fresh"], [after, "warm"], [after, "fresh"]], "{}", output.out);
    for row in &rows[1..] {
        let figures: Vec<f64> = row[2..].iter().map(|figure| figure.parse().unwrap()).collect();
        let [per_second, mean, p50, p99] = figures[..4] else { panic!("{row:?}") };
        assert!(per_second > 100.0 && mean > 0.0 && p50 > 0.0 && p99 >= p50, "{row:?}");
        assert!((per_second * mean / 1e6 - 1.0).abs() < 0.1, "{row:?}");
        assert_eq!(figures.len(), if row[1] == "warm" { 5 } else { 4 }, "{row:?}");
    }
}

#[test]
fn bench_takes_its_input_from_the_cases_and_reports_failures() {
    let plugin_ = Plugin::new().before_invoke(|c| {
        let name = c.text("x-trap");
        let header = c.call("invocation", "header", &name);
        c.when(header.byte(), |c| c.raw("(unreachable)"));
    });
    let bench = Bench::new(plugin_);
    let cases = "[[case]]\nname = \"it traps\"\nhook = \"before-invoke\"\ncall = { headers = { x-trap = \"1\" } }\n\
        expect = { verdict = \"fault\" }\n";
    bench.files.put("cases.toml", cases);
    let output = plugin(bench.files.path(), &["bench", "p.wasm", "--seconds", "1", "--cases", "cases.toml"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(
        output.out.matches("calls of the case \"it traps\" failed: the last one trapped: ").count(),
        2,
        "{output:?}"
    );
    let output = plugin(bench.files.path(), &["bench", "p.wasm", "--seconds", "1"]);
    assert!(output.code == 0 && !output.out.contains(" failed: "), "{output:?}");
}

#[test]
fn each_command_has_help_with_an_example() {
    for command in ["new", "inspect", "test", "bench"] {
        let help = metagate().args(["plugin", command, "--help"]).output().unwrap();
        let text = String::from_utf8(help.stdout).unwrap();
        assert!(text.contains(&format!("Example:\n  metagate plugin {command} ")), "{text}");
    }
}
