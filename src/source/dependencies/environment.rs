//! The variables that an installer gets from the gateway's environment: PATH and HOME, the installer's own settings,
//! proxies and certificates. Nothing else, because scripts of installed packages run with these variables.

use std::ffi::{OsStr, OsString};
use std::path::Path;

const NAMES: [&str; 9] = [
    "PATH",
    "HOME",
    "LANG",
    "TZ",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
];
/// Settings of npm, pip, pnpm, yarn and uv.
const BEGINNINGS: [&str; 6] = ["npm_config_", "NPM_CONFIG_", "PIP_", "pnpm_config_", "YARN_", "UV_"];
/// In upper case and in lower case.
const PROXIES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"];

/// Variables that name the folders of temporary files and caches. HOME stays: in it are the users' own settings.
const CACHES: [&str; 11] = [
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
    "npm_config_cache",
    "npm_config_store_dir",
    "pnpm_config_store_dir",
    "PIP_CACHE_DIR",
    "YARN_CACHE_FOLDER",
    "YARN_GLOBAL_FOLDER",
    "UV_CACHE_DIR",
];

/// The environment of a step: the variables that it gets from the gateway, including `extra`, then its own. `temp` is
/// the folder of its temporary files and caches, if it must not use those of the gateway's user.
pub(super) fn environment(
    extra: &[String],
    temp: Option<&Path>,
    own: &[(&str, OsString)],
) -> Vec<(OsString, OsString)> {
    let caches = temp.into_iter().flat_map(|temp| CACHES.map(|name| (name, temp.into())));
    let own: Vec<_> = caches.chain(own.iter().cloned()).collect();
    choose(std::env::vars_os(), extra, &own)
}

fn choose(
    all: impl Iterator<Item = (OsString, OsString)>,
    extra: &[String],
    own: &[(&str, OsString)],
) -> Vec<(OsString, OsString)> {
    let mut chosen: Vec<_> = all
        .filter(|(name, _)| is_passed_on(name) || extra.iter().any(|extra| extra.as_str() == name))
        .filter(|(name, _)| own.iter().all(|(own, _)| *own != name))
        .collect();
    chosen.extend(own.iter().map(|(name, value)| (OsString::from(name), value.clone())));
    chosen
}

fn is_passed_on(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    NAMES.contains(&name)
        || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
        || PROXIES.iter().any(|proxy| name == *proxy || name == proxy.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_installers_need_is_passed_on() {
        let all =
            ["PATH", "https_proxy", "PIP_INDEX_URL", "npm_config_registry", "METAGATE_TOKEN", "AWS_SECRET", "MINE"];
        let all = all.into_iter().chain(["PIP_USER"]).map(|name| (OsString::from(name), OsString::from("theirs")));
        let chosen = choose(all, &["MINE".to_owned()], &[("PIP_USER", "0".into())]);
        let names: Vec<_> = chosen.iter().map(|(name, _)| name.to_str().unwrap()).collect();
        assert_eq!(names, ["PATH", "https_proxy", "PIP_INDEX_URL", "npm_config_registry", "MINE", "PIP_USER"]);
        assert_eq!(chosen[5].1, "0");
    }
}
