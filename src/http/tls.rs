//! TLS of a listener: handshakes with the pairs that are in force, and new pairs when their files change. Connections
//! keep the ones that they began with.

pub mod certificate;
mod handshakes;
pub mod pair;
mod rewound;
mod watched;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, version};

use crate::config::{AdminConfig, ClientCertificates, ServerConfig as Server, TlsConfig, TlsVersion};
use crate::http::tls::certificate::Certificate;
pub use crate::http::tls::handshakes::{Handshakes, Outcome};
use crate::http::tls::pair::{ByName, Pair, certificates};
use crate::http::tls::rewound::Rewound;
use crate::http::tls::watched::{Look, Watched};

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
    pub fn check(&self, now: SystemTime) -> Result<Vec<String>, Vec<TlsFault>> {
        let provider = ring::default_provider();
        let (mut warnings, mut faults) = (Vec::new(), Vec::new());
        for (number, config) in self.pairs.iter().enumerate() {
            match Pair::load(config, &provider) {
                Ok(pair) => warnings.extend(pair.warnings(config, now)),
                Err(message) => faults.push(TlsFault { key: format!("tls.{number}"), message }),
            }
        }
        if let Some(Err(message)) = self.client_ca.as_deref().map(authorities) {
            faults.push(TlsFault { key: "client_ca".to_owned(), message });
        }
        if faults.is_empty() { Ok(warnings) } else { Err(faults) }
    }

    /// What handshakes need, of files that were read.
    fn build(&self, pairs: &[Watched<Pair>], authorities: &[CertificateDer<'static>]) -> Result<ServerConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let by_name = ByName::new(pairs.iter().map(|pair| &pair.value)).ok_or("there is no certificate")?;
        let versions = match self.min_version {
            TlsVersion::V1_2 => &[&version::TLS13, &version::TLS12][..],
            TlsVersion::V1_3 => &[&version::TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions);
        let builder = builder.map_err(|error| error.to_string())?;
        let builder = if authorities.is_empty() {
            builder.with_no_client_auth()
        } else {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(authorities.iter().cloned());
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match self.client_certificates {
                ClientCertificates::Required => verifier,
                ClientCertificates::Optional => verifier.allow_unauthenticated(),
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| error.to_string())?)
        };
        let mut config = builder.with_cert_resolver(Arc::new(by_name));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(config)
    }
}

/// The certificates of those who issue clients' certificates.
fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = certificates(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots.add(certificate.clone()).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(certificates)
}

/// What is wrong with a file.
#[derive(Debug)]
pub struct TlsFault {
    /// The key that names the file, within the table: `tls.0`, `client_ca`.
    pub key: String,
    /// What is wrong.
    pub message: String,
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
    /// In the order of the settings.
    pairs: Vec<Watched<Pair>>,
    authorities: Option<Watched<Vec<CertificateDer<'static>>>>,
}

impl Tls {
    /// Reads the files of the settings.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn load(settings: TlsSettings, handshakes: &Arc<Handshakes>) -> Result<(Self, TlsFiles), String> {
        let provider = ring::default_provider();
        let load = |config: &TlsConfig| Watched::new(&files(config), || Pair::load(config, &provider));
        let pairs = settings.pairs.iter().map(load).collect::<Result<Vec<_>, _>>()?;
        let load = |path: &PathBuf| Watched::new(&[path], || authorities(path));
        let authorities = settings.client_ca.as_ref().map(load).transpose()?;
        let config = settings.build(&pairs, authorities.as_ref().map_or(&[], |watched| &watched.value))?;
        let tls = Self { config: Arc::new(ArcSwap::from_pointee(config)), handshakes: Arc::clone(handshakes) };
        Ok((tls.clone(), TlsFiles { settings, tls, pairs, authorities }))
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

fn files(config: &TlsConfig) -> [&Path; 2] {
    [&config.cert, &config.key]
}

impl TlsFiles {
    /// Looks whether files have changed, and takes them over; a pair at fault does not keep others from it. Files at
    /// fault are reported once they stay the same between two looks. With `at_once` all are read in any case. Blocks.
    pub fn look(&mut self, at_once: bool) {
        let provider = ring::default_provider();
        let mut replaced = Vec::new();
        let mut note = |look, file: &Path| match look {
            Look::Same => {}
            Look::Replaced => replaced.push(file.display().to_string()),
            Look::Fault(reason) => {
                let file = file.display();
                tracing::error!(%file, reason, "certificates not replaced: those in force stay");
            }
        };
        for (config, pair) in self.settings.pairs.iter().zip(&mut self.pairs) {
            note(pair.look(at_once, &files(config), || Pair::load(config, &provider)), &config.cert);
        }
        if let (Some(path), Some(watched)) = (&self.settings.client_ca, &mut self.authorities) {
            note(watched.look(at_once, &[path], || authorities(path)), path);
        }
        if replaced.is_empty() {
            return;
        }
        let files = replaced.join(", ");
        match self.settings.build(&self.pairs, self.authorities.as_ref().map_or(&[], |watched| &watched.value)) {
            Ok(config) => {
                self.tls.config.store(Arc::new(config));
                tracing::info!(files, "certificates replaced");
            }
            Err(reason) => tracing::error!(files, reason, "certificates not replaced: those in force stay"),
        }
    }
}
