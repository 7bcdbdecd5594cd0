//! Uploading, deploying, replacing, going back, deleting.

use std::fs;

use serde_json::json;

use super::{multipart, package, versioned};
use crate::support::{Gateway, fixture, wait_for};

const BROKEN: &str = "raise RuntimeError('no such table: users')\n";

#[test]
fn a_package_is_deployed_called_and_deleted_as_metacalls_clients_do() {
    let gateway = Gateway::start("");
    let uploaded = gateway.upload("app", &versioned(1), "");
    assert_eq!((uploaded.status, uploaded.body.as_str()), (201, r#"{"id":"app"}"#));
    assert!(gateway.inspected("app").is_none());
    let created = gateway.create("app", &json!([]));
    assert_eq!(created.status, 200, "{created:?}");
    assert_eq!(created.json(), json!({ "prefix": "local", "suffix": "app", "version": "v1" }));
    assert_eq!(gateway.call("app", "version", "").body, "1");
    let inspected = gateway.inspected("app").unwrap();
    assert_eq!(
        (&inspected["status"], &inspected["release"], &inspected["origin"]),
        (&json!("ready"), &json!(1), &json!("package"))
    );
    let deleted = gateway.delete("app");
    assert_eq!((deleted.status, deleted.body.as_str()), (200, "\"Deploy Delete Succeed\""));
    assert_eq!(gateway.call("app", "version", "").code(), "deployment_not_found");
    assert!(gateway.inspected("app").is_none());
    assert!(!gateway.folder.path().join("data/deployments/app").exists());
    assert!(!gateway.folder.path().join("data/logs/app.log").exists());
    assert_eq!(gateway.delete("app").status, 404);
    assert_eq!(gateway.worker_pids(), Vec::<u32>::new());
}

#[test]
fn an_id_that_is_deployed_is_refused_unless_it_is_to_be_replaced() {
    let gateway = Gateway::start("");
    gateway.ship("app", &versioned(1));
    let refused = gateway.upload("app", &versioned(2), "");
    assert_eq!((refused.status, refused.code()), (400, "already_deployed"));
    assert_eq!(refused.message(), "There is an application with name 'app' already deployed, delete it first.");
    assert_eq!(gateway.upload("app", &versioned(2), "?replace=true").status, 201);
    // The deployed release serves, not the uploaded one.
    assert_eq!(gateway.call("app", "version", "").body, "1");
    assert_eq!(gateway.create("app", &json!([])).status, 200);
    assert_eq!(gateway.call("app", "version", "").body, "2");
}

#[test]
fn an_id_that_was_never_uploaded_is_refused() {
    let gateway = Gateway::start("");
    let refused = gateway.create("nothing", &json!([]));
    assert_eq!((refused.status, refused.message()), (400, "Invalid deployment id: nothing".to_owned()));
    let refused = gateway.create("../../etc", &json!([]));
    assert_eq!(refused.status, 400);
}

#[test]
fn l4_a_broken_release_leaves_the_good_one_serving_and_shows_the_workers_output() {
    let gateway = Gateway::start("");
    gateway.ship("app", &versioned(1));
    assert_eq!(gateway.upload("app", &package(&[("app.py", BROKEN)]), "?replace=true").status, 201);
    let refused = gateway.create("app", &json!([]));
    assert_eq!((refused.status, refused.code()), (422, "load_failed"));
    assert!(refused.message().contains("RuntimeError: no such table: users"), "{}", refused.message());
    assert_eq!(gateway.call("app", "version", "").body, "1");
    assert_eq!(gateway.inspected("app").unwrap()["status"], "ready");
    let releases = gateway.get("/api/releases/app").json();
    assert_eq!(releases["live"], 1);
    assert!(releases["failure"].as_str().unwrap().contains("app"), "{releases}");
    gateway.ship("app", &versioned(2));
    assert_eq!(gateway.call("app", "version", "").body, "2");
}

#[test]
fn a_first_deploy_that_fails_is_shown_and_can_be_deployed_over_or_deleted() {
    let gateway = Gateway::start("");
    for id in ["over", "gone"] {
        assert_eq!(gateway.upload(id, &package(&[("app.py", BROKEN)]), "").status, 201);
        assert_eq!(gateway.create(id, &json!([])).status, 422);
        let inspected = gateway.inspected(id).unwrap();
        assert_eq!(inspected["status"], "fail");
        assert!(inspected["error"]["stderr"].as_str().unwrap().contains("no such table"), "{inspected}");
        assert_eq!(gateway.call(id, "version", "").status, 503);
    }
    assert_eq!(gateway.upload("over", &versioned(3), "").status, 201);
    assert_eq!(gateway.create("over", &json!([])).status, 200);
    assert_eq!(gateway.call("over", "version", "").body, "3");
    assert_eq!(gateway.delete("gone").status, 200);
    assert!(gateway.inspected("gone").is_none());
}

#[test]
fn five_releases_are_kept_and_each_can_be_deployed_again() {
    let gateway = Gateway::start("");
    for number in 1..=7 {
        gateway.ship("app", &versioned(number));
    }
    let releases = gateway.get("/api/releases/app").json();
    let numbers: Vec<u64> =
        releases["releases"].as_array().unwrap().iter().map(|one| one["release"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [7, 6, 5, 4, 3]);
    let back = gateway.post("/api/rollback/app", &[], "");
    assert_eq!((back.status, &back.json()["suffix"]), (200, &json!("app")), "{back:?}");
    assert_eq!(gateway.call("app", "version", "").body, "6");
    let back = gateway.post("/api/rollback/app", &[], r#"{"release":3}"#);
    assert_eq!(back.status, 200, "{back:?}");
    assert_eq!(gateway.call("app", "version", "").body, "3");
    assert_eq!(gateway.get("/api/releases/app").json()["live"], 3);
    let none = gateway.post("/api/rollback/app", &[], r#"{"release":1}"#);
    assert_eq!((none.status, none.code()), (404, "not_found"));
    assert!(none.message().contains("the gateway keeps 3, 4, 5, 6, 7"), "{}", none.message());
    gateway.ship("app", &versioned(8));
    assert_eq!(gateway.call("app", "version", "").body, "8");
}

#[test]
fn a5_a_release_has_its_env_file_and_the_variables_of_its_deploy_and_no_answer_shows_their_values() {
    let gateway = Gateway::start("[deploy]\nstatic_files = true\n");
    let script = "import os\ndef read():\n    return [os.environ.get('A'), os.environ.get('B')]\n";
    let files = [("app.py", script), (".env", "A=from-file\nB='hunter2 x'\n")];
    assert_eq!(gateway.upload("app", &package(&files), "").status, 201);
    assert_eq!(gateway.create("app", &json!([{ "name": "A", "value": "from-deploy" }])).status, 200);
    assert_eq!(gateway.call("app", "read", "").body, r#"["from-deploy","hunter2 x"]"#);
    // Other variables, the same files.
    assert_eq!(gateway.create("app", &json!([{ "name": "A", "value": "changed" }])).status, 200);
    assert_eq!(gateway.call("app", "read", "").body, r#"["changed","hunter2 x"]"#);
    let back = gateway.post("/api/rollback/app", &[], "");
    assert_eq!(back.status, 200, "{back:?}");
    assert_eq!(gateway.call("app", "read", "").body, r#"["from-deploy","hunter2 x"]"#);
    for address in ["/api/inspect", "/api/releases/app", "/readyz", "/api/logs/app"] {
        let answer = gateway.get(address).body;
        assert!(!answer.contains("from-deploy") && !answer.contains("hunter2"), "{address}: {answer}");
    }
    assert!(!gateway.log().contains("from-deploy"));
    assert_eq!(gateway.get("/local/app/v1/static/app.py").status, 200);
    assert_eq!(gateway.get("/local/app/v1/static/.env").status, 404);
}

#[test]
fn a6_variables_that_are_the_gateways_own_are_refused() {
    let gateway = Gateway::start("");
    assert_eq!(gateway.upload("app", &versioned(1), "").status, 201);
    for name in ["PATH", "LD_PRELOAD", "NODE_CHANNEL_FD", "METAGATE_X", "A B", ""] {
        let refused = gateway.create("app", &json!([{ "name": name, "value": "x" }]));
        assert_eq!((refused.status, refused.code()), (400, "bad_request"), "{name}");
    }
    let files = [("app.py", "def f():\n    return 1\n"), (".env", "OK=1\nLD_PRELOAD=x.so\n")];
    assert_eq!(gateway.upload("other", &package(&files), "").status, 201);
    let refused = gateway.create("other", &json!([]));
    assert_eq!(refused.status, 422);
    assert!(refused.message().contains("LD_PRELOAD"), "{}", refused.message());
}

#[test]
fn metacall_files_that_are_uploaded_with_a_package_count() {
    let gateway = Gateway::start("");
    let archive =
        package(&[("lib/one.py", "def one():\n    return 1\n"), ("ignored.py", "def ignored():\n    return 0\n")]);
    let jsons = r#"[{"language_id":"py","path":"lib","scripts":["one.py"]}]"#;
    let (kind, body) = multipart("app", jsons, "[]", &archive);
    let uploaded = gateway.post("/api/package/create", &[("content-type", &kind)], body);
    assert_eq!(uploaded.status, 201, "{uploaded:?}");
    assert_eq!(gateway.create("app", &json!([])).status, 200);
    assert_eq!(gateway.call("app", "one", "").body, "1");
    assert_eq!(gateway.call("app", "ignored", "").code(), "function_not_found");
}

#[test]
fn u9_scripts_outside_of_a_package_or_missing_in_it_are_refused_when_it_comes() {
    let gateway = Gateway::start("");
    for (path, script) in
        [("../..", "x.py"), (".", "../x.py"), (".", "/etc/passwd"), (".", "missing.py"), ("/", "x.py")]
    {
        let json = json!({ "language_id": "py", "path": path, "scripts": [script] });
        let inside = package(&[("app.py", ""), ("metacall.json", &json.to_string())]);
        let refused = gateway.upload("app", &inside, "");
        assert_eq!((refused.status, refused.code()), (422, "bad_archive"), "{json}: {refused:?}");
        assert!(!refused.message().contains(gateway.folder.path().to_str().unwrap()), "{}", refused.message());
        let (kind, body) = multipart("app", &json!([json]).to_string(), "[]", &package(&[("app.py", "")]));
        let refused = gateway.post("/api/package/create", &[("content-type", &kind)], body);
        assert_eq!((refused.status, refused.code()), (422, "bad_archive"), "uploaded as a part: {json}");
    }
}

#[test]
fn deployments_of_the_configuration_are_not_changed_over_http() {
    let tables = format!("[[deployment]]\nname = \"math\"\npath = {:?}\n", fixture("echo-python"));
    let gateway = Gateway::ready(&tables);
    assert_eq!(gateway.upload("math", &versioned(1), "").status, 400);
    let refused = gateway.upload("math", &versioned(1), "?replace=true");
    assert_eq!((refused.status, refused.code()), (403, "forbidden"));
    assert_eq!(gateway.delete("math").code(), "forbidden");
    assert_eq!(gateway.post("/api/rollback/math", &[], "").code(), "forbidden");
    // Both kinds exist together, also after a reload.
    gateway.ship("app", &versioned(1));
    assert_eq!(gateway.post("/api/reload", &[], "").status, 200);
    assert_eq!(gateway.call("app", "version", "").body, "1");
    let config = gateway.folder.path().join("metagate.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}\n[[deployment]]\nname = \"app\"\npath = {:?}\n", fixture("echo-python")))
        .unwrap();
    let refused = gateway.post("/api/reload", &[], "");
    assert_eq!(refused.status, 422);
    assert!(refused.message().contains("metagate delete app"), "{}", refused.message());
    assert_eq!(gateway.call("app", "version", "").body, "1");
}

#[test]
fn the_steps_of_a_deploy_are_streamed_as_events_on_request() {
    let gateway = Gateway::start("");
    let create = |archive: &[u8]| {
        assert_eq!(gateway.upload("app", archive, "?replace=true").status, 201);
        let body = json!({ "suffix": "app" }).to_string();
        gateway.post("/api/deploy/create", &[("accept", "text/event-stream")], body)
    };
    let answer = create(&package(&[("app.py", "print('hello from the module')\ndef version():\n    return 1\n")]));
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("event: log\n"), "{}", answer.body);
    let end = answer.body.trim_end().rsplit("\n\n").next().unwrap();
    assert!(end.starts_with("event: deployed\ndata: {\"prefix\":\"local\",\"suffix\":\"app\""), "{end}");
    assert!(end.contains("\"release\":1"), "{end}");
    let answer = create(&package(&[("app.py", BROKEN)]));
    let end = answer.body.trim_end().rsplit("\n\n").next().unwrap();
    assert!(end.starts_with("event: failed\ndata: {\"status\":422"), "{end}");
    assert!(end.contains("no such table"), "{end}");
    assert_eq!(gateway.call("app", "version", "").body, "1");
}

#[test]
fn a_deploy_that_fails_under_a_new_name_is_no_fault_of_the_gateway() {
    let gateway = Gateway::start("");
    assert_eq!(gateway.upload("app", &package(&[("app.py", BROKEN)]), "").status, 201);
    assert_eq!(gateway.create("app", &json!([])).status, 422);
    assert_eq!(gateway.get("/readyz").status, 200);
    assert_eq!(gateway.readiness("app")["status"], "failed");
}

#[test]
fn a_delete_ends_a_deploy_in_progress() {
    let gateway = Gateway::start("");
    let endless = package(&[("app.py", "while True:\n    pass\n")]);
    assert_eq!(gateway.upload("app", &endless, "").status, 201);
    std::thread::scope(|scope| {
        let create = scope.spawn(|| gateway.create("app", &json!([])));
        wait_for("the worker", || (gateway.worker_pids().len() == 1).then_some(()));
        assert_eq!(gateway.readiness("app")["status"], "starting");
        assert_eq!(gateway.call("app", "f", "").code(), "starting");
        assert_eq!(gateway.delete("app").status, 200);
        let ended = create.join().unwrap();
        assert_eq!((ended.status, ended.code()), (409, "deleted"), "{ended:?}");
    });
    wait_for("its worker's end", || gateway.worker_pids().is_empty().then_some(()));
    assert_eq!(gateway.call("app", "f", "").code(), "deployment_not_found");
}

#[test]
fn readyz_shows_reasons_only_with_the_token() {
    let token = "a token of more than thirty-two bytes";
    let gateway = Gateway::start(&format!("[admin]\ntoken = {token:?}\n"));
    let bearer = format!("Bearer {token}");
    let (kind, body) = multipart("app", "[]", "[]", &package(&[("app.py", "raise ValueError('canary')\n")]));
    let headers = [("authorization", bearer.as_str()), ("content-type", kind.as_str())];
    assert_eq!(gateway.post("/api/package/create", &headers, body).status, 201);
    let created = gateway.post("/api/deploy/create", &headers[..1], json!({ "suffix": "app" }).to_string());
    assert!(created.message().contains("canary"), "{created:?}");
    let answer = gateway.get("/readyz").body;
    assert!(answer.contains("load_failed") && !answer.contains("canary"), "{answer}");
    assert!(gateway.get_with("/readyz", &[("authorization", &bearer)]).body.contains("canary"));
}

#[test]
fn a_name_that_is_being_deployed_is_not_taken_by_the_configuration() {
    let gateway = Gateway::start("");
    let slow = package(&[("app.py", "import time\ntime.sleep(1.5)\ndef version():\n    return 1\n")]);
    assert_eq!(gateway.upload("app", &slow, "").status, 201);
    let config = gateway.folder.path().join("metagate.toml");
    let text = fs::read_to_string(&config).unwrap();
    std::thread::scope(|scope| {
        let create = scope.spawn(|| gateway.create("app", &json!([])));
        wait_for("the worker", || (gateway.worker_pids().len() == 1).then_some(()));
        fs::write(&config, format!("{text}\n[[deployment]]\nname = \"app\"\npath = {:?}\n", fixture("echo-python")))
            .unwrap();
        let refused = gateway.post("/api/reload", &[], "");
        assert_eq!(refused.status, 422, "{refused:?}");
        assert_eq!(create.join().unwrap().status, 200);
    });
    assert_eq!(gateway.call("app", "version", "").body, "1");
    assert_eq!(gateway.delete("app").status, 200);
}
