//! The tables `[[server.tls]]` and `[[admin.tls]]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use crate::config::values::field;
use crate::config::values::server_name::ServerName;

/// `[[server.tls]]`, `[[admin.tls]]`: a certificate with its key.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct TlsConfig {
    /// File with the certificate in PEM form, followed by those between it and its root.
    #[serde(deserialize_with = "field::path")]
    pub cert: PathBuf,
    /// File with its private key in PEM form. Others than its owner should not be able to read it.
    #[serde(deserialize_with = "field::path")]
    pub key: PathBuf,
    /// The names for which clients get this certificate, such as `["example.com", "*.example.com"]`; "*" stands for one
    /// part of a name. Clients that ask for none of the names of all certificates get the first one. Default: the names
    /// in the certificate.
    #[serde(default, deserialize_with = "names")]
    #[schemars(length(min = 1))]
    pub names: Option<Vec<ServerName>>,
}

fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<ServerName>>, D::Error> {
    field::filled(deserializer, "a list of host names, such as [\"example.com\"]").map(Some)
}

impl TlsConfig {
    /// The keys without a default.
    pub const REQUIRED: [&str; 2] = ["cert", "key"];
}
