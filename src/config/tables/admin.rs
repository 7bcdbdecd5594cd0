//! The table `[admin]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::tables::tls::TlsConfig;
use crate::config::values::choice::{ClientCertificates, TlsVersion};
use crate::config::values::field;
use crate::config::values::listen::{self, Listen};
use crate::config::values::permission::{self, Permission};
use crate::config::values::secret::Secret;
use crate::config::values::sha256::Sha256;

/// `[admin]`: access to the admin API. Calls of functions need no token.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct AdminConfig {
    /// Token that requests to /api and /metrics must carry; its holder may do everything. At least 32 bytes, unless the
    /// listener is on a loopback address, where no token is required, but functions are refused. Keep it out of the
    /// file: "${env:METAGATE_TOKEN}". Default: none.
    pub token: Option<Secret>,
    /// Further tokens, each with a name and with what its holder may do. Default: none.
    #[serde(deserialize_with = "field::tables")]
    pub tokens: Vec<TokenConfig>,
    /// File with a line of JSON for each change over the API and each reload: who, from where, what, how it ended. The
    /// gateway's own log has these lines as well. Default: none.
    #[serde(deserialize_with = "field::path")]
    pub audit_log: Option<PathBuf>,
    /// Where a separate listener takes requests to the admin API, as in `[server] listen`. Default: the listener for
    /// calls.
    #[serde(deserialize_with = "listen::read")]
    pub listen: Option<Listen>,
    /// Certificates with their keys. For the addresses of `[admin] listen`, as in
    /// `[[server.tls]]`. Default: none.
    #[serde(deserialize_with = "field::tables")]
    pub tls: Vec<TlsConfig>,
    /// The oldest version of TLS that clients may use: "1.2" or "1.3". Default "1.2".
    pub tls_min_version: TlsVersion,
    /// File with the certificates, in PEM form, of those who issue certificates to clients. Default: none, and clients
    /// are not asked for one.
    #[serde(deserialize_with = "field::path")]
    pub client_ca: Option<PathBuf>,
    /// Whether clients must have a certificate that `client_ca` has issued: "required" or "optional". One that is shown
    /// must be valid either way. Default "required".
    pub client_certificates: ClientCertificates,
}

impl AdminConfig {
    /// Whether requests need a token.
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        self.token.is_some() || !self.tokens.is_empty()
    }
}

/// One of `[admin] tokens`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct TokenConfig {
    /// The name of its holder in the audit log; unique.
    pub name: String,
    /// The token itself, with the length of `[admin] token`. Either this or `sha256` is required.
    #[serde(default)]
    pub token: Option<Secret>,
    /// The SHA-256 of the token, as `printf %s "$TOKEN" | sha256sum` prints it: the file then has no secret. The token
    /// must be random and long, since whoever reads the digest can try tokens.
    #[serde(default)]
    pub sha256: Option<Sha256>,
    /// What its holder may do: "metrics" (/metrics alone), "read" (everything that changes nothing), "deploy:shop-*"
    /// (deploy, roll back, delete and read deployments whose names match), "admin" (everything).
    #[serde(deserialize_with = "permission::list")]
    #[schemars(length(min = 1))]
    pub may: Vec<Permission>,
}

impl TokenConfig {
    /// The keys without a default.
    pub const REQUIRED: [&str; 2] = ["name", "may"];
}
