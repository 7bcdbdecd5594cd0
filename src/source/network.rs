//! The TCP ports that tools need: those of the servers and proxies that their environment names.

use std::ffi::OsString;

use url::Url;

/// The port of name servers.
pub(super) const NAME_SERVER: u16 = 53;
/// Makes the C library ask name servers over TCP, the only protocol that strict isolation lets through.
pub(super) const NAMES_OVER_TCP: (&str, &str) = ("RES_OPTIONS", "use-vc");

/// The ports of the addresses in these variables, and that of name servers if there is one. A variable may hold several
/// addresses, separated by blanks.
pub(super) fn ports(env: &[(OsString, OsString)]) -> Vec<u16> {
    let words = env.iter().filter_map(|(_, value)| value.to_str()).flat_map(str::split_whitespace);
    let urls = words.filter(|word| word.contains("://")).filter_map(|word| Url::parse(word).ok());
    let mut ports: Vec<u16> = urls.filter_map(|url| url.host().and_then(|_| url.port_or_known_default())).collect();
    if !ports.is_empty() {
        ports.push(NAME_SERVER);
    }
    ports.sort_unstable();
    ports.dedup();
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_of_registries_and_proxies_are_found() {
        let env = [
            ("PATH", "/usr/bin"),
            ("npm_config_registry", "https://npm.example.com:4873/"),
            ("PIP_EXTRA_INDEX_URL", "https://a.example.com/simple http://b.example.com/simple"),
            ("HTTPS_PROXY", "http://proxy:3128"),
        ];
        let env: Vec<_> = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        assert_eq!(ports(&env), [53, 80, 443, 3128, 4873]);
        assert_eq!(ports(&[("HOME".into(), "/root".into())]), [0_u16; 0]);
    }
}
