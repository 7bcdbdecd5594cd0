//! Acknowledged changes survive any end of the gateway.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use super::{package, versioned};
use crate::support::{Gateway, metagate, wait_for};

/// Ends the gateway in this way and starts another one on its data folder.
#[track_caller]
pub(crate) fn restart(mut gateway: Gateway, signal: Signal) -> Gateway {
    gateway.signal(signal);
    gateway.wait_end();
    let folder = std::mem::replace(&mut gateway.folder, TempDir::new().unwrap());
    drop(gateway);
    Gateway::start_in(folder, |_| {})
}

#[test]
fn l7_deployments_serve_again_after_a_stop_and_after_a_kill() {
    let mut gateway = Gateway::start("");
    for number in 1..=6 {
        gateway.ship(&format!("app-{number}"), &versioned(number));
    }
    gateway.ship("app-1", &versioned(10));
    assert_eq!(gateway.upload("later", &versioned(7), "").status, 201);
    assert_eq!(gateway.delete("app-6").status, 200);
    for signal in [Signal::TERM, Signal::KILL] {
        gateway = restart(gateway, signal);
        for (name, version) in [("app-1", "10"), ("app-2", "2"), ("app-3", "3"), ("app-4", "4"), ("app-5", "5")] {
            let body = wait_for("an answer", || {
                let answer = gateway.call(name, "version", "");
                // Callers get this error until the deployment has started.
                assert!(answer.status == 200 || answer.code() == "starting", "{answer:?}");
                (answer.status == 200).then_some(answer.body)
            });
            assert_eq!(body, version);
        }
        assert_eq!(gateway.call("app-6", "version", "").code(), "deployment_not_found");
        let releases = gateway.get("/api/releases/app-1").json();
        assert_eq!((&releases["live"], releases["releases"].as_array().unwrap().len()), (&json!(2), 2));
    }
    // An upload that was acknowledged can still be deployed.
    assert_eq!(gateway.create("later", &json!([])).status, 200);
    assert_eq!(gateway.call("later", "version", "").body, "7");
}

#[test]
fn a_deploy_that_failed_is_still_shown_after_a_restart() {
    let gateway = Gateway::start("");
    assert_eq!(gateway.upload("app", &package(&[("app.py", "raise ValueError('boom')\n")]), "").status, 201);
    assert_eq!(gateway.create("app", &json!([])).status, 422);
    let gateway = restart(gateway, Signal::KILL);
    let inspected = gateway.inspected("app").unwrap();
    assert_eq!(inspected["status"], "fail");
    assert!(inspected["error"]["stderr"].as_str().unwrap().contains("boom"));
}

#[test]
fn logs_of_installs_and_workers_survive_a_restart() {
    let gateway = Gateway::start("");
    gateway.ship("app", &package(&[("app.py", "print('printed at the load')\ndef f():\n    return 1\n")]));
    let says = |gateway: &Gateway| {
        gateway.post(
            "/api/deploy/logs",
            &[],
            r#"{"container":"deploy","type":"deploy","suffix":"app","prefix":"local","version":"v1"}"#,
        )
    };
    wait_for("the line", || says(&gateway).json().as_str().unwrap().contains("printed at the load").then_some(()));
    let gateway = restart(gateway, Signal::TERM);
    let log = says(&gateway).json();
    assert!(log.as_str().unwrap().contains("deploying release 1"), "{log}");
    assert!(log.as_str().unwrap().contains("printed at the load"), "{log}");
}

#[test]
fn a5_records_and_files_are_for_the_owner_alone() {
    let gateway = Gateway::start("");
    gateway.ship("app", &versioned(1));
    let data = gateway.folder.path().join("data");
    for (path, mode) in
        [("deployments", 0o700), ("deployments/app", 0o700), ("deployments/app/record", 0o600), ("staging", 0o700)]
    {
        let found = fs::metadata(data.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{path}: {found:o}");
    }
    assert_eq!(fs::read_dir(data.join("staging")).unwrap().count(), 0);
}

#[test]
fn l9_a_damaged_record_is_quarantined_and_the_one_before_serves() {
    let mut gateway = Gateway::start("");
    gateway.ship("app", &versioned(1));
    gateway.ship("app", &versioned(2));
    gateway.ship("sound", &versioned(3));
    gateway.signal(Signal::KILL);
    gateway.wait_end();
    let record = gateway.folder.path().join("data/deployments/app/record");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, &text[..text.len() / 2]).unwrap();
    let folder = std::mem::replace(&mut gateway.folder, TempDir::new().unwrap());
    let gateway = Gateway::start_in(folder, |_| {});
    wait_for("both", || {
        let status = |name| gateway.call(name, "version", "").status;
        (status("app") == 200 && status("sound") == 200).then_some(())
    });
    let readiness = gateway.get("/readyz");
    assert_eq!((readiness.status, &readiness.json()["status"]), (503, &json!("degraded")));
    assert!(readiness.json()["storage"][0].as_str().unwrap().contains("corrupt-"), "{}", readiness.body);
    // The generation before was written when the second upload was taken: the first release serves.
    assert_eq!(gateway.call("app", "version", "").body, "1");
    gateway.ship("app", &versioned(4));
    assert_eq!(gateway.call("app", "version", "").body, "4");
}

#[test]
fn l9_a_record_of_a_later_format_keeps_the_gateway_from_starting() {
    let mut gateway = Gateway::start("");
    gateway.ship("app", &versioned(1));
    gateway.signal(Signal::TERM);
    gateway.wait_end();
    let record = gateway.folder.path().join("data/deployments/app/record");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replacen("metagate-record 1", "metagate-record 2", 1)).unwrap();
    let mut command = metagate();
    command.arg("serve").arg(gateway.folder.path().join("metagate.toml"));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("format 2"), "{words}");
}
