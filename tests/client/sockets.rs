//! Unix sockets whose paths have signs that mean something in addresses, and clients that spell them their own way.

use crate::common::{Daemon, PATIENCE};
use crate::fixture::{parameters, plan};
use clino_client::background::Sender;
use clino_client::{Client, Label};
use clino_domain::RunFilter;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

const NAMES: [&str; 7] =
    ["a b.sock", "a%20b.sock", "a?b.sock", "a#b.sock", "a%.sock", "é 日.sock", "a=b+(c)&d.sock"];

fn at(directory: &Path, name: &str) -> (Daemon, String) {
    let socket = directory.join(name);
    (Daemon::at(&socket, &["--log", "warn"]), format!("unix://{}", socket.display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn row_60_a_socket_path_is_taken_as_it_stands_by_every_client() {
    let directory = tempfile::tempdir().unwrap();
    for name in NAMES {
        let (_daemon, address) = at(directory.path(), name);
        let short = address.replacen("unix://", "unix:", 1);
        for address in [&address, &short] {
            let run = Client::connect(address).await.unwrap().open_run(&plan()).await.unwrap();
            let tensors = parameters(&run.opened().unwrap().parameters, 1);
            run.push(Label::step(1), tensors).await.unwrap();
        }
        let sender = Sender::start(&address, plan());
        assert!(sender.opened(PATIENCE).is_some(), "{address}");
        let runs = |command: &mut Command| {
            let output = command.args(["runs", "--format", "json"]).stdin(Stdio::null()).output().unwrap();
            assert!(output.status.success(), "{address}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap().lines().count()
        };
        let command = || Command::new(env!("CARGO_BIN_EXE_clino"));
        assert_eq!(runs(command().env("CLINO_ADDR", &address)), 3);
        let mut told = command();
        let output = told.args(["runs", "--format", "json", "--addr", &address]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 3, "{address}");
        assert_eq!(
            Client::connect(&address).await.unwrap().runs(&RunFilter::default()).await.unwrap().len(),
            3
        );
    }
}

#[tokio::test]
async fn row_60_what_is_no_socket_path_is_refused() {
    for bad in ["unix:", "unix://", "unix:relative", "unix://relative/a.sock"] {
        let fault = Client::connect(bad).await.unwrap_err();
        assert_eq!(fault.violations[0].field, "addr", "{bad}");
    }
}

/// A header as HPACK spells it without tables and without Huffman's code.
fn header(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat();
    [vec![0x10], text(name), text(value)].concat()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The first frame that answers a call with this authority: its kind, and the error where it is a reset.
fn answer(socket: &mut UnixStream, stream: u32, authority: &str) -> (u8, u32) {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/clino.v1.Runs/ListRuns"),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let headers = fields.iter().flat_map(|(name, value)| header(name, value)).collect::<Vec<_>>();
    socket.write_all(&frame(1, 4, stream, &headers)).unwrap();
    // An empty message.
    socket.write_all(&frame(0, 1, stream, &[0; 5])).unwrap();
    loop {
        let mut head = [0; 9];
        socket.read_exact(&mut head).unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        socket.read_exact(&mut payload).unwrap();
        if u32::from_be_bytes([head[5], head[6], head[7], head[8]]) == stream && head[3] != 8 {
            let error = payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
            return (head[3], if head[3] == 3 { error } else { 0 });
        }
    }
}

/// Clients on grpc's C core name the percent-encoded path as authority, which is none, and the HTTP/2 library refuses it:
/// <https://github.com/hyperium/h2/pull/487>. docs/clients.md says what such clients set. Where this test fails because
/// such a call is answered, that page may be shortened.
#[test]
fn row_60_an_authority_that_is_none_costs_its_own_call_and_localhost_is_served() {
    const HEADERS: u8 = 1;
    const RESET: u8 = 3;
    const PROTOCOL_ERROR: u32 = 1;
    let directory = tempfile::tempdir().unwrap();
    let (daemon, _) = at(directory.path(), "clino.sock");
    let mut socket = UnixStream::connect(daemon.socket()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    socket.write_all(&frame(4, 0, 0, &[])).unwrap();
    assert_eq!(answer(&mut socket, 1, "localhost"), (HEADERS, 0));
    let encoded = daemon.socket().display().to_string().replace('/', "%2F");
    assert_eq!(answer(&mut socket, 3, &encoded), (RESET, PROTOCOL_ERROR));
    assert_eq!(answer(&mut socket, 5, "localhost"), (HEADERS, 0));
}
