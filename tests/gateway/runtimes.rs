//! Which runtime a folder gets, and that each serves real functions: Node, Python, MetaCall (its runtime stood in for,
//! its own worker unmodified) and any program.

use std::fs;
use std::path::Path;

use crate::support::{Gateway, fixture, metagate};

fn deployment(name: &str, path: &Path, more: &str) -> String {
    format!("[[deployment]]\nname = \"{name}\"\npath = \"{}\"\n{more}\n", path.display())
}

/// The MetaCall runtime is on no registry: a stand-in runs the worker script under Node.
fn standin() -> String {
    format!("runtime = \"metacall\"\ninterpreter = \"{}\"", fixture("metacall-standin/metacall").display())
}

#[test]
fn the_metacall_worker_of_metagate_serves_under_the_standin_of_the_runtime() {
    let gateway = Gateway::ready(&deployment("mc", &fixture("metacall-node"), &standin()));
    assert_eq!(gateway.call("mc", "sum", "[1, 2]").body, "3");
    assert_eq!(gateway.call("mc", "later", "[20]").status, 200);
    assert_eq!(gateway.call("mc", "fail", "[]").code(), "function_error");
    assert_eq!(gateway.call("mc", "metacall", "[]").code(), "function_not_found");
    assert_eq!(gateway.call("mc", "sum", "[3, 4]").body, "7");
    assert_eq!(gateway.stop().code(), Some(0));
}

#[test]
fn the_unmodified_worker_of_metacall_faas_serves_under_the_standin_of_the_runtime() {
    let worker =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/npm/node_modules/@metacall/faas/dist/worker/index.js");
    assert!(worker.is_file(), "no {worker:?}: tests/run.sh installs it (npm install in tests/npm)");
    let more = format!("{}\nworker_script = \"{}\"", standin(), worker.display());
    let gateway = Gateway::ready(&deployment("faas", &fixture("metacall-node"), &more));
    assert_eq!(gateway.call("faas", "sum", r#"{"a":1,"b":2}"#).body, "3");
    assert_eq!(gateway.call("faas", "greet", r#"["Ada"]"#).status, 200);
    let nothing = gateway.call("faas", "nothing", "[]");
    assert_eq!((nothing.status, nothing.body.as_str()), (200, ""));
    assert_eq!(gateway.call("faas", "constructor", "[]").code(), "function_not_found");
    // A throwing function ends this worker, as it does under MetaCall FaaS; its caller hears of it and the next is
    // served.
    let failed = gateway.call("faas", "fail", "[]");
    assert!(failed.status == 502 || failed.body.contains("error"), "{failed:?}");
    assert_eq!(gateway.call("faas", "sum", "[20, 22]").body, "42");
    assert_eq!(gateway.stop().code(), Some(0));
}

#[test]
fn a_worker_in_perl_serves_through_the_command_runtime() {
    let worker = fixture("worker-perl/worker.pl");
    let more = format!("runtime = \"command\"\ncommand = [\"{}\"]", worker.display());
    let gateway = Gateway::ready(&deployment("perl", &fixture("worker-perl"), &more));
    assert_eq!(gateway.call("perl", "add", "[1, 2]").body, "3");
    assert_eq!(gateway.call("perl", "echo", r#"[{"b":1.50,"a":9007199254740993}]"#).status, 200);
    assert_eq!(gateway.call("perl", "fail", "[]").code(), "function_error");
    assert_eq!(gateway.call("perl", "add", "[3, 4]").body, "7");
}

#[test]
fn a_folder_without_metacall_json_is_read_by_its_files() {
    let node = deployment("node", &fixture("node-single"), "");
    let python = deployment("python", &fixture("python-async"), "");
    let gateway = Gateway::ready(&(node + &python));
    let log = gateway.log();
    assert!(log.contains("deployment=node runtime=node"), "{log}");
    assert!(log.contains("deployment=python runtime=python"), "{log}");
}

#[test]
fn several_languages_in_one_folder_need_metacall_and_the_rest_serves() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("index.js"), "exports.a = () => 1;").unwrap();
    fs::write(folder.path().join("main.py"), "def b(): return 2\n").unwrap();
    let tables = deployment("mixed", folder.path(), "") + &deployment("single", &fixture("node-single"), "");
    // A PATH without metacall, whatever this machine has.
    let gateway = Gateway::start_with(&tables, |command| {
        let path = std::env::var_os("PATH").unwrap();
        let without = std::env::split_paths(&path).filter(|folder| !folder.join("metacall").exists());
        command.env("PATH", std::env::join_paths(without).unwrap());
    });
    let mixed = gateway.readiness("mixed");
    let message = mixed["error"]["message"].as_str().unwrap();
    assert!(message.contains("node and py are in one folder") && message.contains("split the deployment"), "{message}");
    let refused = gateway.call("mixed", "a", "[]");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(gateway.get("/readyz").status, 503);
    crate::support::wait_for("the other deployment", || {
        (gateway.readiness("single")["status"] == "ready").then_some(())
    });

    let check = metagate().arg("check").arg(gateway.folder.path().join("metagate.toml")).output().unwrap();
    let faults = String::from_utf8_lossy(&check.stderr);
    assert_eq!(check.status.code(), Some(1));
    assert!(faults.contains("metagate.toml:7:") && faults.contains("needs the MetaCall runtime"), "{faults}");
}

#[test]
fn a_worker_needs_no_writable_deployment_folder_and_changes_nothing_in_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("main.py"), "def b(): return 2\n").unwrap();
    let gateway = Gateway::ready(&deployment("py", folder.path(), ""));
    assert_eq!(gateway.call("py", "b", "[]").body, "2");
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["main.py"]);
}

#[test]
fn w15_a_worker_that_takes_more_memory_than_it_may_is_ended_and_the_next_serves() {
    let folder = tempfile::tempdir().unwrap();
    let code =
        "def eat(megabytes: int) -> int:\n    return len(bytearray(megabytes * 1024 * 1024).replace(b'\\0', b'x'))\n";
    fs::write(folder.path().join("main.py"), code).unwrap();
    let gateway = Gateway::ready(&deployment("eater", folder.path(), "max_memory = \"64MiB\""));
    assert_eq!(gateway.call("eater", "eat", "[1]").body, "1048576");
    // A control group ends the worker; without one the limit of its data makes Python raise MemoryError.
    let greedy = gateway.call("eater", "eat", "[200]");
    assert!(matches!(greedy.code(), "worker_crashed" | "function_error"), "{greedy:?}");
    assert!(greedy.message().contains("emory"), "{greedy:?}");
    assert_eq!(gateway.call("eater", "eat", "[1]").body, "1048576");
}

#[test]
fn a_missing_program_is_named_to_callers_and_fails_readiness() {
    let tables = deployment("gone", &fixture("node-single"), "runtime = \"command\"\ncommand = [\"/nowhere/worker\"]");
    let gateway = Gateway::start(&tables);
    let refused = gateway.call("gone", "f", "[]");
    assert_eq!((refused.status, refused.code()), (503, "spawn_failed"), "{refused:?}");
    assert!(refused.header("retry-after").is_some());
    assert!(refused.message().contains("/nowhere/worker"), "{refused:?}");
    assert_eq!(gateway.readiness("gone")["error"]["code"], "spawn_failed");
    assert_eq!(gateway.get("/api/inspect").json()[0]["status"], "fail");
}

#[test]
fn the_log_has_the_stack_of_what_a_function_raises_and_its_caller_has_not() {
    let gateway = Gateway::ready(&deployment("py", &fixture("python-trouble"), ""));
    let failed = gateway.call("py", "boom", "[]");
    assert_eq!((failed.code(), failed.message().as_str()), ("function_error", "KeyError: 'missing'"));
    let log = gateway.worker_log("py");
    assert!(log.contains("boom failed: Traceback") && log.contains("in boom"), "{log}");
}

#[test]
fn a_function_may_start_a_node_program_that_does_not_take_the_channel_for_its_own() {
    let gateway = Gateway::ready(&deployment("py", &fixture("python-trouble"), ""));
    assert_eq!(gateway.call("py", "start_node", "[]").body, "\"undefined\"");
}

#[test]
fn a_worker_with_an_endless_call_is_replaced_although_it_answers_others() {
    let gateway = Gateway::ready(&deployment("py", &fixture("python-trouble"), "timeout = \"500ms\""));
    assert_eq!(gateway.call("py", "spin", "[]").code(), "call_timeout");
    crate::support::wait_for("a new worker", || {
        assert_eq!(gateway.call("py", "fine", "[]").body, "1");
        (gateway.readiness("py")["restarts"] == 1).then_some(())
    });
    assert_eq!(gateway.call("py", "fine", "[]").body, "1");
}
