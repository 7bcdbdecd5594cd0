//! Who calls, as functions learn it from the example plugins that know: the values that those share for functions.

use serde_json::{Value, json};

use crate::exports::folder;
use crate::support::Gateway;

const NODE: &str = "
const { request } = require('metagate');
exports.who = () => [request().context, request().headers.get('x-api-key')];
";
const PYTHON: &str = "
from metagate import request

def who():
    return [request().context, request().headers.get('x-api-key')]
";

/// `{"sub":"alice","exp":4102444800,"roles":["admin"]}`, signed with the secret below.
const TOKEN: &str = concat!(
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImV4cCI6NDEwMjQ0NDgwMCwicm9sZXMiOlsiYWRtaW4iXX0",
    ".FPaAQqpQ6hOiMDkzRqrexQb-KtAgE1iVdUY73kY7WtM"
);

#[test]
fn a_function_learns_its_caller_from_jwt_and_api_key() {
    let (node, python) = (folder(&[("index.js", NODE)]), folder(&[("main.py", PYTHON)]));
    let plugins = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins");
    let deployment = |name: &str, path| format!("[[deployment]]\nname = \"{name}\"\npath = {path:?}\n");
    let plugin = |name: &str, of: &str, config: &str| {
        format!(
            "[[plugin]]\nname = \"{name}\"\npath = \"{plugins}/{name}/{name}.wasm\"\ndeployments = {of}\n\
             hooks = [\"before-invoke\"]\n{config}\n"
        )
    };
    let jwt = "grants = { store = true, http = [] }\nconfig = { secret = \"an example secret of 32 bytes...\" }";
    let gateway = Gateway::ready(&format!(
        "{}{}{}{}{}{}",
        deployment("node", node.path()),
        deployment("python", python.path()),
        deployment("node-keys", node.path()),
        deployment("python-keys", python.path()),
        plugin("jwt", "[\"node\", \"python\"]", jwt),
        plugin("api-key", "[\"*-keys\"]", "config = { keys = { bob = \"bobs key\" } }"),
    ));
    let authorization = format!("Bearer {TOKEN}");
    let who = |name: &str, headers: &[(&str, &str)]| -> Value {
        gateway.post(&format!("/local/{name}/v1/call/who"), headers, "").json()
    };
    let claims = json!({"sub": "alice", "exp": 4_102_444_800_u64, "roles": ["admin"]});
    for (name, keys) in [("node", "node-keys"), ("python", "python-keys")] {
        let known = who(name, &[("authorization", &authorization), ("function.caller", "eve")]);
        assert_eq!(known, json!([{"caller": "alice", "claims": claims}, null]), "{name}");
        // The key itself stays with the plugin.
        assert_eq!(who(keys, &[("x-api-key", "bobs key")]), json!([{"caller": "bob"}, null]), "{keys}");
        assert_eq!(who(name, &[])["error"]["code"], "unauthorized");
    }
}
