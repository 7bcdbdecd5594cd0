//! Workers that do not load or do not live long: the reason is reported at once, restarts back off, and the first good
//! start serves.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::faulty::{
    Faulty, assert_error, assert_ok, descriptors_of, limit_descriptors, lines_of, pid_of_w, recorded, send_signal,
    ticks_of, timed, wait_count, wait_gone, zombies_of,
};
use crate::support::{Answer, Gateway, wait_for};

/// Waits until `w` has failed, and returns the reason.
#[track_caller]
fn failure_of_w(gateway: &Gateway) -> Value {
    wait_for("the failure", || {
        let readiness = gateway.readiness("w");
        (readiness["status"] == "failed").then(|| readiness["error"].clone())
    })
}

fn metadata(mode: &str) -> Faulty {
    Faulty::worker("w11-metadata").env("MODE", mode)
}

#[test]
fn w11_metadata_before_the_load_message_counts() {
    let gateway = Gateway::ready(&metadata("early").toml());
    assert_ok(&gateway.call("w", "early", "[]"), "\"early\"");
    assert_error(&gateway.call("w", "second", "[]"), 404, "function_not_found");
}

#[test]
fn w11_repeated_metadata_is_ignored() {
    let gateway = Gateway::ready(&metadata("twice").toml());
    assert_ok(&gateway.call("w", "echo", "[1]"), "1");
    assert_ok(&gateway.call("w", "second", "[]"), "\"second\"");
    let inspected = gateway.get("/api/inspect").body;
    assert!(inspected.contains("\"early\""), "{inspected}");
}

#[test]
fn w11_metadata_of_a_mebibyte_loads_and_one_more_byte_fails_the_load() {
    let gateway = Gateway::ready(&metadata("huge").env("SIZE", "1048576").toml());
    assert_ok(&gateway.call("w", "echo", "[1]"), "1");
    let gateway = Gateway::start(&metadata("huge").env("SIZE", "1048577").toml());
    let failure = failure_of_w(&gateway);
    assert_eq!(failure["code"], "load_failed", "{failure}");
    assert!(
        failure["message"].as_str().unwrap().contains("metadata of 1048577 bytes exceeds the limit (1048576)"),
        "{failure}"
    );
}

#[test]
fn w11_metadata_after_the_load_timeout_fails_the_load() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("pids");
    let gateway = Gateway::start(&metadata("late").env("RECORD", &record).keys("load_timeout = \"300ms\"").toml());
    assert_eq!(failure_of_w(&gateway)["code"], "load_timeout");
    wait_gone(&[recorded(&record, 1)[0].parse().unwrap()]);
}

#[test]
fn w11_metadata_without_packages_fails_the_load() {
    let gateway = Gateway::start(&metadata("unusable").toml());
    let failure = failure_of_w(&gateway);
    assert_eq!(failure["code"], "load_failed", "{failure}");
    assert!(failure["message"].as_str().unwrap().contains("metadata without \"packages\""), "{failure}");
}

fn exits(mode: &str) -> Faulty {
    Faulty::worker("w12-exits-while-loading").env("MODE", mode)
}

#[test]
fn w12_a_worker_that_ends_while_loading_is_reported_at_once_with_its_stderr() {
    for (mode, how) in [
        ("exit", "exited with code 3 before it was ready"),
        ("kill", "exited by signal 9 before it was ready"),
        ("close", "closed its channel before it was ready"),
        ("garbage", "broke the protocol"),
    ] {
        let gateway = Gateway::start(&exits(mode).toml());
        let (failure, time) = timed(|| failure_of_w(&gateway));
        assert!(time < Duration::from_secs(3), "{mode}: {time:?}");
        assert_eq!(failure["code"], "load_failed", "{failure}");
        assert!(failure["message"].as_str().unwrap().contains(how), "{mode}: {failure}");
        let stderr = failure["stderr"].as_str().unwrap();
        assert!(stderr.ends_with("y\nImportError: no module named \"nothing\""), "{mode}: {failure}");
        assert_eq!(stderr.len(), 4096, "{mode}: {failure}");
        assert_eq!(gateway.get("/readyz").status, 503);
    }
}

#[test]
fn w12_other_deployments_serve_while_one_cannot_load() {
    let other = Faulty::worker("w01-killed").named("other");
    let gateway = Gateway::start(&format!("{}{}", exits("exit").toml(), other.toml()));
    failure_of_w(&gateway);
    wait_count(&gateway, "other", "ready_workers", 1);
    assert_ok(&gateway.call("other", "echo", "[1]"), "1");
    assert_eq!(gateway.readiness("w")["status"], "failed");
}

#[test]
fn w13_a_load_beyond_its_timeout_is_ended_with_its_whole_process_tree() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("pids");
    let slow = Faulty::worker("w13-loads-slowly").env("RECORD", &record).keys("load_timeout = \"500ms\"");
    let other = Faulty::worker("w01-killed").named("other");
    let gateway = Gateway::start(&format!("{}{}", slow.toml(), other.toml()));
    let failure = failure_of_w(&gateway);
    assert_eq!(failure["code"], "load_timeout", "{failure}");
    assert!(failure["message"].as_str().unwrap().contains("was not ready within 500ms"), "{failure}");
    let first: Vec<u32> = recorded(&record, 1)[0].split(' ').map(|pid| pid.parse().unwrap()).collect();
    wait_gone(&first);
    assert_ok(&gateway.call("other", "echo", "[1]"), "1");
}

/// Calls `w` until the answer has this code. No call may succeed before.
#[track_caller]
fn wait_code(gateway: &Gateway, code: &str) -> Answer {
    wait_for(code, || {
        let answer = gateway.call("w", "echo", "[1]");
        assert_ne!(answer.status, 200, "{answer:?}");
        (answer.code() == code).then_some(answer)
    })
}

#[test]
fn w16_a_worker_that_dies_at_each_start_is_restarted_with_backoff() {
    let folder = tempfile::tempdir().unwrap();
    let (record, ok) = (folder.path().join("starts"), folder.path().join("ok"));
    let gateway = Gateway::start(&Faulty::worker("w16-crash-loop").env("RECORD", &record).env("OK", &ok).toml());
    let looping = wait_code(&gateway, "crash_loop");
    assert_eq!(looping.status, 503);
    assert!(looping.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1, "{looping:?}");
    assert!(recorded(&record, 5).len() <= 6, "five bad starts are a crash loop");

    // Calls are refused at once, and they cause no starts.
    let started = lines_of(&record).len();
    let ticks = ticks_of(gateway.pid());
    let ((), second) = timed(|| {
        let quickest = (0..20)
            .map(|_| {
                let (answer, time) = timed(|| gateway.call("w", "echo", "[1]"));
                assert_ne!(answer.status, 200);
                time
            })
            .min();
        println!("refused within {quickest:?}");
        assert!(quickest < Some(Duration::from_millis(20)), "{quickest:?}");
        std::thread::sleep(Duration::from_secs(1));
    });
    assert!(lines_of(&record).len() <= started + 2, "{} → {:?}", started, lines_of(&record));
    println!("{} ticks within {second:?}", ticks_of(gateway.pid()) - ticks);

    // The delays are 0, 100, 200, 400 ms, each with 20% of jitter, plus the time of a start.
    let starts: Vec<f64> = lines_of(&record).iter().map(|line| line.parse().unwrap()).collect();
    let gaps: Vec<f64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    println!("pauses {gaps:?}");
    for (gap, least) in gaps.iter().zip([0.0, 0.08, 0.16, 0.32, 0.64]) {
        assert!(*gap >= least, "{gaps:?}");
    }

    fs::write(&ok, "").unwrap();
    gateway.wait_ready();
    assert_ok(&gateway.call("w", "echo", "[1]"), "1");
}

#[test]
fn w16_a_worker_that_has_answered_is_restarted_at_once_each_time_it_dies() {
    let folder = tempfile::tempdir().unwrap();
    let (record, ok) = (folder.path().join("starts"), folder.path().join("ok"));
    fs::write(&ok, "").unwrap();
    let gateway = Gateway::ready(&Faulty::worker("w16-crash-loop").env("RECORD", &record).env("OK", &ok).toml());
    for round in 1..=8 {
        assert_ok(&gateway.call("w", "answer_and_die", "[]"), "\"good\"");
        wait_count(&gateway, "w", "restarts", round);
        assert_ok(&gateway.call("w", "echo", "[1]"), "1");
    }
    assert_eq!(lines_of(&record).len(), 9);
}

/// Writes a program that runs the worker, which a test can move away.
fn program(folder: &Path) -> std::path::PathBuf {
    let program = folder.join("program");
    fs::write(&program, "#!/bin/sh\nexec python3 -S worker.py\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

fn deployment_with(program: &Path) -> String {
    let toml = Faulty::worker("w18-spawn-fails").toml();
    let line = toml.lines().find(|line| line.starts_with("command = ")).unwrap().to_owned();
    toml.replace(&line, &format!("command = [{program:?}]"))
}

#[test]
fn w18_a_missing_program_is_reported_and_its_return_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let program = program(folder.path());
    let gateway = Gateway::ready(&deployment_with(&program));
    let worker = pid_of_w(&gateway);
    let open = descriptors_of(gateway.pid());
    let away = folder.path().join("away");
    fs::rename(&program, &away).unwrap();
    send_signal(worker, Signal::KILL);
    let refused = wait_code(&gateway, "spawn_failed");
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert_eq!(gateway.readiness("w")["error"]["code"], "spawn_failed");
    fs::rename(&away, &program).unwrap();
    gateway.wait_ready();
    assert_ok(&gateway.call("w", "echo", "[1]"), "1");
    assert_eq!(zombies_of(&gateway), Vec::<String>::new());
    wait_for("no more descriptors than before", || (descriptors_of(gateway.pid()) <= open).then_some(()));
}

#[test]
fn w18_a_start_without_free_descriptors_fails_and_leaks_none() {
    let gateway = Gateway::ready(&Faulty::worker("w18-spawn-fails").toml());
    let worker = pid_of_w(&gateway);
    let open = descriptors_of(gateway.pid());
    // The open descriptors stay open, but no new ones can be opened.
    let before = limit_descriptors(gateway.pid(), 3);
    send_signal(worker, Signal::KILL);
    // The client's connection is open already, so the call needs no new descriptor.
    let refused = wait_code(&gateway, "spawn_failed");
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    limit_descriptors(gateway.pid(), before);
    gateway.wait_ready();
    assert_ok(&gateway.call("w", "echo", "[1]"), "1");
    assert_eq!(zombies_of(&gateway), Vec::<String>::new());
    wait_for("no more descriptors than before", || (descriptors_of(gateway.pid()) <= open).then_some(()));
}

#[test]
fn a_python_worker_runs_its_script_as_the_main_module_and_keeps_it_compiled() {
    let folder = tempfile::tempdir().unwrap();
    let functions = folder.path().join("functions");
    fs::create_dir(&functions).unwrap();
    let main = "import sys\n\ndef main():\n    module = sys.modules['__main__']\n    \
                same = module.__file__ == sys.argv[0] and len(sys.argv) == 1\n    \
                return [module.__name__, same, sys.argv[0].rpartition('/')[2], '' in sys.path]\n";
    fs::write(functions.join("functions.py"), main).unwrap();
    let server = "[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\ndata_dir = \"data\"\n";
    let toml = format!("{server}[[deployment]]\nname = \"w\"\npath = {functions:?}\n");
    fs::write(folder.path().join("metagate.toml"), toml).unwrap();
    let workers = folder.path().join("data/workers");
    let gateway = Gateway::start_in(folder, |_| {});
    gateway.wait_ready();
    assert_ok(&gateway.call("w", "main", "[]"), r#"["__main__",true,"python.py",false]"#);
    let compiled = file_names_below(&workers);
    assert!(compiled.iter().any(|name| name.starts_with("python.") && name.ends_with(".pyc")), "{compiled:?}");
}

/// The names of all files below a folder.
fn file_names_below(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let names = entries.flat_map(|entry| match entry.path() {
        path if path.is_dir() => file_names_below(&path),
        _ => vec![entry.file_name().into_string().unwrap()],
    });
    names.collect()
}
