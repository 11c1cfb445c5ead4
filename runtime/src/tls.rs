//! TLS of DICOM and MQTT, with certificates of both sides: the BCP 195 profile (PS3.15 B.12, RFC 9325). TLS 1.2 and 1.3 with
//! authenticated ciphers only, which is all that rustls knows. Who may connect is the allow list's business
//! (`ingest::peers`).

pub mod certificate;

use crate::error::Move;
use certificate::Certificate;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A renewal at a hospital takes weeks: so long before the end the log and `sagitta doctor` begin to tell of it.
pub const EXPIRES_SOON: Duration = Duration::from_secs(30 * 86_400);
/// How often a running service looks at its certificate.
const LOOK: Duration = Duration::from_secs(86_400);

/// The table `[tls]` of the configuration: PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Our certificate, then those between it and the authority's.
    pub certificate: PathBuf,
    /// The key of our certificate.
    pub key: PathBuf,
    /// Certificates of the authorities whose word we take for peers.
    pub authorities: PathBuf,
}

/// Why there can be no TLS: the site's move.
#[derive(Debug, Error)]
pub enum TlsError {
    #[error("cannot read {what} of [tls] from {path}: {source}")]
    Read { what: &'static str, path: PathBuf, source: pem::Error },
    #[error("{what} of [tls] in {path} cannot be used: {reason}")]
    Unusable { what: &'static str, path: PathBuf, reason: String },
}

impl TlsError {
    pub fn whose_move(&self) -> Move {
        Move::Site
    }
}

/// What we show to peers and how we judge what they show.
#[derive(Clone)]
pub struct Tls {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    own: Certificate,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("own", &self.own).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads and checks the files. An expired certificate of ours is no error here: peers may still be believed, and
    /// [`Tls::expiry`] tells.
    pub fn open(settings: &Settings) -> Result<Tls, TlsError> {
        let Settings { certificate, key, authorities } = settings;
        let chain = certificates("the certificate", certificate)?;
        let unusable = |what, path: &Path| {
            let path = path.to_owned();
            move |reason: String| TlsError::Unusable { what, path, reason }
        };
        let own = chain
            .first()
            .and_then(|der| certificate::read(der))
            .ok_or_else(|| unusable("the certificate", certificate)("not X.509".to_owned()))?;
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::Read {
            what: "the key",
            path: key.clone(),
            source,
        })?;
        let mut roots = RootCertStore::empty();
        for authority in certificates("the authorities", authorities)? {
            roots
                .add(authority)
                .map_err(|e| unusable("the authorities", authorities)(e.to_string()))?;
        }
        let (roots, provider) = (Arc::new(roots), Arc::new(ring::default_provider()));
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
        let verifier = verifier.map_err(|error: VerifierBuilderError| {
            unusable("the authorities", authorities)(error.to_string())
        })?;
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder
                    .with_client_cert_verifier(verifier)
                    .with_single_cert(chain.clone(), secret.clone_key())
            })
            .map_err(|e| unusable("the key", key)(e.to_string()))?;
        let client = client(provider, roots, chain, secret)
            .map_err(|e| unusable("the key", key)(e.to_string()))?;
        Ok(Tls { server: Arc::new(server), client: Arc::new(client), own })
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        self.server.clone().into()
    }

    pub fn connector(&self) -> TlsConnector {
        self.client().into()
    }

    /// For a library that connects by itself.
    pub fn client(&self) -> Arc<ClientConfig> {
        self.client.clone()
    }

    /// How long our own certificate is good.
    pub fn expiry(&self) -> Expiry {
        Expiry::of(&self.own, now())
    }

    /// Writes the state of our certificate to the log, now and every day.
    pub async fn watch(self) {
        loop {
            match self.expiry() {
                Expiry::Good { days } => tracing::info!(days, "our TLS certificate is valid"),
                Expiry::Soon { days } => tracing::warn!(
                    days,
                    "our TLS certificate expires soon: renew it and restart; the site's move"
                ),
                Expiry::Over => tracing::error!(
                    "our TLS certificate has expired: peers refuse us; renew it and restart; the site's move"
                ),
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn client(
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, rustls::Error> {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = |source| TlsError::Read { what, path: path.to_owned(), source };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(read)?.collect();
    match found.map_err(read)? {
        empty if empty.is_empty() => Err(read(pem::Error::NoItemsFound)),
        found => Ok(found),
    }
}

/// What is left of a certificate's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    Good { days: i64 },
    Soon { days: i64 },
    Over,
}

impl Expiry {
    /// `now` in seconds since 1970.
    pub fn of(certificate: &Certificate, now: i64) -> Expiry {
        let left = certificate.not_after - now;
        let days = left / 86_400;
        match left {
            ..0 => Expiry::Over,
            _ if left < EXPIRES_SOON.as_secs() as i64 => Expiry::Soon { days },
            _ => Expiry::Good { days },
        }
    }
}

fn now() -> i64 {
    (crate::messages::Timestamp::now().millis() / 1000) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_told_of_a_month_before_its_end() {
        let day = 86_400;
        let certificate =
            Certificate { not_after: 100 * day, common_name: None, fingerprint: String::new() };
        assert_eq!(Expiry::of(&certificate, 0), Expiry::Good { days: 100 });
        assert_eq!(Expiry::of(&certificate, 70 * day), Expiry::Good { days: 30 });
        assert_eq!(Expiry::of(&certificate, 70 * day + 1), Expiry::Soon { days: 29 });
        assert_eq!(Expiry::of(&certificate, 100 * day), Expiry::Soon { days: 0 });
        assert_eq!(Expiry::of(&certificate, 100 * day + 1), Expiry::Over);
    }
}
