//! cache: answers a call with the result that the same call had a short time ago. The key is made in before-invoke and
//! passed to after-invoke in the call's context, so that plugins between the two may change the arguments.

mod key;
mod policy;

use std::sync::OnceLock;

use plugin_heap as _;

use crate::bindings::exports::metagate::plugin::after_invoke::{Guest as AfterInvoke, Outcome};
use crate::bindings::exports::metagate::plugin::before_invoke::{Guest as BeforeInvoke, Invocation, Verdict};
use crate::bindings::exports::metagate::plugin::declarations::{Guest as Declarations, Refusal, SecurityScheme};
use crate::bindings::exports::metagate::plugin::lifecycle::Guest as Lifecycle;
use crate::bindings::metagate::plugin::outcome::Source;
use crate::bindings::metagate::plugin::types::{Pair, Response};
use crate::bindings::metagate::plugin::{log, store};
use crate::key::key;
use crate::policy::{Policy, Vary};

mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package example:cache;
            world plugin {
                include metagate:plugin/imports@0.1.0;
                export metagate:plugin/before-invoke@0.1.0;
                export metagate:plugin/after-invoke@0.1.0;
                export metagate:plugin/lifecycle@0.1.0;
                export metagate:plugin/declarations@0.1.0;
            }
        ",
        generate_all,
    });
}

/// The header of the answer that says whether the function ran.
const HEADER: &str = "x-cache";
/// The key of the context that keeps the key of a missed call for its after-hook.
const KEY: &str = "cache_key";

struct Cache;

bindings::export!(Cache with_types_in bindings);
plugin_config::log_panics!(crate::bindings::metagate::plugin::log);

static POLICY: OnceLock<Policy> = OnceLock::new();

impl Lifecycle for Cache {
    fn config_schema() -> Option<String> {
        Some(include_str!("../config.schema.json").to_owned())
    }

    fn start(config: String) -> Result<(), String> {
        let policy = Policy::read(&config)?;
        POLICY.set(policy).map_err(|_| "the plugin has been started before".to_owned())
    }
}

/// It ends no call with an error.
impl Declarations for Cache {
    fn refusals() -> Vec<Refusal> {
        Vec::new()
    }

    fn security_schemes() -> Vec<SecurityScheme> {
        Vec::new()
    }
}

impl BeforeInvoke for Cache {
    fn before_invoke(call: &Invocation) -> Verdict {
        let policy = policy();
        let function = call.function();
        if !policy.keeps(&function) {
            return Verdict::Proceed;
        }
        let key = key_of(call, &function, &policy.vary);
        if let Some(body) = store::get(&key).and_then(|bytes| String::from_utf8(bytes).ok()) {
            let hit = Pair { name: HEADER.to_owned(), value: "hit".to_owned() };
            return Verdict::Respond(Response { status: 200, headers: vec![hit], body });
        }
        if let Err(reason) = call.set_context(KEY, &format!("\"{key}\""), false) {
            log::write(log::Level::Warn, &format!("a result will not be kept: {reason}"));
        }
        Verdict::Proceed
    }
}

impl AfterInvoke for Cache {
    fn after_invoke(call: &Invocation, outcome: &Outcome) {
        let Some(key) = call.context(KEY) else { return };
        let kept = outcome.set_header(HEADER, "miss").and_then(|()| keep(policy(), key.trim_matches('"'), outcome));
        if let Err(reason) = kept {
            log::write(log::Level::Warn, &format!("a result is not kept: {reason}"));
        }
    }
}

fn policy() -> &'static Policy {
    POLICY.get().expect("the gateway starts an instance before its first hook")
}

fn key_of(call: &Invocation, function: &str, vary: &[Vary]) -> String {
    let fixed = [call.deployment(), call.version(), call.arguments()];
    let varying: Vec<Option<String>> = vary
        .iter()
        .map(|vary| match vary {
            Vary::Header(name) => call.header(name),
            Vary::Context(key) => call.context(key),
        })
        .collect();
    let fixed = fixed.iter().map(|text| Some(text.as_str()));
    key(fixed.chain([Some(function)]).chain(varying.iter().map(Option::as_deref)))
}

/// Keeps the result of a function. Errors, answers of plugins and results that are too large are not kept.
fn keep(policy: &Policy, key: &str, outcome: &Outcome) -> Result<(), String> {
    let success = outcome.source() == Source::Function && outcome.status() == 200 && outcome.code().is_none();
    if !success || outcome.body_size() > policy.max_size {
        return Ok(());
    }
    store::set(key, outcome.body().as_bytes(), policy.ttl)
}
