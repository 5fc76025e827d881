//! How a client makes itself known, and whom it trusts.
//!
//! Owns: what goes with every call. May not touch: where a token is kept.

use clino_domain::Fault;
use clino_proto::version;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};
use tonic::{Request, Status};

/// The oldest daemon that understands this client.
const OLDEST_DAEMON: &str = "0.1.0";

/// What a client shows and trusts; nothing by default. It does not show itself.
#[derive(Clone, Default)]
pub struct Access {
    token: Option<MetadataValue<Ascii>>,
    authorities: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("token", &self.token.is_some()).finish_non_exhaustive()
    }
}

impl Access {
    /// Shows a token with every call.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] naming `token` for something that cannot be one.
    pub fn token(self, token: &str) -> Result<Self, Fault> {
        let wrong =
            || Fault::invalid("token", "found an empty token, or characters that a token cannot have");
        let token = token.trim();
        if token.is_empty() || token.contains(char::is_whitespace) {
            return Err(wrong());
        }
        let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(|_| wrong())?;
        value.set_sensitive(true);
        Ok(Self { token: Some(value), ..self })
    }

    /// Trusts daemons with certificates of these authorities, in PEM.
    pub fn authorities(self, pem: Vec<u8>) -> Self {
        Self { authorities: Some(pem), ..self }
    }

    /// Shows a certificate, in PEM with its key.
    pub fn certificate(self, cert: Vec<u8>, key: Vec<u8>) -> Self {
        Self { identity: Some((cert, key)), ..self }
    }

    /// What a connection to `https://` takes.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] naming `ca` when nobody is trusted.
    pub(super) fn tls(&self) -> Result<ClientTlsConfig, Fault> {
        let missing = || {
            Fault::invalid(
                "ca",
                "found none, expected a file of trusted certificate authorities for https:// \
                                    (CLINO_CA)",
            )
        };
        let authorities = self.authorities.as_ref().ok_or_else(missing)?;
        let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities));
        Ok(match &self.identity {
            None => config,
            Some((cert, key)) => config.identity(Identity::from_pem(cert, key)),
        })
    }

    /// What every call takes.
    pub(super) fn interceptor(&self) -> AuthInterceptor {
        AuthInterceptor { token: self.token.clone() }
    }
}

/// Puts into every call who calls.
#[derive(Clone)]
pub struct AuthInterceptor {
    token: Option<MetadataValue<Ascii>>,
}

impl std::fmt::Debug for AuthInterceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuthInterceptor")
    }
}

impl Interceptor for AuthInterceptor {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert(version::CLIENT, MetadataValue::from_static(version::OWN));
        metadata.insert(version::NEEDED, MetadataValue::from_static(OLDEST_DAEMON));
        if let Some(token) = &self.token {
            metadata.insert("authorization", token.clone());
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_is_shown_with_calls_and_nowhere_else() {
        let access = Access::default().token(" clino_secret\n").unwrap();
        let request = access.interceptor().call(Request::new(())).unwrap();
        assert_eq!(request.metadata().get("authorization").unwrap(), "Bearer clino_secret");
        for shown in [format!("{access:?}"), format!("{:?}", access.interceptor()), format!("{request:?}")] {
            assert!(!shown.contains("secret"), "{shown}");
        }
        for wrong in ["", " ", "a b", "a\nb", "\u{7}"] {
            assert!(Access::default().token(wrong).is_err(), "{wrong:?}");
        }
        assert!(access.tls().unwrap_err().message.contains("CLINO_CA"));
    }
}
