//! A real daemon for tests, and what a client needs to talk to it.

#![allow(dead_code, clippy::unwrap_used, clippy::missing_panics_doc)]

pub mod raw;

use clino_proto::pb;
use pb::push_snapshot_request::Frame;
use pb::reports_client::ReportsClient;
use pb::runs_client::RunsClient;
use pb::snapshots_client::SnapshotsClient;
use pb::watch_response::Event;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tonic::transport::Channel;
use tonic::{Response, Status};

/// What no test should wait longer for: it ends a test that hangs, and nothing else, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(900);

/// A daemon on any free port, killed when it drops.
pub struct Daemon {
    child: Child,
    pub http: String,
    pub unix: Option<String>,
    /// Where metrics are, with `--http`.
    pub metrics: Option<String>,
    /// All of them.
    pub addresses: Vec<String>,
    _directory: Option<tempfile::TempDir>,
}

pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clino"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CLINO_")) {
        command.env_remove(name);
    }
    command.arg("serve").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Daemon {
    /// With a port and a socket in a directory of its own.
    pub fn start(flags: &[&str]) -> Self {
        Self::start_with(flags, &[])
    }

    /// The same in another environment.
    pub fn start_with(flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut daemon = Self::spawn(&directory.path().join("clino.sock"), flags, environment);
        daemon._directory = Some(directory);
        daemon
    }

    /// With a port and this socket.
    pub fn at(socket: &Path, flags: &[&str]) -> Self {
        Self::spawn(socket, flags, &[])
    }

    /// The same of another binary.
    pub fn of(binary: &str, socket: &Path, flags: &[&str]) -> Self {
        let mut other = Command::new(binary);
        for (name, _) in command().get_envs() {
            other.env_remove(name);
        }
        other.arg("serve").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::launch(other, socket, flags)
    }

    /// The same; a write beyond the limit on files fails there instead of ending the process.
    pub fn ignoring_file_limits(socket: &Path, flags: &[&str]) -> Self {
        Self::behind("trap '' XFSZ", socket, flags)
    }

    /// The same with another umask.
    pub fn with_umask(umask: &str, socket: &Path, flags: &[&str]) -> Self {
        Self::behind(&format!("umask {umask}"), socket, flags)
    }

    /// The same as a process of which a shell has said something first.
    fn behind(first: &str, socket: &Path, flags: &[&str]) -> Self {
        let command = command();
        let program = command.get_program().to_owned();
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{first}; exec \"$0\" \"$@\"")]).arg(program).args(arguments);
        for (name, _) in command.get_envs() {
            shell.env_remove(name);
        }
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::launch(shell, socket, flags)
    }

    fn spawn(socket: &Path, flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = command();
        command.envs(environment.iter().copied());
        Self::launch(command, socket, flags)
    }

    fn launch(mut command: Command, socket: &Path, flags: &[&str]) -> Self {
        command.args(["--listen", "127.0.0.1:0", "--threads", "2", "--socket"]).arg(socket).args(flags);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some("listening"), "{line:?}");
        let addresses: Vec<_> = words.map(str::to_owned).collect();
        let find = |scheme: &str| addresses.iter().find(|address| address.starts_with(scheme)).cloned();
        Self {
            child,
            http: find("http").unwrap(),
            unix: find("unix://"),
            metrics: find("metrics=http://"),
            addresses,
            _directory: None,
        }
    }

    /// What `--http` answers at a path: the status and the body. Metrics that it gives are OpenMetrics.
    pub fn http_get(&self, path: &str) -> (u16, String) {
        let host = self.metrics.as_ref().unwrap().rsplit("http://").next().unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
        if status == 200 && path.starts_with("/metrics") {
            assert!(
                head.to_lowercase().contains("content-type: application/openmetrics-text; version=1.0.0"),
                "{head}"
            );
        }
        (status, body.to_owned())
    }

    /// Waits until a line of `/metrics`, written as there with its labels, has at least this value.
    pub async fn until_counted(&self, line: &str, least: f64) {
        let began = Instant::now();
        let value = || {
            let text = self.http_get("/metrics").1;
            let found =
                text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' ')?.parse().ok());
            found.unwrap_or(0.0)
        };
        while value() < least {
            assert!(began.elapsed() < PATIENCE, "{line} does not become {least}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn socket(&self) -> PathBuf {
        self.unix.as_ref().unwrap().strip_prefix("unix://").unwrap().into()
    }

    pub async fn channel(&self) -> Channel {
        tonic::transport::Endpoint::from_shared(self.http.clone()).unwrap().connect().await.unwrap()
    }

    pub async fn clients(&self) -> Clients {
        Clients::new(self.channel().await)
    }

    pub async fn unix_clients(&self) -> Clients {
        let endpoint = tonic::transport::Endpoint::from_shared(self.unix.clone().unwrap()).unwrap();
        Clients::new(endpoint.connect().await.unwrap())
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Most memory that it ever held.
    pub fn peak_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// Memory that the process has now.
    pub fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// Threads that the process has now.
    pub fn threads(&self) -> u64 {
        self.status("Threads:")
    }

    fn memory(&self, entry: &str) -> u64 {
        self.status(entry) << 10
    }

    fn status(&self, entry: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(entry)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// How it ended, how long that took, and what it logged.
    pub fn wait(&mut self) -> (ExitStatus, Duration, String) {
        let began = Instant::now();
        let mut log = String::new();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "the daemon does not end");
            std::thread::sleep(Duration::from_millis(10));
        };
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (status, began.elapsed(), log)
    }

    /// Others are served: a new connection opens a run, pushes a snapshot and sees it measured.
    pub async fn still_serves(&self) {
        let mut clients = self.clients().await;
        let run = clients.open(&format!("other {:?}", Instant::now()), quick()).await;
        clients.push(TestUpload::new(&run, 1)).await.unwrap();
        let events = clients.watch_until(&run, |event| matches!(event, Event::Finished(_))).await;
        assert!(events.iter().any(|event| matches!(event.event, Some(Event::Reading(_)))));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One connection's clients.
#[derive(Clone)]
pub struct Clients {
    pub runs: RunsClient<Channel>,
    pub snapshots: SnapshotsClient<Channel>,
    pub reports: ReportsClient<Channel>,
}

impl Clients {
    pub fn new(channel: Channel) -> Self {
        Self {
            runs: RunsClient::new(channel.clone()),
            snapshots: SnapshotsClient::new(channel.clone()),
            reports: ReportsClient::new(channel),
        }
    }

    pub async fn open(&mut self, key: &str, measures: Vec<pb::MeasureRequest>) -> String {
        let request = pb::OpenRunRequest { measures, ..open_request(key) };
        self.runs.open_run(request).await.unwrap().into_inner().run_id
    }

    pub async fn push(&mut self, upload: TestUpload) -> Result<pb::PushSnapshotResponse, Status> {
        self.send(upload.frames()).await
    }

    pub async fn send(&mut self, frames: Vec<Frame>) -> Result<pb::PushSnapshotResponse, Status> {
        let requests = frames.into_iter().map(|frame| pb::PushSnapshotRequest { frame: Some(frame) });
        let requests: Vec<_> = requests.collect();
        self.snapshots.push_snapshot(tokio_stream::iter(requests)).await.map(Response::into_inner)
    }

    /// All events from the beginning to the first one that `last` accepts, or to the end of the stream.
    pub async fn watch_until(&mut self, run: &str, last: impl Fn(&Event) -> bool) -> Vec<pb::WatchResponse> {
        let request = pb::WatchRequest { run_id: run.into(), from_sequence: Some(0) };
        let mut stream = self.reports.watch(request).await.unwrap().into_inner();
        let mut events = Vec::new();
        let collect = async {
            while let Some(event) = stream.message().await.unwrap() {
                let done = last(event.event.as_ref().unwrap());
                events.push(event);
                if done {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, collect).await.expect("the event comes");
        events
    }

    pub async fn run(&mut self, run: &str) -> pb::RunSummary {
        let request = pb::GetRunRequest { run_id: run.into() };
        self.runs.get_run(request).await.unwrap().into_inner().run.unwrap()
    }
}

pub fn spec(name: &str, dtype: pb::Dtype, shape: &[u64]) -> pb::TensorSpec {
    pb::TensorSpec { name: name.into(), dtype: dtype.into(), shape: shape.to_vec(), byte_length: None }
}

/// Reproducible numbers between -1 and 1.
pub fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(step).collect()
}

pub fn bytes_of(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

const EXAMPLES: usize = 32;

/// 32 examples of 8 features in 3 classes.
pub fn probe(seed: u32) -> pb::Probe {
    probe_of(EXAMPLES, seed)
}

/// Some examples of 8 features in 3 classes.
pub fn probe_of(examples: usize, seed: u32) -> pb::Probe {
    let labels = (0..examples as i64).flat_map(|i| (i % 3).to_le_bytes()).collect::<Vec<_>>();
    let inputs = bytes_of(&numbers(examples * 8, seed));
    let tensor = |spec, data: Vec<u8>| pb::ProbeTensor { spec: Some(spec), data: data.into() };
    let tensors = vec![
        tensor(spec("inputs", pb::Dtype::F32, &[examples as u64, 8]), inputs),
        tensor(spec("labels", pb::Dtype::I64, &[examples as u64]), labels),
    ];
    pb::Probe { tensors }
}

/// Whether an event says that a snapshot of this step is measured.
pub fn finished(step: u64) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Finished(end) if end.snapshot.as_ref().unwrap().step == step)
}

pub fn group(name: &str, seed: u32) -> pb::ProbeGroup {
    let source = Some(pb::probe_group::Source::Probe(probe(seed)));
    pb::ProbeGroup { name: name.into(), source }
}

pub const CONFIG: &str = r#"{"model_type":"mlp","sizes":[8,16,16,3],"hidden_act":"relu"}"#;

pub fn open_request(key: &str) -> pb::OpenRunRequest {
    pb::OpenRunRequest {
        idempotency_key: key.into(),
        name: "a test".into(),
        config_json: CONFIG.into(),
        groups: vec![group("en", 1), group("de", 2)],
        measures: vec![],
        seed: 7,
        delivery: pb::Delivery::Latest.into(),
        precision: pb::Precision::Auto.into(),
        budget_seconds: None,
        gpu_only: false,
        ..Default::default()
    }
}

pub fn measure(name: &str, parameters: &[(&str, f64)]) -> pb::MeasureRequest {
    let value = |number: &f64| pb::Value { kind: Some(pb::value::Kind::Number(*number)) };
    let parameters: HashMap<_, _> =
        parameters.iter().map(|(name, number)| ((*name).to_owned(), value(number))).collect();
    pb::MeasureRequest { name: name.into(), parameters: parameters.into_iter().collect() }
}

/// Milliseconds.
pub fn quick() -> Vec<pb::MeasureRequest> {
    vec![measure("loss", &[]), measure("param_norm", &[])]
}

/// Much longer than a test.
pub fn endless() -> Vec<pb::MeasureRequest> {
    vec![measure("loss", &[]), measure("sharpness", &[("steps", 1000.0), ("draws", 4096.0)])]
}

pub fn specs() -> Vec<pb::TensorSpec> {
    let f32 = |name: &str, shape: &[u64]| spec(name, pb::Dtype::F32, shape);
    vec![
        f32("layers.0.bias", &[16]),
        f32("layers.0.weight", &[16, 8]),
        f32("layers.1.bias", &[16]),
        f32("layers.1.weight", &[16, 16]),
        f32("layers.2.bias", &[3]),
        f32("layers.2.weight", &[3, 16]),
    ]
}

const PARAMETERS: usize = 16 + 16 * 8 + 16 + 16 * 16 + 3 + 3 * 16;

/// An MLP of two hidden layers of this width.
pub fn wide_config(width: u64) -> String {
    format!(r#"{{"model_type":"mlp","sizes":[8,{width},{width},3],"hidden_act":"relu"}}"#)
}

/// Its parameters.
pub fn wide_specs(width: u64) -> Vec<pb::TensorSpec> {
    let f32 = |name: &str, shape: &[u64]| spec(name, pb::Dtype::F32, shape);
    vec![
        f32("layers.0.weight", &[width, 8]),
        f32("layers.0.bias", &[width]),
        f32("layers.1.weight", &[width, width]),
        f32("layers.1.bias", &[width]),
        f32("layers.2.weight", &[3, width]),
        f32("layers.2.bias", &[3]),
    ]
}

/// How many numbers they are.
pub fn wide_elements(width: u64) -> u64 {
    wide_specs(width).iter().map(|spec| spec.shape.iter().product::<u64>()).sum()
}

/// A snapshot to be sent.
#[derive(Clone)]
pub struct TestUpload {
    pub begin: pb::BeginSnapshot,
    pub data: Vec<u8>,
    pub chunk: usize,
}

impl TestUpload {
    pub fn new(run: &str, step: u64) -> Self {
        let begin = pb::BeginSnapshot {
            run_id: run.into(),
            step,
            kind: pb::WeightKind::Live.into(),
            tensors: specs(),
            ..Default::default()
        };
        Self { begin, data: bytes_of(&numbers(PARAMETERS, step as u32 + 9)), chunk: 600 }
    }

    pub fn key(mut self, key: &str) -> Self {
        self.begin.idempotency_key = key.into();
        self
    }

    pub fn initialization(mut self) -> Self {
        self.begin.initialization = true;
        self
    }

    pub fn frames(&self) -> Vec<Frame> {
        let mut frames = vec![Frame::Begin(self.begin.clone())];
        frames.extend(self.data.chunks(self.chunk).enumerate().map(|(i, data)| {
            let data = data.to_vec().into();
            Frame::Chunk(clino_proto::convert::chunk_to_pb((i * self.chunk) as u64, data))
        }));
        frames.push(Frame::Commit(pb::Commit::default()));
        frames
    }
}

/// Paths of the fields that a status blames.
pub fn blamed(status: &Status) -> Vec<String> {
    clino_domain::status::from_status(status)
        .violations
        .into_iter()
        .map(|violation| violation.field)
        .collect()
}
