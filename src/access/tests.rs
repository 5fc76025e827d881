//! Who somebody is, by every way to be known.
#![allow(clippy::unwrap_used)]

use super::*;
use clino_domain::{Fault, FaultKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn token(byte: u8) -> Token {
    Token::new(&[byte; 32])
}

fn book() -> String {
    format!(
        r#"
        [[entry]]
        name = "trainer"
        hash = "{}"
        projects = {{ vision = ["push"] }}
        [[entry]]
        name = "late"
        hash = "{}"
        projects = {{ "*" = ["admin"] }}
        expires = 2020-01-01
        [[entry]]
        name = "ci"
        certificate = "ci.example.org"
        uid = 4294967
        projects = {{ vision = ["read"] }}
        "#,
        token(1).hash(),
        token(2).hash(),
    )
}

fn write(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn authenticator(tokens: Option<&Path>) -> Authenticator {
    let tokens = tokens.map(Path::to_owned);
    let settings = Settings { tokens, quotas: None, audit: None, recheck: Duration::from_secs(1) };
    Authenticator::open(&settings, Arc::default())
        .unwrap()
        .trusting(|certificate| !certificate.chain.is_empty())
}

fn tls(names: &[&str], trusted: bool) -> Peer {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let chain = if trusted { vec![vec![1]] } else { Vec::new() };
    let address = "192.0.2.1:1".parse().unwrap();
    Peer::Tls { address, certificate: Some(Arc::new(Certificate { names, chain })) }
}

fn tcp() -> Peer {
    Peer::Tcp("127.0.0.1:1".parse().unwrap())
}

fn name(authenticator: &Authenticator, authorization: Option<&str>, peer: &Peer) -> Result<String, Fault> {
    let credential = authenticator.credential(authorization.map(str::as_bytes), peer)?;
    authenticator.identify(&credential).map(|identity| identity.name)
}

#[test]
fn without_a_file_whoever_reaches_the_daemon_may_do_everything() {
    let authenticator = authenticator(None);
    for (peer, expected) in
        [(tcp(), "anybody"), (tls(&["a", "b"], true), "a"), (Peer::Unix { uid: Some(0) }, "uid 0")]
    {
        assert_eq!(name(&authenticator, Some("Bearer whatever"), &peer).unwrap(), expected);
        let credential = authenticator.credential(None, &peer).unwrap();
        assert!(authenticator.identify(&credential).unwrap().grants.allow("any", Scope::Admin));
    }
    assert!(name(&authenticator, None, &tls(&["a"], false)).is_err());
    assert!(name(&authenticator, None, &Peer::Unix { uid: Some(4_294_967) }).is_err());
}

#[test]
fn with_a_file_everybody_is_an_entry() {
    let file = tempfile::NamedTempFile::new().unwrap();
    write(file.path(), &book());
    let authenticator = authenticator(Some(file.path()));
    let own = rustix::process::geteuid().as_raw();
    let good = format!("bearer  {}", token(1).reveal());
    for (authorization, peer, expected) in [
        (Some(good.as_str()), tcp(), "trainer"),
        // What is shown goes before what the connection tells.
        (Some(good.as_str()), Peer::Unix { uid: Some(own) }, "trainer"),
        (Some(good.as_str()), tls(&["ci.example.org"], true), "trainer"),
        (None, tls(&["x", "ci.example.org"], true), "ci"),
        (None, Peer::Unix { uid: Some(4_294_967) }, "ci"),
        (None, Peer::Unix { uid: Some(own) }, &format!("uid {own}")),
    ] {
        assert_eq!(name(&authenticator, authorization, &peer).unwrap(), expected);
    }
    let late = format!("Bearer {}", token(2).reveal());
    let foreign = format!("Bearer {}", token(3).reveal());
    for (authorization, peer, expected) in [
        (None, tcp(), "found none"),
        (None, Peer::Unix { uid: None }, "found none"),
        (None, Peer::Unix { uid: Some(1) }, "without an entry"),
        (None, tls(&["other"], true), "without an entry"),
        (None, tls(&["ci.example.org"], false), "no longer trusted"),
        (Some(late.as_str()), tcp(), "expired"),
        (Some(foreign.as_str()), tcp(), "unknown or revoked"),
        (Some(foreign.as_str()), Peer::Unix { uid: Some(0) }, "unknown or revoked"),
        (Some("Basic YTpi"), tcp(), "no bearer token"),
        (Some("Bearer "), tcp(), "no bearer token"),
        (Some(""), tcp(), "no bearer token"),
    ] {
        let fault = name(&authenticator, authorization, &peer).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unauthenticated);
        assert!(fault.message.contains(expected), "{fault}, expected {expected}");
        assert!(!fault.message.contains(&token(3).reveal()[6..]), "{fault}");
    }
}

#[test]
fn a_change_of_the_file_counts_from_the_next_look_and_a_broken_one_does_not() {
    let file = tempfile::NamedTempFile::new().unwrap();
    write(file.path(), &book());
    let authenticator = authenticator(Some(file.path()));
    let shown = format!("Bearer {}", token(1).reveal());
    write(file.path(), "[[entry");
    authenticator.look();
    assert_eq!((authenticator.generation(), name(&authenticator, Some(&shown), &tcp()).is_ok()), (0, true));
    write(file.path(), "");
    authenticator.look();
    assert_eq!((authenticator.generation(), name(&authenticator, Some(&shown), &tcp()).is_ok()), (1, false));
    authenticator.look();
    assert_eq!(authenticator.generation(), 1);
}
