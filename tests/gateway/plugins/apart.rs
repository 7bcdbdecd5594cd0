//! Plugins with `isolation = "process"`: their hooks answer as in the gateway, and what happens to their process
//! happens to them alone.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::faulty::{assert_error, assert_ok, send_signal};
use crate::plugins::component::{Code, Plugin};
use crate::plugins::{
    Files, MORE_KEYS, asked, assert_failed, boundaries, call_do, chains, declarations, deployment, grants, hostile,
    loads, policy, put, refusal_of, reload, state_of, table, with_plugin,
};
use crate::support::{Gateway, fixture, metagate, wait_for};

const APART: &str = "isolation = \"process\"\n";

/// Runs tests of plugins with their plugins in processes of their own.
fn apart(tests: &[fn()]) {
    MORE_KEYS.set(APART);
    tests.iter().for_each(|test| test());
    MORE_KEYS.set("");
}

#[test]
fn hooks_read_and_change_the_same_in_a_process_of_their_own() {
    apart(&[
        chains::the_context_belongs_to_the_call_and_private_values_stay_private,
        chains::the_context_has_its_limits,
        chains::a_before_hook_answers_with_status_headers_and_body,
        chains::changes_of_arguments_and_headers_reach_later_plugins_and_the_function,
        chains::a_hook_reads_every_field_of_the_call,
        chains::an_after_hook_sees_every_outcome,
        chains::an_after_hook_changes_status_headers_body_and_problem,
    ]);
}

#[test]
fn grants_are_the_same_in_a_process_of_its_own() {
    apart(&[
        grants::a_store_sets_compares_deletes_and_expires,
        grants::a_store_belongs_to_its_plugin_and_outlives_instances_and_reloads,
        grants::a_plugin_reads_granted_environment_variables_only,
        grants::a_secret_is_visible_to_its_plugin_only,
        grants::its_counters_are_in_the_admin_api_and_in_the_metrics,
        grants::a_plugin_has_its_configuration_and_may_refuse_it,
        grants::a_plugin_calls_granted_functions_only,
        grants::a_plugins_call_runs_through_the_plugins_of_its_function_but_not_through_itself,
        grants::requests_go_to_granted_origins_only_and_so_do_redirects,
    ]);
}

#[test]
fn load_hooks_do_the_same_in_a_process_of_their_own() {
    apart(&[
        loads::before_load_sets_environment_limits_and_labels,
        loads::before_load_gets_the_reason_for_what_it_may_not_set,
        loads::a_load_hook_reads_the_release_and_its_files_and_nothing_else,
    ]);
}

#[test]
fn hostile_hooks_end_alike_in_a_process_of_their_own() {
    apart(&[
        hostile::p1_a_loop_in_a_bulk_operation_is_interrupted,
        hostile::p2_a_memory_bomb_ends_at_its_limit_and_leaves_nothing_behind,
        hostile::p3_a_trap_ends_its_call_and_its_instance_only,
        hostile::p14_a_fresh_instance_has_no_state_and_a_warm_one_keeps_it,
        hostile::p14_an_interrupted_instance_is_not_reused,
    ]);
}

#[test]
fn the_boundaries_of_hooks_are_the_same_in_a_process_of_their_own() {
    apart(&[
        boundaries::p5_a_flood_of_output_ends_the_hook_call,
        boundaries::p13_setters_return_the_reason_of_a_refusal,
        boundaries::p15_printed_lines_are_logged_with_the_request_id_of_their_call,
    ]);
}

#[test]
fn policies_are_the_same_in_a_process_of_its_own() {
    apart(&[
        policy::a_hook_runs_to_its_end_when_its_caller_goes_away,
        policy::hook_calls_beyond_max_instances_wait_and_those_beyond_the_queue_are_refused,
        policy::in_observe_mode_verdicts_are_counted_and_not_applied,
    ]);
}

#[test]
fn declarations_are_the_same_in_a_process_of_its_own() {
    apart(&[
        declarations::a_document_lists_what_the_plugins_of_each_function_declare,
        declarations::a_declaration_that_is_not_valid_is_a_fault_of_its_plugin,
    ]);
}

/// The processes of plugins of a gateway.
fn processes(gateway: &Gateway) -> Vec<u32> {
    let is_plugin = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("\0worker\0plugin\0") && !line.starts_with(b"/proc/self/exe\0launch")
    };
    gateway.worker_pids().into_iter().filter(is_plugin).collect()
}

/// The process of the only plugin, once it is another than `before`.
fn process(gateway: &Gateway, before: Option<u32>) -> u32 {
    wait_for("the process of the plugin", || match processes(gateway)[..] {
        [pid] if Some(pid) != before => Some(pid),
        _ => None,
    })
}

/// Stops a process, and waits until none of its threads runs.
fn stop(pid: u32) {
    send_signal(pid, Signal::STOP);
    let is_stopped = |stat: String| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim().starts_with('T'));
    wait_for("the stop of the process", || {
        let mut threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        threads
            .all(|thread| is_stopped(fs::read_to_string(thread.path().join("stat")).unwrap_or_default()))
            .then_some(())
    });
}

/// Answers with the number of the call in this instance, or traps.
fn counting() -> Plugin {
    Plugin::new().item("(global $count (mut i32) (i32.const 0))").before_invoke(|c| {
        let asked = asked(c);
        asked.on(c, 't', |c| c.raw("(unreachable)"));
        asked.on(c, 'c', |c: &mut Code| {
            c.raw("(global.set $count (i32.add (global.get $count) (i32.const 1)))");
            let count = c.decimal32("(global.get $count)");
            c.tell(&count);
        });
    })
}

#[test]
fn a_process_that_dies_under_load_fails_its_hooks_only_and_is_started_again() {
    let keys = format!("{APART}deployments = [\"it\"]\ntimeout = \"10s\"");
    let (gateway, _files) = with_plugin(&deployment("free"), counting(), &keys);
    let (done, mut pid) = (AtomicBool::new(false), process(&gateway, None));
    thread::scope(|scope| {
        let calls = |deployment: &'static str| {
            let (gateway, done) = (&gateway, &done);
            move || {
                let mut served = 0;
                while !done.load(Ordering::Relaxed) {
                    let answer = gateway.call(deployment, "args", "[1]");
                    if answer.status == 503 && deployment == "it" {
                        assert_error(&answer, 503, "plugin_failed");
                        assert!(answer.header("retry-after").is_some(), "{answer:?}");
                    } else {
                        assert_ok(&answer, "[1]");
                        served += 1;
                    }
                }
                served
            }
        };
        let callers: Vec<_> = ["it", "it", "free"].map(|deployment| scope.spawn(calls(deployment))).into();
        for _ in 0..3 {
            send_signal(pid, Signal::KILL);
            pid = process(&gateway, Some(pid));
            assert_ok(&gateway.call("free", "args", "[1]"), "[1]");
        }
        wait_for("a call through the plugin", || (gateway.call("it", "args", "[2]").status == 200).then_some(()));
        done.store(true, Ordering::Relaxed);
        for caller in callers {
            assert!(caller.join().unwrap() > 0);
        }
    });
    gateway.wait_log("process of a plugin ended; starting another");
    assert!(gateway.log().contains("exited by signal 9"), "{}", gateway.log());
    let state = state_of(&gateway, "p");
    assert_eq!((&state["status"], &state["process_restarts"]), (&json!("ready"), &json!(3)), "{state}");
    assert!(gateway.get("/metrics").body.contains("metagate_plugin_process_restarts_total{plugin=\"p\"} 3"));
}

#[test]
fn a_process_that_does_not_answer_is_ended_and_another_started() {
    let (gateway, _files) = with_plugin("", counting(), &format!("{APART}timeout = \"100ms\""));
    let pid = process(&gateway, None);
    stop(pid);
    let answer = call_do(&gateway, "count");
    assert_failed(&answer);
    assert!(answer.message().contains("took too long"), "{answer:?}");
    let next = process(&gateway, Some(pid));
    assert!(next != pid);
    wait_for("a call through the plugin", || (call_do(&gateway, "nothing").status == 200).then_some(()));
}

#[test]
fn on_error_decides_about_a_call_whose_hook_loses_its_process() {
    let keys = format!("{APART}timeout = \"100ms\"\non_error = \"skip\"");
    let (gateway, _files) = with_plugin("", counting(), &keys);
    stop(process(&gateway, None));
    assert_ok(&call_do(&gateway, "count"), "[1]");
}

#[test]
fn a_reload_replaces_the_process_and_the_end_of_the_gateway_ends_it() {
    let (gateway, files) = with_plugin("", counting(), APART);
    let old = process(&gateway, None);
    assert_eq!(call_do(&gateway, "count").message(), "1");
    assert_eq!(call_do(&gateway, "count").message(), "2", "one instance");
    put(&files.path().join("p.wasm"), counting().item("(global $other i32 (i32.const 7))").component());
    reload(&gateway);
    let new = process(&gateway, Some(old));
    assert_eq!(call_do(&gateway, "count").message(), "1");
    gateway.signal(Signal::KILL);
    let gone = || kill_process(Pid::from_raw(i32::try_from(new).unwrap()).unwrap(), Signal::CONT).is_err();
    wait_for("the end of the process", || gone().then_some(()));
}

#[test]
fn what_keeps_a_plugin_from_loading_is_said_as_in_the_gateway() {
    let files = Files::new();
    let refusing = Plugin::new().start(|c| {
        let reason = c.text("no such key");
        c.refuse(&reason);
    });
    let granted = Plugin::new().before_invoke(|c| {
        let key = c.text("k");
        c.call("store", "get", key);
    });
    for (plugin, words) in [
        (refusing.before_invoke(|_| {}), "plugin \"p\": it refused its configuration: no such key"),
        (granted, "which is not granted: add to its table  grants = { store = true }"),
        (Plugin::new().after_invoke(|_| {}), "it has no hook \"before-invoke\": it exports after-invoke"),
    ] {
        let file = files.put("p.wasm", plugin.component());
        let hooks = if words.contains("no hook") { "hooks = [\"before-invoke\"]" } else { "" };
        let said = refusal_of(&table("p", &file, &format!("{APART}{hooks}")));
        assert!(said.contains(words), "{said}");
    }
    let file = files.put("p.wasm", b"<html>");
    assert!(refusal_of(&table("p", &file, APART)).contains("this is not WebAssembly"));
}

#[test]
fn its_process_has_no_file_open_and_no_privileges() {
    let (gateway, _files) = with_plugin("", counting(), APART);
    assert_ok(&call_do(&gateway, "nothing"), "[1]");
    let pid = process(&gateway, None);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default();
    assert_eq!((field("NoNewPrivs:"), field("CapEff:"), field("Seccomp:")), ("1", "0000000000000000", "2"), "{status}");
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let names: Vec<_> =
        environment.split(|byte| *byte == 0).filter_map(|one| one.split(|b| *b == b'=').next()).collect();
    assert_eq!(names, [&b"LISTEN_FDS"[..], b"METAGATE_WORKER", b""], "{names:?}");
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let files: Vec<_> = open
        .filter_map(|entry| fs::read_link(entry.path()).ok()?.into_os_string().into_string().ok())
        .filter(|target| target.starts_with('/') && !target.starts_with("/memfd:") && target != "/dev/null")
        .filter(|target| !target.starts_with(&format!("/proc/{pid}/")))
        .collect();
    assert_eq!(files, Vec::<String>::new());
}

/// The number in a file of a control group. In a container only the last part of its path may be visible.
fn limit_of_group(root: &str, path: &str, file: &str) -> Option<u64> {
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    let files = (0..parts.len()).map(|from| format!("{root}/{}/{file}", parts[from..].join("/")));
    files.filter_map(|file| fs::read_to_string(file).ok()).find_map(|text| text.trim().parse().ok())
}

#[test]
fn the_memory_of_its_process_is_bounded() {
    const MOST: u64 = 1 << 30;
    let (gateway, _files) = with_plugin("", counting(), &format!("{APART}max_memory = \"4MiB\"\nmax_instances = 2"));
    let pid = process(&gateway, None);
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let data = limits.lines().find_map(|line| line.strip_prefix("Max data size")).unwrap();
    let data = data.split_whitespace().next().and_then(|bytes| bytes.parse().ok());
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let group = groups.lines().find_map(|line| match line.splitn(3, ':').collect::<Vec<_>>()[..] {
        [_, "", path] => limit_of_group("/sys/fs/cgroup", path, "memory.max"),
        [_, "memory", path] => limit_of_group("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes"),
        _ => None,
    });
    let least = [data, group].into_iter().flatten().min().unwrap_or(u64::MAX);
    assert!(least < MOST, "{data:?} {group:?}");
    assert_ok(&call_do(&gateway, "nothing"), "[1]");
}

/// What a program may do behind the walls of a plugin's process: Python in place of the process, whose own code does
/// not try.
fn attempts(walls: bool, secret: &Path) -> Value {
    let script = fixture("sealed/attempts.py");
    let python = |args: &[&str]| {
        let output = std::process::Command::new("python3").args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let program = python(&["-c", "import os, sys; print(os.path.realpath(sys.executable))"]);
    let library = python(&["-c", "import os; print(os.path.dirname(os.__file__))"]);
    let mut command = metagate();
    command.arg("launch").arg(std::process::id().to_string());
    if walls {
        command.args(["walls", "level", "sealed", "secret"]).arg(secret);
        for readable in [&program, &library, &script.display().to_string()] {
            command.args(["read", readable]);
        }
    }
    command.args(["--", &program, "-I", "-S"]).arg(&script).arg(secret).arg(std::process::id().to_string());
    let output = command.stdin(Stdio::null()).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?} {words}"))
}

#[test]
fn behind_the_walls_of_a_plugins_process_are_no_files_no_network_and_no_other_processes() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("metagate.toml");
    fs::write(&secret, "[server]\nprefix = \"local\"\n").unwrap();
    let control = attempts(false, &secret);
    assert!(control.as_object().unwrap().values().all(|worked| *worked == true), "{control}");
    let doctor = metagate().arg("doctor").current_dir(folder.path()).output().unwrap();
    let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
    let has =
        |wall: &str| doctor.lines().any(|line| line.starts_with("ok") && line.split_whitespace().nth(1) == Some(wall));
    let walled = attempts(true, &secret);
    let (files, signals, calls) = (!has("files"), !has("signals"), !has("system_calls"));
    assert_eq!(
        walled,
        json!({
            "reads the configuration": files,
            "reads /etc/passwd": files,
            "reads the environment of another process": files,
            "lists a folder": files,
            "makes a file": files,
            "signals another process": signals,
            "makes a socket": calls,
        }),
        "{doctor}"
    );
}
