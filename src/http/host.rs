//! Under which names the HTTP port answers.
//!
//! Owns: that check. May not touch: what is asked.
//!
//! A page that somebody opens in a browser on this machine can have its own name point here, and would read what is served
//! (DNS rebinding). Its requests carry that name as their host. An address cannot be made to point elsewhere.

use axum::http::uri::Authority;
use axum::http::{Request, header};
use clino_domain::text::quoted;
use std::net::IpAddr;

/// The hosts that are taken.
#[derive(Debug)]
pub(super) struct Hosts {
    bound: IpAddr,
    names: Vec<String>,
}

impl Hosts {
    /// Those of this machine, of the address where the port is bound, and these.
    pub fn new(bound: IpAddr, names: Vec<String>) -> Self {
        Self { bound, names }
    }

    /// That a request is meant for this daemon. One without a host is no browser's.
    ///
    /// # Errors
    /// A sentence with what was found and what to do.
    pub fn check<B>(&self, request: &Request<B>) -> Result<(), String> {
        let named = request.headers().get_all(header::HOST).iter().map(|value| value.as_bytes());
        let target = request.uri().authority().map(|authority| authority.as_str().as_bytes());
        match named.chain(target).find(|host| !self.accepts(host)) {
            None => Ok(()),
            Some(host) => {
                let host = quoted(&String::from_utf8_lossy(host));
                Err(format!(
                    "host: found {host}, expected localhost, an address or a name given by --http-host"
                ))
            }
        }
    }

    fn accepts(&self, host: &[u8]) -> bool {
        let Ok(authority) = Authority::try_from(host) else { return false };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        match host.parse::<IpAddr>() {
            Ok(address) => address.is_loopback() || self.bound.is_unspecified() || address == self.bound,
            Err(_) => {
                let name = host.to_ascii_lowercase();
                name == "localhost"
                    || name.ends_with(".localhost")
                    || self.names.iter().any(|known| known.eq_ignore_ascii_case(&name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn row_61_only_names_of_this_machine_are_taken() {
        let hosts = Hosts::new("127.0.0.1".parse().unwrap(), vec!["clino.example".into()]);
        let accepts = |host: &str| hosts.check(&Request::get("/").header("host", host).body(()).unwrap());
        for good in
            ["localhost", "LocalHost.:9464", "a.localhost", "127.0.0.1:1", "[::1]:2", "Clino.Example:9"]
        {
            assert_eq!(accepts(good), Ok(()), "{good}");
        }
        for bad in ["evil.example", "localhost.evil.example", "10.0.0.1", "127.0.0.1.evil.example", "", "a b"]
        {
            let why = accepts(bad).unwrap_err();
            assert!(why.contains("--http-host"), "{why}");
        }
        assert_eq!(hosts.check(&Request::get("/").body(()).unwrap()), Ok(()));
        let rebound = Request::get("http://evil.example/").header("host", "localhost").body(()).unwrap();
        assert!(hosts.check(&rebound).is_err());
        let everywhere = Hosts::new("0.0.0.0".parse().unwrap(), Vec::new());
        assert!(everywhere.accepts(b"10.1.2.3:9464") && !everywhere.accepts(b"evil.example"));
    }
}
