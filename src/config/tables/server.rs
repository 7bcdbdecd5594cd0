//! The table `[server]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::tables::cors::CorsConfig;
use crate::config::values::delay::Delay;
use crate::config::values::field;
use crate::config::values::size::Size;
use crate::config::values::timeout::Timeout;
use crate::config::values::trusted_proxy::TrustedProxy;
use crate::deployment::Prefix;

/// `[server]`: the listener for calls, and limits of every connection.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct ServerConfig {
    /// IP address and port of the listener for calls; port 0 picks a free port. Default "127.0.0.1:9000".
    #[serde(deserialize_with = "field::address")]
    pub listen: SocketAddr,
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
    /// for connections over Unix sockets. What they say about their clients is believed: `Forwarded` or
    /// `X-Forwarded-For`, from right to left up to the first address that is no trusted proxy, `X-Forwarded-Proto` and
    /// `X-Forwarded-Host`. Each proxy must set these headers or remove those of its clients. Once this is set, the
    /// headers of others are dropped. Default: none, and the headers have no meaning.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// Whether connections of trusted proxies begin with a header of the PROXY protocol, version 1 or 2, which names
    /// the client. Connections without one, or with one that is late or malformed, are closed. Default false.
    pub proxy_protocol: bool,
    /// Which web pages of other origins may call functions. Default: none.
    #[serde(deserialize_with = "field::some_table")]
    pub cors: Option<CorsConfig>,
}

/// The default of `max_buffered`.
const MAX_BUFFERED: Size = Size::mebibytes(256);

impl ServerConfig {
    /// Bytes that the gateway may hold for clients.
    #[must_use]
    pub fn max_buffered(&self) -> u64 {
        self.max_buffered.map_or_else(|| MAX_BUFFERED.bytes().max(2 * self.max_body.bytes()), Size::bytes)
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9000)),
            prefix: None,
            data_dir: PathBuf::from(".metagate"),
            max_body: Size::mebibytes(8),
            drain: Timeout::seconds(30),
            pre_stop: Delay::NONE,
            max_connections: None,
            max_connections_per_peer: None,
            max_buffered: None,
            header_timeout: Timeout::seconds(10),
            body_timeout: Timeout::seconds(30),
            idle_timeout: Timeout::seconds(60),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            cors: None,
        }
    }
}
