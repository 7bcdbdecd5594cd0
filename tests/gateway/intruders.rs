//! Functions that try to use the admin API of a gateway without a token, and programs that may.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::deploys::{multipart, versioned};
use crate::support::{Gateway, fixture, metagate, wait_for};

/// Requests that only those who may use the API get an answer to.
const ADMIN: [(&str, &str); 6] = [
    ("GET", "/api/inspect"),
    ("GET", "/metrics"),
    ("GET", "/validate"),
    ("POST", "/api/deploy/create"),
    ("POST", "/api/package/create"),
    ("POST", "/api/reload"),
];
const CURL: [&str; 7] = ["curl", "--silent", "--max-time", "20", "--output", "/dev/null", "--write-out"];

/// A gateway with the deployments `python` and `node`.
fn with_intruders(tables: &str) -> Gateway {
    let table = |name: &str| {
        let path = fixture("intruders").join(name);
        format!("[[deployment]]\nname = {name:?}\npath = {path:?}\nruntime = {name:?}\n")
    };
    Gateway::ready(&format!("{tables}{}{}", table("python"), table("node")))
}

#[track_caller]
fn value_of(gateway: &Gateway, deployment: &str, function: &str, arguments: &Value) -> Value {
    let answer = gateway.call(deployment, function, &arguments.to_string());
    assert_eq!(answer.status, 200, "{answer:?}\n{}", gateway.worker_log(deployment));
    answer.json()
}

/// The arguments of curl that make it print the status of an answer.
fn curl(arguments: &[&str]) -> Vec<String> {
    CURL.iter().chain(&["%{http_code}"]).chain(arguments).map(|&argument| argument.to_owned()).collect()
}

/// The status that curl gets when the test runs it.
fn status_of(arguments: &[&str]) -> String {
    let command = curl(arguments);
    let output = Command::new(&command[0]).args(&command[1..]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn functions_are_refused_by_the_admin_api_and_other_programs_are_not() {
    let gateway = with_intruders("");
    for deployment in ["python", "node"] {
        for (method, path) in ADMIN {
            let url = gateway.url(path);
            assert_eq!(value_of(&gateway, deployment, "ask", &json!([url, method])), 403, "{deployment} {path}");
            let program = curl(&["--request", method, &url]);
            assert_eq!(value_of(&gateway, deployment, "run", &json!([program])), "403", "{deployment} {path}");
        }
        let program = ["curl", "--silent", "--include", &gateway.url("/api/inspect")];
        let refusal = value_of(&gateway, deployment, "run", &json!([program]));
        assert!(refusal.as_str().unwrap().contains("x-metagate-error: forbidden"), "{refusal}");
    }
    assert_eq!(status_of(&[&gateway.url("/api/inspect")]), "200");
    assert_eq!(status_of(&["--http2-prior-knowledge", &gateway.url("/metrics")]), "200");
    gateway.ship("shipped", &versioned(1));
    assert_eq!(gateway.call("shipped", "version", "").body, "1");
}

#[test]
fn an_upload_of_a_function_is_refused() {
    let (kind, body) = multipart("intruder", "[]", "[]", &versioned(1));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("upload");
    fs::write(&file, body).unwrap();
    let gateway = with_intruders("");
    let (header, data) = (format!("content-type: {kind}"), format!("@{}", file.display()));
    let arguments = ["--header", &header, "--data-binary", &data, &gateway.url("/api/package/create")];
    assert_eq!(value_of(&gateway, "node", "run", &json!([curl(&arguments)])), "403");
    assert_eq!(status_of(&arguments), "201", "the same upload of another program");
}

#[test]
fn commands_of_metagate_are_refused_when_a_function_runs_them() {
    let gateway = with_intruders("");
    let (program, url) = (metagate().get_program().to_str().unwrap().to_owned(), gateway.url(""));
    let script = "\"$@\" 2>&1; echo status $?";
    let command = json!(["sh", "-c", script, "sh", program, "inspect", "--url", url]);
    let output = value_of(&gateway, "python", "run", &json!([command]));
    assert!(output.as_str().unwrap().contains("admin API only with a token"), "{output}");
    let output = Command::new(&program).args(["inspect", "--url", &url]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn what_is_not_the_admin_api_stays_open_to_functions() {
    let gateway = with_intruders("");
    for (method, path) in
        [("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/api/readiness"), ("POST", "/local/node/v1/call/run")]
    {
        let status = value_of(&gateway, "python", "ask", &json!([gateway.url(path), method]));
        // The function `run` of the call has no program to run.
        let expected = if path.ends_with("/run") { 500 } else { 200 };
        assert_eq!(status, expected, "{path}");
    }
}

#[test]
fn functions_do_not_see_why_a_deployment_is_not_ready() {
    let broken = format!("[[deployment]]\nname = \"bad\"\npath = {:?}\n", fixture("broken-node"));
    let path = fixture("intruders").join("python");
    let gateway = Gateway::start(&format!("{broken}[[deployment]]\nname = \"python\"\npath = {path:?}\n"));
    wait_for("both deployments", || {
        let is = |name, status| (gateway.readiness(name)["status"] == status).then_some(());
        is("bad", "failed").and(is("python", "ready"))
    });
    let seen = |program: Vec<String>| value_of(&gateway, "python", "run", &json!([program]));
    let detail = seen(["curl", "--silent", &gateway.url("/readyz")].map(str::to_owned).to_vec());
    let detail: Value = serde_json::from_str(detail.as_str().unwrap()).unwrap();
    let bad = detail["deployments"].as_array().unwrap().iter().find(|one| one["name"] == "bad").unwrap();
    assert_eq!((&bad["status"], &bad["error"]["code"]), (&json!("failed"), &json!("load_failed")));
    assert_eq!(bad["error"].get("stderr"), None, "{bad}");
    assert!(gateway.readiness("bad")["error"]["stderr"].as_str().unwrap().contains("RangeError"));
}

#[test]
fn a_daemon_that_has_cut_all_its_ties_to_a_function_is_refused() {
    let gateway = with_intruders("");
    let program = curl(&[&gateway.url("/api/inspect")]);
    let file = value_of(&gateway, "python", "run_daemon", &json!([program]));
    let file = Path::new(file.as_str().unwrap());
    let status = wait_for("the answer", || read(file));
    fs::remove_dir_all(file.parent().unwrap()).unwrap();
    assert_eq!(status, "403");
}

#[test]
fn a_connection_that_no_process_shows_is_refused() {
    let gateway = with_intruders("");
    let asked = |function, path| value_of(&gateway, "python", function, &json!([gateway.url(path)]));
    assert_eq!(asked("ask_with_a_socket_under_way", "/healthz"), 200);
    assert_eq!(asked("ask_with_a_socket_under_way", "/api/inspect"), 403);
    if asked("ask_with_descriptors_of_a_thread", "/healthz") == 200 {
        assert_eq!(asked("ask_with_descriptors_of_a_thread", "/api/inspect"), 403);
    }
}

#[test]
fn functions_are_refused_over_ipv6_and_over_http_2() {
    let Ok(free) = TcpListener::bind("[::1]:0") else { return };
    let admin = free.local_addr().unwrap();
    drop(free);
    let gateway = with_intruders(&format!("[admin]\nlisten = \"{admin}\"\n"));
    let localhost = format!("http://localhost:{}/api/inspect", admin.port());
    for url in [&format!("http://{admin}/api/inspect"), &localhost] {
        for arguments in [&["-6", url][..], &["-6", "--http2-prior-knowledge", url]] {
            for deployment in ["python", "node"] {
                let status = value_of(&gateway, deployment, "run", &json!([curl(arguments)]));
                assert_eq!(status, "403", "{deployment} {arguments:?}");
            }
            assert_eq!(status_of(arguments), "200", "{arguments:?}");
        }
    }
}

#[test]
fn functions_with_the_token_may_use_the_api() {
    let token = "a-token-of-more-than-thirty-two-bytes";
    let gateway = Gateway::start(&format!(
        "[admin]\ntoken = {token:?}\n[[deployment]]\nname = \"python\"\npath = {:?}\n",
        fixture("intruders").join("python")
    ));
    gateway.wait_ready();
    let header = format!("authorization: Bearer {token}");
    let url = gateway.url("/api/inspect");
    for (arguments, expected) in [(&[&*url][..], "401"), (&["--header", &header, &url], "200")] {
        assert_eq!(value_of(&gateway, "python", "run", &json!([curl(arguments)])), expected);
    }
}

#[test]
fn a_program_that_was_started_before_the_gateway_by_the_same_script_may_use_the_api() {
    let gateway = Gateway::start_with("", |command| {
        let (program, folder) = (command.get_program().to_owned(), command.get_current_dir().unwrap().to_owned());
        let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let stderr = fs::OpenOptions::new().append(true).open(folder.join("stderr.log")).unwrap();
        let wait = "while [ ! -s url ]; do sleep 0.01; done";
        let ask = format!("{} '%{{http_code}}' $(cat url) > status.new; mv status.new status", CURL.join(" "));
        let script = format!("({wait}; {ask}) > /dev/null 2>&1 & exec \"$@\"");
        *command = Command::new("sh");
        command.args(["-c", &script, "sh"]).arg(program).args(args);
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
    });
    let put = |name: &str, text: &str| {
        let staged = gateway.folder.path().join(format!("{name}.new"));
        fs::write(&staged, text).unwrap();
        fs::rename(staged, gateway.folder.path().join(name)).unwrap();
    };
    put("url", &gateway.url("/api/inspect"));
    let status = wait_for("the answer", || read(&gateway.folder.path().join("status")));
    assert_eq!(status, "200");
}

fn read(file: &Path) -> Option<String> {
    fs::read_to_string(file).ok()
}
