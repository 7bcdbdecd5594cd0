//! What is changed at one gateway is changed at all.

use serde_json::json;

use super::{Servers, cluster, deploy_with, nodes, restarted_with, serves, version};
use crate::deploys::{package, versioned};
use crate::support::{Gateway, metagate, wait_for};

#[test]
fn what_is_deployed_to_one_gateway_serves_on_all() {
    let servers = Servers::start(1);
    let [a, b] = servers.gateways(["a", "b"]);
    // The answer comes when all serve: no wait here.
    a.ship("math", &versioned(1));
    for gateway in [&a, &b] {
        assert_eq!(version(gateway, "math").body, "1", "{}", gateway.log());
    }
    // Uploaded to one, deployed by the other, as behind a load balancer.
    assert_eq!(b.upload("math", &versioned(2), "?replace=true").status, 201);
    let deployed = a.create("math", &json!([{ "name": "KEY", "value": "hunter2" }]));
    assert_eq!(deployed.status, 200, "{deployed:?}\n{}", a.log());
    for gateway in [&a, &b] {
        assert_eq!(version(gateway, "math").body, "2");
        let releases = gateway.get("/api/releases/math").json();
        assert_eq!((&releases["live"], &releases["releases"][0]["env"]), (&json!(2), &json!(["KEY"])), "{releases}");
    }
    // Back to a release whose files are made where they are missing.
    let c = servers.gateway("c");
    wait_for("three gateways", || (nodes(&a).len() == 3 && nodes(&c).len() == 3).then_some(()));
    serves(&c, "math", 2);
    let rolled = a.post("/api/rollback/math", &[("content-type", "application/json")], r#"{"release":1}"#);
    assert_eq!(rolled.status, 200, "{rolled:?}\n{}", c.log());
    for gateway in [&a, &b, &c] {
        assert_eq!(version(gateway, "math").body, "1", "{}", gateway.log());
    }
    assert_eq!(b.delete("math").status, 200);
    for gateway in [&a, &b, &c] {
        wait_for("the delete", || (version(gateway, "math").status == 404).then_some(()));
    }
    // The name is free again, with the next number.
    c.ship("math", &versioned(4));
    assert_eq!(version(&a, "math").body, "4");
    assert_eq!(a.get("/api/releases/math").json()["live"], 3);
}

#[test]
fn of_two_deploys_at_the_same_time_one_is_told_so() {
    let servers = Servers::start(1);
    let [a, b] = servers.gateways(["a", "b"]);
    a.ship("math", &versioned(0));
    assert_eq!(a.upload("math", &versioned(1), "?replace=true").status, 201);
    let both = std::thread::scope(|scope| {
        let deploys = [&a, &b].map(|gateway| scope.spawn(|| gateway.create("math", &json!([]))));
        deploys.map(|deploy| deploy.join().unwrap())
    });
    let told: Vec<_> = both.iter().map(|answer| (answer.status, answer.code().to_owned())).collect();
    let (won, lost): (Vec<_>, Vec<_>) = both.iter().partition(|answer| answer.status == 200);
    assert!(!won.is_empty(), "{told:?}");
    assert!(lost.iter().all(|answer| answer.code() == "changed_elsewhere"), "{told:?}");
    for gateway in [&a, &b] {
        serves(gateway, "math", 1);
        let live = || gateway.get("/api/releases/math").json()["live"].as_u64();
        wait_for("one release", || (live() == a.get("/api/releases/math").json()["live"].as_u64()).then_some(()));
    }
}

#[test]
fn a_release_that_does_not_load_elsewhere_is_told() {
    let servers = Servers::start(1);
    let a = servers.gateway("a");
    let lacks = Gateway::start_with(&servers.table("b"), |command| {
        command.env("LACKS", "yes");
    });
    wait_for("both", || (nodes(&a).len() == 2 && nodes(&lacks).len() == 2).then_some(()));
    let text = "import os\nassert 'LACKS' not in os.environ, 'not on this machine'\ndef version():\n    return 1\n";
    a.upload("math", &package(&[("app.py", text)]), "");
    let answer = deploy_with(&a, "math", &json!({}));
    // Workers do not inherit the environment of the gateway: the release loads on both.
    assert_eq!(answer.status, 200, "{answer:?}");
    let folder = lacks.folder.path().join("marker");
    let text = format!(
        "import os\nassert not os.path.exists('../../../../../marker'), 'not on this machine'\n\
         def version():\n    return 2 # {}\n",
        folder.display()
    );
    std::fs::write(&folder, "").unwrap();
    a.upload("math", &package(&[("app.py", &text)]), "?replace=true");
    let answer = deploy_with(&a, "math", &json!({}));
    assert_eq!((answer.status, answer.code()), (504, "cluster_incomplete"), "{answer:?}\n{}", lacks.log());
    assert!(answer.message().contains("b: "), "{answer:?}");
    assert_eq!((version(&a, "math").body.as_str(), version(&lacks, "math").body.as_str()), ("2", "1"));
    let status = cluster(&a);
    assert!(status["nodes"][1]["failures"]["math"].is_string(), "{status}");
    // Whoever asks for one gateway does not wait.
    let again = deploy_with(&a, "math", &json!({ "wait": "one" }));
    assert_eq!(again.status, 200, "{again:?}");
}

#[test]
fn the_command_shows_the_cluster() {
    let servers = Servers::start(1);
    let [a, b] = servers.gateways(["a", "b"]);
    a.ship("math", &versioned(1));
    let run = |action: &[&str], gateway: &Gateway| {
        let mut command = metagate();
        let output = command.arg("cluster").args(action).args(["--url", &gateway.url("")]).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, shown) = run(&["status"], &b);
    assert!(code == 0 && shown.contains("cluster it, seen by b") && shown.contains("reached"), "{shown}");
    let (code, shown) = run(&["drain"], &b);
    assert!(code == 0 && shown.contains("b: deploys no longer wait for it"), "{shown}");
    wait_for("the drain", || run(&["nodes"], &a).1.contains("drained").then_some(()));
    let alone = Gateway::start("");
    assert_eq!(alone.get("/api/cluster").code(), "not_found");
    assert_eq!(run(&["status"], &alone).0, 1);
    // Addresses are the same on all gateways.
    let folder = tempfile::tempdir().unwrap();
    let table = servers.table("c");
    let text = format!("[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"data\"\n{table}");
    std::fs::write(folder.path().join("metagate.toml"), text).unwrap();
    let c = Gateway::start_in(folder, |_| {});
    wait_for("the copy", || (c.get("/it/math/v1/call/version").status == 200).then_some(()));
}

#[test]
fn a_gateway_that_joins_later_keeps_what_it_had() {
    let servers = Servers::start(1);
    let alone = Gateway::start("");
    alone.ship("math", &versioned(7));
    alone.ship("own", &versioned(8));
    let a = servers.gateway("a");
    a.ship("math", &versioned(1));
    a.ship("text", &versioned(2));
    let b = restarted_with(alone, &servers.table("b"));
    serves(&b, "text", 2);
    // Neither takes the place of the other, and both are named.
    wait_for("the clash", || cluster(&b)["nodes"][0]["failures"]["math"].is_string().then_some(()));
    assert_eq!((version(&b, "math").body, version(&b, "own").body), ("7".into(), "8".into()));
    assert_eq!((version(&a, "math").body, version(&a, "own").status), ("1".into(), 404));
    assert_eq!(cluster(&b)["only_here"], json!(["math", "own"]));
    let refused = b.upload("math", &versioned(9), "?replace=true");
    assert_eq!((refused.status, refused.code()), (409, "changed_elsewhere"), "{refused:?}");
    assert!(refused.message().contains("delete it at this gateway"), "{refused:?}");
    assert_eq!(b.delete("math").status, 200);
    serves(&b, "math", 1);
    assert_eq!(version(&a, "math").body, "1");
    // What the cluster does not have is shared with the next deploy.
    wait_for("both", || (nodes(&b).len() == 2).then_some(()));
    b.ship("own", &versioned(10));
    assert_eq!((version(&a, "own").body, version(&b, "own").body), ("10".into(), "10".into()));
}

#[test]
fn a_gateway_without_the_secret_says_so_and_holds_up_a_deploy() {
    let servers = Servers::start(1);
    let a = servers.gateway("a");
    let table = servers.table("b").replace("0123456789abcdef0123456789abcdef", "another-secret-of-32-bytes-or-more");
    let b = Gateway::start(&table);
    wait_for("both", || (nodes(&a).len() == 2 && nodes(&b).len() == 2).then_some(()));
    a.upload("math", &versioned(1), "");
    let answer = deploy_with(&a, "math", &json!({}));
    assert_eq!((answer.status, answer.code()), (504, "cluster_incomplete"), "{answer:?}");
    assert!(answer.message().contains("another secret"), "{answer:?}");
    assert_eq!(version(&b, "math").status, 404);
}
