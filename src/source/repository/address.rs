//! Addresses of repositories: which are allowed, and the check that a host is public. git connects to the IP addresses
//! that were checked, so that a second look-up of the name cannot return others.

use std::net::IpAddr;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::addresses::is_public;
use crate::config::RepositoryPrefix;
use crate::deployment::DeploymentName;
use crate::source::repository::resolve::Resolve;

const LENGTH: usize = 2048;

/// An address that may be fetched from, once its host has been resolved and checked.
#[derive(Debug, Clone)]
pub struct Address {
    url: Url,
    /// Whether the configuration lists it: then it may use other schemes and private hosts.
    listed: bool,
}

impl Address {
    /// Parses an address.
    ///
    /// # Errors
    /// The reason why nothing is fetched from it.
    pub fn parse(text: &str, listed: &[RepositoryPrefix]) -> Result<Self, String> {
        if text.len() > LENGTH {
            return Err(format!("an address of {} bytes, limit {LENGTH}", text.len()));
        }
        if text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err("the address has a blank, a control character or a backslash".to_owned());
        }
        let url = Url::parse(text).map_err(|error| format!("{text:?} is not an address of a repository: {error}"))?;
        // It may contain a user or a password: from here on errors do not quote it.
        let authority = text.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
        match authority {
            None => return Err(format!("an address of {:?} has no \"//\"", url.scheme())),
            Some(authority) if authority.contains('@') => {
                return Err("an address with a user or a password is not fetched from".to_owned());
            }
            Some(_) => {}
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("an address of a repository ends with its path, without ? or #".to_owned());
        }
        if url.host_str().is_some_and(|host| host.ends_with('.')) {
            return Err("the host ends in a dot".to_owned());
        }
        check_path(&url)?;
        let listed = listed.iter().any(|prefix| prefix.covers(&url));
        if !listed && url.scheme() != "https" {
            return Err(format!(
                "repositories are fetched over https only, not over {:?}, \
                 unless the gateway's [deploy] repositories lists them",
                url.scheme()
            ));
        }
        if !listed && url.port().is_some() {
            return Err(
                "repositories are fetched from port 443 only, unless the gateway's [deploy] repositories lists them"
                    .to_owned(),
            );
        }
        if url.scheme() == "file" && url.host().is_some() {
            return Err("an address of a folder names no host".to_owned());
        }
        Ok(Self { url, listed })
    }

    /// The address that git gets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// The only protocol that git may use.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.url.scheme()
    }

    /// The port of its server; none for a folder.
    pub(super) fn port(&self) -> Option<u16> {
        self.url.host().and_then(|_| self.url.port_or_known_default())
    }

    /// The folder that it names; none for a server.
    pub(super) fn folder(&self) -> Option<PathBuf> {
        self.url.to_file_path().ok()
    }

    /// The name of a deployment of this repository, from the last two parts of the path: `metacall/examples.git`
    /// becomes `metacall-examples`.
    pub fn deployment_name(&self) -> Result<DeploymentName, String> {
        let mut parts: Vec<&str> = self.url.path().split('/').filter(|part| !part.is_empty()).collect();
        let mut last = parts.pop().unwrap_or_default().to_ascii_lowercase();
        if let Some(name) = last.strip_suffix(".git") {
            last = name.to_owned();
        }
        let name = match parts.pop() {
            Some(owner) => format!("{}-{last}", owner.to_ascii_lowercase()),
            None => last,
        };
        DeploymentName::new(&name)
            .map_err(|error| format!("the end of the address makes {name:?}, which names no deployment: {error}"))
    }

    /// The value of `http.curloptResolve` that makes git connect to the IP addresses that were checked; `None` if the
    /// address contains one itself. Fails if the host is not public, unless the address is listed.
    pub(super) async fn pin(&self, resolver: &dyn Resolve) -> Result<Option<String>, String> {
        let (host, found) = match self.url.host() {
            None => return Ok(None),
            Some(Host::Ipv4(address)) => (None, vec![IpAddr::V4(address)]),
            Some(Host::Ipv6(address)) => (None, vec![IpAddr::V6(address)]),
            Some(Host::Domain(host)) => {
                let found = resolver.addresses(host).await.unwrap_or_default();
                if found.is_empty() {
                    return Err(format!("there is no host {host:?}"));
                }
                (Some(host), found)
            }
        };
        if !self.listed && !found.iter().copied().all(is_public) {
            // The error does not show the IP addresses: they would reveal names of the internal network.
            return Err(format!("{:?} is not a host of the public internet", self.url.host_str().unwrap_or_default()));
        }
        let (Some(host), Some(port)) = (host, self.url.port_or_known_default()) else { return Ok(None) };
        let text = |address: &IpAddr| match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        let found: Vec<String> = found.iter().map(text).collect();
        Ok(Some(format!("{host}:{port}:{}", found.join(","))))
    }
}

/// A path must mean the same before and after percent-decoding: git decodes it for folders, and servers do.
fn check_path(url: &Url) -> Result<(), String> {
    for part in url.path().split('/') {
        let decoded: Vec<u8> = percent_decode_str(part).collect();
        if decoded == b".." || decoded == b"." || decoded.iter().any(|byte| matches!(byte, b'/' | b'\\' | 0..32 | 127))
        {
            return Err("the path of the address has a hidden slash, dots or control characters".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures_util::future::BoxFuture;

    use super::*;

    struct Always(Vec<IpAddr>);

    impl Resolve for Always {
        fn addresses<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
            Box::pin(async { Ok(self.0.clone()) })
        }
    }

    async fn pinned(url: &str, addresses: &[&str]) -> Result<Option<String>, String> {
        let resolver = Always(addresses.iter().map(|address| address.parse().unwrap()).collect());
        let listed = ["http://listed.test:8418/".parse().unwrap()];
        Address::parse(url, &listed).unwrap().pin(&resolver).await
    }

    #[tokio::test]
    async fn git_is_held_to_the_addresses_that_were_checked() {
        let pin = pinned("https://host.test/a/b", &["1.1.1.1", "2606:4700::1111"]).await.unwrap();
        assert_eq!(pin.as_deref(), Some("host.test:443:1.1.1.1,[2606:4700::1111]"));
        let pin = pinned("http://listed.test:8418/a", &["10.0.0.1"]).await.unwrap();
        assert_eq!(pin.as_deref(), Some("listed.test:8418:10.0.0.1"));
        assert_eq!(pinned("https://1.1.1.1/a/b", &[]).await, Ok(None));
    }

    #[tokio::test]
    async fn a_host_with_any_address_that_is_not_public_is_refused() {
        for private in ["10.0.0.1", "127.0.0.1", "::1", "169.254.169.254", "::ffff:192.168.0.1", "fd00::1"] {
            let refused = pinned("https://host.test/a", &["1.1.1.1", private]).await.unwrap_err();
            assert_eq!(refused, "\"host.test\" is not a host of the public internet", "{private}");
        }
        assert_eq!(pinned("https://host.test/a", &[]).await, Err("there is no host \"host.test\"".to_owned()));
    }

    #[test]
    fn the_end_of_an_address_names_the_deployment() {
        for (url, name) in [
            ("https://host/metacall/examples.git", Some("metacall-examples")),
            ("https://host/Group/Sub/App", Some("sub-app")),
            ("https://host/app.git/", Some("app")),
            ("https://host/team//app", Some("team-app")),
            ("https://host/", None),
            ("https://host/.git", None),
            ("https://host/api.git", None),
            ("https://host/a/b%20c", None),
        ] {
            let address = Address::parse(url, &[]).unwrap();
            assert_eq!(address.deployment_name().ok(), name.map(|name| DeploymentName::new(name).unwrap()), "{url}");
        }
    }
}
