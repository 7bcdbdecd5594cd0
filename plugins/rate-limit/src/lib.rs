//! rate-limit: refuses calls above a number per time window. The buckets are in the store, so that all instances of the
//! plugin share them.

mod bucket;
mod policy;

use std::sync::OnceLock;

use plugin_heap as _;

use crate::bindings::exports::metagate::plugin::before_invoke::{Guest as BeforeInvoke, Invocation, Problem, Verdict};
use crate::bindings::exports::metagate::plugin::declarations::{Guest as Declarations, Refusal, SecurityScheme};
use crate::bindings::exports::metagate::plugin::lifecycle::Guest as Lifecycle;
use crate::bindings::metagate::plugin::types::Pair;
use crate::bindings::metagate::plugin::{clock, log, store};
use crate::bucket::Decision;
use crate::policy::{By, Policy, store_key};

mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package example:rate-limit;
            world plugin {
                include metagate:plugin/imports@0.1.0;
                export metagate:plugin/before-invoke@0.1.0;
                export metagate:plugin/lifecycle@0.1.0;
                export metagate:plugin/declarations@0.1.0;
            }
        ",
        generate_all,
    });
}

/// How often a call tries again because another call has changed its bucket meanwhile.
const TRIES: usize = 32;

struct RateLimit;

bindings::export!(RateLimit with_types_in bindings);
plugin_config::log_panics!(crate::bindings::metagate::plugin::log);

static POLICY: OnceLock<Policy> = OnceLock::new();

impl Lifecycle for RateLimit {
    fn config_schema() -> Option<String> {
        Some(include_str!("../config.schema.json").to_owned())
    }

    fn start(config: String) -> Result<(), String> {
        let policy = Policy::read(&config)?;
        POLICY.set(policy).map_err(|_| "the plugin has been started before".to_owned())
    }
}

impl Declarations for RateLimit {
    fn refusals() -> Vec<Refusal> {
        vec![
            Refusal {
                status: 429,
                code: "rate_limited".to_owned(),
                description: "The rate limit is used up for now.".to_owned(),
                headers: vec!["retry-after".to_owned()],
            },
            Refusal {
                status: 503,
                code: "rate_limit_failed".to_owned(),
                description: "Whether the call is within its rate limit cannot be told now.".to_owned(),
                headers: Vec::new(),
            },
        ]
    }

    fn security_schemes() -> Vec<SecurityScheme> {
        Vec::new()
    }
}

impl BeforeInvoke for RateLimit {
    fn before_invoke(call: &Invocation) -> Verdict {
        let policy = POLICY.get().expect("the gateway starts an instance before its first hook");
        let key = key(&policy.by, call);
        match take(policy, &key) {
            Ok(Decision::Pass { .. }) => Verdict::Proceed,
            Ok(Decision::Refuse { retry_after }) => refuse(policy, retry_after),
            Err(reason) => {
                log::write(log::Level::Error, &format!("the bucket {key} cannot be kept: {reason}"));
                Verdict::Reject(Problem {
                    status: 503,
                    code: "rate_limit_failed".to_owned(),
                    message: "whether the call is within its rate limit cannot be told now".to_owned(),
                    headers: Vec::new(),
                })
            }
        }
    }
}

/// The key of the bucket that the call is taken from. A call without the caller or header that the key needs is counted
/// by its IP address.
fn key(by: &By, call: &Invocation) -> String {
    match by {
        By::Peer => None,
        By::Deployment => Some(store_key("deployment", &call.deployment())),
        By::Caller => call.context("caller").map(|caller| store_key("caller", &caller)),
        By::Header(name) => call.header(name).map(|value| store_key("header", &value)),
    }
    .unwrap_or_else(|| store_key("peer", &call.peer()))
}

/// Takes a call from a bucket. If too many others take from it at the same time, the call is refused.
fn take(policy: &Policy, key: &str) -> Result<Decision, String> {
    for _ in 0..TRIES {
        let now = clock::now().saturating_mul(1_000_000);
        let old = store::get(key);
        let full = old.as_deref().and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
        let decision = policy.bucket.take(full, now);
        let Decision::Pass { full } = decision else { return Ok(decision) };
        // A bucket that is full again need not be stored.
        let ttl = (full - now).div_ceil(1_000_000);
        if store::compare_and_set(key, old.as_deref(), &full.to_le_bytes(), ttl)? {
            return Ok(decision);
        }
    }
    Ok(Decision::Refuse { retry_after: 1 })
}

fn refuse(policy: &Policy, retry_after: u64) -> Verdict {
    let wait = Pair { name: "retry-after".to_owned(), value: retry_after.to_string() };
    Verdict::Reject(Problem {
        status: 429,
        code: "rate_limited".to_owned(),
        message: format!("{}; the next one in {retry_after} s", policy.message),
        headers: vec![wait],
    })
}
