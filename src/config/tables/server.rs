//! The table `[server]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::tables::cors::CorsConfig;
use crate::config::tables::tls::TlsConfig;
use crate::config::values::choice::{ClientCertificates, Describe, TlsVersion};
use crate::config::values::delay::Delay;
use crate::config::values::field;
use crate::config::values::listen::{self, Listen};
use crate::config::values::size::Size;
use crate::config::values::timeout::Timeout;
use crate::config::values::trusted_proxy::TrustedProxy;
use crate::deployment::Prefix;

/// `[server]`: the listener for calls, and limits of every connection.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct ServerConfig {
    /// Where calls are taken: an IP address and a port (port 0 picks a free one), the path of a UNIX socket such as
    /// "unix:/run/metagate.sock", or a list of these. In place of an address there may be a table, such as
    /// `{ address = "unix:/run/metagate.sock", mode = "0660" }`. Default "127.0.0.1:9000".
    #[serde(deserialize_with = "listen::read")]
    pub listen: Listen,
    /// Whether other processes may listen on the same IP addresses and ports, so that the kernel shares connections
    /// out between them (SO_REUSEPORT). Also for `[admin] listen`. Default false.
    pub reuse_port: bool,
    /// Certificates with their keys. With them, the IP addresses of `listen` take HTTPS (HTTP/1.1 and HTTP/2) instead
    /// of plain HTTP. Changed files are taken over within two seconds, without a reload. Default: none.
    #[serde(deserialize_with = "field::tables")]
    pub tls: Vec<TlsConfig>,
    /// The oldest version of TLS that clients may use: "1.2" or "1.3". Default "1.2".
    pub tls_min_version: TlsVersion,
    /// File with the certificates, in PEM form, of those who issue certificates to clients. Default: none, and clients
    /// are not asked for one.
    #[serde(deserialize_with = "field::path")]
    pub client_ca: Option<PathBuf>,
    /// Whether clients must have a certificate that `client_ca` has issued: "required" or "optional". One that is shown
    /// must be valid either way. Plugins and functions see its subject in the header `x-client-subject`. Default
    /// "required".
    pub client_certificates: ClientCertificates,
    /// First part of call addresses: `/<prefix>/<name>/v1/call/<function>`. 1 to 64 of A-Z a-z 0-9 . _ -; the first is
    /// a letter or digit. Default: the host name.
    #[serde(deserialize_with = "field::name::<Prefix, _, _>")]
    pub prefix: Option<Prefix>,
    /// Folder for releases and their records; created if it does not exist. Default ".metagate".
    #[serde(deserialize_with = "field::path")]
    pub data_dir: PathBuf,
    /// Maximum size of a request body, at least 1 byte. Default "8MiB".
    pub max_body: Size,
    /// Time that calls in flight have to finish after the gateway receives a signal to stop. "1ms" to "1h". Default
    /// "30s".
    pub drain: Timeout,
    /// Time after a signal to stop during which the gateway goes on serving while `/readyz` answers 503, so that load
    /// balancers stop sending requests. The drain begins afterwards. "0s" to "1h". Default "0s".
    pub pre_stop: Delay,
    /// Time that a new program has to take over at an upgrade. "1ms" to "1h". Default "2m".
    pub upgrade_timeout: Timeout,
    /// Maximum number of open connections; further ones are refused. At least 1. Default: derived from the limit of
    /// open files of the process.
    #[serde(deserialize_with = "field::within::<1, { u32::MAX }, _, _>")]
    #[schemars(range(min = 1))]
    pub max_connections: Option<u32>,
    /// Maximum number of open connections of one client address (for IPv6 of one /64 network); further ones are
    /// refused. At least 1. Default: no limit.
    #[serde(deserialize_with = "field::within::<1, { u32::MAX }, _, _>")]
    #[schemars(range(min = 1))]
    pub max_connections_per_peer: Option<u32>,
    /// Maximum number of bytes that the gateway holds for clients: bodies of requests until their calls have ended, and
    /// answers until they are sent. Beyond it requests are refused with 503 `overloaded`, uploads and large bodies
    /// first. One address may use half of it, one connection a quarter. At least twice `max_body`. Default "256MiB", or
    /// twice `max_body` if that is more.
    pub max_buffered: Option<Size>,
    /// Time that a client has to send the headers of a request. "1ms" to "1h". Default "10s".
    pub header_timeout: Timeout,
    /// Time that a client has to send the body of a request. "1ms" to "1h". Default "30s".
    pub body_timeout: Timeout,
    /// Time after which a connection without requests is closed. "1ms" to "1h". Default "60s".
    pub idle_timeout: Timeout,
    /// Proxies in front of the gateway, by address or network, such as `["10.0.0.0/8", "192.0.2.7"]`; "unix" stands
    /// for connections over UNIX sockets. What they say about their clients is believed: `Forwarded` or
    /// `X-Forwarded-For`, from right to left up to the first address that is no trusted proxy, `X-Forwarded-Proto` and
    /// `X-Forwarded-Host`. Each proxy must set these headers or remove those of its clients. Once this is set, the
    /// headers of others are dropped. Default: none, and the headers have no meaning.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// Whether connections of trusted proxies begin with a header of the PROXY protocol, version 1 or 2, which names
    /// the client. Connections without one, or with one that is late or malformed, are closed. Default false.
    pub proxy_protocol: bool,
    /// Whether answers to calls have a header `Server-Timing` with the time in plugins, in the queue and in the worker.
    /// It tells callers how busy the functions are. Default false.
    pub server_timing: bool,
    /// Which web pages of other origins may call functions. Default: none.
    #[serde(deserialize_with = "field::some_table")]
    pub cors: Option<CorsConfig>,
    /// Who may read the descriptions of functions and of the admin API (`openapi.json`, `docs`): "admin" (those who may
    /// use the admin API) or "public" (everyone). Default "admin".
    pub describe: Describe,
}

/// The default of `max_buffered`.
const MAX_BUFFERED: Size = Size::mebibytes(256);

impl ServerConfig {
    /// The folder of the data folder for compiled WebAssembly.
    #[must_use]
    pub fn compiled(&self) -> PathBuf {
        self.data_dir.join("compiled")
    }

    /// Bytes that the gateway may hold for clients.
    #[must_use]
    pub fn max_buffered(&self) -> u64 {
        self.max_buffered.map_or_else(|| MAX_BUFFERED.bytes().max(2 * self.max_body.bytes()), Size::bytes)
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: Listen::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 9000))),
            reuse_port: false,
            tls: Vec::new(),
            tls_min_version: TlsVersion::default(),
            client_ca: None,
            client_certificates: ClientCertificates::default(),
            prefix: None,
            data_dir: PathBuf::from(".metagate"),
            max_body: Size::mebibytes(8),
            drain: Timeout::seconds(30),
            pre_stop: Delay::NONE,
            upgrade_timeout: Timeout::seconds(120),
            max_connections: None,
            max_connections_per_peer: None,
            max_buffered: None,
            header_timeout: Timeout::seconds(10),
            body_timeout: Timeout::seconds(30),
            idle_timeout: Timeout::seconds(60),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            server_timing: false,
            cors: None,
            describe: Describe::default(),
        }
    }
}
