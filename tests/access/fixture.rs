//! Files of access, authorities, and clients that are somebody.

use crate::common::{Clients, Daemon, PATIENCE, TestUpload, open_request, quick};
use clino::access::Token;
use clino_client::{Access, Client};
use clino_proto::pb;
use pb::push_snapshot_request::Frame;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use tonic::{Request, Response, Status};

/// A token of its own for every number.
pub fn token(number: u8) -> String {
    Token::new(&[number; 32]).reveal().to_owned()
}

/// An entry of the tokens file.
pub fn entry(name: &str, number: u8, rest: &str) -> String {
    format!("[[entry]]\nname = \"{name}\"\nhash = \"{}\"\n{rest}\n", Token::new(&[number; 32]).hash())
}

/// A request of somebody.
pub fn with<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

/// A directory with files that a daemon reads.
pub struct AccessFiles(tempfile::TempDir);

impl AccessFiles {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Puts a file in place in one step, as careful operators do.
    pub fn write(&self, name: &str, text: &str) -> String {
        let new = self.path("new");
        std::fs::write(&new, text).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(new, self.path(name)).unwrap();
        self.text(name)
    }

    pub fn lines(&self, name: &str) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The first line of a log that fits, waiting for it.
    pub async fn line(&self, name: &str, fits: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        eventually(|| self.lines(name).into_iter().find(&fits)).await
    }
}

/// What `look` finds, once it does.
pub async fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "it does not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A daemon with this tokens file, and where it lies.
pub fn daemon(tokens: &str, flags: &[&str]) -> (Daemon, AccessFiles) {
    let files = AccessFiles::new();
    let path = files.write("tokens.toml", tokens);
    let mut all = vec!["--tokens", &path];
    all.extend(flags);
    (Daemon::start(&all), files)
}

/// Opens a run in a project.
pub async fn open(
    clients: &mut Clients,
    token: &str,
    (key, project): (&str, &str),
) -> Result<String, Status> {
    let request = pb::OpenRunRequest { measures: quick(), project: project.into(), ..open_request(key) };
    clients.runs.open_run(with(token, request)).await.map(|answer| answer.into_inner().run_id)
}

/// Sends frames to a run.
pub async fn send(
    clients: &mut Clients,
    token: &str,
    frames: Vec<Frame>,
) -> Result<pb::PushSnapshotResponse, Status> {
    let requests: Vec<_> =
        frames.into_iter().map(|frame| pb::PushSnapshotRequest { frame: Some(frame) }).collect();
    let request = with(token, tokio_stream::iter(requests));
    clients.snapshots.push_snapshot(request).await.map(Response::into_inner)
}

pub async fn push(
    clients: &mut Clients,
    token: &str,
    run: &str,
    step: u64,
) -> Result<pb::PushSnapshotResponse, Status> {
    send(clients, token, TestUpload::new(run, step).frames()).await
}

/// Someone who signs certificates.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Certificate and key for a common name and alternative names.
    pub fn sign(&self, common: &str, names: &[&str]) -> (String, String) {
        self.sign_until(common, names, None)
    }

    /// The same for a certificate that ends.
    pub fn sign_until(&self, common: &str, names: &[&str], end: Option<SystemTime>) -> (String, String) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, common);
        if let Some(end) = end {
            params.not_after = end.into();
        }
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// Writes a certificate for this machine.
    pub fn serve(&self, files: &AccessFiles) -> [String; 2] {
        let (cert, key) = self.sign("server", &["localhost", "127.0.0.1"]);
        [files.write("cert.pem", &cert), files.write("key.pem", &key)]
    }

    pub fn trusted(&self) -> Access {
        Access::default().authorities(self.pem.clone().into_bytes())
    }
}

/// Whether somebody can ask something.
pub async fn ask(daemon: &Daemon, access: &Access) -> Result<usize, clino_domain::Fault> {
    Ok(Client::connect_with(&daemon.http, access).await?.runs(&Default::default()).await?.len())
}

/// A daemon whose standard error goes to a file, which may become long.
pub fn logging(log: &Path, flags: &[&str]) -> (std::process::Child, String) {
    use std::io::BufRead;
    let mut command = crate::common::command();
    command.args(["--listen", "127.0.0.1:0", "--threads", "2"]).args(flags);
    command.stderr(std::fs::File::create(log).unwrap());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.split_whitespace().nth(1).unwrap().to_owned())
}
