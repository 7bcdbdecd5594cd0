//! Which addresses a host has.

use std::io;
use std::net::IpAddr;

use futures_util::future::BoxFuture;

/// Resolves names of hosts.
pub trait Resolve: Send + Sync {
    /// All IP addresses of a host.
    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// Resolves names as the system does.
#[derive(Debug)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}
