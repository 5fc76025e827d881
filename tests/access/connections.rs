//! Connections that do not begin, and too many of them.

use crate::common::Daemon;
use crate::fixture::{AccessFiles, Authority, ask};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn address(daemon: &Daemon) -> String {
    daemon.http.split("://").nth(1).unwrap().to_owned()
}

/// Whether the daemon closes a connection, within a time that no timeout of the other end has.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn row_08_a_connection_that_does_not_begin_is_closed() {
    let mut daemon = Daemon::start_with(&[], &[("CLINO_HANDSHAKE", "2s")]);
    for bytes in [&b""[..], b"PRI * HTTP/2.0\r\n"] {
        let mut stream = TcpStream::connect(address(&daemon)).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        assert!(is_closed(&mut stream).await, "{bytes:?}");
    }
    daemon.still_serves().await;
    daemon.signal("-TERM");
    let (_, _, log) = daemon.wait();
    assert!(log.contains("connections_refused_total=2"), "{log}");
}

#[tokio::test]
async fn row_08_a_handshake_that_does_not_end_holds_up_nobody() {
    let (files, authority) = (AccessFiles::new(), Authority::new("ca"));
    let [cert, key] = authority.serve(&files);
    let flags = ["--tls-cert", &cert, "--tls-key", &key];
    let daemon = Daemon::start_with(&flags, &[("CLINO_HANDSHAKE", "2s")]);
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(address(&daemon)).await.unwrap());
    }
    // All of them are open, and somebody who speaks is served at once.
    ask(&daemon, &authority.trusted()).await.unwrap();
    for mut stream in silent {
        assert!(is_closed(&mut stream).await);
    }
    let mut noise = TcpStream::connect(address(&daemon)).await.unwrap();
    noise.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(is_closed(&mut noise).await);
    ask(&daemon, &authority.trusted()).await.unwrap();
}

#[tokio::test]
async fn row_14_connections_beyond_the_limit_are_closed_and_the_others_go_on() {
    let daemon = Daemon::start_with(&[], &[("CLINO_CONNECTIONS", "2")]);
    let mut kept = daemon.clients().await;
    kept.open("k", crate::common::quick()).await;
    let mut idle = TcpStream::connect(address(&daemon)).await.unwrap();
    idle.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    // Its settings say that it is served.
    let mut settings = [0; 9];
    idle.read_exact(&mut settings).await.unwrap();
    let mut third = TcpStream::connect(address(&daemon)).await.unwrap();
    assert!(is_closed(&mut third).await);
    let away = clino_client::Client::lazy(&daemon.http).unwrap().runs(&Default::default()).await.unwrap_err();
    assert_eq!(away.kind, clino_domain::FaultKind::Unavailable, "{away}");
    kept.open("l", crate::common::quick()).await;
    // A place that is given back is taken.
    drop((idle, kept));
    let client = clino_client::Client::lazy(&daemon.http).unwrap();
    let again = async {
        while client.runs(&Default::default()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(crate::common::PATIENCE, again).await.expect("a place");
}
