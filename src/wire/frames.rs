//! An upload as frames: begin, chunks, commit, none of them late.
//!
//! Owns: the order of frames and the patience between them. May not touch: what is uploaded.

use super::access::AccessGuard;
use super::pace::{Pace, Received};
use super::services::Services;
use super::upload_workers::UploadWorkers;
use crate::assembly::{Assembled, Assembler};
use clino_domain::counters::Counter;
use clino_domain::metrics::Metric;
use clino_domain::{Fault, FaultKind};
use clino_proto::convert::digest_from_pb;
use clino_proto::pb;
use std::time::{Duration, Instant};
use tonic::{Request, Status, Streaming};

/// One frame of an upload that begins with a `B`.
pub(super) enum Frame<B> {
    Begin(B),
    Chunk(pb::Chunk),
    /// With the digest of the bytes, from a client that has made it.
    Commit(String),
}

/// A request message that is one frame.
pub(super) trait Framed {
    type Begin;
    /// `None` when it is empty, or of a kind that this daemon does not know.
    fn frame(self) -> Option<Frame<Self::Begin>>;
}

impl Framed for pb::PushSnapshotRequest {
    type Begin = pb::BeginSnapshot;
    fn frame(self) -> Option<Frame<pb::BeginSnapshot>> {
        use pb::push_snapshot_request::Frame as Pb;
        self.frame.map(|frame| match frame {
            Pb::Begin(begin) => Frame::Begin(begin),
            Pb::Chunk(chunk) => Frame::Chunk(chunk),
            Pb::Commit(commit) => Frame::Commit(commit.digest),
        })
    }
}

impl Framed for pb::PutProbeRequest {
    type Begin = pb::ProbeManifest;
    fn frame(self) -> Option<Frame<pb::ProbeManifest>> {
        use pb::put_probe_request::Frame as Pb;
        self.frame.map(|frame| match frame {
            Pb::Begin(begin) => Frame::Begin(begin),
            Pb::Chunk(chunk) => Frame::Chunk(chunk),
            Pb::Commit(commit) => Frame::Commit(commit.digest),
        })
    }
}

/// The frames of one upload.
pub(super) struct Frames<'a, M> {
    stream: Streaming<M>,
    services: &'a Services,
    guard: AccessGuard,
    pace: Pace,
}

impl<'a, M: Framed> Frames<'a, M> {
    pub fn new(request: Request<Streaming<M>>, services: &'a Services, guard: AccessGuard) -> Self {
        let received = request.extensions().get::<Received>().cloned().unwrap_or_default();
        let pace = Pace::new(services.patience, received);
        Self { stream: request.into_inner(), services, guard, pace }
    }

    /// From now on under the eyes of another one, who knows the project.
    pub fn watched_by(&mut self, guard: AccessGuard) {
        self.guard = guard;
    }

    /// Why the upload must end while it is not read.
    pub async fn over(&mut self) -> Fault {
        self.guard.over().await
    }

    /// Reads the next frame; `expected` is for the error text.
    async fn next(&mut self, expected: &str) -> Result<Frame<M::Begin>, Status> {
        let mut began = Instant::now();
        let mut before = self.pace.received();
        let message = loop {
            let fault = tokio::select! {
                message = self.stream.message() => break message?,
                fault = self.guard.over() => return Err(fault.into()),
                fault = self.services.drain.silence(self.services.patience) => fault,
            };
            // A large frame over a slow link comes in many pieces, and there may be no room for it yet.
            let received = self.pace.received();
            let moves = received != before || self.pace.is_held_up();
            if fault.kind != FaultKind::Deadline || !moves {
                return Err(self.late(fault).into());
            }
            self.waited(began.elapsed())?;
            began = Instant::now();
            before = received;
        };
        self.waited(began.elapsed())?;
        let found = match message.map(Framed::frame) {
            Some(Some(frame)) => return Ok(frame),
            Some(None) => "an empty or unknown frame",
            None => "the end of the stream",
        };
        Err(unexpected(found, expected))
    }

    fn waited(&mut self, time: Duration) -> Result<(), Fault> {
        self.pace.waited(time).map_err(|fault| self.late(fault))
    }

    /// Counts an upload that ends because its client is too slow.
    fn late(&self, fault: Fault) -> Fault {
        if fault.kind == FaultKind::Deadline {
            self.services.counters.count(Counter::CallCut);
            self.services.counters.metrics.one(Metric::CallsCut, &["upload"]);
        }
        fault
    }

    /// Reads the first frame, which must be `begin`.
    pub async fn begin(&mut self) -> Result<M::Begin, Status> {
        match self.next("begin").await? {
            Frame::Begin(begin) => Ok(begin),
            Frame::Chunk(_) => Err(unexpected("a chunk", "begin")),
            Frame::Commit(_) => Err(unexpected("commit", "begin")),
        }
    }

    /// All chunks up to the commit.
    pub async fn fill(&mut self, mut assembler: Assembler) -> Result<Assembled, Status> {
        loop {
            match self.next("a chunk or commit").await? {
                Frame::Begin(_) => return Err(unexpected("a second begin", "a chunk or commit")),
                Frame::Chunk(chunk) => {
                    let bytes = chunk.data.len() as f64;
                    assembler = take(&self.services.upload_workers, assembler, chunk).await?;
                    self.services.counters.metrics.add(Metric::UploadBytes, &[], bytes);
                }
                Frame::Commit(digest) => {
                    let digest = digest_from_pb("commit.digest", digest)?;
                    return Ok(assembler.commit()?.expect("commit.digest", digest.as_deref())?);
                }
            }
        }
    }
}

/// Checksums and a file take their time: calls are served meanwhile.
async fn take(
    workers: &UploadWorkers,
    mut assembler: Assembler,
    chunk: pb::Chunk,
) -> Result<Assembler, Fault> {
    let taken = move || -> Result<Assembler, Fault> {
        assembler.chunk(chunk.offset, &chunk.data, chunk.crc32c)?;
        Ok(assembler)
    };
    workers.work(taken).await?
}

fn unexpected(found: &str, expected: &str) -> Status {
    Fault::invalid("frame", format!("found {found}, expected {expected}")).into()
}
