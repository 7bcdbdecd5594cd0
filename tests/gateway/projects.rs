//! What a project is: which of its scripts are served, under which names, and what its user learns where something does
//! not fit.

mod entries;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::exports::folder;
use crate::faulty::{assert_error, assert_ok};
use crate::support::{Gateway, metagate, wait_for};

fn table(folder: &Path) -> String {
    format!("[[deployment]]\nname = \"it\"\npath = {folder:?}\n")
}

/// What `metagate deploy` of a folder prints, and whether it succeeds.
fn deploy(gateway: &Gateway, folder: &Path) -> (bool, String) {
    let mut command = metagate();
    command.arg("deploy").arg(folder).args(["--name", "it"]).env("METAGATE_URL", gateway.url(""));
    let output = command.env_remove("METAGATE_TOKEN").stdin(Stdio::null()).output().unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn functions_of_one_name_are_called_by_their_scripts() {
    let python = folder(&[
        ("get_user.py", "def handler(id):\n    return 'get ' + id\n\ndef one():\n    return 1\n"),
        ("list_users.py", "def handler():\n    return 'list'\n"),
    ]);
    let node = folder(&[
        ("metacall.json", r#"{"language_id":"node","path":"lib","scripts":["get_user.js","deep/list_users.js"]}"#),
        ("lib/get_user.js", "exports.handler = (id) => `get ${id}`;\nexports.one = () => 1;\n"),
        ("lib/deep/list_users.js", "exports.handler = () => 'list';\n"),
    ]);
    for (files, get, list) in [(&python, "get_user", "list_users"), (&node, "lib/get_user", "lib/deep/list_users")] {
        let gateway = Gateway::ready(&table(files.path()));
        assert_ok(&gateway.call("it", &format!("{get}/handler"), r#"["moon"]"#), "\"get moon\"");
        assert_ok(&gateway.call("it", &format!("{get}/handler"), r#"{"id":"moon"}"#), "\"get moon\"");
        assert_ok(&gateway.call("it", &format!("{list}/handler"), "[]"), "\"list\"");
        for function in ["one", &format!("{get}/one")] {
            assert_ok(&gateway.call("it", function, "[]"), "1");
        }
        // A body so large that the call is refused before it is read.
        for body in ["[]", &json!(["x".repeat(200_000)]).to_string()] {
            let answer = gateway.call("it", "handler", body);
            assert_error(&answer, 404, "ambiguous_function");
            for full in [get, list].map(|script| format!("\"{script}/handler\"")) {
                assert!(answer.message().contains(&full), "{answer:?}");
            }
        }
        assert_error(&gateway.call("it", &format!("{list}/one"), "[]"), 404, "function_not_found");
    }
}

#[test]
fn a_stray_script_is_left_out_with_a_warning_where_people_look() {
    let main = ("main.py", "def hello():\n    return 'hello'\n");
    let report = ("report.py", "import a_module_that_is_not_installed\n\ndef report():\n    return 1\n");
    let files = folder(&[main, report, ("migrate.py", "import sys\nsys.exit(0)\n")]);
    let gateway = Gateway::start("");
    let (deployed, output) = deploy(&gateway, files.path());
    assert!(deployed, "{output}");
    assert_ok(&gateway.call("it", "hello", "[]"), "\"hello\"");
    assert_error(&gateway.call("it", "report", "[]"), 404, "function_not_found");
    let warnings = gateway.readiness("it")["warnings"].to_string();
    let inspected = gateway.get("/api/inspect").json()[0]["warnings"].to_string();
    for words in ["report.py is left out", "a_module_that_is_not_installed", "_report.py", "migrate.py is left out"] {
        for place in [&output, &warnings, &inspected, &gateway.log(), &gateway.get("/api/logs/it").body] {
            assert!(place.contains(words), "{words} in {place}");
        }
    }
}

#[test]
fn a_script_that_is_meant_fails_the_load_and_says_what_to_do() {
    let good = ("good.py", "def good():\n    return 1\n");
    let listed = ("metacall.json", r#"{"language_id":"py","path":".","scripts":["good.py","bad.py"]}"#);
    let failing = [
        (vec![good, ("bad.py", "raise ValueError('no luck')\n")], "bad.py failed to load"),
        (vec![good, ("bad.py", "raise ValueError('no luck')\n")], "name it _bad.py"),
        (vec![good, ("main.py", "import absent_module\n")], "requirements.txt"),
        (vec![good, listed, ("bad.py", "import absent_module\n")], "'absent_module' (list its package in"),
        (vec![("bad.py", "import sys\nsys.exit(3)\n")], "bad.py failed to load"),
        (vec![("index.js", "require('metacall');\n")], "set runtime = \"metacall\""),
        (vec![("main.py", "import metacall\n")], "set runtime = \"metacall\""),
        (vec![("index.js", "require('absent/part');\n")], "run \"npm install absent\" in \".\""),
        (
            vec![
                ("package.json", r#"{"main":"sub/a.mjs"}"#),
                ("sub/package.json", r#"{"dependencies":{"@x/absent":"1"}}"#),
                ("sub/a.mjs", "import '@x/absent';\n"),
            ],
            "@x/absent is not installed: run \"npm install\" in \"sub\"",
        ),
    ]
    .map(|(files, words)| (folder(&files), words));
    let tables =
        failing.iter().enumerate().map(|(n, (files, _))| table(files.path()).replace("\"it\"", &format!("\"d{n}\"")));
    let gateway = Gateway::start(&tables.collect::<String>());
    for (n, (_, words)) in failing.iter().enumerate() {
        let reason = wait_for("the failure", || {
            let state = gateway.readiness(&format!("d{n}"));
            (state["status"] == "failed").then(|| state["error"]["stderr"].as_str().unwrap_or_default().to_owned())
        });
        assert!(reason.contains(words), "{words}: {reason}");
    }
}

#[test]
fn a_release_without_functions_loads_with_a_warning_where_people_look() {
    let files = folder(&[("index.js", "const unused = () => 1;\n")]);
    let gateway = Gateway::start("");
    let (deployed, output) = deploy(&gateway, files.path());
    assert!(deployed, "{output}");
    let warnings = gateway.readiness("it")["warnings"].to_string();
    let inspected = gateway.get("/api/inspect").json()[0]["warnings"].to_string();
    for place in [&output, &warnings, &inspected, &gateway.log(), &gateway.get("/api/logs/it").body] {
        assert!(place.contains("no function can be called"), "{place}");
    }
}

#[test]
fn a_script_with_the_name_of_a_package_is_named_in_the_error() {
    let files = folder(&[
        ("main.py", "import tablib\n\ndef work():\n    return tablib.deep\n"),
        ("tablib.py", "def shallow():\n    return 1\n"),
        (".packages/python/tablib/__init__.py", "deep = 2\n"),
    ]);
    let answer = Gateway::ready(&table(files.path())).call("it", "work", "[]");
    assert_error(&answer, 500, "function_error");
    assert!(answer.message().contains("tablib.py of this deployment"), "{answer:?}");
}

#[test]
fn the_virtual_environment_in_a_folder_runs_its_scripts() {
    let files = folder(&[("a.py", "import only_here\n\ndef f():\n    return only_here.x\n")]);
    let environment = files.path().join(".venv");
    let made = Command::new("python3").args(["-m", "venv", "--without-pip"]).arg(&environment).status().unwrap();
    assert!(made.success());
    let library = fs::read_dir(environment.join("lib")).unwrap().next().unwrap().unwrap().path();
    fs::write(library.join("site-packages/only_here.py"), "x = 7\n").unwrap();
    let gateway = Gateway::ready(&table(files.path()));
    assert_ok(&gateway.call("it", "f", "[]"), "7");
    gateway.wait_log("using the virtual environment in the folder");

    let files = folder(&[("a.py", "def f():\n    return 1\n"), (".venv/pyvenv.cfg", "")]);
    fs::create_dir(files.path().join(".venv/bin")).unwrap();
    symlink("/nonexistent/python3", files.path().join(".venv/bin/python")).unwrap();
    let gateway = Gateway::ready(&table(files.path()));
    assert_ok(&gateway.call("it", "f", "[]"), "1");
    gateway.wait_log("ignored the virtual environment in the folder");
    assert!(gateway.log().contains(".venv/bin/python"), "{}", gateway.log());
}

#[test]
fn a_first_deploy_that_fails_says_so_without_the_workers_own_places() {
    let gateway = Gateway::start("");
    for script in ["exports.f = function( {", "require('fs').readFileSync(__dirname + '/none.txt')"] {
        let (is_deployed, printed) = deploy(&gateway, folder(&[("index.js", script)]).path());
        assert!(!is_deployed && printed.contains("the release of \"it\" is not in service"), "{printed}");
        assert!(printed.contains("script index.js failed to load") && !printed.contains("node.js:"), "{printed}");
    }
}
