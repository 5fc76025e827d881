//! TLS: certificates of the daemon and of clients, and what is refused without.

use crate::common::Daemon;
use crate::fixture::{AccessFiles, Authority, ask, entry, token};
use clino_client::{Access, Client};
use clino_domain::FaultKind;
use std::process::Command;

const READ: &str = "projects = { \"*\" = [\"read\"] }";

fn secured(files: &AccessFiles, authority: &Authority, flags: &[&str]) -> Daemon {
    let [cert, key] = authority.serve(files);
    let mut all = vec!["--tls-cert", &cert, "--tls-key", &key];
    all.extend(flags);
    Daemon::start(&all)
}

#[tokio::test]
async fn whoever_trusts_the_authority_is_served_and_nobody_else() {
    let (files, authority) = (AccessFiles::new(), Authority::new("ca"));
    let daemon = secured(&files, &authority, &[]);
    assert!(daemon.http.starts_with("https://127.0.0.1:"), "{}", daemon.http);
    assert_eq!(ask(&daemon, &authority.trusted()).await.unwrap(), 0);
    let wrong = ask(&daemon, &Authority::new("other").trusted()).await.unwrap_err();
    assert_eq!(wrong.kind, FaultKind::Unavailable, "{wrong}");
    let plain = daemon.http.replace("https", "http");
    assert!(Client::connect(&plain).await.unwrap().runs(&Default::default()).await.is_err());
    let unknown = ask(&daemon, &Access::default()).await.unwrap_err();
    assert!(unknown.message.contains("CLINO_CA"), "{unknown}");
    // The socket of this machine stays as it is.
    assert_eq!(
        Client::connect(daemon.unix.as_ref().unwrap())
            .await
            .unwrap()
            .runs(&Default::default())
            .await
            .unwrap()
            .len(),
        0
    );
}

#[tokio::test]
async fn a_new_certificate_counts_without_a_restart_and_a_broken_one_does_not() {
    let (files, old, new) = (AccessFiles::new(), Authority::new("old"), Authority::new("new"));
    let audit = files.text("audit");
    let daemon = secured(&files, &old, &["--audit", &audit]);
    let kept = Client::connect_with(&daemon.http, &old.trusted()).await.unwrap();
    kept.runs(&Default::default()).await.unwrap();
    files.write("cert.pem", "nothing");
    files.line("audit", |line| line["event"] == "refused_reload" && line["method"] == "tls").await;
    assert!(ask(&daemon, &old.trusted()).await.is_ok());
    // Between the two writes certificate and key do not fit each other, and the old ones count.
    new.serve(&files);
    files.line("audit", |line| line["event"] == "reloaded" && line["method"] == "tls").await;
    assert!(ask(&daemon, &new.trusted()).await.is_ok());
    assert!(ask(&daemon, &old.trusted()).await.is_err());
    // Whoever was connected stays so.
    kept.runs(&Default::default()).await.unwrap();
}

#[tokio::test]
async fn a_certificate_is_an_entry_of_the_tokens_file() {
    let (files, authority) = (AccessFiles::new(), Authority::new("ca"));
    let clients = files.write("clients.pem", authority.pem());
    let text = "[[entry]]\nname = \"node\"\ncertificate = [\"node-1\", \"node-2.example.org\"]\n";
    let tokens = files.write("tokens.toml", &format!("{text}{READ}\n{}", entry("t", 1, READ)));
    let audit = files.text("audit");
    let flags = ["--tls-clients", &clients, "--tokens", &tokens, "--audit", &audit];
    let daemon = secured(&files, &authority, &flags);
    let shows = |signer: &Authority, common: &str, names: &[&str]| {
        let (cert, key) = signer.sign(common, names);
        authority.trusted().certificate(cert.into_bytes(), key.into_bytes())
    };
    // By common name, by an alternative name; by a token without a certificate.
    ask(&daemon, &shows(&authority, "node-1", &[])).await.unwrap();
    ask(&daemon, &shows(&authority, "x", &["node-2.example.org"])).await.unwrap();
    ask(&daemon, &authority.trusted().token(&token(1)).unwrap()).await.unwrap();
    let unknown = ask(&daemon, &shows(&authority, "node-3", &["example.org"])).await.unwrap_err();
    assert_eq!(unknown.kind, FaultKind::Unauthenticated, "{unknown}");
    let nothing = ask(&daemon, &authority.trusted()).await.unwrap_err();
    assert_eq!(nothing.kind, FaultKind::Unauthenticated, "{nothing}");
    // Signed by somebody else: there is no connection.
    let foreign = ask(&daemon, &shows(&Authority::new("other"), "node-1", &[])).await.unwrap_err();
    assert_eq!(foreign.kind, FaultKind::Unavailable, "{foreign}");
    // Its rights are those of its entry.
    let client = Client::connect_with(&daemon.http, &shows(&authority, "node-1", &[])).await.unwrap();
    let fault = client.open_run(&clino_client::Plan::new("a", crate::common::CONFIG)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
    let line = files.line("audit", |line| line["event"] == "denied" && line["who"] == "node").await;
    assert_eq!(line["method"], "/clino.v1.Runs/OpenRun");
}

#[tokio::test]
async fn an_authority_that_is_not_trusted_any_more_ends_what_its_certificates_may_do() {
    let (files, authority, next) = (AccessFiles::new(), Authority::new("ca"), Authority::new("next"));
    let (clients, audit) = (files.write("clients.pem", authority.pem()), files.text("audit"));
    let daemon = secured(&files, &authority, &["--tls-clients", &clients, "--audit", &audit]);
    // Without a tokens file a certificate is needed, and every one will do.
    assert!(ask(&daemon, &authority.trusted()).await.is_err());
    let (cert, key) = authority.sign("node", &[]);
    let access = authority.trusted().certificate(cert.into_bytes(), key.into_bytes());
    let client = Client::connect_with(&daemon.http, &access).await.unwrap();
    client.runs(&Default::default()).await.unwrap();
    files.write("clients.pem", next.pem());
    files.line("audit", |line| line["event"] == "reloaded").await;
    let fault = client.runs(&Default::default()).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unauthenticated, "{fault}");
}

#[test]
fn beyond_this_machine_is_refused_with_what_is_missing() {
    let (files, authority) = (AccessFiles::new(), Authority::new("ca"));
    let [cert, key] = authority.serve(&files);
    let tokens = files.write("tokens.toml", &entry("a", 1, READ));
    let tls = ["--tls-cert", &cert, "--tls-key", &key];
    let known = ["--tokens", &tokens];
    let refused = |flags: &[&str]| {
        let output = crate::common::command().args(["--listen", "0.0.0.0:0"]).args(flags).output().unwrap();
        assert_eq!(output.status.code(), Some(64));
        String::from_utf8(output.stderr).unwrap()
    };
    let nothing = refused(&[]);
    assert!(
        nothing.contains("--tls-cert") && nothing.contains("--tokens") && nothing.contains("--insecure"),
        "{nothing}"
    );
    assert!(refused(&tls).contains("without authentication of clients (--tokens or --tls-clients)"));
    assert!(refused(&known).contains("without TLS (--tls-cert and --tls-key)"));
}

#[tokio::test]
async fn beyond_this_machine_is_served_with_tls_and_tokens() {
    let (files, authority) = (AccessFiles::new(), Authority::new("ca"));
    let tokens = files.write("tokens.toml", &entry("a", 1, READ));
    let mut daemon = secured(&files, &authority, &["--tokens", &tokens, "--listen", "0.0.0.0:0"]);
    // The second address.
    assert!(daemon.addresses.iter().any(|address| address.starts_with("https://0.0.0.0:")));
    let access = authority.trusted().token(&token(1)).unwrap();
    let beyond = daemon.addresses.iter().find(|address| address.contains("0.0.0.0")).unwrap().clone();
    daemon.http = beyond.replace("0.0.0.0", "127.0.0.1");
    ask(&daemon, &access).await.unwrap();
    assert_eq!(ask(&daemon, &authority.trusted()).await.unwrap_err().kind, FaultKind::Unauthenticated);
}

#[tokio::test]
async fn the_command_line_speaks_tls() {
    let (files, authority) = (AccessFiles::new(), Authority::new("ca"));
    let clients = files.write("clients.pem", authority.pem());
    let daemon = secured(&files, &authority, &["--tls-clients", &clients]);
    let (cert, key) = authority.sign("node", &[]);
    let (cert, key) = (files.write("node.pem", &cert), files.write("node.key", &key));
    let variables =
        [("CLINO_CA", &clients), ("CLINO_CERT", &cert), ("CLINO_KEY", &key), ("CLINO_ADDR", &daemon.http)];
    let output = |flags: &[&str], variables: &[(&str, &String)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clino"));
        command.args(["watch", "--once"]).args(flags);
        command.envs(variables.iter().copied());
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    assert!(
        output(&[], &variables).contains("found no run: `clino open` opens one"),
        "{}",
        output(&[], &variables)
    );
    let flags = ["--addr", &daemon.http, "--ca", &clients, "--tls-cert", &cert, "--tls-key", &key];
    assert!(output(&flags, &[]).contains("found no run: `clino open` opens one"));
    assert!(output(&[], &variables[..2]).contains("key"), "a certificate without its key");
}
