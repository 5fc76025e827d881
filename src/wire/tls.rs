//! TLS: certificate, key and client authorities, read again when their files change.
//!
//! Owns: what is offered and trusted, and the names in a client's certificate. May not touch: what a name may do.

use crate::access::{Certificate, Reload, Watched};
use clino_domain::Fault;
use clino_domain::counters::Counters;
use clino_domain::incident::Incident;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use x509_parser::extensions::GeneralName;

/// What of TLS the protocol is agreed on by.
const ALPN: &[u8] = b"h2";

/// The files that TLS reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain, its own first, in PEM.
    pub cert: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
    /// Authorities of client certificates, in PEM; without them none is asked for.
    pub clients: Option<PathBuf>,
    /// Whether a client may come without one, because there are tokens as well.
    pub optional: bool,
}

/// What the daemon shows and trusts.
pub struct Certificates(Watched<ServedCertificate>);

struct ServedCertificate {
    config: Arc<ServerConfig>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] naming what cannot be used.
    pub fn open(files: &TlsFiles, counters: &Counters) -> Result<Self, Fault> {
        let paths = [&files.cert, &files.key].into_iter().chain(&files.clients).cloned().collect();
        let optional = files.optional;
        let make = move |files: &[Vec<u8>]| served(files, optional);
        if files.key.metadata().is_ok_and(|metadata| metadata.mode() & 0o007 != 0) {
            let code = counters.note(Incident::FilesExposed, &files.key.display().to_string());
            tracing::warn!(code, key = %files.key.display(), "others on this machine can use the key of the certificate");
        }
        Ok(Self(Watched::open("tls", paths, |_, _| Ok(()), Box::new(make))?))
    }

    /// Looks at the files.
    pub fn look(&self) -> (&'static str, Reload) {
        self.0.both()
    }

    /// Whether a certificate that was trusted in a handshake still is.
    pub fn trusts(&self, certificate: &Certificate) -> bool {
        let chain: Vec<_> =
            certificate.chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let served = self.0.get();
        let (Some(clients), [own, between @ ..]) = (&served.clients, &chain[..]) else { return false };
        clients.verify_client_cert(own, between, UnixTime::now()).is_ok()
    }

    /// For the next handshake.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.get().config.clone())
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificates")
    }
}

fn served(files: &[Vec<u8>], optional: bool) -> Result<ServedCertificate, Fault> {
    let wrong = |what: &str, why: String| Fault::invalid("tls", format!("{what}: {why}"));
    let [cert, key, clients @ ..] = files else {
        return Err(Fault::internal("two files make a certificate"));
    };
    let chain = certificates("certificate", cert)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| wrong("key", "expected one in PEM".into()))?;
    let provider = Arc::new(ring::default_provider());
    let verifier = clients.first().map(|bytes| verifier(bytes, &provider, optional)).transpose()?;
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Fault::internal(error.to_string()))?;
    let builder = match &verifier {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| wrong("certificate and key", error.to_string()))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(ServedCertificate { config: Arc::new(config), clients: verifier })
}

fn verifier(
    bytes: &[u8],
    provider: &Arc<CryptoProvider>,
    optional: bool,
) -> Result<Arc<dyn ClientCertVerifier>, Fault> {
    let wrong = |why: String| Fault::invalid("tls", format!("client authorities: {why}"));
    let mut roots = RootCertStore::empty();
    for certificate in certificates("client authorities", bytes)? {
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let builder = if optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| wrong(error.to_string()))
}

fn certificates(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(Fault::invalid("tls", format!("{what}: expected one or more certificates in PEM"))),
    }
}

/// A verified chain with its names; `None` when the first is no certificate, which TLS would have refused.
pub(super) fn read_certificate(chain: &[CertificateDer<'_>]) -> Option<Certificate> {
    let (_, parsed) = x509_parser::parse_x509_certificate(chain.first()?).ok()?;
    let mut names = Vec::new();
    if let Ok(Some(extension)) = parsed.subject_alternative_name() {
        names.extend(extension.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
                Some((*name).to_owned())
            }
            _ => None,
        }));
    }
    let common = parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    names.extend(common.map(str::to_owned));
    names.retain(|name| !name.is_empty());
    Some(Certificate { names, chain: chain.iter().map(|der| der.to_vec()).collect() })
}
