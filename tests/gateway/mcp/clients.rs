//! The official clients of the protocol list and call tools, in each revision that they speak.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::ONE;
use crate::support::{Gateway, fixture};

/// A gateway whose list of tools has several pages.
fn serving() -> Gateway {
    Gateway::ready(&format!(
        "[mcp]\nenabled = true\npage_size = 7\ninstructions = \"Be kind.\"\nprompts = [\"tools/review\"]\n\
         [[mcp.resource]]\nuri = \"prices://{{id}}\"\nto = \"tools/price_of\"\n\
         [[deployment]]\nname = \"tools\"\npath = {:?}\n",
        fixture("tools-node")
    ))
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Checks what a client prints.
#[track_caller]
fn assert_works(command: &mut Command) {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<&str> = seen["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(names.is_sorted() && names.len() > 15 && names.contains(&"add"), "{seen}");
    assert_eq!((&seen["sum"], &seen["price"]), (&json!({"result": 3}), &json!({"total": 5})), "{seen}");
    assert_eq!((&seen["failed"], &seen["image"]), (&json!(true), &json!("image/png")), "{seen}");
    assert_eq!(seen["unknown"], -32602, "{seen}");
    assert_eq!((&seen["prompts"], &seen["prompt"]), (&json!(["review"]), &json!("Review price 1 times.")), "{seen}");
    assert_eq!(seen["price_of"], "{\"id\":7,\"price\":14}", "{seen}");
    assert_eq!(seen["booked"], "booked for 4 on 2026-12-01", "{seen}");
    // A client that is told the revision does not ask what there is.
    assert!(seen["instructions"].is_null() || seen["instructions"] == "Be kind.", "{seen}");
}

#[test]
fn the_typescript_clients_list_and_call_tools() {
    let gateway = serving();
    let packages = tests().join("npm");
    assert!(packages.join("node_modules/@modelcontextprotocol/client").is_dir(), "run \"npm install\" in tests/npm");
    for version in [["2", "2026-07-28"], ["2", "legacy"], ["1", "legacy"]] {
        let mut command = Command::new("node");
        command.arg(fixture("mcp-client.mjs")).arg(&packages).arg(gateway.url(ONE)).args(version);
        assert_works(&mut command);
    }
}

#[test]
fn the_python_client_lists_and_calls_tools() {
    let gateway = serving();
    let packages = tests().join("pypi/packages");
    assert!(packages.join("mcp").is_dir(), "run tests/run.sh: there is no mcp in tests/pypi/packages");
    for mode in ["2026-07-28", "auto", "legacy"] {
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", &packages).arg(fixture("mcp_client.py")).arg(gateway.url(ONE)).arg(mode);
        assert_works(&mut command);
    }
}
