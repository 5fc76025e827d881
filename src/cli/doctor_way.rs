//! The way to a daemon that cannot be asked: who listens there instead, and what keeps this command out.
//!
//! Owns: what an answer at an address means. May not touch: what a daemon says of itself.

use clino_domain::diagnosis::{Concern, Finding};
use clino_domain::incident::Incident;
use clino_domain::{Fault, FaultKind};
use std::io::{Error, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long somebody may take to say something.
const PATIENCE: Duration = Duration::from_secs(3);
/// What every HTTP/2 client sends first, and a frame of no settings.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Bytes of the head of a frame.
const FRAME: usize = 9;
/// The place of its type there, and that of settings.
const SETTINGS: (usize, u8) = (3, 4);
/// The first byte of an alert of TLS.
const ALERT: u8 = 0x15;
/// What the HTTP port of a daemon answers to whoever asks whether it is alive.
const ALIVE: &str = "alive\n";
/// What this side says of a call that the other does not know.
const UNKNOWN_CALL: &str = "not implemented";

/// Who is at an address.
#[derive(Debug)]
enum Answer {
    /// Nobody, for this reason.
    Nobody(Error),
    /// Somebody who says nothing.
    Silence,
    /// Somebody who hung up.
    HungUp,
    /// A server of HTTP/2, as a daemon is.
    Http2,
    /// A server of HTTP/1.
    Http1,
    /// The HTTP port of a daemon, whatever version of HTTP it was asked in.
    HttpPort,
    /// Somebody who speaks TLS.
    Tls,
    /// Somebody else.
    Other,
}

/// What keeps a command from asking the daemon at `address`, for which asking it failed.
pub async fn explain(address: &str, fault: &Fault) -> Finding {
    let message = &fault.message;
    let said = |incident: Incident| {
        let what = format!("{} It says: {message}.", incident.info().what);
        Finding::of(incident).about(Concern::Connection, address).told(what)
    };
    match fault.kind {
        FaultKind::Invalid => {
            let field = fault.violations.first().map(|violation| violation.field.clone()).unwrap_or_default();
            let found = Finding::of(Incident::ClientMisconfigured).about(Concern::Setting, field);
            found.told(format!("A setting of this command is wrong: {message}."))
        }
        FaultKind::Unauthenticated => said(Incident::TokenRefused),
        FaultKind::Denied => said(Incident::RightMissing),
        FaultKind::Precondition => said(Incident::VersionsApart),
        _ => explored(address, message).await,
    }
}

/// What is found by speaking to whoever listens there.
async fn explored(address: &str, message: &str) -> Finding {
    let place = address.to_owned();
    let answer = tokio::task::spawn_blocking(move || explore(&place)).await;
    let answer = answer.unwrap_or_else(|defect| Answer::Nobody(Error::other(defect)));
    if message.contains(UNKNOWN_CALL) && !matches!(answer, Answer::HttpPort) {
        return no_doctor(address);
    }
    let (incident, what) = meaning(address, message, &answer);
    let found = Finding::of(incident).about(Concern::Connection, address).told(what);
    match answer {
        Answer::HttpPort => found.doing(
            "Give the address of the gRPC port of that daemon: `clino serve` prints it on its first line, before \
            metrics=.",
        ),
        _ => found,
    }
}

/// Who answered knows no such call.
fn no_doctor(address: &str) -> Finding {
    let own = env!("CARGO_PKG_VERSION");
    let what = format!(
        "Who answers at {address} speaks gRPC and knows no doctor: a clino older than this command ({own}), or another \
        service."
    );
    Finding::of(Incident::VersionsApart).about(Concern::Connection, address).told(what)
}

fn meaning(address: &str, message: &str, answer: &Answer) -> (Incident, String) {
    let secure = is_secure(address);
    match answer {
        Answer::Nobody(error) => nobody(address, error),
        Answer::Silence => {
            (Incident::NoAnswer, format!("Somebody listens at {address} and does not answer: {message}."))
        }
        Answer::HttpPort => (
            Incident::NotClino,
            format!(
                "{address} is the HTTP port of a clino daemon, for metrics and probes, and not its gRPC port."
            ),
        ),
        Answer::Http1 => (
            Incident::NotClino,
            format!("A web server answers at {address}, and not the gRPC port of clino."),
        ),
        Answer::Http2 if secure => (
            Incident::TlsUnexpected,
            format!("The address {address} expects TLS, and the server there speaks none: {message}."),
        ),
        Answer::Tls | Answer::HungUp if secure => (
            Incident::CertificateRefused,
            format!("A secure connection to {address} could not be made: {message}."),
        ),
        Answer::Tls => {
            (Incident::TlsNeeded, format!("The server at {address} expects TLS, and the address has none."))
        }
        Answer::HungUp => (
            Incident::NotClino,
            format!(
                "Somebody at {address} hangs up at once: it speaks something else, or takes no more connections."
            ),
        ),
        Answer::Http2 => (
            Incident::NotClino,
            format!("A server of HTTP/2 answers at {address}, and not as clino: {message}."),
        ),
        Answer::Other => (
            Incident::NotClino,
            format!("Somebody at {address} speaks something else than HTTP/2, which gRPC needs."),
        ),
    }
}

fn nobody(address: &str, error: &Error) -> (Incident, String) {
    let path = address.strip_prefix("unix:").map(socket_path);
    match (error.kind(), path) {
        (ErrorKind::PermissionDenied, Some(path)) => {
            (Incident::SocketDenied, format!("You have no right to use the socket {path}: {error}."))
        }
        (ErrorKind::NotFound, Some(path)) => (
            Incident::NoDaemon,
            format!("There is no socket {path}: no daemon of yours runs, or it listens elsewhere."),
        ),
        (ErrorKind::ConnectionRefused, Some(path)) => (
            Incident::NoDaemon,
            format!("The socket {path} was left behind: no daemon listens on it any more."),
        ),
        (ErrorKind::TimedOut, _) => (Incident::NoAnswer, format!("Nobody answers at {address}: {error}.")),
        _ => (Incident::NoDaemon, format!("No daemon listens at {address}: {error}.")),
    }
}

fn socket_path(place: &str) -> &str {
    place.strip_prefix("//").unwrap_or(place)
}

/// Greets whoever is at an address as a client of HTTP/2 does, without TLS, and hears the first words of the answer.
fn explore(address: &str) -> Answer {
    if let Some(place) = address.strip_prefix("unix:") {
        return match UnixStream::connect(socket_path(place)) {
            Ok(mut stream) => {
                let limited =
                    stream.set_read_timeout(Some(PATIENCE)).and(stream.set_write_timeout(Some(PATIENCE)));
                limited.map_or_else(Answer::Nobody, |()| greet(&mut stream))
            }
            Err(error) => Answer::Nobody(error),
        };
    }
    let host = host(address);
    match connect(&host) {
        Ok(mut stream) => match greet(&mut stream) {
            // Some servers of HTTP/1 hang up when they are greeted in HTTP/2.
            Answer::Http1 | Answer::Http2 | Answer::HungUp if !is_secure(address) && is_alive(&host) => {
                Answer::HttpPort
            }
            other => other,
        },
        Err(error) => Answer::Nobody(error),
    }
}

/// `HOST:PORT` of an address.
fn host(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("http", address));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // An address of IPv6 has colons within its brackets.
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    match (has_port, scheme) {
        (true, _) => host.to_owned(),
        (false, "https") => format!("{host}:443"),
        (false, _) => format!("{host}:80"),
    }
}

fn connect(host: &str) -> std::io::Result<TcpStream> {
    let mut last = Error::new(ErrorKind::NotFound, "the name has no address");
    for place in host.to_socket_addrs()? {
        match TcpStream::connect_timeout(&place, PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn greet(stream: &mut (impl Read + Write)) -> Answer {
    // Whoever hangs up in the middle may have said something before.
    let _ = stream.write_all(GREETING).and_then(|()| stream.flush());
    let mut heard = [0; FRAME];
    let mut count = 0;
    while count < heard.len() {
        match stream.read(&mut heard[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return if count == 0 { Answer::Silence } else { first_words(&heard[..count]) };
            }
            Err(_) => break,
        }
    }
    first_words(&heard[..count])
}

fn first_words(heard: &[u8]) -> Answer {
    let (place, settings) = SETTINGS;
    match heard {
        [] => Answer::HungUp,
        [ALERT, ..] => Answer::Tls,
        heard if heard.starts_with(b"HTTP/") => Answer::Http1,
        heard if heard.len() == FRAME && heard[place] == settings => Answer::Http2,
        _ => Answer::Other,
    }
}

fn is_secure(address: &str) -> bool {
    address.starts_with("https://")
}

/// Whether the server of HTTP/1 there is that of a daemon.
fn is_alive(host: &str) -> bool {
    let asked = || {
        let mut stream = connect(host)?;
        write!(stream, "GET /livez HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        // Whatever it is, it is not much.
        stream.take(1 << 10).read_to_string(&mut answer)?;
        std::io::Result::Ok(answer)
    };
    asked().is_ok_and(|answer| answer.ends_with(ALIVE))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn first_words_tell_who_speaks() {
        let told = |words: &[u8]| format!("{:?}", first_words(words));
        assert_eq!(told(b"\0\0\x12\x04\0\0\0\0\0"), "Http2");
        assert_eq!(told(b"HTTP/1.1 "), "Http1");
        assert_eq!(told(b"\x15\x03\x03\0\x02\x02\x32"), "Tls");
        assert_eq!((told(b"SSH-2.0-O"), told(b"")), ("Other".into(), "HungUp".into()));
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        assert_eq!(host("http://127.0.0.1:7411"), "127.0.0.1:7411");
        assert_eq!(host("https://clino.example/x"), "clino.example:443");
        assert_eq!(host("http://[::1]"), "[::1]:80");
        assert_eq!(host("http://[::1]:7"), "[::1]:7");
    }

    #[tokio::test]
    async fn what_is_wrong_at_a_socket_is_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let away = Fault::new(FaultKind::Unavailable, "away");
        let address = |name: &str| format!("unix://{}", directory.path().join(name).display());
        let none = explain(&address("none"), &away).await;
        assert!(none.code == "C801" && none.what.contains("There is no socket"), "{none:?}");
        drop(std::os::unix::net::UnixListener::bind(directory.path().join("left")).unwrap());
        let left = explain(&address("left"), &away).await;
        assert!(left.code == "C801" && left.what.contains("left behind"), "{left:?}");
        let denied = nobody("unix:///s", &ErrorKind::PermissionDenied.into());
        assert_eq!(denied.0, Incident::SocketDenied);
    }

    #[tokio::test]
    async fn who_says_nothing_is_told_of() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let silent = explain(&address, &Fault::new(FaultKind::Deadline, "no answer within 10 seconds")).await;
        assert!(silent.code == "C812" && silent.what.contains("within 10 seconds"), "{silent:?}");
        drop(listener);
        let away = explain(&address, &Fault::new(FaultKind::Unavailable, "away")).await;
        assert!(away.code == "C801" && away.what.contains(&address), "{away:?}");
    }

    #[tokio::test]
    async fn what_a_daemon_answers_is_told_by_its_kind() {
        for (kind, code) in [
            (FaultKind::Invalid, "C810"),
            (FaultKind::Unauthenticated, "C807"),
            (FaultKind::Denied, "C808"),
            (FaultKind::Precondition, "C809"),
        ] {
            let found = explain("http://127.0.0.1:1", &Fault::field(kind, "a", "found b")).await;
            assert!(found.code == code && found.what.contains("found b"), "{found:?}");
        }
        let older = Fault::internal("Operation is not implemented or not supported: ");
        assert_eq!(explain("http://127.0.0.1:1", &older).await.code, "C809");
    }
}
