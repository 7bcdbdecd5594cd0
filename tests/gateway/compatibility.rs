//! What a new release changes for callers: `metagate diff`, `deploy --check-compat`, and the after-load hook.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::deploys::package;
use crate::exports::folder;
use crate::faulty::{assert_error, assert_ok};
use crate::support::{Answer, Gateway, fixture, metagate, wait_for};

/// Functions with types that callers may rely on, and those of a release that breaks some of them.
const BEFORE: &str = "
def add(a: float, b: float = 1) -> float:
    return a + b

def name(id: int) -> str:
    return 'n' + str(id)

def old() -> int:
    return 1
";
const AFTER: &str = "
from typing import Optional

def add(a: float, b: float = 1, c: float = 0) -> int:
    return int(a + b + c)

def name(id: int, lang: str) -> Optional[str]:
    return None

def new() -> int:
    return 2
";

fn run(gateway: &Gateway, arguments: &[&str], folder: &Path) -> Output {
    let mut command = metagate();
    command.args(arguments).arg(folder).env("METAGATE_URL", gateway.url("")).env_remove("METAGATE_TOKEN");
    command.stdin(Stdio::null()).output().unwrap()
}

/// Standard output and standard error of a command, and whether it succeeded.
fn printed(output: &Output) -> (bool, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn deploy(gateway: &Gateway, more: &[&str], folder: &Path) -> (bool, String, String) {
    printed(&run(gateway, &[&["deploy", "--name", "it"], more].concat(), folder))
}

fn releases(gateway: &Gateway) -> Vec<u64> {
    let kept = gateway.get("/api/releases/it").json();
    kept["releases"].as_array().unwrap().iter().map(|release| release["release"].as_u64().unwrap()).collect()
}

#[test]
fn diff_names_what_breaks_callers_and_deploys_nothing() {
    let (before, after) = (folder(&[("main.py", BEFORE)]), folder(&[("main.py", AFTER)]));
    let gateway = Gateway::ready("");
    assert!(deploy(&gateway, &[], before.path()).0);
    let (succeeded, out, err) = printed(&run(&gateway, &["diff", "it"], after.path()));
    let expected = "\
EFFECT      FUNCTION  CHANGE
breaks      name      parameter lang is new and required
breaks      name      the result: was string, may also be null
breaks      old       is gone
compatible  add       parameter c is new and optional
compatible  new       is new
3 changes break callers of \"it\", release 1
";
    assert_eq!((succeeded, out.as_str()), (false, expected), "{err}");
    assert!(err.contains("comparing a package with the release in service"), "{err}");
    assert_eq!(releases(&gateway), [1]);
    assert_ok(&gateway.call("it", "old", "[]"), "1");
    let output = run(&gateway, &["diff", "it", "--json"], after.path());
    let compared: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&compared["suffix"], &compared["release"], &compared["breaks"]),
        (&json!("it"), &json!(1), &json!(true))
    );
    let first = json!({"function": "name", "effect": "breaks", "message": "parameter lang is new and required"});
    assert_eq!(compared["changes"][0], first);
    let (succeeded, out, _) = printed(&run(&gateway, &["diff", "it"], before.path()));
    assert_eq!((succeeded, out.as_str()), (true, "nothing changes for callers of \"it\", release 1\n"));
    // No process and no file of what was compared is left.
    wait_for("the end of the workers", || (gateway.worker_pids().len() == 1).then_some(()));
    wait_for("empty staging", || {
        fs::read_dir(gateway.folder.path().join("data/staging")).unwrap().next().is_none().then_some(())
    });
}

#[test]
fn diff_takes_packages_and_deployments_of_the_configuration() {
    let before = folder(&[("main.py", BEFORE)]);
    let gateway = Gateway::ready(&format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", before.path()));
    let archive = before.path().with_extension("zip");
    fs::write(&archive, package(&[("main.py", AFTER)])).unwrap();
    let (succeeded, out, err) = printed(&run(&gateway, &["diff", "it"], &archive));
    fs::remove_file(&archive).unwrap();
    assert!(!succeeded && out.ends_with("3 changes break callers of \"it\"\n"), "{out}{err}");
    assert_ok(&gateway.call("it", "old", "[]"), "1");
}

#[test]
fn diff_of_what_cannot_be_compared_says_why() {
    let broken = folder(&[("main.py", "raise ValueError('no such setting')\n")]);
    let gateway = Gateway::ready(&format!("[[deployment]]\nname = \"js\"\npath = {:?}\n", fixture("echo-node")));
    for (name, folder, reason) in [
        ("nothing", broken.path(), "no deployment \"nothing\": there is only js"),
        ("js", broken.path(), "no such setting"),
        ("js", Path::new("no/such/folder"), "no/such/folder"),
        ("js", &fixture("echo-node").join("index.js"), "(bad_archive, status 422)"),
    ] {
        let output = run(&gateway, &["diff", name], folder);
        let (_, out, err) = printed(&output);
        assert!(output.status.code() == Some(2) && err.contains(reason), "{name} {folder:?}: {out}{err}");
    }
    assert_ok(&gateway.call("js", "args", "[1]"), "[1]");
}

fn form(parts: &[(&str, &str)]) -> String {
    let part = |(name, value): &(&str, &str)| {
        format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    parts.iter().map(part).collect::<String>() + "--b--\r\n"
}

fn compare(gateway: &Gateway, parts: &[(&str, &str)]) -> Answer {
    let headers = [("content-type", "multipart/form-data; boundary=b")];
    gateway.post("/api/package/compare", &headers, form(parts))
}

#[test]
fn a_comparison_refuses_bad_forms() {
    let gateway = Gateway::ready(&format!("[[deployment]]\nname = \"js\"\npath = {:?}\n", fixture("echo-node")));
    let of = |name| [("id", name), ("jsons", "[]")];
    assert_error(&compare(&gateway, &[]), 400, "bad_request");
    assert_error(&compare(&gateway, &[of("js"), [("x", ""), ("raw", "no zip")]].concat()), 422, "bad_archive");
    assert_error(
        &compare(&gateway, &[of("other"), [("x", ""), ("raw", "no zip")]].concat()),
        404,
        "deployment_not_found",
    );
    assert_error(&compare(&gateway, &[of("../js"), [("x", ""), ("raw", "")]].concat()), 400, "bad_name");
    for env in ["{", "{}", "[1]"] {
        assert_error(&compare(&gateway, &[of("js"), [("env", env), ("raw", "")]].concat()), 400, "invalid_json");
    }
    let answer = compare(&gateway, &[of("js"), [("env", r#"[{"name":"A=B"}]"#), ("raw", "")]].concat());
    assert_error(&answer, 400, "bad_request");
    assert_error(&gateway.get("/api/package/compare"), 405, "method_not_allowed");
}

#[test]
fn a_token_for_a_deployment_has_no_code_run_with_the_settings_of_the_configuration() {
    let gateway = Gateway::ready(&format!(
        "[admin]\ntokens = [\n{{ name = \"js\", token = \"one-of-a-deployment\", may = [\"deploy:js\"] }},\n\
         {{ name = \"all\", token = \"one-for-everything\", may = [\"admin\"] }}]\n\
         [[deployment]]\nname = \"js\"\npath = {:?}\nenv = {{ SECRET = \"s\" }}\n",
        fixture("echo-node")
    ));
    let compared = |token: &str| {
        let headers = [("content-type", "multipart/form-data; boundary=b"), ("authorization", token)];
        gateway.post("/api/package/compare", &headers, form(&[("id", "js"), ("jsons", "[]"), ("raw", "no zip")]))
    };
    let refused = compared("Bearer one-of-a-deployment");
    assert_error(&refused, 403, "forbidden");
    assert!(refused.message().contains("may \"admin\""), "{refused:?}");
    assert_error(&compared("Bearer one-for-everything"), 422, "bad_archive");
    assert_error(&compared("Bearer of-nobody"), 401, "unauthorized");
}

#[test]
fn a_deploy_that_breaks_callers_is_refused_unless_forced() {
    let (before, after) = (folder(&[("main.py", BEFORE)]), folder(&[("main.py", AFTER)]));
    let gateway = Gateway::ready("");
    let (succeeded, _, err) = deploy(&gateway, &["--check-compat"], before.path());
    assert!(succeeded && err.contains("no release is in service: nothing to compare with"), "{err}");
    let (succeeded, _, err) = deploy(&gateway, &["--check-compat"], after.path());
    assert!(!succeeded, "{err}");
    for line in [
        "breaks callers: name: parameter lang is new and required",
        "breaks callers: old: is gone",
        "(incompatible, status 409)",
    ] {
        assert!(err.contains(line), "{line}: {err}");
    }
    assert_eq!((releases(&gateway), gateway.readiness("it")["status"].clone()), (vec![1], json!("ready")));
    assert_ok(&gateway.call("it", "old", "[]"), "1");
    assert!(deploy(&gateway, &["--check-compat"], before.path()).0, "the same functions break nobody");
    let (succeeded, _, err) = deploy(&gateway, &["--check-compat", "--force"], after.path());
    assert!(succeeded && err.contains("breaks callers: old: is gone"), "{err}");
    assert_ok(&gateway.call("it", "new", "[]"), "2");
    let (succeeded, _, err) = deploy(&gateway, &[], before.path());
    assert!(succeeded && !err.contains("breaks callers"), "without the option nothing is checked: {err}");
}

#[test]
fn after_load_hooks_see_what_a_release_breaks() {
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/policy-on-load/policy-on-load.wasm");
    for isolation in ["none", "process"] {
        let files = folder(&[("main.py", BEFORE)]);
        let gateway = Gateway::ready(&format!(
            "[[plugin]]\nname = \"policy\"\npath = {plugin:?}\nisolation = {isolation:?}\non_error = \"reject\"\n\
             config = {{ deny_breaking = true, hide_functions = [\"old\"] }}\n\
             [[deployment]]\nname = \"configured\"\npath = {:?}\n",
            files.path()
        ));
        assert!(deploy(&gateway, &[], files.path()).0);
        // Without a hidden function, nothing that callers know is gone.
        let same = folder(&[("main.py", &BEFORE.replace("def old", "def new"))]);
        assert!(deploy(&gateway, &[], same.path()).0, "{isolation}");
        let (succeeded, _, err) = deploy(&gateway, &[], folder(&[("main.py", AFTER)]).path());
        let reason = "it breaks callers: name: parameter lang is new and required, and 1 more changes";
        assert!(!succeeded && err.contains(reason) && err.contains("refused_by_plugin"), "{isolation}: {err}");
        // A reload takes the same way.
        files_changed(&gateway, files.path());
    }
}

/// A changed folder of the configuration that breaks callers is not put in service.
fn files_changed(gateway: &Gateway, files: &Path) {
    fs::write(files.join("main.py"), AFTER).unwrap();
    let config = gateway.folder.path().join("metagate.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("name = \"configured\"", "name = \"configured\"\nqueue = 7")).unwrap();
    let answer = gateway.post("/api/reload", &[], "");
    assert!(answer.body.contains("it breaks callers: name: "), "{answer:?}");
    assert_eq!(gateway.call("configured", "name", "[1]").body, "\"n1\"");
}
