//! Errors outside of calls: they end no call, and another worker takes the place of the one that they happened in. Exit
//! handlers of functions run however a worker ends.

use std::fs;
use std::thread;

use tempfile::TempDir;

use crate::faulty::wait_count;
use crate::support::{Answer, Gateway, fixture, wait_for};

/// A deployment `it` of a fixture's functions, with a folder that they and the test write to.
struct Strays {
    gateway: Gateway,
    folder: TempDir,
}

impl Strays {
    fn ready(functions: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let table = format!(
            "[[deployment]]\nname = \"it\"\npath = {:?}\nwrite = [{:?}]\nenv = {{ FOLDER = {:?} }}\n",
            fixture(functions),
            folder.path(),
            folder.path()
        );
        Self { gateway: Gateway::ready(&table), folder }
    }

    fn pid(&self, function: &str) -> u32 {
        pid_in(&self.gateway.call("it", function, "[]"))
    }

    /// Waits until the exit handler of this worker has run.
    fn wait_ended(&self, worker: u32) {
        let note = self.folder.path().join(format!("ended-{worker}"));
        wait_for("the exit handler", || note.exists().then_some(()));
    }
}

fn pid_in(answer: &Answer) -> u32 {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body.parse().unwrap()
}

fn retires(functions: &str, expected: [(&str, &str); 2]) {
    let strays = Strays::ready(functions);
    let gateway = &strays.gateway;
    for (function, error) in expected {
        let old = strays.pid("pid");
        let body = format!("[\"go-{function}\"]");
        thread::scope(|scope| {
            let calls = [0, 1].map(|_| scope.spawn(|| gateway.call("it", "hold", &body)));
            wait_count(gateway, "it", "in_flight", 2);
            assert_eq!(strays.pid(function), old);
            let new = wait_for("another worker", || Some(strays.pid("pid")).filter(|pid| *pid != old));
            assert_eq!(strays.pid("pid"), new);
            fs::write(strays.folder.path().join(format!("go-{function}")), "").unwrap();
            calls.into_iter().for_each(|call| assert_eq!(pid_in(&call.join().unwrap()), old));
        });
        strays.wait_ended(old);
        let reason = format!("worker is replaced: an error outside a call: {error}");
        assert!(gateway.get("/api/logs/it").body.contains(&reason), "{}", gateway.get("/api/logs/it").body);
    }
    assert_eq!(gateway.readiness("it")["restarts"], 2);
}

#[test]
fn e1_a_stray_rejection_or_error_of_node_replaces_the_worker_and_fails_no_call() {
    retires("strays-node", [("forgets", "RangeError: nothing awaits this"), ("late", "RangeError: thrown later")]);
}

#[test]
fn e1_a_stray_task_or_thread_of_python_replaces_the_worker_and_fails_no_call() {
    retires(
        "strays-python",
        [("forgets", "ArithmeticError: nothing awaits this"), ("late", "ArithmeticError: thrown later")],
    );
}

#[test]
fn exit_handlers_run_when_a_release_is_replaced_and_when_the_gateway_stops() {
    for functions in ["strays-node", "strays-python"] {
        let strays = Strays::ready(functions);
        let first = strays.pid("pid");
        let config_file = strays.gateway.folder.path().join("metagate.toml");
        let config = fs::read_to_string(&config_file).unwrap();
        fs::write(&config_file, config.replace("env = {", "concurrency = 2\nenv = {")).unwrap();
        assert_eq!(strays.gateway.post("/api/reload", &[], "").status, 200);
        let second = wait_for("the new release", || Some(strays.pid("pid")).filter(|pid| *pid != first));
        strays.wait_ended(first);
        let Strays { gateway, folder } = strays;
        assert_eq!(gateway.stop().code(), Some(0));
        assert!(folder.path().join(format!("ended-{second}")).exists(), "{functions}");
    }
}

#[test]
fn exit_handlers_of_python_run_although_a_thread_goes_on() {
    let Strays { gateway, folder } = Strays::ready("strays-python");
    let worker = pid_in(&gateway.call("it", "leaves_a_thread", "[]"));
    assert_eq!(gateway.stop().code(), Some(0));
    assert!(folder.path().join(format!("ended-{worker}")).exists());
}
