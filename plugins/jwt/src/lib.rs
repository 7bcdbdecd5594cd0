//! jwt: lets a call pass only with a valid JSON Web Token, and passes its claims to later plugins and to the function.

mod claims;
mod gateway;
mod keys;
mod keyset;
mod policy;
mod token;

use std::cell::RefCell;
use std::sync::OnceLock;

use plugin_heap as _;

use crate::bindings::exports::metagate::plugin::before_invoke::{Guest as BeforeInvoke, Invocation, Problem, Verdict};
use crate::bindings::exports::metagate::plugin::declarations::{
    Credential, Guest as Declarations, Refusal as Declared, SecurityScheme,
};
use crate::bindings::exports::metagate::plugin::lifecycle::Guest as Lifecycle;
use crate::bindings::metagate::plugin::clock;
use crate::bindings::metagate::plugin::types::Pair;
use crate::claims::Claims;
use crate::gateway::Imports;
use crate::keys::Key;
use crate::policy::{KeySource, Policy};
use crate::token::{Algorithm, Token, bearer};

mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package example:jwt;
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

struct Jwt;

bindings::export!(Jwt with_types_in bindings);
plugin_config::log_panics!(crate::bindings::metagate::plugin::log);

static POLICY: OnceLock<Policy> = OnceLock::new();

thread_local! {
    /// The keys of `jwks_url` that this instance has.
    static KEYS: RefCell<Option<keyset::Copy>> = const { RefCell::new(None) };
}

/// The reason why a call does not pass.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// It has no token.
    Missing,
    /// Its token is not valid, for this reason.
    Invalid(String),
    /// The token cannot be checked: there are no keys.
    NoKeys,
    /// The claims cannot be passed to later plugins, for this reason.
    NotKept(String),
}

impl Lifecycle for Jwt {
    fn config_schema() -> Option<String> {
        Some(include_str!("../config.schema.json").to_owned())
    }

    fn start(config: String) -> Result<(), String> {
        let policy = Policy::read(&config)?;
        POLICY.set(policy).map_err(|_| "the plugin has been started before".to_owned())
    }
}

impl Declarations for Jwt {
    fn refusals() -> Vec<Declared> {
        let declared = |status, code: &str, description: &str, header: Option<&str>| Declared {
            status,
            code: code.to_owned(),
            description: description.to_owned(),
            headers: header.map(str::to_owned).into_iter().collect(),
        };
        let mut all = vec![
            declared(401, "unauthorized", "The token is missing or not valid.", Some("www-authenticate")),
            declared(500, "claims_not_kept", "The claims cannot be told to the next plugins.", None),
        ];
        if policy().jwks.is_some() {
            let description = "The keys that tokens are checked with cannot be had now.";
            all.push(declared(503, "keys_unavailable", description, Some("retry-after")));
        }
        all
    }

    fn security_schemes() -> Vec<SecurityScheme> {
        let credential = match policy().header.as_str() {
            "authorization" => Credential::Bearer("JWT".to_owned()),
            header => Credential::Header(header.to_owned()),
        };
        vec![SecurityScheme { credential, description: "A JSON Web Token.".to_owned() }]
    }
}

impl BeforeInvoke for Jwt {
    fn before_invoke(call: &Invocation) -> Verdict {
        let policy = policy();
        match admit(policy, call) {
            Ok(()) => Verdict::Proceed,
            Err(refusal) => Verdict::Reject(refusal.into_problem(&policy.header)),
        }
    }
}

fn policy() -> &'static Policy {
    POLICY.get().expect("the gateway starts an instance before its first hook")
}

fn admit(policy: &Policy, call: &Invocation) -> Result<(), Refusal> {
    let header = call.header(&policy.header).ok_or(Refusal::Missing)?;
    let text = bearer(&header, policy.header == "authorization").ok_or(Refusal::Missing)?;
    let now = clock::now();
    let token = Token::parse(text).map_err(Refusal::Invalid)?;
    verify(policy, &token, now)?;
    let payload = token.payload().map_err(Refusal::Invalid)?;
    let claims = Claims::parse(&payload).map_err(Refusal::Invalid)?;
    claims.check(&policy.wanted, now).map_err(Refusal::Invalid)?;
    share(call, ["claims", "function.claims"], &payload)?;
    match claims.caller() {
        Some(caller) => share(call, ["caller", "function.caller"], &caller),
        None => Ok(()),
    }
}

/// Shares a value with later plugins, and with the function: the gateway passes on keys that begin with `function.`.
fn share(call: &Invocation, keys: [&str; 2], value: &str) -> Result<(), Refusal> {
    keys.into_iter().try_for_each(|key| call.set_context(key, value, true)).map_err(Refusal::NotKept)
}

/// Checks the signature. The algorithm decides which keys are tried, so no key is used with another algorithm.
fn verify(policy: &Policy, token: &Token<'_>, now: u64) -> Result<(), Refusal> {
    let verified = match token.algorithm() {
        Algorithm::Hs256 => match &policy.secret {
            Some(secret) => secret.verifies(token.signed(), token.signature()),
            None => return Err(Refusal::Invalid("it is signed with HS256, which is not accepted here".to_owned())),
        },
        Algorithm::EdDsa if policy.public_key.is_none() && policy.jwks.is_none() => {
            return Err(Refusal::Invalid("it is signed with EdDSA, which is not accepted here".to_owned()));
        }
        Algorithm::EdDsa => {
            let verifies = |key: &Key| key.verifies(token.signed(), token.signature());
            policy.public_key.as_ref().is_some_and(verifies)
                || match &policy.jwks {
                    Some(source) => issuer_keys(source, token.key_id(), now)?.iter().any(verifies),
                    None => false,
                }
        }
    };
    if verified { Ok(()) } else { Err(Refusal::Invalid("its signature is not that of a known key".to_owned())) }
}

fn issuer_keys(source: &KeySource, id: Option<&str>, now: u64) -> Result<Vec<Key>, Refusal> {
    KEYS.with_borrow_mut(|copy| keyset::find(source, id, now, copy, &Imports(source)))
}

impl Refusal {
    fn into_problem(self, header: &str) -> Problem {
        let (status, code, message, headers) = match self {
            Self::Missing => {
                let message = format!("this function wants a token in the header {header}");
                (401, "unauthorized", message, vec![challenge("Bearer realm=\"metagate\"".to_owned())])
            }
            Self::Invalid(reason) => {
                let described = reason.replace(['"', '\\'], "'");
                let value = format!("Bearer error=\"invalid_token\", error_description=\"{described}\"");
                (401, "unauthorized", format!("the token is not valid: {reason}"), vec![challenge(value)])
            }
            Self::NoKeys => {
                let wait = Pair { name: "retry-after".to_owned(), value: "5".to_owned() };
                (
                    503,
                    "keys_unavailable",
                    "the keys that tokens are checked with cannot be had now".to_owned(),
                    vec![wait],
                )
            }
            Self::NotKept(reason) => {
                (500, "claims_not_kept", format!("the claims cannot be told to the next plugins: {reason}"), Vec::new())
            }
        };
        Problem { status, code: code.to_owned(), message, headers }
    }
}

fn challenge(value: String) -> Pair {
    Pair { name: "www-authenticate".to_owned(), value }
}
