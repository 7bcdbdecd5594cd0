//! MetaData: the functions of a release as the gateway and its users see them. Source of the format:
//! `docs/worker-protocol.md`.

use serde_json::{Value, json};
use wasmtime::component::Type;

use crate::deployment;
use crate::ipc::metadata::METADATA_LIMIT;
use crate::wasm_worker::function_names::Names;
use crate::wasm_worker::value::{self, Signature};

/// Longest schemas of all functions of a release, in bytes. Further functions have none.
const SCHEMAS: usize = METADATA_LIMIT / 2;

/// The functions of each script, as they are described one after another.
#[derive(Debug)]
pub(super) struct Metadata {
    handles: Vec<(String, Vec<Value>)>,
    /// Bytes that are left for schemas.
    left: usize,
    /// What the worker accepts in calls.
    accepts: Vec<&'static str>,
}

impl Metadata {
    /// Without functions.
    pub(super) fn new(scripts: &[String]) -> Self {
        Self {
            handles: scripts.iter().map(|script| (script.clone(), Vec::new())).collect(),
            left: SCHEMAS,
            accepts: vec!["names", "timeout"],
        }
    }

    /// Adds a function of a script.
    pub(super) fn add(
        &mut self,
        script: usize,
        names: &Names,
        signature: &Signature,
        described: &deployment::Signature,
    ) {
        let mut function = json!({"name": names.name, "signature": type_ids(signature), "async": false});
        let schema = json!(described);
        let length = schema.to_string().len();
        if length <= self.left {
            self.left -= length;
            function["schema"] = schema;
        }
        self.push(script, names, function);
    }

    /// Adds the function that handles whole HTTP requests.
    pub(super) fn add_http(&mut self, script: usize, names: &Names, signature: &Value) {
        self.accepts.push("cancel");
        self.push(script, names, json!({"name": names.name, "signature": signature, "async": false, "http": "stream"}));
    }

    fn push(&mut self, script: usize, names: &Names, mut function: Value) {
        if !names.aliases.is_empty() {
            function["aliases"] = json!(names.aliases);
        }
        self.handles[script].1.push(function);
    }

    /// The `data` of MetaData of the deployment `id`. It has no schemas if they would make it too long.
    pub(super) fn into_data(mut self, id: &str) -> Value {
        let data = self.data(id);
        if data.to_string().len() <= METADATA_LIMIT {
            return data;
        }
        for function in self.handles.iter_mut().flat_map(|(_, functions)| functions).filter_map(Value::as_object_mut) {
            function.remove("schema");
        }
        self.data(id)
    }

    fn data(&self, id: &str) -> Value {
        let handle = |(script, functions): &(String, Vec<Value>)| {
            let scope = json!({"name": "global_namespace", "funcs": functions, "classes": [], "objects": []});
            json!({"name": script, "scope": scope})
        };
        let handles: Vec<Value> = self.handles.iter().map(handle).collect();
        json!({
            "status": "ready", "prefix": "", "suffix": id, "version": "v1",
            "packages": {"wasm": handles}, "ports": [], "accepts": self.accepts,
        })
    }
}

/// The types by MetaCall's ids.
fn type_ids(signature: &Signature) -> Value {
    let ty = |ty: Option<&Type>| {
        let name = ty.map_or_else(String::new, value::wit);
        json!({"name": name, "id": value::type_id(ty)})
    };
    let parameter = |(name, kind): &(Box<str>, Type)| json!({"name": name, "type": ty(Some(kind))});
    let parameters: Vec<Value> = signature.parameters.iter().map(parameter).collect();
    json!({"ret": {"type": ty(signature.result.as_ref())}, "args": parameters})
}
