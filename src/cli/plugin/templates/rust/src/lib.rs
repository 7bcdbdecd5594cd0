//! The plugin `{{name}}`: refuses calls with the header `x-blocked`, and adds the header `x-seen-by` to the others.

use std::panic;

use exports::metagate::plugin::before_invoke::{Guest as BeforeInvoke, Invocation, Verdict};
use exports::metagate::plugin::declarations::{Guest as Declarations, Refusal, SecurityScheme};
use metagate::plugin::log::{self, Level};
use metagate::plugin::types::Problem;

wit_bindgen::generate!({ path: "wit", world: "plugin", generate_all });

struct Plugin;

/// Runs in each new instance, before its hooks. A panic is a trap, which has no message: this logs it.
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    panic::set_hook(Box::new(|panic| log::write(Level::Error, &panic.to_string().replace('\n', " "))));
}

impl BeforeInvoke for Plugin {
    fn before_invoke(call: &Invocation) -> Verdict {
        // Edit this line: it decides which calls are refused. `call` also has function(), arguments(), peer(), …
        if call.header("x-blocked").is_some() {
            return Verdict::Reject(Problem {
                status: 403,
                code: "blocked".into(),
                message: "calls with the header x-blocked are refused".into(),
                headers: vec![],
            });
        }
        // Later plugins see this header. A setter fails only on an invalid header; a panic here would fail the hook.
        let _ = call.set_header("x-seen-by", "{{name}}");
        Verdict::Proceed
    }
}

/// What the documents of functions say of this plugin. Keep it true: list every error with which it ends calls.
impl Declarations for Plugin {
    fn refusals() -> Vec<Refusal> {
        vec![Refusal {
            status: 403,
            code: "blocked".into(),
            description: "The call has the header x-blocked.".into(),
            headers: vec![],
        }]
    }

    fn security_schemes() -> Vec<SecurityScheme> {
        vec![]
    }
}

export!(Plugin);
