//! Whose turn it is: runs share the engine by seconds. One snapshot computes at a time; it pauses at its next checkpoint when
//! another run has had less.
//!
//! Owns: the turns, the lanes, what runs leave for their next snapshots. May not touch: how a snapshot is measured.

use super::Neighbours;
use super::evaluate::RunMemory;
use super::lane::{Done, Job, Lane, LaneReport, Worker};
use super::shares::Shares;
use super::turn::Turn;
use crate::registry::{DueRun, RegisteredRun};
use clino_domain::incident::Incident;
use clino_domain::{Fault, RunId, Stop, WorkingClaim};
use clino_engine::Engine;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{current, park, park_timeout};
use std::time::{Duration, Instant};

/// How long a snapshot computes before another one may take its turn, at least: what it costs to change is much less.
const SLICE: Duration = Duration::from_millis(20);
/// Most snapshots that are measured by turns; others wait until one of them is done.
const LANES: usize = 64;
/// How long others may be taken up before the run that waits longest for memory: small ones would pass it for ever.
const PASSING: Duration = Duration::from_secs(10);
/// What so many runs leave for their next snapshots is looked through for runs that are over.
const MANY: usize = 64;

/// A snapshot that a lane has.
struct Active {
    run: Arc<RegisteredRun>,
    turn: Arc<Turn>,
    /// Seconds that its run has been charged with.
    charged: f64,
    /// Share of a GPU's memory that it takes.
    gpu: f64,
    _working: WorkingClaim,
}

/// A snapshot that could have the engine now.
enum Candidate {
    /// It has paused.
    Paused(Arc<RegisteredRun>),
    Due(DueRun),
}

impl Candidate {
    fn run(&self) -> &Arc<RegisteredRun> {
        match self {
            Self::Paused(run) | Self::Due(DueRun { run, .. }) => run,
        }
    }
}

/// Where turns are given.
pub(super) struct Scheduler {
    engine: Engine,
    neighbours: Neighbours,
    /// Ends all that is measured.
    all: Stop,
    shares: Shares,
    lanes: Vec<Lane>,
    /// Lanes without a snapshot.
    idle: Vec<usize>,
    /// Most lanes that the system has threads for.
    most: usize,
    active: Vec<Active>,
    memories: HashMap<RunId, RunMemory>,
    /// When to look through them.
    many: usize,
    report: LaneReport,
    done: Receiver<Done>,
    /// GPUs that were lost before.
    lost: usize,
    /// The run that waits longest for memory, and since when.
    short: Option<(RunId, Instant)>,
}

impl Scheduler {
    /// On the thread that will work.
    ///
    /// # Errors
    /// If the system cannot start threads.
    pub fn new(engine: Engine, neighbours: Neighbours, all: Stop) -> Result<Self, Fault> {
        // Each lane has at most one snapshot, so that none ever waits here.
        let (sender, done) = sync_channel(LANES);
        let report = LaneReport { done: sender, scheduler: current() };
        neighbours.registry.call(current());
        let mut scheduler = Self {
            engine,
            neighbours,
            all,
            shares: Shares::default(),
            lanes: Vec::new(),
            idle: Vec::new(),
            most: LANES,
            active: Vec::new(),
            memories: HashMap::new(),
            many: MANY,
            report,
            done,
            lost: 0,
            short: None,
        };
        scheduler.add_lane()?;
        Ok(scheduler)
    }

    /// Gives turns until the daemon shuts down and all is measured that was taken up.
    pub fn work(mut self) {
        loop {
            self.charge();
            while let Ok(done) = self.done.try_recv() {
                self.finish(done);
            }
            if self.active.is_empty() && self.neighbours.registry.is_stopped() {
                break;
            }
            // Whoever changes something unparks this thread, and then it does not sleep.
            if self.give() { park_timeout(SLICE) } else { park() }
        }
        for lane in self.lanes {
            if let Err(fault) = lane.join() {
                let code = self.neighbours.counters.note(Incident::EngineFailed, &fault.message);
                tracing::error!(code, %fault, "at the end");
            }
        }
    }

    /// Gives the engine to the run that has had least of it, or asks for it back. True while somebody waits.
    fn give(&mut self) -> bool {
        let mut candidates = self.candidates();
        if let Some(Active { run, turn, .. }) = self.active.iter().find(|active| active.turn.computes()) {
            let had = self.shares.of(&run.id);
            let less = |candidate: &Candidate| self.shares.of(&candidate.run().id) < had;
            if turn.turn_seconds() >= SLICE.as_secs_f64() && candidates.iter().any(less) {
                turn.ask();
            }
            return !candidates.is_empty();
        }
        let waits = !candidates.is_empty();
        // The first that can: some wait for memory.
        while let Some(place) = self.shares.least(candidates.iter().map(|candidate| &candidate.run().id)) {
            if self.begin(candidates.swap_remove(place)) {
                break;
            }
        }
        waits
    }

    /// Snapshots that could have the engine, those that have paused first.
    fn candidates(&mut self) -> Vec<Candidate> {
        let due = self.due();
        let paused = self.active.iter().filter(|active| !active.turn.computes());
        let paused = paused.map(|active| Candidate::Paused(active.run.clone()));
        paused.chain(due.into_iter().map(Candidate::Due)).collect()
    }

    /// Runs whose snapshots can be taken up beside those that are measured now.
    fn due(&mut self) -> Vec<DueRun> {
        if self.idle.is_empty() && self.lanes.len() >= self.most {
            return Vec::new();
        }
        let taken: f64 = self.active.iter().map(|active| active.gpu).sum();
        let all = self.neighbours.registry.due();
        // It may have been abandoned in the meantime.
        self.short.take_if(|(run, _)| all.iter().all(|due| due.run.id != *run));
        let late = self.short.as_ref().filter(|(_, since)| since.elapsed() >= PASSING).map(|(run, _)| run);
        let fits = |due: &DueRun| {
            late.is_none_or(|run| *run == due.run.id) && (taken == 0.0 || taken + self.gpu(&due.run) <= 1.0)
        };
        all.into_iter().filter(fits).collect()
    }

    /// Share of a GPU's memory that a run takes.
    fn gpu(&self, run: &RegisteredRun) -> f64 {
        run.validated().map_or(0.0, |validated| self.engine.gpu_share(&validated))
    }

    /// A snapshot gets the engine; false where it cannot have it yet.
    fn begin(&mut self, candidate: Candidate) -> bool {
        match candidate {
            Candidate::Paused(run) => {
                self.shares.begin(&run.id);
                let active = self.active.iter().find(|active| active.run.id == run.id);
                active.map(|active| active.turn.resume()).is_some()
            }
            Candidate::Due(due) => match self.take_up(&due) {
                Ok(taken) => taken,
                Err(fault) => {
                    let code = self.neighbours.counters.note(Incident::EngineFailed, &fault.message);
                    tracing::error!(code, run = %due.run.id, %fault, "a snapshot could not be taken up");
                    false
                }
            },
        }
    }

    /// Gives a snapshot that is due to a lane; false where there is no memory for it, or none any more.
    fn take_up(&mut self, DueRun { run, working }: &DueRun) -> Result<bool, Fault> {
        let Some(claim) = self.memory(&run.id, *working) else { return Ok(false) };
        if self.idle.is_empty()
            && let Err(fault) = self.add_lane()
        {
            self.most = self.lanes.len();
            let code = self.neighbours.counters.note(Incident::LanesLimited, &fault.message);
            tracing::warn!(code, %fault, most = self.most, "fewer snapshots are measured by turns");
            return Ok(false);
        }
        // It may have been skipped in the meantime.
        let Some(due) = self.neighbours.registry.take(&run.id) else { return Ok(false) };
        let Some(lane) = self.idle.pop() else { return Err(Fault::internal("no lane is idle")) };
        self.shares.begin(&run.id);
        let turn = Arc::new(Turn::new(due.stop.clone(), self.all.clone(), current()));
        let memory = self.memories.remove(&run.id).unwrap_or_default();
        self.active.push(Active {
            run: run.clone(),
            turn: turn.clone(),
            charged: 0.0,
            gpu: self.gpu(run),
            _working: claim,
        });
        turn.resume();
        self.lanes[lane].give(Job { due, turn, memory })?;
        Ok(true)
    }

    /// The memory to measure a snapshot of a run in; `None` while others have it.
    fn memory(&mut self, run: &RunId, bytes: u64) -> Option<WorkingClaim> {
        let registry = &self.neighbours.registry;
        let Some(claim) = registry.memory().working(bytes) else {
            if registry.wait_for_memory(run, bytes) {
                let code = self.neighbours.counters.note(Incident::MemoryWaited, &format!("run {run}"));
                tracing::info!(code, %run, bytes, "a snapshot waits for memory");
            }
            self.short.get_or_insert_with(|| (run.clone(), Instant::now()));
            return None;
        };
        self.short.take_if(|(first, _)| first == run);
        Some(claim)
    }

    fn add_lane(&mut self) -> Result<(), Fault> {
        let number = self.lanes.len();
        let worker = Worker { engine: self.engine.beside()?, neighbours: self.neighbours.clone() };
        let lane = Lane::start(number, worker, self.report.clone());
        self.lanes.push(lane.map_err(|error| Fault::internal(format!("no thread: {error}")))?);
        self.idle.push(number);
        Ok(())
    }

    /// Charges runs with what their snapshots have had since the last time.
    fn charge(&mut self) {
        for Active { run, turn, charged, .. } in &mut self.active {
            let seconds = turn.seconds();
            let weight = self.neighbours.quota.weight(&run.label.project);
            self.shares.charge(&run.id, seconds - *charged, weight);
            *charged = seconds;
        }
    }

    fn finish(&mut self, Done { lane, run, memory }: Done) {
        self.idle.push(lane);
        if let Some(place) = self.active.iter().position(|active| active.run.id == run.id) {
            let active = self.active.swap_remove(place);
            // A snapshot that was given up took the engine's time as well.
            self.neighbours.quota.spend(&run.label.project, active.turn.seconds());
        }
        self.tell_losses();
        self.memories.insert(run.id.clone(), memory);
        self.short.take_if(|(first, _)| *first == run.id);
        if self.neighbours.registry.finish(&run.id) {
            self.memories.remove(&run.id);
            self.shares.forget(&run.id);
        }
        if self.memories.len() > self.many {
            let Self { memories, shares, neighbours, .. } = self;
            memories.retain(|run, _| {
                let open = neighbours.registry.get(run).is_ok_and(|(_, closed)| !closed);
                if !open {
                    shares.forget(run);
                }
                open
            });
            self.many = MANY.max(2 * self.memories.len());
        }
    }

    fn tell_losses(&mut self) {
        let lost = self.engine.lost();
        if lost.len() > self.lost {
            let code = self.neighbours.counters.note(Incident::DeviceLost, &lost.join(", "));
            tracing::error!(
                code,
                gpus = lost.join(", "),
                engine = self.engine.description(),
                "lost GPUs; going on without"
            );
            self.neighbours.devices.lost(&lost);
        }
        self.lost = lost.len();
    }
}
