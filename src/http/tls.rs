//! TLS of a listener: handshakes with the pairs that are in force, and new pairs when their files change. Connections
//! keep the ones that they began with.

pub mod certificate;
mod handshakes;
pub mod pair;
mod rewound;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, version};

use crate::config::{AdminConfig, ClientCertificates, ServerConfig as Server, TlsConfig, TlsVersion};
use crate::http::tls::certificate::Certificate;
pub use crate::http::tls::handshakes::{Handshakes, Outcome};
use crate::http::tls::pair::{ByName, Pair, certificates};
use crate::http::tls::rewound::Rewound;

/// Protocols in the order of preference: RFC 7301, with the names of RFC 9113 and RFC 9112.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// An encrypted connection.
pub type TlsStream = tokio_rustls::server::TlsStream<Rewound>;

/// What the configuration says about the TLS of a table.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    pairs: Vec<TlsConfig>,
    min_version: TlsVersion,
    client_ca: Option<PathBuf>,
    client_certificates: ClientCertificates,
}

impl TlsSettings {
    /// Those of `[server]`; none without certificates.
    #[must_use]
    pub fn of_server(config: &Server) -> Option<Self> {
        let Server { tls, tls_min_version, client_ca, client_certificates, .. } = config;
        Self::new(tls, *tls_min_version, client_ca.as_ref(), *client_certificates)
    }

    /// Those of `[admin]`; none without certificates.
    #[must_use]
    pub fn of_admin(config: &AdminConfig) -> Option<Self> {
        let AdminConfig { tls, tls_min_version, client_ca, client_certificates, .. } = config;
        Self::new(tls, *tls_min_version, client_ca.as_ref(), *client_certificates)
    }

    fn new(
        pairs: &[TlsConfig],
        min_version: TlsVersion,
        client_ca: Option<&PathBuf>,
        client_certificates: ClientCertificates,
    ) -> Option<Self> {
        let client_ca = client_ca.cloned();
        (!pairs.is_empty()).then(|| Self { pairs: pairs.to_vec(), min_version, client_ca, client_certificates })
    }

    /// Reads every file. Returns the warnings about them.
    ///
    /// # Errors
    ///
    /// What is wrong with each file that is at fault.
    pub fn check(&self, now: SystemTime) -> Result<Vec<String>, Vec<String>> {
        let provider = ring::default_provider();
        let (mut warnings, mut faults) = (Vec::new(), Vec::new());
        for config in &self.pairs {
            match Pair::load(config, &provider) {
                Ok(pair) => warnings.extend(pair.warnings(config, now)),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty()
            && let Err(fault) = self.load()
        {
            faults.push(fault);
        }
        if faults.is_empty() { Ok(warnings) } else { Err(faults) }
    }

    /// Reads the files into what handshakes need.
    fn load(&self) -> Result<Arc<ServerConfig>, String> {
        let provider = Arc::new(ring::default_provider());
        let pairs: Result<Vec<Pair>, String> = self.pairs.iter().map(|pair| Pair::load(pair, &provider)).collect();
        let by_name = ByName::new(&pairs?).ok_or("there is no certificate")?;
        let versions = match self.min_version {
            TlsVersion::V1_2 => &[&version::TLS13, &version::TLS12][..],
            TlsVersion::V1_3 => &[&version::TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions);
        let builder = builder.map_err(|error| error.to_string())?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = roots(path)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = match self.client_certificates {
                    ClientCertificates::Required => verifier,
                    ClientCertificates::Optional => verifier.allow_unauthenticated(),
                };
                let verifier = verifier.build().map_err(|error| format!("{}: {error}", path.display()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(by_name));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(Arc::new(config))
    }

    /// The states of all files. Equal as long as none of them changes.
    fn stamps(&self) -> Vec<Stamp> {
        let pairs = self.pairs.iter().flat_map(|pair| [&pair.cert, &pair.key]);
        pairs.chain(&self.client_ca).map(|path| Stamp::of(path)).collect()
    }
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(roots)
}

/// The state of a file: device, number, size, and the times of its last changes. None if there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp(Option<[i64; 5]>);

impl Stamp {
    fn of(path: &Path) -> Self {
        let found = fs::metadata(path).ok();
        Self(found.map(|found| {
            let numbers = [found.dev(), found.ino(), found.size()].map(u64::cast_signed);
            let [device, number, size] = numbers;
            [device, number, size, found.mtime() << 30 | found.mtime_nsec(), found.ctime() << 30 | found.ctime_nsec()]
        }))
    }
}

/// The TLS of a listener.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ArcSwap<ServerConfig>>,
    handshakes: Arc<Handshakes>,
}

/// Notices that files have changed.
#[derive(Debug)]
pub struct TlsFiles {
    settings: TlsSettings,
    tls: Tls,
    /// The files as they were when they were last read.
    read: Vec<Stamp>,
    /// Files that are at fault, as they were when that was noticed; not reported yet, since they may be in the middle
    /// of being replaced.
    suspected: Option<Vec<Stamp>>,
}

impl Tls {
    /// Reads the files of the settings.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn load(settings: TlsSettings, handshakes: &Arc<Handshakes>) -> Result<(Self, TlsFiles), String> {
        // Before they are read: a change meanwhile is noticed later.
        let read = settings.stamps();
        let config = settings.load()?;
        let tls = Self { config: Arc::new(ArcSwap::new(config)), handshakes: Arc::clone(handshakes) };
        Ok((tls.clone(), TlsFiles { settings, tls, read, suspected: None }))
    }

    /// The counts of all handshakes.
    #[must_use]
    pub fn handshakes(&self) -> &Handshakes {
        &self.handshakes
    }

    /// Makes the handshake of a connection whose bytes `early` were already read.
    ///
    /// # Errors
    ///
    /// The client does not finish it.
    pub async fn accept(&self, stream: TcpStream, early: Bytes) -> io::Result<TlsStream> {
        let acceptor = TlsAcceptor::from(self.config.load_full());
        self.handshakes.run(async move { acceptor.accept(Rewound::new(stream, early)).await }).await
    }
}

/// The subject of the client's certificate, once the handshake has verified it.
#[must_use]
pub fn client_subject(stream: &TlsStream) -> Option<String> {
    let (_, session) = stream.get_ref();
    Certificate::read(session.peer_certificates()?.first()?)?.subject
}

impl TlsFiles {
    /// Looks whether files have changed, and takes them over. Files at fault are reported once they stay the same
    /// between two looks. With `at_once` they are read in any case. Blocks.
    pub fn look(&mut self, at_once: bool) {
        let now = self.settings.stamps();
        if now == self.read && !at_once {
            return;
        }
        match self.settings.load() {
            Ok(config) => {
                self.tls.config.store(config);
                self.suspected = None;
                self.read = now;
                tracing::info!(certificate = %self.name(), "certificates replaced");
            }
            Err(reason) if at_once || self.suspected.as_ref() == Some(&now) => {
                tracing::error!(reason, "certificates not replaced: those in force stay");
                self.suspected = None;
                self.read = now;
            }
            Err(_) => self.suspected = Some(now),
        }
    }

    fn name(&self) -> String {
        self.settings.pairs.first().map_or_else(String::new, |pair| pair.cert.display().to_string())
    }
}
