//! MetaCall's own clients from npm, unmodified: its command line, on a terminal and off it, and every method of its
//! protocol library. The dependencies of what they deploy come from the registries.

mod command_line;
mod git_server;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use self::command_line::{Cli, Watching, app, from_npm, owned};
use self::git_server::Repositories;
use crate::support::{Gateway, fixture};

const TOKEN: &str = "a-token-of-a-test-that-is-long-enough";

#[test]
fn metacalls_command_line_deploys_a_node_app_with_its_dependencies() {
    let gateway = Gateway::start("[deploy]\nstatic_files = true\n");
    let cli = Cli::dev(&gateway);
    let folder = app("deploy-node");
    cli.deploy(folder.path(), "Durations", &gateway);
    // The client makes names lower case.
    assert_eq!(gateway.call("durations", "milliseconds", r#"["2 days"]"#).body, "172800000");
    assert_eq!(gateway.call("durations", "greeting", "").body, "\"hello from .env\"");
    assert_eq!(gateway.get("/local/durations/v1/static/index.js").status, 200);
    assert_eq!(gateway.get("/local/durations/v1/static/.env").status, 404);

    let raw = cli.inspect(&gateway);
    assert_eq!((raw.len(), &raw[0]["suffix"], &raw[0]["status"]), (1, &json!("durations"), &json!("ready")));
    assert_eq!((&raw[0]["prefix"], &raw[0]["version"], &raw[0]["ports"]), (&json!("local"), &json!("v1"), &json!([])));

    let described = cli.succeed(&["--inspect", "OpenAPIv3"], &gateway);
    let described: Value = serde_json::from_str(&described).unwrap();
    assert_eq!(described[0]["servers"][0]["url"], gateway.url("/local/durations/v1"));
    let paths: BTreeSet<&String> = described[0]["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths.into_iter().collect::<Vec<_>>(), ["/await/later", "/call/greeting", "/call/milliseconds"]);
    assert!(described[0]["paths"]["/call/milliseconds"]["post"].is_object());

    let mut table = cli.command(&[cli.program(), owned(&["--inspect"])].concat());
    let mut table = Watching(table.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(table.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    for address in ["call/milliseconds", "call/greeting", "await/later"] {
        assert!(lines.any(|line| line.contains(&gateway.url(&format!("/local/durations/v1/{address}")))));
    }
    drop(table);

    let wrong = cli.run(&["--inspect", "Nonsense"]);
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
}

#[test]
fn metacalls_command_line_deploys_a_python_app_with_its_dependencies() {
    let gateway = Gateway::start("");
    let cli = Cli::dev(&gateway);
    let folder = app("deploy-python");
    cli.deploy(folder.path(), "texts", &gateway);
    assert_eq!(gateway.call("texts", "text_of", "[[104, 105]]").body, "\"hi\"");
    assert_eq!(gateway.call("texts", "greeting", "").body, "\"hello from .env\"");
    let raw = cli.inspect(&gateway);
    let functions: Vec<&str> = raw[0]["packages"]["py"][0]["scope"]["funcs"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|function| function["name"].as_str())
        .collect();
    assert_eq!(functions, ["text_of", "greeting"]);
}

#[test]
fn metacalls_command_line_deploys_functions_in_webassembly() {
    let gateway = Gateway::start("");
    let cli = Cli::dev(&gateway);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("numbers.wat"), crate::wasm::NUMBERS).unwrap();
    let json = r#"{"language_id":"wasm","path":".","scripts":["numbers.wat"]}"#;
    fs::write(folder.path().join("metacall.json"), json).unwrap();
    cli.deploy(folder.path(), "numbers", &gateway);
    assert_eq!(gateway.call("numbers", "add", "[1, 2]").body, "3");
    assert_eq!(cli.inspect(&gateway)[0]["packages"]["wasm"][0]["name"], "numbers.wat");
}

#[test]
fn metacalls_command_line_shows_why_a_deploy_failed_and_replaces_by_force_only() {
    let gateway = Gateway::start("");
    let cli = Cli::dev(&gateway);
    let folder = app("deploy-node");
    let path = folder.path().to_str().unwrap();
    fs::write(folder.path().join("index.js"), "throw new Error('no such table: users')\n").unwrap();
    let failed = cli.run(&["--workdir", path, "--projectName", "broken"]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    let words = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(words.contains("error code: 422") && words.contains("no such table: users"), "{words}");

    // What has failed can be deployed over; what serves is replaced only when asked for.
    fs::copy(fixture("deploy-node/index.js"), folder.path().join("index.js")).unwrap();
    cli.deploy(folder.path(), "broken", &gateway);
    let again = cli.run(&["--workdir", path, "--projectName", "broken"]);
    assert_eq!(again.status.code(), Some(5), "{again:?}");
    assert!(String::from_utf8_lossy(&again.stderr).contains("status code 400"), "{again:?}");
    let forced = cli.succeed(&["--force", "--workdir", path, "--projectName", "broken"], &gateway);
    assert!(forced.contains("forcefully") && forced.contains("Repository deployed"), "{forced}");
    assert_eq!(gateway.call("broken", "milliseconds", r#"["1s"]"#).body, "1000");
    assert!(cli.succeed(&["--listPlans"], &gateway).contains("Essential: "));
}

#[test]
fn metacalls_command_line_shows_the_logs_and_deletes_on_a_terminal() {
    let gateway = Gateway::start("");
    let cli = Cli::dev(&gateway);
    let folder = app("deploy-node");
    let path = folder.path().to_str().unwrap();
    let steps = [("Select a container to get logs", "\r")];
    let (code, screen) = cli.on_terminal(&["--workdir", path, "--projectName", "shown"], &steps);
    assert_eq!(code, Some(0), "{screen}\n{}", gateway.log());
    for words in ["Getting deploy logs for shown", "npm install", "the node app is loaded", "Repository deployed"] {
        assert!(screen.contains(words), "no {words:?} in\n{screen}");
    }
    cli.deploy(app("deploy-python").path(), "kept", &gateway);
    // The newest is first.
    let steps = [("Select the deployment to delete", "\x1b[B\r")];
    let (code, screen) = cli.on_terminal(&["--delete"], &steps);
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("Deploy Delete Succeed"), "{screen}");
    let left: Vec<Value> = cli.inspect(&gateway).iter().map(|one| one["suffix"].clone()).collect();
    assert_eq!(left, ["kept"]);
    assert_eq!(gateway.call("shown", "greeting", "").code(), "deployment_not_found");
}

#[test]
fn metacalls_wizard_says_which_scripts_of_a_folder_without_metacall_json_are_meant() {
    let gateway = Gateway::start("");
    let cli = Cli::dev(&gateway);
    let folder = app("deploy-node");
    fs::remove_file(folder.path().join("metacall.json")).unwrap();
    fs::write(folder.path().join("other.js"), "exports.other = () => 1\n").unwrap();
    let path = folder.path().to_str().unwrap();
    // Static files are the first of the languages and NodeJS the second; index.js is the first script.
    let steps = [
        ("Do you want to save metacall.json file?", "N\r"),
        ("Select languages to run on MetaCall", "\x1b[B \r"),
        ("Select files to load with", " \r"),
        ("Select a container to get logs", "\r"),
    ];
    let (code, screen) = cli.on_terminal(&["--workdir", path, "--projectName", "chosen"], &steps);
    assert_eq!(code, Some(0), "{screen}\n{}", gateway.log());
    assert_eq!(gateway.call("chosen", "milliseconds", r#"["1s"]"#).body, "1000");
    assert_eq!(gateway.call("chosen", "other", "").code(), "function_not_found");
}

#[test]
fn metacalls_command_line_deploys_a_branch_of_a_repository() {
    let repositories = Repositories::start();
    let gateway = Gateway::start(&format!("[deploy]\nrepositories = [{:?}]\n", repositories.url("")));
    let cli = Cli::dev(&gateway);
    let url = repositories.url("team/app.git");
    // Branches come in the order of their names: main, next.
    let steps = [
        ("Select branch:", "\x1b[B\r"),
        ("Do you want to add environment variables?", "y\r"),
        ("Type env vars in the format", "GREETING=typed, EMPTY\r"),
        ("Select a container to get logs", "\r"),
    ];
    let (code, screen) = cli.on_terminal(&["--addrepo", &url], &steps);
    assert_eq!(code, Some(0), "{screen}\n{}", gateway.log());
    assert!(screen.contains("the node app is loaded"), "{screen}");
    assert_eq!(gateway.call("team-app", "greeting", "").body, "\"typed\"");
    assert_eq!(gateway.call("team-app", "branch", "").body, "\"next\"");
}

#[test]
fn metacalls_command_line_works_with_a_token_and_not_without() {
    let gateway = Gateway::start(&format!("[admin]\ntoken = {TOKEN:?}\n"));
    let folder = app("deploy-node");
    Cli::with_token(&gateway, TOKEN).deploy(folder.path(), "guarded", &gateway);
    assert_eq!(gateway.call("guarded", "milliseconds", r#"["1s"]"#).body, "1000");
    for cli in [Cli::with_token(&gateway, "wrong"), Cli::dev(&gateway)] {
        let refused = cli.run(&["--inspect", "Raw"]);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(!String::from_utf8_lossy(&refused.stdout).contains("guarded"), "{refused:?}");
    }
}

/// The steps of `every-method.js` that succeed, with their values.
fn expected_values() -> Vec<(&'static str, Value)> {
    let deployed = |name: &str| json!({ "prefix": "local", "suffix": name, "version": "v1" });
    let allowed = json!({ "status": "success", "data": true });
    vec![
        ("ready", json!(true)),
        ("validate", allowed.clone()),
        ("refresh", json!(TOKEN)),
        ("deployEnabled", allowed),
        ("listSubscriptions", json!({ "Essential": 2 })),
        // It asks the address of the one before.
        ("listSubscriptionsDeploys", json!(["Essential", "Essential"])),
        ("upload", json!({ "id": "blob" })),
        ("deploy", deployed("blob")),
        ("uploadOfAStream", json!({ "id": "stream" })),
        ("deployOfAStream", deployed("stream")),
        ("inspect", json!(["stream", "blob"])),
        ("waitFor", json!("ready")),
        ("call", json!(172_800_000)),
        ("callByNames", json!(172_800_000)),
        ("callWithoutArguments", json!("hello")),
        ("await", json!("later, Ada")),
        ("invoke", json!(1000)),
        ("branchList", json!({ "branches": ["main", "next"] })),
        ("fileList", json!(["index.js", "metacall.json", "package.json"])),
        ("add", json!({ "id": "team-app" })),
        ("deployOfARepository", deployed("team-app")),
        ("callOfARepository", json!("hello")),
        ("delete 0", json!("Deploy Delete Succeed")),
        ("delete 1", json!("Deploy Delete Succeed")),
        ("delete 2", json!("Deploy Delete Succeed")),
        ("inspectAtTheEnd", json!([])),
    ]
}

#[test]
fn every_method_of_metacalls_protocol_library_works() {
    let repositories = Repositories::start();
    let gateway =
        Gateway::start(&format!("[admin]\ntoken = {TOKEN:?}\n[deploy]\nrepositories = [{:?}]\n", repositories.url("")));
    let files = ["index.js", "package.json", "metacall.json"];
    let texts = files.map(|name| (name, fs::read_to_string(fixture("deploy-node").join(name)).unwrap()));
    let archive = super::package(&texts.each_ref().map(|(name, text)| (*name, text.as_str())));
    let zip = gateway.folder.path().join("package.zip");
    fs::write(&zip, archive).unwrap();
    let output = Command::new("node")
        .arg(fixture("metacall-protocol/every-method.js"))
        // With any other host name its calls go to MetaCall's own service.
        .args([&format!("http://localhost:{}", gateway.address.port()), TOKEN])
        .args([zip.to_str().unwrap(), &repositories.url("team/app.git")])
        .env("NODE_PATH", from_npm("@metacall/protocol").join("../.."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}\n{}", gateway.log());
    let answers: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (step, expected) in expected_values() {
        assert_eq!(answers[step], json!({ "value": expected }), "{step} of {answers:#}\n{}", gateway.log());
    }
    for (step, words) in [
        ("uploadAgain", "HTTP 400: Bad Request"),
        ("deployOfNothing", "Invalid deployment id: nothing"),
        ("callOfNothing", "function_not_found"),
        ("delete 3", "HTTP 404: Not Found"),
    ] {
        let error = answers[step]["error"].as_str().unwrap_or_default();
        assert!(error.contains(words), "{step}: no {words:?} in {error:?}");
    }
    assert_eq!(answers["inspectByName"]["value"]["packages"]["node"][0]["name"], "index.js", "{answers:#}");
    for step in ["logs", "logsOfARunner"] {
        let text = answers[step]["value"].as_str().unwrap_or_default();
        assert!(text.contains("npm install") && text.contains("the node app is loaded"), "{step}: {answers:#}");
    }
}
