//! api-key: requires a known key in a header of each call, and shares the name of its owner with later plugins and with
//! the function.

mod keyring;

use std::sync::OnceLock;

use plugin_heap as _;

use crate::bindings::exports::metagate::plugin::before_invoke::{Guest as BeforeInvoke, Invocation, Problem, Verdict};
use crate::bindings::exports::metagate::plugin::declarations::{
    Credential, Guest as Declarations, Refusal, SecurityScheme,
};
use crate::bindings::exports::metagate::plugin::lifecycle::Guest as Lifecycle;
use crate::bindings::metagate::plugin::types::Pair;
use crate::keyring::Keyring;

mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package example:api-key;
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

struct ApiKey;

bindings::export!(ApiKey with_types_in bindings);
plugin_config::log_panics!(crate::bindings::metagate::plugin::log);

static KEYRING: OnceLock<Keyring> = OnceLock::new();

impl Lifecycle for ApiKey {
    fn config_schema() -> Option<String> {
        Some(include_str!("../config.schema.json").to_owned())
    }

    fn start(config: String) -> Result<(), String> {
        let keyring = Keyring::read(&config)?;
        KEYRING.set(keyring).map_err(|_| "the plugin has been started before".to_owned())
    }
}

impl Declarations for ApiKey {
    fn refusals() -> Vec<Refusal> {
        vec![
            Refusal {
                status: 401,
                code: "unauthorized".to_owned(),
                description: "The API key is missing or not known.".to_owned(),
                headers: vec!["www-authenticate".to_owned()],
            },
            Refusal {
                status: 500,
                code: "caller_not_kept".to_owned(),
                description: "The caller cannot be told to the next plugins.".to_owned(),
                headers: Vec::new(),
            },
        ]
    }

    fn security_schemes() -> Vec<SecurityScheme> {
        let credential = Credential::Header(keyring().header().to_owned());
        vec![SecurityScheme { credential, description: "An API key.".to_owned() }]
    }
}

impl BeforeInvoke for ApiKey {
    fn before_invoke(call: &Invocation) -> Verdict {
        let keyring = keyring();
        let Some(key) = call.header(keyring.header()) else {
            return unauthorized(keyring, format!("this function wants an API key in the header {}", keyring.header()));
        };
        let Some(caller) = keyring.caller(&key) else {
            return unauthorized(keyring, format!("the API key in the header {} is not known", keyring.header()));
        };
        // The function gets the keys that begin with `function.`.
        let shared = ["caller", "function.caller"].into_iter().try_for_each(|key| call.set_context(key, caller, true));
        if let Err(reason) = shared {
            return Verdict::Reject(Problem {
                status: 500,
                code: "caller_not_kept".to_owned(),
                message: format!("the caller cannot be told to the next plugins: {reason}"),
                headers: Vec::new(),
            });
        }
        call.remove_header(keyring.header());
        Verdict::Proceed
    }
}

fn keyring() -> &'static Keyring {
    KEYRING.get().expect("the gateway starts an instance before its first hook")
}

fn unauthorized(keyring: &Keyring, message: String) -> Verdict {
    let challenge = Pair { name: "www-authenticate".to_owned(), value: keyring.challenge() };
    Verdict::Reject(Problem { status: 401, code: "unauthorized".to_owned(), message, headers: vec![challenge] })
}
