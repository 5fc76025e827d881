//! The other end of a connection.
//!
//! Owns: what the system or TLS tells of it. May not touch: what it says of itself.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
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

/// What peers share a limit by: whoever opens many connections does not get more for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A user of this machine.
    User(u32),
    /// Users of this machine of whom the system tells nothing.
    Local,
    /// An address, whatever the port.
    Address(IpAddr),
    /// A client's certificate, by its first name.
    Certificate(String),
}

impl Peer {
    /// Whose limits count for it.
    pub fn origin(&self) -> Origin {
        match self {
            Self::Unix { uid: Some(uid) } => Origin::User(*uid),
            Self::Unix { uid: None } => Origin::Local,
            Self::Tls { certificate: Some(certificate), .. } if !certificate.names.is_empty() => {
                Origin::Certificate(certificate.names[0].clone())
            }
            Self::Tcp(address) | Self::Tls { address, .. } => Origin::Address(address.ip()),
        }
    }
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
