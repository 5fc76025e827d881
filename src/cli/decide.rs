//! `clino decide`: where a policy would have stopped runs of the past.
//!
//! Owns: the order in which a history is told again. May not touch: rules, the form of a history.

use super::out::{out, unwritten};
use super::policy;
use super::trace::{TraceCase, TraceStep};
use super::view::advice;
use crate::decide::RuleCompiler;
use clap::{Args, ValueEnum};
use clino_domain::series::{MOST_PAGES, PAGE};
use clino_domain::text::{harmless, shown_json};
use clino_domain::{
    Advice, Decision, Evidence, Fault, MeasureRequest, Mode, PeerRun, Policy, PolicyCompiler,
    PolicyEvaluator, RunId, Series, SeriesPoint, Subject, Term, Value, Want,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

/// Replays a policy over a history on standard input.
///
/// A line is {"run": "a", "step": 3, "value": 0.5, "stderr": 0.1}, with "subject" if the policy has several, or a
/// reading of `clino watch --json`. Runs are replayed in the order of the lines; a run is complete after its last
/// line. With mode enforce, the remaining lines of a stopped run are ignored.
#[derive(Debug, Args)]
pub struct DecideArguments {
    /// File with the policy, in TOML or JSON; a line {"policy": {…}} starts over with another policy.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = ReplayFormat::Text)]
    format: ReplayFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReplayFormat {
    /// One line per run
    Text,
    /// One line of JSON per run: its first STOP and its last decision
    Json,
}

/// What became of a run.
#[derive(Debug, Serialize)]
struct ReplayAnswer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    case: Option<&'a str>,
    run: &'a RunId,
    stop: Option<&'a Decision>,
    last: Option<&'a Decision>,
}

/// Runs the command.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] for a policy or a line that is not sound.
pub fn run(arguments: DecideArguments) -> Result<(), Fault> {
    let standard = arguments.policy.as_deref().map(policy::load).transpose()?;
    let mut lines = std::io::BufWriter::new(out());
    let mut input = super::trace::Reader::new(std::io::stdin().lock());
    while let Some(case) = input.next()? {
        let policy = case.policy.as_ref().or(standard.as_ref());
        let policy =
            policy.ok_or_else(|| Fault::invalid("--policy", "found none, expected a file with a policy"))?;
        let runs = Replay::new(policy)?.over(&case)?;
        for (run, told) in &runs {
            let line = match arguments.format {
                ReplayFormat::Text => harmless(&text(case.name.as_deref(), run, told)),
                ReplayFormat::Json => shown_json(&json(case.name.as_deref(), run, told)?),
            };
            writeln!(lines, "{line}").map_err(|error| unwritten(&error))?;
        }
    }
    lines.flush().map_err(|error| unwritten(&error))
}

fn json(case: Option<&str>, run: &RunId, told: &ReplayedRun) -> Result<String, Fault> {
    let answer = ReplayAnswer { case, run, stop: told.stop.as_ref(), last: told.last.as_ref() };
    serde_json::to_string(&answer).map_err(|error| Fault::internal(error.to_string()))
}

fn text(case: Option<&str>, run: &RunId, told: &ReplayedRun) -> String {
    let case = case.map(|case| format!("{case} ")).unwrap_or_default();
    let Some(decision) = told.stop.as_ref().or(told.last.as_ref()) else {
        return format!("{case}{run}: nothing");
    };
    let advice = advice(decision.advice);
    let at = decision.evaluated.map(|at| format!(" at step {}", at.step)).unwrap_or_default();
    let best =
        decision.best.map(|(at, value)| format!("; best {value} at step {}", at.step)).unwrap_or_default();
    format!("{case}{run}: {advice}{at}: {}{best}", decision.sentence)
}

/// One run, as far as it has been told.
#[derive(Debug, Default)]
struct ReplayedRun {
    series: Vec<Series>,
    /// All points of each series by their steps: what it no longer holds is read back from here.
    told: Vec<BTreeMap<u64, SeriesPoint>>,
    over: bool,
    stop: Option<Decision>,
    last: Option<Decision>,
}

/// A validated policy, and what it has been told.
struct Replay {
    evaluator: Arc<dyn PolicyEvaluator>,
    runs: BTreeMap<RunId, ReplayedRun>,
}

impl Replay {
    /// Whatever the policy names is taken for measured.
    fn new(policy: &Policy) -> Result<Self, Fault> {
        let texts = policy.rules.iter().flat_map(|rule| {
            let others = rule.parameters.get("against").into_iter().filter_map(|value| match value {
                Value::Text(text) => Some(text.as_str()),
                _ => None,
            });
            others.chain([rule.on.as_str()])
        });
        let terms: Vec<Term> =
            texts.filter_map(|text| text.parse::<Subject>().ok()).flat_map(|subject| subject.terms).collect();
        let names: BTreeSet<_> = terms.iter().map(|term| term.measure.clone()).collect();
        let request = |name| MeasureRequest { name, parameters: BTreeMap::new() };
        let measures: Vec<_> = names.into_iter().map(request).collect();
        let groups: BTreeSet<_> = terms.into_iter().filter_map(|term| term.group).collect();
        let evaluator =
            RuleCompiler::default().compile(policy, &measures, &groups.into_iter().collect::<Vec<_>>())?;
        Ok(Self { evaluator, runs: BTreeMap::new() })
    }

    fn over(mut self, case: &TraceCase) -> Result<BTreeMap<RunId, ReplayedRun>, Fault> {
        let mut ends: BTreeMap<&RunId, usize> = BTreeMap::new();
        for (place, told) in case.told.iter().enumerate() {
            ends.insert(&told.run, place);
        }
        for (place, told) in case.told.iter().enumerate() {
            self.take(told)?;
            if let (Some(run), true) = (self.runs.get_mut(&told.run), ends.get(&told.run) == Some(&place)) {
                run.over = true;
            }
        }
        Ok(self.runs)
    }

    fn stopped(&self, run: &ReplayedRun) -> bool {
        self.evaluator.policy().mode == Mode::Enforce && run.stop.is_some()
    }

    fn take(&mut self, told: &TraceStep) -> Result<(), Fault> {
        let subjects = self.evaluator.subjects();
        let points: Vec<SeriesPoint> =
            subjects.iter().map(|subject| told.of(subject, subjects.len())).collect::<Result<_, _>>()?;
        if self.runs.get(&told.run).is_some_and(|run| self.stopped(run)) {
            return Ok(());
        }
        let run = self.runs.entry(told.run.clone()).or_default();
        run.series.resize(points.len(), Series::default());
        run.told.resize(points.len(), BTreeMap::new());
        for ((series, told), point) in run.series.iter_mut().zip(&mut run.told).zip(points) {
            series.push(point);
            let known = told.entry(point.at.step).or_insert(point);
            if known.at.attempt <= point.at.attempt {
                *known = point;
            }
        }
        let decision = self.decide(&told.run);
        if let Some(run) = self.runs.get_mut(&told.run) {
            if decision.advice == Advice::Stop && run.stop.is_none() {
                run.stop = Some(decision.clone());
            }
            run.last = Some(decision);
        }
        Ok(())
    }

    fn decide(&mut self, run: &RunId) -> Decision {
        let mut pass = 0;
        loop {
            let (decision, wants) = self.consider(run);
            if wants.is_empty() || pass == MOST_PAGES {
                return decision;
            }
            pass += 1;
            for (peer, subject, step) in wants {
                let Some(peer) = self.runs.get_mut(&peer) else { continue };
                let page = peer.told[subject].range(step..).take(PAGE).map(|(_, point)| *point).collect();
                peer.series[subject].turn(step, page);
            }
        }
    }

    /// A decision, and the runs, subjects and steps of which points would have to be read back.
    fn consider(&self, run: &RunId) -> (Decision, Vec<(RunId, usize, u64)>) {
        let others = self.runs.iter().filter(|(other, _)| self.evaluator.across() && *other != run);
        let others: Vec<(&RunId, &ReplayedRun, Vec<&Series>)> =
            others.map(|(id, run)| (id, run, run.series.iter().collect())).collect();
        let mut peers = Vec::with_capacity(others.len());
        for (run, told, series) in &others {
            let stopped = self.stopped(told);
            peers.push(PeerRun { run, series, over: told.over || stopped, stopped });
        }
        let own: Vec<&Series> = self.runs.get(run).map(|run| run.series.iter().collect()).unwrap_or_default();
        let evidence = Evidence { run, own: &own, peers: &peers, overridden: None, as_of: None };
        let (decision, wants) = self.evaluator.consider(&evidence);
        let wanted = |Want { peer, subject, step }: Want| (others[peer].0.clone(), subject, step);
        (decision, wants.into_iter().map(wanted).collect())
    }
}
