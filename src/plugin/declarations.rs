//! What a plugin declares about itself, as it crosses the interface. What may be declared is left to
//! `describe::declaration`.

use wasmtime::component::{ComponentType, Lift};

use crate::describe::declaration::{Credential, Declaration, Refusal, SecurityScheme};

/// The name of the interface.
pub(super) const DECLARATIONS: &str = "declarations";

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(super) struct RawRefusal {
    status: u16,
    code: String,
    description: String,
    headers: Vec<String>,
}

#[derive(Debug, ComponentType, Lift)]
#[component(variant)]
pub(super) enum RawCredential {
    #[component(name = "header")]
    Header(String),
    #[component(name = "query")]
    Query(String),
    #[component(name = "cookie")]
    Cookie(String),
    #[component(name = "basic")]
    Basic,
    #[component(name = "bearer")]
    Bearer(String),
}

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(super) struct RawScheme {
    credential: RawCredential,
    description: String,
}

/// What a plugin declares, not checked.
pub(super) fn declaration(refusals: Vec<RawRefusal>, schemes: Vec<RawScheme>) -> Declaration {
    Declaration {
        refusals: refusals.into_iter().map(refusal).collect(),
        schemes: schemes.into_iter().map(scheme).collect(),
    }
}

fn refusal(raw: RawRefusal) -> Refusal {
    let RawRefusal { status, code, description, headers } = raw;
    let headers = headers.into_iter().map(|name| name.to_ascii_lowercase()).collect();
    Refusal { status, code, description, headers }
}

fn scheme(raw: RawScheme) -> SecurityScheme {
    let credential = match raw.credential {
        RawCredential::Header(name) => Credential::Header(name.to_ascii_lowercase()),
        RawCredential::Query(name) => Credential::Query(name),
        RawCredential::Cookie(name) => Credential::Cookie(name),
        RawCredential::Basic => Credential::Basic,
        RawCredential::Bearer(format) => Credential::Bearer(format),
    };
    SecurityScheme { credential, description: raw.description }
}
