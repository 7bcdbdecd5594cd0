//! Certificates with their keys, as files of the configuration hold them, and which of them a client gets.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::config::{ServerName, TlsConfig};
use crate::files::read_small;
use crate::http::tls::certificate::Certificate;

/// How long before its end a certificate is worth a warning.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);
/// The permission of everybody to read or change a file.
const EVERYBODY: u32 = 0o007;

/// A certificate with its key.
#[derive(Debug)]
pub struct Pair {
    key: Arc<CertifiedKey>,
    /// The names for which clients get it.
    pub names: Vec<ServerName>,
    /// What its first certificate says.
    pub certificate: Certificate,
}

impl PartialEq for Pair {
    /// The certificate decides which key it has.
    fn eq(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }
}

impl Pair {
    /// Reads a certificate and its key.
    ///
    /// # Errors
    ///
    /// What is wrong with which file, or that the two do not belong together.
    pub fn load(config: &TlsConfig, provider: &CryptoProvider) -> Result<Self, String> {
        let TlsConfig { cert, key, names } = config;
        let chain = certificates(cert)?;
        let certificate = Certificate::read(&chain[0]).ok_or_else(|| format!("{}: malformed", cert.display()))?;
        let text = read(key)?;
        let private = PrivateKeyDer::from_pem_slice(&text)
            .map_err(|_| format!("{}: there is no unencrypted private key in PEM form in it", key.display()))?;
        let pair = CertifiedKey::from_der(chain, private, provider).map_err(|error| {
            format!("the key {} is not that of the certificate {}: {error}", key.display(), cert.display())
        })?;
        let names = match names {
            Some(names) => names.clone(),
            None => certificate.names.iter().filter_map(|name| name.parse().ok()).collect(),
        };
        Ok(Self { key: Arc::new(pair), names, certificate })
    }

    /// What an operator should know about the pair: an end that is near, a key that everybody may read.
    #[must_use]
    pub fn warnings(&self, config: &TlsConfig, now: SystemTime) -> Vec<String> {
        let TlsConfig { cert, key, .. } = config;
        let (from, until) = self.certificate.valid;
        let at = |time| humantime::format_rfc3339_seconds(time);
        let mut warnings = Vec::new();
        if now > until {
            warnings.push(format!("the certificate {} has expired at {}", cert.display(), at(until)));
        } else if now + SOON > until {
            warnings.push(format!("the certificate {} expires at {}", cert.display(), at(until)));
        } else if now < from {
            warnings.push(format!("the certificate {} is not valid before {}", cert.display(), at(from)));
        }
        if fs::metadata(key).is_ok_and(|found| found.mode() & EVERYBODY != 0) {
            warnings.push(format!("every user of this machine may read the key {}: chmod o= it", key.display()));
        }
        warnings
    }
}

/// The certificates of a file in PEM form, at least one.
///
/// # Errors
///
/// What is wrong with the file.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| format!("{}: {}", path.display(), explained(error)))?;
    if chain.is_empty() {
        return Err(format!("{}: there is no certificate in PEM form in it", path.display()));
    }
    Ok(chain)
}

/// What is wrong with a file in PEM form: the library shows some of it as numbers.
fn explained(error: pem::Error) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            format!("it ends within a part that begins \"BEGIN {}\"", text(&end_marker))
        }
        pem::Error::IllegalSectionStart { line } => format!("malformed line {:?}", text(&line)),
        error => error.to_string(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    read_small(path).map_err(|error| format!("reading {}: {error}", path.display()))
}

/// Chooses a pair by the name that a client asks for.
#[derive(Debug)]
pub(super) struct ByName {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By the parent of names with a star.
    below: HashMap<String, Arc<CertifiedKey>>,
    /// For all others.
    first: Arc<CertifiedKey>,
}

impl ByName {
    /// Of several pairs for a name the first counts. None without any pair.
    pub(super) fn new<'a>(pairs: impl Iterator<Item = &'a Pair> + Clone) -> Option<Self> {
        let first = Arc::clone(&pairs.clone().next()?.key);
        let mut by_name = Self { exact: HashMap::new(), below: HashMap::new(), first };
        for pair in pairs {
            for name in &pair.names {
                let (table, name) = match name.parent() {
                    Some(parent) => (&mut by_name.below, parent),
                    None => (&mut by_name.exact, name.as_str()),
                };
                table.entry(name.to_owned()).or_insert_with(|| Arc::clone(&pair.key));
            }
        }
        Some(by_name)
    }

    fn find(&self, name: &str) -> &Arc<CertifiedKey> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let below = || self.below.get(name.split_once('.')?.1);
        self.exact.get(&name).or_else(below).unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(hello.server_name().map_or(&self.first, |name| self.find(name))))
    }
}
