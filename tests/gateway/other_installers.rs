//! Lock files of pnpm, yarn and uv: a deploy follows them where their installers are on the gateway's PATH.

use std::env;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::deploys::{multipart, package};
use crate::support::{Answer, Gateway};

const PACKAGE: &str = r#"{"name":"app","version":"1.0.0","dependencies":{"greeter":"file:./lib"}}"#;
const PNPM_LOCK: &str = "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n  \
    excludeLinksFromLockfile: false\n\nimporters:\n\n  .:\n    dependencies:\n      greeter:\n        \
    specifier: file:./lib\n        version: file:lib\n\npackages:\n\n  greeter@file:lib:\n    \
    resolution: {directory: lib, type: directory}\n\nsnapshots:\n\n  greeter@file:lib: {}\n";
const YARN_LOCK: &str = "# yarn lockfile v1\n\n\n\"greeter@file:./lib\":\n  version \"1.0.0\"\n";
const UV_LOCK: &str = "version = 1\nrequires-python = \">=3.9\"\n\n[[package]]\nname = \"app\"\nversion = \"1\"\n\
    source = { virtual = \".\" }\ndependencies = [\n    { name = \"greeting\" },\n]\n\n[package.metadata]\n\
    requires-dist = [{ name = \"greeting\", directory = \"lib\" }]\n\n[[package]]\nname = \"greeting\"\n\
    version = \"1\"\nsource = { directory = \"lib\" }\n";

/// A gateway whose PATH has the installers that `tests/run.sh` fetches.
fn gateway() -> Gateway {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let own = [tests.join("npm/node_modules/.bin"), tests.join("pypi/packages/bin")];
    assert!(own[0].join("pnpm").exists() && own[0].join("yarn").exists(), "run \"npm install\" in tests/npm");
    assert!(own[1].join("uv").exists(), "run \"tests/run.sh\": there is no uv");
    let path = env::var_os("PATH").unwrap();
    let path = env::join_paths(own.into_iter().chain(env::split_paths(&path).collect::<Vec<PathBuf>>())).unwrap();
    Gateway::start_with("", |command| {
        command.env("PATH", path);
    })
}

fn deploy(gateway: &Gateway, id: &str, files: &[(&str, &str)]) -> Answer {
    let (kind, body) = multipart(id, "[]", "[\"nodejs\",\"python\"]", &package(files));
    let uploaded = gateway.post("/api/package/create", &[("content-type", &kind)], body);
    assert_eq!(uploaded.status, 201, "{uploaded:?}");
    gateway.create(id, &json!([]))
}

fn node<'a>(package: &'a str, lock: (&'a str, &'a str)) -> Vec<(&'a str, &'a str)> {
    vec![
        ("package.json", package),
        lock,
        ("lib/package.json", r#"{"name":"greeter","version":"1.0.0"}"#),
        ("lib/index.js", "exports.greet = (name) => `hello ${name}`;"),
        ("index.js", "exports.greet = require('greeter').greet;"),
    ]
}

#[track_caller]
fn assert_follows(gateway: &Gateway, id: &str, files: &[(&str, &str)], command: &str) {
    let deployed = deploy(gateway, id, files);
    let log = gateway.get(&format!("/api/logs/{id}")).body;
    assert_eq!(deployed.status, 200, "{deployed:?}\n{log}");
    assert!(log.contains(&format!("{command} in \".\"")) && !log.contains("is not followed"), "{log}");
    assert_eq!(gateway.call(id, "greet", "[\"Ada\"]").body, "\"hello Ada\"");
}

#[test]
fn lock_files_of_pnpm_and_yarn_are_followed_by_them() {
    let gateway = gateway();
    assert_follows(&gateway, "with-pnpm", &node(PACKAGE, ("pnpm-lock.yaml", PNPM_LOCK)), "pnpm install");
    assert_follows(&gateway, "with-yarn", &node(PACKAGE, ("yarn.lock", YARN_LOCK)), "yarn install");
    // A lock that does not fit is theirs to refuse.
    let other = PACKAGE.replace("greeter", "other");
    for (id, lock, command) in
        [("p", ("pnpm-lock.yaml", PNPM_LOCK), "pnpm install"), ("y", ("yarn.lock", YARN_LOCK), "yarn install")]
    {
        let answer = deploy(&gateway, id, &node(&other, lock));
        assert_eq!(answer.status, 422, "{answer:?}");
        let expected = format!("{command} in \\\".\\\" exited with code 1");
        assert!(answer.body.contains(&expected) && answer.body.contains("frozen"), "{answer:?}");
    }
}

#[test]
fn a_lock_file_of_uv_is_followed_by_it() {
    let library = "[project]\nname = \"greeting\"\nversion = \"1\"\n[build-system]\nrequires = [\"uv_build\"]\n\
        build-backend = \"uv_build\"\n";
    let project = "[project]\nname = \"app\"\nversion = \"1\"\nrequires-python = \">=3.9\"\n\
        dependencies = [\"greeting\"]\n[tool.uv.sources]\ngreeting = { path = \"lib\" }\n";
    let files = [
        ("pyproject.toml", project),
        ("uv.lock", UV_LOCK),
        ("lib/pyproject.toml", library),
        ("lib/src/greeting/__init__.py", "def hello(name):\n    return f\"hello {name}\"\n"),
        ("main.py", "import greeting\n\n\ndef greet(name):\n    return greeting.hello(name)\n"),
    ];
    assert_follows(&gateway(), "with-uv", &files, "uv pip install");
}

#[test]
fn workspaces_of_pnpm_are_linked_by_it() {
    let lock = "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n\n\
        importers:\n\n  .:\n    dependencies:\n      greeter:\n        specifier: workspace:*\n        \
        version: link:packages/greeter\n\n  packages/greeter:\n    dependencies:\n      words:\n        \
        specifier: workspace:*\n        version: link:../words\n\n  packages/words: {}\n";
    let files = [
        ("package.json", r#"{"name":"app","version":"1.0.0","dependencies":{"greeter":"workspace:*"}}"#),
        ("pnpm-workspace.yaml", "packages: [\"packages/*\"]\n"),
        ("pnpm-lock.yaml", lock),
        (
            "packages/greeter/package.json",
            r#"{"name":"greeter","version":"1.0.0","dependencies":{"words":"workspace:*"}}"#,
        ),
        ("packages/greeter/index.js", "exports.greet = (name) => `${require('words').hello} ${name}`;"),
        ("packages/words/package.json", r#"{"name":"words","version":"1.0.0"}"#),
        ("packages/words/index.js", "exports.hello = 'hello';"),
        ("index.js", "exports.greet = require('greeter').greet;"),
    ];
    assert_follows(&gateway(), "workspaces", &files, "pnpm install");
}

#[test]
fn a_lock_of_a_later_yarn_is_named_as_not_followed_by_yarn_1() {
    let lock = "# This file is generated\n\n__metadata:\n  version: 10\n  cacheKey: 10c0\n";
    let gateway = gateway();
    let deployed = deploy(&gateway, "later", &node(PACKAGE, ("yarn.lock", lock)));
    let log = gateway.get("/api/logs/later").body;
    assert_eq!(deployed.status, 200, "{deployed:?}\n{log}");
    assert!(log.contains("yarn.lock is not followed") && log.contains("npm install in \".\""), "{log}");
    assert!(!log.contains("yarn install"), "{log}");
}
