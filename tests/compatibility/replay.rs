//! Says to a daemon what a client once said, in the order in which it was recorded, and compares the answers.

use crate::common::{PATIENCE, raw};
use crate::likeness::{Likeness, Protocol};
use crate::recording::{Entry, What};
use bytes::Bytes;
use protox::prost_reflect::{DynamicMessage, MessageDescriptor};
use std::collections::{BTreeSet, HashMap};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;
use tonic_types::StatusExt;

/// Messages of a call that nobody has taken yet: more than any recorded call has.
const CAPACITY: usize = 1024;

/// A call that has begun.
struct Call {
    method: String,
    answer: MessageDescriptor,
    requests: Option<Sender<Bytes>>,
    answers: Receiver<Result<Bytes, Status>>,
    task: JoinHandle<()>,
}

/// A daemon that is spoken to.
pub struct Replay {
    channel: Channel,
    protocol: Protocol,
    likeness: Likeness,
    calls: HashMap<usize, Call>,
}

impl Replay {
    /// By the protocol of a release.
    pub fn new(channel: Channel, protocol: Protocol) -> Self {
        Self { channel, protocol, likeness: Likeness::default(), calls: HashMap::new() }
    }

    /// One line: what the client did is done, and what the daemon did is waited for.
    pub async fn play(&mut self, entry: Entry) {
        let Entry { call, what, line } = entry;
        match what {
            What::Begin { method, metadata } => self.begin(call, method, metadata),
            What::Request { bytes } => self.request(call, &bytes.0).await,
            What::HalfClose => drop(self.call(call).requests.take()),
            What::Response { bytes } => self.response(call, line, &bytes.0).await,
            What::End { code, message, details } => {
                let then = Status::with_details(code.into(), message, details.0.into());
                self.end(call, line, &then).await;
            }
            What::Cancel => self.calls.remove(&call).unwrap().task.abort(),
        }
    }

    /// No call is left of which nobody has seen the end.
    pub fn ended(&self) {
        assert!(
            self.calls.is_empty(),
            "{:?}",
            self.calls.values().map(|call| &call.method).collect::<Vec<_>>()
        );
    }

    fn call(&mut self, number: usize) -> &mut Call {
        self.calls.get_mut(&number).unwrap_or_else(|| panic!("call {number} is under way"))
    }

    fn begin(&mut self, number: usize, method: String, metadata: HashMap<String, String>) {
        let (requests, sent) = channel(CAPACITY);
        let (told, answers) = channel(CAPACITY);
        let (daemon, path) = (self.channel.clone(), method.clone());
        let task = tokio::spawn(async move {
            let opened = raw::stream(daemon, &path, ReceiverStream::new(sent), &metadata).await;
            let mut stream = match opened {
                Ok(stream) => stream,
                Err(status) => return drop(told.send(Err(status)).await),
            };
            loop {
                let answer = match stream.message().await {
                    Ok(Some(message)) => Ok(message),
                    Ok(None) => Err(Status::ok("")),
                    Err(status) => Err(status),
                };
                let last = answer.is_err();
                if told.send(answer).await.is_err() || last {
                    return;
                }
            }
        });
        let answer = self.protocol.answer_of(&method);
        self.calls.insert(number, Call { method, answer, requests: Some(requests), answers, task });
    }

    async fn request(&mut self, number: usize, bytes: &[u8]) {
        let bytes = self.likeness.renamed(bytes);
        let requests = self.call(number).requests.as_ref().expect("nothing follows what was sent last");
        // A daemon that has refused the call reads no more of it.
        let _ = requests.send(bytes.into()).await;
    }

    async fn next(&mut self, number: usize, line: usize) -> Result<Bytes, Status> {
        let call = self.call(number);
        let waited = tokio::time::timeout(PATIENCE, call.answers.recv()).await;
        waited.unwrap_or_else(|_| panic!("line {line}: {} hangs", call.method)).expect("a call has an end")
    }

    async fn response(&mut self, number: usize, line: usize, then: &[u8]) {
        let now = self.next(number, line).await;
        let Call { method, answer, .. } = &self.calls[&number];
        let now = now.unwrap_or_else(|status| panic!("line {line}: {method} ended: {status}"));
        let read = |bytes| DynamicMessage::decode(answer.clone(), bytes).unwrap();
        let differences = self.likeness.differences(&read(then), &read(now.as_ref()));
        assert!(differences.is_empty(), "line {line}: {method}: {differences:#?}");
    }

    async fn end(&mut self, number: usize, line: usize, then: &Status) {
        let now = self.next(number, line).await;
        let method = self.calls.remove(&number).unwrap().method;
        let now = now.expect_err(&format!("line {line}: {method} should end"));
        assert_eq!(told(&now), told(then), "line {line}: {method}: found {now}, expected {then}");
    }
}

/// What a client does by a status: the code, the reason that programs read, the fields that are blamed.
fn told(status: &Status) -> (tonic::Code, Option<String>, BTreeSet<String>, bool) {
    let fields = status.get_details_bad_request().map(|details| details.field_violations);
    let fields = fields.into_iter().flatten().map(|violation| violation.field).collect();
    let reason = status.get_details_error_info().map(|info| info.reason);
    (status.code(), reason, fields, status.message().is_empty())
}
