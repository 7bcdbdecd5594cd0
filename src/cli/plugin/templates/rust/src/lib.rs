//! The plugin `{{name}}`: refuses calls with the header `x-blocked`, and marks the others with `x-seen-by`.

use exports::metagate::plugin::before_invoke::{Guest, Invocation, Verdict};
use metagate::plugin::types::Problem;

wit_bindgen::generate!({ path: "wit", world: "plugin", generate_all });

struct Plugin;

impl Guest for Plugin {
    fn before_invoke(call: &Invocation) -> Verdict {
        // The line to edit: which calls are refused. `call` also has function(), arguments(), peer(), context(key), …
        if call.header("x-blocked").is_some() {
            return Verdict::Reject(Problem {
                status: 403,
                code: "blocked".into(),
                message: "calls with the header x-blocked are refused".into(),
                headers: vec![],
            });
        }
        // Seen by the plugins after this one. A setter fails only on what is no header; a panic here would be a trap.
        let _ = call.set_header("x-seen-by", "{{name}}");
        Verdict::Proceed
    }
}

export!(Plugin);
