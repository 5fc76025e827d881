//! Tensors into frames: begin, chunks of at most 1 MiB with their checksum, commit.
//!
//! Owns: cutting and joining of bytes, and the thread that reads them. May not touch: what they mean.

use bytes::{Bytes, BytesMut};
use clino_domain::{Announcement, Fault, FaultKind, Manifest, ProbeGroup};
use clino_proto::{convert, pb};
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Most bytes of a chunk.
pub const CHUNK: usize = 1 << 20;
/// Chunks that are ready before the wire takes them: enough to read while one is sent, and all the memory that an
/// upload needs beside its source.
const AHEAD: usize = 4;

/// Bytes of an upload, in the order of its manifest and in pieces of any size; read on a thread of its own.
pub type Blocks = Box<dyn Iterator<Item = Result<Bytes, Fault>> + Send>;

/// Cuts blocks into chunks: large ones are sliced without a copy, small ones joined until a chunk is full.
pub(super) struct Chunks {
    blocks: Blocks,
    block: Bytes,
    joined: BytesMut,
}

impl Chunks {
    pub(super) fn new(blocks: Blocks) -> Self {
        Self { blocks, block: Bytes::new(), joined: BytesMut::new() }
    }
}

impl Iterator for Chunks {
    type Item = Result<Bytes, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.joined.is_empty() && self.block.len() >= CHUNK {
                return Some(Ok(self.block.split_to(CHUNK)));
            }
            let room = CHUNK - self.joined.len();
            let taken = self.block.split_to(room.min(self.block.len()));
            self.joined.extend_from_slice(&taken);
            if self.joined.len() == CHUNK {
                return Some(Ok(self.joined.split().freeze()));
            }
            match self.blocks.next() {
                Some(Ok(block)) => self.block = block,
                Some(Err(fault)) => return Some(Err(fault)),
                None if self.joined.is_empty() => return None,
                None => return Some(Ok(self.joined.split().freeze())),
            }
        }
    }
}

/// Why the source of an upload ended early, if it did: that explains a refusal better than the daemon can, which only
/// saw the stream end. The thread is not waited for: it ends when the call drops its stream.
#[derive(Debug, Clone, Default)]
pub(super) struct UploadFailure(Arc<OnceLock<Fault>>);

impl UploadFailure {
    /// To be asked once the answer of the call is there.
    pub(super) fn outcome(&self) -> Result<(), Fault> {
        self.0.get().map_or(Ok(()), |fault| Err(fault.clone()))
    }
}

/// Frames of one upload: how its service spells begin, chunk and commit.
struct Spelling<F> {
    begin: F,
    chunk: fn(pb::Chunk) -> F,
    commit: fn() -> F,
}

/// The frames of a snapshot.
pub(super) fn snapshot(
    announcement: &Announcement,
    blocks: Blocks,
) -> (ReceiverStream<pb::PushSnapshotRequest>, UploadFailure) {
    use pb::push_snapshot_request::Frame;
    let spelling = Spelling {
        begin: Frame::Begin(convert::announcement_to_pb(announcement)),
        chunk: Frame::Chunk,
        commit: || Frame::Commit(pb::Commit::default()),
    };
    let request = |frame| pb::PushSnapshotRequest { frame: Some(frame) };
    feed(spelling, request, blocks, announcement.manifest.total_bytes())
}

/// The frames of a probe, and whose quotas it counts for.
pub(super) fn probe(
    group: &ProbeGroup,
    project: &str,
) -> Result<(ReceiverStream<pb::PutProbeRequest>, UploadFailure), Fault> {
    use pb::put_probe_request::Frame;
    let specs = group.tensors.iter().map(|tensor| tensor.spec.clone()).collect();
    let manifest = Manifest::new(specs, Vec::new())?;
    let spelling = Spelling {
        begin: Frame::Begin(convert::probe_manifest_to_pb(&manifest, project)),
        chunk: Frame::Chunk,
        commit: || Frame::Commit(pb::Commit::default()),
    };
    let data: Vec<_> = group.tensors.iter().map(|tensor| Ok(tensor.data.clone())).collect();
    let request = |frame| pb::PutProbeRequest { frame: Some(frame) };
    Ok(feed(spelling, request, Box::new(data.into_iter()), manifest.total_bytes()))
}

// Reading and summing happen on a blocking thread: a slow disk must not hold up the runtime.
fn feed<F: Send + 'static, R: Send + 'static>(
    spelling: Spelling<F>,
    request: fn(F) -> R,
    blocks: Blocks,
    expected: u64,
) -> (ReceiverStream<R>, UploadFailure) {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let source = UploadFailure::default();
    let ended = source.clone();
    tokio::task::spawn_blocking(move || {
        // Nobody listening means that the daemon has answered already; its answer says why.
        let send = |frame: F| sender.blocking_send(request(frame)).is_ok();
        if let Err(fault) = frames(spelling, blocks, expected, send) {
            // Before the stream ends, which is when the sender drops.
            ended.0.get_or_init(|| fault);
        }
        drop(sender);
    });
    (ReceiverStream::new(receiver), source)
}

fn frames<F>(
    spelling: Spelling<F>,
    blocks: Blocks,
    expected: u64,
    send: impl Fn(F) -> bool,
) -> Result<(), Fault> {
    if !send(spelling.begin) {
        return Ok(());
    }
    let mut offset = 0;
    for chunk in Chunks::new(blocks) {
        let chunk = chunk?;
        let length = chunk.len() as u64;
        if !send((spelling.chunk)(convert::chunk_to_pb(offset, chunk))) {
            return Ok(());
        }
        offset += length;
    }
    if offset != expected {
        let message =
            format!("the tensors hold {offset} bytes, expected {expected} according to their manifest");
        return Err(Fault::new(FaultKind::Invalid, message));
    }
    send((spelling.commit)());
    Ok(())
}
