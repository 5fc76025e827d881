//! Who may reach the daemon: what was written becomes what is meant, and what is missing is told.
//!
//! Owns: which addresses are safe to listen at. May not touch: sockets, the files that are named here.

use super::{Quantity, RawConfig, Words, duration, positive};
use clino_domain::Fault;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Most connections, unless the system allows fewer files.
const CONNECTIONS: usize = 4_096;

/// Certificate, key and client authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the certificate chain.
    pub cert: PathBuf,
    /// PEM file of the key of the certificate.
    pub key: PathBuf,
    /// Authorities of client certificates.
    pub clients: Option<PathBuf>,
}

/// Who may reach the daemon, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessConfig {
    /// Without: TCP is plain.
    pub tls: Option<Tls>,
    /// TOML file of tokens and their permissions.
    pub tokens: Option<PathBuf>,
    /// TOML file of quotas by project.
    pub quotas: Option<PathBuf>,
    /// File of the audit log.
    pub audit: Option<PathBuf>,
    /// Time between two looks at whether the client of a stream may still have it.
    pub recheck: Duration,
    /// How long a connection may take to begin.
    pub handshake: Duration,
    /// Maximum number of connections.
    pub connections: usize,
}

/// What is required before other machines may reach the daemon.
#[derive(Debug, Clone, Copy)]
pub(super) struct Safety {
    tls: bool,
    known: bool,
    insecure: bool,
}

impl AccessConfig {
    /// What was written, checked for what belongs together.
    pub(super) fn validate(raw: &RawConfig, memory: u64) -> Result<(Self, Safety), Fault> {
        let clients = raw.tls_clients.clone();
        let tls = match (raw.tls_cert.clone(), raw.tls_key.clone()) {
            (Some(cert), Some(key)) => Some(Tls { cert, key, clients: clients.clone() }),
            (None, None) if clients.is_none() => None,
            (None, _) => {
                return Err(Fault::invalid(
                    "tls_cert",
                    "found none, expected a certificate with tls_key or \
                                                      tls_clients",
                ));
            }
            (Some(_), None) => {
                return Err(Fault::invalid("tls_key", "found none, expected the key of tls_cert"));
            }
        };
        let safety = Safety {
            tls: tls.is_some(),
            known: clients.is_some() || raw.tokens.is_some(),
            insecure: raw.insecure.unwrap_or(false),
        };
        let time = |name, raw: &Option<Quantity>, standard| {
            let found = duration(name, raw.clone(), Duration::from_secs(standard))?;
            if found.is_zero() {
                Err(Fault::invalid(name, "found 0, expected a number above 0"))
            } else {
                Ok(found)
            }
        };
        let access = Self {
            tls,
            tokens: raw.tokens.clone(),
            quotas: raw.quotas.clone(),
            audit: raw.audit.clone(),
            recheck: time("recheck", &raw.recheck, 15)?,
            handshake: time("handshake", &raw.handshake, 10)?,
            connections: positive("connections", raw.connections.unwrap_or_else(|| connections(memory)))?,
        };
        Ok((access, safety))
    }
}

/// Memory that a connection may take which does nothing.
const CONNECTION_BYTES: u64 = 256 << 10;

/// Half of the limit on open files; the other half is for snapshots and everything else. No more than fit the memory.
fn connections(memory: u64) -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = files.map_or(CONNECTIONS, |files| usize::try_from(files).unwrap_or(CONNECTIONS));
    let fit = usize::try_from(memory / CONNECTION_BYTES).unwrap_or(CONNECTIONS);
    (files / 2).min(fit).clamp(16, CONNECTIONS)
}

/// Addresses to listen on: any on this machine; beyond it only with authentication and encryption.
pub(super) fn addresses(raw: Option<Words>, safety: Safety) -> Result<Vec<SocketAddr>, Fault> {
    words(raw).iter().map(|text| address(text, safety)).collect()
}

/// Names of hosts, without ports.
pub(super) fn hosts(raw: Option<Words>) -> Result<Vec<String>, Fault> {
    let wrong =
        |name: &String| name.is_empty() || name.contains(|c: char| c.is_whitespace() || "/:@".contains(c));
    let names = words(raw);
    match names.iter().find(|name| wrong(name)) {
        None => Ok(names),
        Some(name) => {
            let expected = "expected a name without a port, such as clino.example";
            Err(Fault::invalid("http_host", format!("found {name:?}, {expected}")))
        }
    }
}

fn words(raw: Option<Words>) -> Vec<String> {
    match raw {
        Some(Words::Many(words)) => words,
        Some(Words::One(text)) => text.split(',').map(str::trim).map(str::to_owned).collect(),
        None => Vec::new(),
    }
}

/// An address without authentication: on this machine, or with `--insecure`.
pub(super) fn loopback(field: &str, text: &str, safety: Safety) -> Result<SocketAddr, Fault> {
    let address = parse(field, text)?;
    match address.ip().is_loopback() || safety.insecure {
        true => Ok(address),
        false => {
            let expected =
                "expected a loopback address, or --insecure if something else protects the network";
            Err(Fault::invalid(field, format!("found {address}, {expected}")))
        }
    }
}

fn parse(field: &str, text: &str) -> Result<SocketAddr, Fault> {
    let expected = "an address and a port such as 127.0.0.1:7411 (port 0: any)";
    text.parse().map_err(|_| Fault::invalid(field, format!("found {text:?}, expected {expected}")))
}

fn address(text: &str, safety: Safety) -> Result<SocketAddr, Fault> {
    let address = parse("listen", text)?;
    if address.ip().is_loopback() || safety.insecure || safety.tls && safety.known {
        return Ok(address);
    }
    let tls = (!safety.tls).then_some("TLS (--tls-cert and --tls-key)");
    let known = (!safety.known).then_some("authentication of clients (--tokens or --tls-clients)");
    let missing: Vec<_> = tls.into_iter().chain(known).collect();
    let missing = missing.join(" and ");
    let found = format!("found {address}, which other machines can reach, without {missing}");
    let instead = "if something else protects the network, --insecure allows it";
    Err(Fault::invalid("listen", format!("{found}; {instead}")))
}

/// Credentials of a client and the authorities it trusts, from its environment.
#[derive(Clone, Default)]
pub struct ClientAccess {
    /// Token, from `CLINO_TOKEN`.
    pub token: Option<String>,
    /// File with the token, from `CLINO_TOKEN_FILE`.
    pub token_file: Option<PathBuf>,
    /// PEM file of trusted authorities, from `CLINO_CA`.
    pub ca: Option<PathBuf>,
    /// PEM file of the client certificate, from `CLINO_CERT`.
    pub cert: Option<PathBuf>,
    /// PEM file of its key, from `CLINO_KEY`.
    pub key: Option<PathBuf>,
}

/// Reads the variables of clients; an empty one is none.
pub fn client_access() -> ClientAccess {
    let text = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let path = |name: &str| std::env::var_os(name).filter(|text| !text.is_empty()).map(PathBuf::from);
    ClientAccess {
        token: text("CLINO_TOKEN"),
        token_file: path("CLINO_TOKEN_FILE"),
        ca: path("CLINO_CA"),
        cert: path("CLINO_CERT"),
        key: path("CLINO_KEY"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::validate;
    use super::*;

    fn raw(listen: &str) -> RawConfig {
        RawConfig { listen: Some(Words::One(listen.into())), ..RawConfig::default() }
    }

    #[test]
    fn beyond_loopback_needs_tls_and_a_way_to_know_who_connects() {
        let cert = Some(PathBuf::from("c"));
        let file = Some(PathBuf::from("f"));
        let tls = RawConfig { tls_cert: cert.clone(), tls_key: cert.clone(), ..raw("0.0.0.0:1") };
        let tokens = RawConfig { tokens: file.clone(), ..raw("0.0.0.0:1") };
        let refused = |raw: &RawConfig| validate(raw.clone()).unwrap_err().message;
        let nothing = refused(&raw("[::]:1"));
        assert!(nothing.contains("--tls-cert") && nothing.contains("--tokens"), "{nothing}");
        let message = refused(&tls);
        assert!(message.contains("--tokens") && !message.contains("--tls-cert"), "{message}");
        let message = refused(&tokens);
        assert!(message.contains("--tls-cert") && !message.contains("--tokens"), "{message}");
        for fine in [
            RawConfig { tokens: file.clone(), ..tls.clone() },
            RawConfig { tls_clients: file.clone(), ..tls.clone() },
            RawConfig { insecure: Some(true), ..raw("0.0.0.0:1") },
            raw("127.0.0.2:1,[::1]:1"),
        ] {
            assert!(validate(fine.clone()).is_ok(), "{fine:?}");
        }
    }

    #[test]
    fn names_of_hosts_have_no_ports() {
        assert_eq!(hosts(Some(Words::One("a.example, b".into()))).unwrap(), ["a.example", "b"]);
        for bad in ["", "a:1", "http://a", "a b"] {
            let fault = hosts(Some(Words::Many(vec![bad.into()]))).unwrap_err();
            assert_eq!(fault.violations[0].field, "http_host", "{bad}");
        }
    }

    #[test]
    fn what_belongs_together_comes_together() {
        let path = Some(PathBuf::from("c"));
        let refused = |raw: RawConfig| validate(raw).unwrap_err().message;
        assert!(refused(RawConfig { tls_cert: path.clone(), ..RawConfig::default() }).starts_with("tls_key"));
        assert!(refused(RawConfig { tls_key: path.clone(), ..RawConfig::default() }).starts_with("tls_cert"));
        assert!(refused(RawConfig { tls_clients: path, ..RawConfig::default() }).starts_with("tls_cert"));
        let zero = Some(Quantity::Number(0.0));
        assert!(refused(RawConfig { recheck: zero.clone(), ..RawConfig::default() }).starts_with("recheck"));
        assert!(refused(RawConfig { handshake: zero, ..RawConfig::default() }).starts_with("handshake"));
        assert!(
            refused(RawConfig { connections: Some(0), ..RawConfig::default() }).starts_with("connections")
        );
    }
}
