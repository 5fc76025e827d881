//! The other end of a connection.
//!
//! Owns: what the system or TLS tells of it. May not touch: what it says of itself.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// A client's certificate, as TLS has verified it.
#[derive(Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its names: those of the subject's alternatives (DNS, mail, URI), then common names.
    pub names: Vec<String>,
    /// It and the ones between it and the authority, in DER.
    pub chain: Vec<Vec<u8>>,
}

/// The other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// A process of this machine.
    Unix {
        /// Whose process it was when it connected; `None` when the system does not tell.
        uid: Option<u32>,
    },
    /// An address, without TLS.
    Tcp(SocketAddr),
    /// An address, with TLS.
    Tls {
        /// Address of the client.
        address: SocketAddr,
        /// If it showed one.
        certificate: Option<Arc<Certificate>>,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { uid: Some(uid) } => write!(f, "unix uid {uid}"),
            Self::Unix { uid: None } => f.write_str("unix"),
            Self::Tcp(address) | Self::Tls { address, .. } => write!(f, "{address}"),
        }
    }
}
