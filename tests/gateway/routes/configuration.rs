//! Routes that `check` refuses, and what `explain` says about the others.

use crate::plugins::Files;
use crate::routes::routes;
use crate::support::metagate;

/// The output of a command with the metagate.toml of a folder.
fn run(files: &Files, arguments: &[&str]) -> (bool, String) {
    let output = metagate().args(arguments).current_dir(files.path()).output().unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn faults_of_routes_are_found_with_line_and_column() {
    let files = Files::new();
    for (tables, fault) in [
        (
            &["path = \"/a/{id}\"; to = \"x/f\"", "path = \"/a/{other}\"; to = \"x/g\"; methods = [\"GET\"]"][..],
            "6:8: the route of line 3 takes the same requests",
        ),
        (&["path = \"/api/x\"; to = \"x/f\""], "3:8: these addresses are reserved for the gateway: /api, /validate"),
        (&["path = \"/Healthz\"; to = \"x/f\""], "3:8: these addresses are reserved"),
        (&["path = \"/local/{x...}\"; to = \"x\""], "3:8: addresses below /local are those of deployments"),
        (&["path = \"/a\"; to = \"api/f\""], "4:6: "),
        (&["path = \"/a\"; to = \"x/\""], "4:6: "),
        (&["path = \"a\"; to = \"x/f\""], "3:8: "),
        (&["path = \"/a\"; to = \"x/f\"; methods = []"], "5:11: "),
        (&["path = \"/a\"; to = \"x/f\"; host = \"a:80\""], "5:8: "),
        (&["path = \"/a\""], "2:1: \"route\" needs \"to\""),
    ] {
        files.put("metagate.toml", format!("server.prefix = \"local\"\n{}", routes(tables)));
        let (ok, said) = run(&files, &["check"]);
        assert!(!ok && said.contains(&format!("metagate.toml:{fault}")), "no {fault:?} in {said}");
    }
    files.put(
        "metagate.toml",
        routes(&["path = \"/a\"; to = \"x/f\"", "path = \"/a\"; to = \"x/g\"; methods = [\"PUT\"]"]),
    );
    let (ok, said) = run(&files, &["check"]);
    assert!(ok && said.contains("metagate.toml:3:6: route /a leads to \"x\", which is no deployment"), "{said}");
}

#[test]
fn explain_shows_the_route_of_a_request_and_why_others_do_not_take_it() {
    let files = Files::new();
    files.put("app.py", "def order(id):\n    return id\n");
    let deployment = "server.prefix = \"local\"\n[[deployment]]\nname = \"shop\"\npath = \".\"\n";
    let all = routes(&[
        "path = \"/orders/{id}\"; to = \"shop/order\"",
        "path = \"/orders/{id}\"; to = \"shop/drop\"; methods = [\"DELETE\"]",
        "path = \"/{rest...}\"; to = \"site\"",
        "path = \"/orders/7\"; to = \"shop/seven\"; host = \"a.example\"",
        "path = \"/later\"; to = \"shop/order\"; async = true",
    ]);
    files.put("metagate.toml", format!("{deployment}{all}"));
    let explain = |arguments: &[&str]| run(&files, &[&["explain"], arguments].concat());
    let (ok, said) = explain(&["GET", "/orders/7?x=1"]);
    for line in [
        "GET /orders/7\n  taken by     GET HEAD POST /orders/{id} to shop/order  (metagate.toml:6)\n",
        "  why          matches \"orders\", a part as id\n  parameter    id = \"7\"\n",
        "DELETE /orders/{id} to shop/drop  (metagate.toml:9): it does not take GET\n",
        "every method /{rest...} to site  (metagate.toml:13): it matches, but the text \"orders\" comes before the",
        "a.example/orders/7 to shop/seven  (metagate.toml:16): it is for another host\n",
        "deployment \"shop\"  (metagate.toml:3)\n",
        "function     \"order\"",
    ] {
        assert!(ok && said.contains(line), "no {line:?} in\n{said}");
    }
    for (arguments, line) in [
        (&["GET", "https://a.example:8080/orders/7"][..], "a.example/orders/7 to shop/seven"),
        (&["GET", "/orders/7", "--host", "a.example"], "it matches, but routes for the host a.example come first"),
        (&["GET", "/x"], "deployment \"site\" is not in this file"),
        (&["GET", "/later"], "taken by     GET POST /later to shop/order"),
        (&["POST", "/later"], "  answer       202: nobody waits for its calls (async)\n"),
        (&["GET", "/api/inspect"], "taken by     the gateway itself"),
        (&["GET", "/local/shop/v1/call/order"], "taken by     an address of a function"),
    ] {
        let (ok, said) = explain(arguments);
        assert!(ok && said.contains(line), "no {line:?} in\n{said}");
    }
}
