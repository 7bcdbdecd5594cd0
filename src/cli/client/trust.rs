//! TLS of the client commands: whose certificates are trusted, and which one the client has itself.

use std::fs;
use std::path::Path;

use anyhow::Context;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use crate::http::tls::pair;

/// The TLS of requests. `ca`: instead of what this machine trusts. `own`: the client's certificate and its key.
pub(super) fn tls_config(ca: Option<&Path>, own: Option<(&Path, &Path)>) -> anyhow::Result<TlsConfig> {
    let roots = match ca {
        Some(path) => RootCerts::new_with_certs(&certificates(path)?),
        None => RootCerts::PlatformVerifier,
    };
    let own = match own {
        Some((cert, private)) => {
            let text = fs::read(private).with_context(|| format!("reading {}", private.display()))?;
            let key =
                PrivateKey::from_pem(&text).with_context(|| format!("reading the key in {}", private.display()))?;
            let chain = certificates(cert)?;
            // A pair that does not belong together would panic in the client.
            check_pair(&chain, &text).with_context(|| {
                format!("the key {} is not that of the certificate {}", private.display(), cert.display())
            })?;
            Some(ClientCert::new_with_certs(&chain, key))
        }
        None => None,
    };
    Ok(TlsConfig::builder().root_certs(roots).client_cert(own).build())
}

fn check_pair(chain: &[Certificate<'_>], key: &[u8]) -> anyhow::Result<()> {
    let key = PrivateKeyDer::from_pem_slice(key)?;
    let chain = chain.iter().map(|certificate| CertificateDer::from(certificate.der().to_vec())).collect();
    CertifiedKey::from_der(chain, key, &ring::default_provider())?;
    Ok(())
}

fn certificates(path: &Path) -> anyhow::Result<Vec<Certificate<'static>>> {
    let certificates = pair::certificates(path).map_err(anyhow::Error::msg)?;
    Ok(certificates.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect())
}
