//! Components built against version 0.1.0 of the plugin interface load and run in this gateway, unchanged.

use serde_json::json;

use crate::support::{Gateway, fixture, metagate};

const PLUGINS: [&str; 4] = ["api-key", "cache", "maintenance", "policy-on-load"];

#[test]
fn components_of_0_1_0_pass_the_cases_of_their_release() {
    let folder = fixture("plugins-0.1.0");
    for name in PLUGINS {
        let (component, cases) = (folder.join(format!("{name}.wasm")), folder.join(format!("{name}.cases.toml")));
        let output = metagate().args(["plugin", "test"]).arg(&component).arg(&cases).output().unwrap();
        let printed = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&printed));
    }
}

#[test]
fn components_of_0_1_0_run_on_calls_and_loads() {
    let path = |name: &str| fixture("plugins-0.1.0").join(format!("{name}.wasm"));
    let gateway = Gateway::ready(&format!(
        r#"
[[plugin]]
name = "policy-on-load"
path = {:?}
config = {{ hide_functions = ["size"] }}
[[plugin]]
name = "maintenance"
path = {:?}
functions = ["say"]
[[plugin]]
name = "api-key"
path = {:?}
config = {{ keys = {{ alice = "alice-key" }} }}
[[plugin]]
name = "cache"
path = {:?}
grants = {{ store = true }}
config = {{ functions = ["run"] }}
[[deployment]]
name = "echo"
path = {:?}
"#,
        path("policy-on-load"),
        path("maintenance"),
        path("api-key"),
        path("cache"),
        fixture("echo-node"),
    ));
    let call = |function: &str, headers: &[(&str, &str)]| {
        gateway.post(&format!("/local/echo/v1/call/{function}"), headers, "[]")
    };
    assert_eq!(call("run", &[]).status, 401);
    let alice = [("x-api-key", "alice-key")];
    assert_eq!([call("run", &alice).json(), call("run", &alice).json()], [json!(1), json!(1)], "the cache answers");
    assert_eq!(call("size", &alice).code(), "function_not_found");
    assert_eq!(call("say", &alice).code(), "maintenance");
}
