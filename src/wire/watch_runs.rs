//! Many runs as they change, for one watcher.
//!
//! Owns: what was told to a watcher. May not touch: what happens in a run.
//!
//! A watcher has no queue: of each run only the place up to which it was told is kept, and a summary is made when there is
//! room to send it. So a slow reader gets the newest state of each run, and nothing grows for it but what it knows.

use super::access::AuthContext;
use super::services::Services;
use crate::registry::RegisteredRun;
use clino_domain::{Fault, RunFilter, RunId};
use clino_proto::convert::{filter_from_pb, summary_to_pb};
use clino_proto::pb;
use prost::Message;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Answers on their way into one stream.
const IN_FLIGHT: usize = 1;
/// Size in bytes at which an answer ends; the next one follows at once.
const ANSWER_BYTES: usize = 1 << 20;
/// Least seconds between two answers, unless told.
const INTERVAL: f64 = 0.25;
const INTERVALS: std::ops::RangeInclusive<f64> = 0.05..=3600.0;

/// What a watcher hears.
pub(super) type Answers = ReceiverStream<Result<pb::WatchRunsResponse, Status>>;
type Out = Sender<Result<pb::WatchRunsResponse, Status>>;

/// Up to where a run was told: the place of its next event, and whether it was closed.
type Version = (u64, bool);

struct WatchRuns {
    services: Services,
    auth: AuthContext,
    filter: RunFilter,
    /// Runs that were told. Those that are forgotten leave it.
    told: HashMap<RunId, Version>,
}

/// What is new since the last look.
struct RunNewsRound {
    changed: Vec<Arc<RegisteredRun>>,
    forgotten: Vec<RunId>,
}

/// Begins to tell a watcher.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] naming a field of the filter, or `interval_seconds`.
pub(super) fn watch(
    services: &Services,
    auth: AuthContext,
    request: pb::WatchRunsRequest,
) -> Result<Answers, Fault> {
    let interval = interval(request.interval_seconds)?;
    let filter = filter_from_pb(request.filter)?;
    let (sender, receiver) = channel(IN_FLIGHT);
    let watch = WatchRuns { services: services.clone(), auth, filter, told: HashMap::new() };
    tokio::spawn(watch.tell(interval, sender));
    Ok(ReceiverStream::new(receiver))
}

fn interval(seconds: Option<f64>) -> Result<Duration, Fault> {
    let seconds = seconds.unwrap_or(INTERVAL);
    if !INTERVALS.contains(&seconds) {
        let least = INTERVALS.start();
        let most = INTERVALS.end();
        let description = format!("found {seconds}, expected {least} to {most}");
        return Err(Fault::invalid("interval_seconds", description));
    }
    Ok(Duration::from_secs_f64(seconds))
}

impl WatchRuns {
    /// Until the client has gone, may see no runs any more, or the daemon ends.
    async fn tell(mut self, interval: Duration, out: Out) {
        let mut changes = self.services.bus.changes();
        let end = self.services.bus.ended().clone();
        let mut guard = self.services.guard(&self.auth, None);
        let mut first = true;
        loop {
            // Before the look, so that what changes during it wakes up once more.
            let ended = end.is_cancelled();
            changes.mark_unchanged();
            let round = self.look();
            if self.send(round, first, &out).await.is_err() || ended {
                return;
            }
            first = false;
            let news = async {
                tokio::time::sleep(interval).await;
                changes.changed().await
            };
            tokio::select! {
                changed = news => if changed.is_err() { return },
                () = end.cancelled() => {}
                fault = guard.over() => {
                    let _ = out.send(Err(fault.into())).await;
                    return;
                }
                () = out.closed() => return,
            }
        }
    }

    fn look(&mut self) -> RunNewsRound {
        let all = self.services.registry.list();
        let held: HashSet<&RunId> = all.iter().map(|(run, _)| &run.id).collect();
        let forgotten: Vec<_> = self.told.keys().filter(|run| !held.contains(run)).cloned().collect();
        self.told.retain(|run, _| held.contains(run));
        let changed = all.iter().filter(|(run, closed)| self.is_news(run, *closed));
        let mut changed: Vec<_> = changed.map(|(run, _)| run.clone()).collect();
        changed.sort_by(|one, other| one.id.cmp(&other.id));
        RunNewsRound { changed, forgotten }
    }

    /// A run that was told once is told on, whatever the filter says of it when it is closed.
    fn is_news(&self, run: &RegisteredRun, closed: bool) -> bool {
        if !self.auth.covers(&run.label.project) {
            return false;
        }
        match self.told.get(&run.id) {
            Some(told) => self.services.bus.version(&run.id).is_some_and(|next| *told != (next, closed)),
            None => self.filter.matches(&run.label, closed),
        }
    }

    /// Sends a round in as many answers as it takes; each waits for its turn before it is made.
    async fn send(&mut self, round: RunNewsRound, first: bool, out: &Out) -> Result<(), SendError<()>> {
        let RunNewsRound { changed, mut forgotten } = round;
        let mut due = changed.iter().peekable();
        let mut greeting = first;
        while greeting || due.peek().is_some() || !forgotten.is_empty() {
            let room = out.reserve().await?;
            let forgotten = std::mem::take(&mut forgotten);
            let forgotten = forgotten.into_iter().map(|run| run.0).collect();
            let mut answer = pb::WatchRunsResponse { runs: Vec::new(), forgotten };
            let mut bytes = 0;
            while bytes < ANSWER_BYTES
                && let Some(run) = due.next()
            {
                let Some(summary) = self.state(run) else { continue };
                bytes += summary.encoded_len();
                answer.runs.push(summary);
            }
            // All of them may have been forgotten while there was no room; the next look tells so.
            if greeting || !answer.runs.is_empty() || !answer.forgotten.is_empty() {
                room.send(Ok(answer));
            }
            greeting = false;
        }
        Ok(())
    }

    /// The state of a run now.
    fn state(&mut self, run: &RegisteredRun) -> Option<pb::RunSummary> {
        let (_, closed) = self.services.registry.get(&run.id).ok()?;
        if !self.told.contains_key(&run.id) && !self.filter.matches(&run.label, closed) {
            return None;
        }
        let summary = self.services.summary(run, closed).ok()?;
        self.told.insert(run.id.clone(), (summary.next_sequence, closed));
        Some(summary_to_pb(&summary))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::interval;

    #[test]
    fn intervals_have_bounds() {
        assert_eq!(interval(None).unwrap().as_secs_f64(), 0.25);
        assert_eq!(interval(Some(0.05)).unwrap().as_secs_f64(), 0.05);
        for bad in [0.0, 0.049, -1.0, 3601.0, f64::NAN, f64::INFINITY] {
            assert_eq!(interval(Some(bad)).unwrap_err().violations[0].field, "interval_seconds", "{bad}");
        }
    }
}
