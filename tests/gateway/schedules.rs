//! Calls that the configuration makes: schedules, and routes that nobody waits for.

use std::fs;

use serde_json::json;

use crate::async_calls::{FUNCTIONS, accepted, ended, gateway_with};
use crate::exports::folder;
use crate::support::{metagate, wait_for};

#[test]
fn schedules_call_functions_at_their_times() {
    let functions = folder(&[("main.py", FUNCTIONS)]);
    let (path, slow) = (functions.path().join("ticks"), functions.path().join("slow"));
    let tables = format!(
        "[[schedule]]\nname = \"ticks\"\nto = \"m/write\"\nevery = \"250ms\"\n\
         arguments = {{ text = \"t\", path = {path:?} }}\n\
         [[schedule]]\nto = \"m/slow\"\ncron = \"* * * * * *\"\narguments = [30]\n",
    );
    let gateway = gateway_with(&tables, functions.path());
    wait_for("three ticks", || (fs::read_to_string(&path).ok()?.len() >= 6).then_some(()));
    let listed = gateway.get("/api/calls?limit=500").json();
    let origins: Vec<&str> =
        listed["calls"].as_array().unwrap().iter().filter_map(|call| call["origin"].as_str()).collect();
    assert!(origins.contains(&"schedule ticks"), "{listed}");
    let slow_calls = origins.iter().filter(|origin| **origin == "schedule m/slow at * * * * * * UTC").count();
    assert!(slow_calls <= 1, "calls overlap: {origins:?}");
    assert!(!slow.exists());
}

#[test]
fn logs_have_no_id_of_a_scheduled_call() {
    let functions = folder(&[(
        "main.py",
        "def say():
    print('said', flush=True)
",
    )]);
    let gateway = gateway_with("[[schedule]]\nto = \"m/say\"\nevery = \"250ms\"\n", functions.path());
    let log = wait_for("a line", || Some(gateway.get("/api/logs/m").body).filter(|log| log.contains("said")));
    let listed = gateway.get("/api/calls?limit=500").json();
    for call in listed["calls"].as_array().unwrap() {
        // Who has the id may take the call back.
        assert!(!log.contains(call["id"].as_str().unwrap()), "{log}");
    }
    assert!(!listed["calls"].as_array().unwrap().is_empty(), "{listed}");
}

#[test]
fn a_route_may_be_asynchronous() {
    let functions = folder(&[("main.py", FUNCTIONS)]);
    let gateway =
        gateway_with("[[route]]\npath = \"/double/{n}\"\nto = \"m/double\"\nasync = true\n", functions.path());
    let location = accepted(&gateway.post("/double/21", &[], ""));
    assert_eq!(ended(&gateway, &location)["result"], 42);
}

#[test]
fn next_times_are_shown() {
    let functions = folder(&[("main.py", FUNCTIONS)]);
    let tables = "[[schedule]]\nname = \"yearly\"\nto = \"m/add\"\ncron = \"0 3 1 1 *\"\n\
                  time_zone = \"Europe/Berlin\"\narguments = [1]\n";
    let gateway = gateway_with(tables, functions.path());
    let inspected = gateway.get("/api/inspect").json();
    let schedule = &inspected[0]["schedules"][0];
    assert_eq!((&schedule["name"], &schedule["function"]), (&json!("yearly"), &json!("add")), "{inspected}");
    let next = schedule["next"][0].as_str().unwrap();
    assert!(next.ends_with("-01-01T02:00:00Z"), "{next}");
    let run = |arguments: &[&str]| {
        let output = metagate()
            .args(arguments)
            .current_dir(gateway.folder.path())
            .env("METAGATE_URL", gateway.url(""))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let shown = format!("schedule yearly: add at 0 3 1 1 * Europe/Berlin, next {next}");
    assert!(run(&["inspect", "m"]).contains(&shown));
    assert!(run(&["explain", "m", "add"]).contains(&format!("next {next}")));
    assert!(!run(&["explain", "m", "slow"]).contains("yearly"));
}

#[test]
fn slips_in_schedules_are_named() {
    let functions = folder(&[("main.py", FUNCTIONS)]);
    let file = functions.path().join("metagate.toml");
    let text = "[[schedule]]\nto = \"m\"\ncron = \"0 3 * * *\"\n[[schedule]]\nto = \"m/f\"\n\
                [[schedule]]\nto = \"m/g\"\ncron = \"0 3 30 2 *\"\n\
                [[schedule]]\nto = \"m/h\"\nevery = \"1h\"\ncron = \"@daily\"\n\
                [[schedule]]\nto = \"m/i\"\nevery = \"1h\"\n[[schedule]]\nto = \"m/i\"\nevery = \"1h\"\n\
                [[schedule]]\nto = \"m/j\"\nevery = \"1h\"\narguments = 1\ntime_zone = \"Berlin\"\n";
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        let output = metagate().arg("check").arg(&file).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (succeeded, faults) = check(text);
    assert!(!succeeded);
    for part in ["0 3 30 2 *", "\"Berlin\" is not", "a list of arguments"] {
        assert!(faults.contains(part), "{part}: {faults}");
    }
    let sound = text.replace("0 3 30 2 *", "0 3 28 2 *").replace("\"Berlin\"", "\"UTC\"").replace("= 1\n", "= [1]\n");
    let (succeeded, faults) = check(&sound);
    assert!(!succeeded);
    for part in ["names no function", "needs \"cron\"", "not both", "is the same"] {
        assert!(faults.contains(part), "{part}: {faults}");
    }
}
