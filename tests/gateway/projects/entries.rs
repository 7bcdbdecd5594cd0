//! Where a project begins: each reason why nothing can be served has its own message.

use std::fs;
use std::io::Write;
use std::process::Command;

use serde_json::json;

use super::{deploy, folder, table};
use crate::faulty::assert_ok;
use crate::support::{Gateway, fixture, metagate, wait_for};

#[test]
fn each_reason_why_there_is_nothing_to_run_has_its_own_message() {
    let build = r#"{"main":"dist/index.js","scripts":{"build":"tsc"}}"#;
    let reasons = [
        (vec![("package.json", build)], vec!["\"dist/index.js\" as \"main\"", "npm run build", ".gitignore"]),
        (
            vec![("package.json", r#"{"exports":{".":{"import":"./out/a.mjs"}}}"#)],
            vec!["\"./out/a.mjs\" as \"exports\"", "no such file"],
        ),
        (vec![("package.json", r#"{"main":"../a.js"}"#)], vec!["outside"]),
        (
            vec![("package.json", r#"{"workspaces":["packages/*"]}"#), ("packages/api/package.json", "{}")],
            vec!["workspace", "packages/api"],
        ),
        (vec![("README.md", ""), ("data/x.csv", "")], vec!["expected a metacall.json", "README.md, data/"]),
        (vec![("app.rb", "")], vec!["rb", "MetaCall"]),
    ];
    let folders = reasons.map(|(files, words)| (folder(&files), words));
    let tables =
        folders.iter().enumerate().map(|(n, (files, _))| table(files.path()).replace("\"it\"", &format!("\"d{n}\"")));
    let gateway = Gateway::start(&tables.collect::<String>());
    for (n, (_, words)) in folders.iter().enumerate() {
        let message = wait_for("the failure", || {
            let state = gateway.readiness(&format!("d{n}"));
            (state["status"] == "failed").then(|| state["error"]["message"].as_str().unwrap_or_default().to_owned())
        });
        for words in words {
            assert!(message.contains(words), "{words}: {message}");
        }
    }
}

#[test]
fn a_deploy_says_what_the_package_lacks_before_the_upload() {
    let gateway = Gateway::start("");
    let ignored = folder(&[
        ("package.json", r#"{"main":"dist/index.js"}"#),
        ("dist/index.js", "exports.f = () => 1;\n"),
        (".gitignore", "dist/\n"),
    ]);
    let (deployed, output) = deploy(&gateway, ignored.path());
    assert!(!deployed, "{output}");
    let warned = output.find("warning: package.json names \"dist/index.js\", which is left out").unwrap();
    assert!(warned < output.find("deploying release").unwrap(), "{output}");
    // The reason is said once, to the client and in the gateway's log.
    assert_eq!(output.matches("no such file").count(), 1, "{output}");
    assert_eq!(gateway.log().matches("no such file").count(), 1, "{}", gateway.log());
    // The gateway's own paths mean nothing to the client.
    assert!(!output.contains("deployments/"), "{output}");
    fs::write(ignored.path().join(".metagateignore"), "!dist\n").unwrap();
    let (deployed, output) = deploy(&gateway, ignored.path());
    assert!(deployed && !output.contains("warning"), "{output}");
    assert_ok(&gateway.call("it", "f", "[]"), "1");
}

#[test]
fn a_metacall_json_anywhere_in_the_project_counts_with_paths_relative_to_it() {
    let files = folder(&[
        ("README.md", ""),
        ("examples/math/metacall.json", r#"{"language_id":"py","path":".","scripts":["sum.py"]}"#),
        ("examples/math/sum.py", "def sum(a, b):\n    return a + b\n"),
        ("examples/text/metacall-py.json", r#"{"language_id":"py","path":"lib","scripts":["up.py"]}"#),
        ("examples/text/lib/up.py", "def up(text):\n    return text.upper()\n"),
    ]);
    let gateway = Gateway::ready(&table(files.path()).replace("it", "served"));
    let (deployed, output) = deploy(&gateway, files.path());
    assert!(deployed, "{output}");
    for name in ["served", "it"] {
        assert_ok(&gateway.call(name, "sum", "[1,2]"), "3");
        assert_ok(&gateway.call(name, "examples/text/lib/up/up", r#"["a"]"#), "\"A\"");
    }
}

#[test]
fn a_zip_of_a_folder_is_unwrapped_and_its_links_are_taken() {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for (name, text) in [
        ("app-main/index.js", "exports.f = () => require('./alias.js').f() + require('./parts/b.js').f();\n"),
        ("app-main/lib/a.js", "exports.f = () => 1;\n"),
        ("app-main/lib/b.js", "exports.f = () => 2;\n"),
        ("__MACOSX/app-main/._index.js", "x"),
    ] {
        zip.start_file(name, options).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    for (name, target) in [
        ("app-main/alias.js", "lib/../parts/a.js"),
        ("app-main/parts", "./lib"),
        ("app-main/node_modules/.bin/tool", "../tool/cli.js"),
    ] {
        zip.add_symlink(name, target, options).unwrap();
    }
    let gateway = Gateway::start("");
    gateway.ship("it", &zip.finish().unwrap().into_inner());
    assert_ok(&gateway.call("it", "f", "[]"), "3");
    for target in ["../outside.js", "/etc/passwd", "nothing.js", "."] {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        zip.start_file("index.js", options).unwrap();
        zip.add_symlink("link", target, options).unwrap();
        let refused = gateway.upload("other", &zip.finish().unwrap().into_inner(), "");
        assert_eq!((refused.status, refused.code()), (422, "bad_archive"), "{target}: {refused:?}");
        assert!(refused.message().contains("\"link\": a symbolic link"), "{refused:?}");
    }
}

#[test]
fn deploys_may_run_under_the_metacall_runtime_in_a_data_folder_with_a_blank() {
    let outer = tempfile::tempdir().unwrap();
    let server = "[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\ndata_dir = \"my data\"\n\
         [deploy]\nruntime = \"metacall\"\n";
    fs::write(outer.path().join("metagate.toml"), server).unwrap();
    let path = std::env::join_paths(
        std::iter::once(fixture("metacall-standin")).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let gateway = Gateway::start_in(outer, |command: &mut Command| {
        command.env("PATH", path.unwrap());
    });
    let (deployed, output) = deploy(&gateway, &fixture("metacall-node"));
    assert!(deployed, "{output}");
    assert_ok(&gateway.call("it", "sum", "[1,2]"), "3");
    // The runtime writes the errors of scripts to standard output, and its start script has the code of a signal.
    let broken = folder(&[(
        "index.js",
        "console.log('words of the runtime');\nprocess.kill(process.pid, 'SIGSEGV');\nwhile (true);\n",
    )]);
    let (deployed, output) = deploy(&gateway, broken.path());
    assert!(!deployed && output.contains("words of the runtime"), "{output}");
    assert!(output.contains("exited with code 139 (signal 11, SIGSEGV"), "{output}");
    assert_eq!(output.matches("exited with code 139").count(), 1, "{output}");
}

#[test]
fn the_runtime_of_deploys_is_checked() {
    for (keys, words) in [
        ("runtime = \"command\"", "is for deployments of this file"),
        ("worker_script = \"x.js\"", "requires runtime"),
        ("runtime = \"cobol\"", "\"node\", \"python\""),
    ] {
        let outer = tempfile::tempdir().unwrap();
        let file = outer.path().join("metagate.toml");
        fs::write(&file, format!("[deploy]\n{keys}\n")).unwrap();
        let output = metagate().arg("check").arg(&file).output().unwrap();
        let faults = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && faults.contains(words), "{}", json!([keys, faults]));
    }
}
