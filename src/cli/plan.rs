//! `clino plan`: what measures will cost on this machine, before they run.
//!
//! A forward, a backward and a pass over the parameters are timed on the model and the probe themselves; the plan says how
//! many of each a measure will do.
//!
//! Owns: its arguments, the clock, what is made of both. May not touch: the plan, which is the engine's.

use super::grid::{Column, Grid};
use super::measure::{MeasureFormat, Measured, print_json, warnings};
use super::out::{columns, print};
use super::progress::{Now, ProgressLine};
use super::table::{number, times};
use super::view::titled;
use super::words::{NOTHING, count, within};
use clap::Args;
use clino_domain::{Devices, Fault, MeasureRequest, ValidatedRun, Value, Work};
use clino_engine::{Bench, Implementation, Task};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Arguments of `clino plan`: those of `clino measure`.
#[derive(Debug, Args)]
pub struct PlanArguments {
    #[command(flatten)]
    measured: Measured,
    /// Output format
    #[arg(long, value_enum, default_value_t = MeasureFormat::Table)]
    format: MeasureFormat,
}

/// So often each part is timed, unless it takes long.
const ROUNDS: usize = 9;
/// After so long no further round begins.
const LONG: Duration = Duration::from_secs(1);
/// Parameters on which passes are timed at most: more than caches hold.
const MOST: usize = 1 << 24;

/// Seconds of what measures are made of.
#[derive(Debug, Clone, Copy, Serialize)]
struct Rates {
    /// A forward over all examples of the probe.
    forward: f64,
    /// A backward over them, without its forward.
    backward: f64,
    /// A pass over all parameters: the mean of one that makes noise and one that only adds vectors, for measures do both.
    pass: f64,
    /// An operation beside the network, at the rate of the forward.
    operation: f64,
}

impl Rates {
    fn seconds(&self, work: Work) -> f64 {
        let Work { forwards, backwards, passes, operations } = work;
        forwards * self.forward + backwards * self.backward + passes * self.pass + operations * self.operation
    }
}

/// What scripts read on stdout.
#[derive(Debug, Serialize)]
pub(super) struct PlanAnswer {
    model_type: String,
    parameters: u64,
    threads: usize,
    /// Seconds of each part, as timed now.
    rates: Rates,
    /// From the cheapest to the most expensive.
    plan: Vec<PlanLine>,
    /// Of all of them.
    seconds: f64,
    budget: Option<f64>,
}

/// A measure: what it will do on one group, and take on all of them.
#[derive(Debug, Serialize)]
struct PlanLine {
    measure: String,
    parameters: BTreeMap<String, Value>,
    work: Work,
    readings: usize,
    seconds: f64,
    /// So many of its readings fit into the budget; none without one.
    fit: Option<usize>,
    /// Why it will not be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    unavailable: Option<&'static str>,
}

/// Times, and prints the plan.
///
/// # Errors
/// Those of `clino measure`; [`clino_domain::FaultKind::Invalid`] for a GPU.
pub fn run(arguments: &PlanArguments) -> Result<(), Fault> {
    let answer = answer(&arguments.measured)?;
    match arguments.format {
        MeasureFormat::Json => print_json(&answer),
        MeasureFormat::Table => print(&text(&answer, columns())),
    }
}

fn answer(measured: &Measured) -> Result<PlanAnswer, Fault> {
    let model = &measured.model;
    if model.device != Devices::Cpu {
        let found = format!("found {}, expected cpu: only CPUs are timed;", model.device);
        let instead = "on a GPU `clino measure --repeat 2 --format json` shows the seconds of each measure";
        return Err(Fault::invalid("device", format!("{found} {instead}")));
    }
    let (spec, validated) = measured.validated()?;
    let parameters = validated.parameter_count();
    let snapshot = model.snapshot()?;
    warnings(&validated, &snapshot).iter().for_each(|warning| super::warn(warning));
    let config = spec.config_json.as_str();
    let mut bench = Bench::new(validated.clone(), snapshot, model.threads(), config, Implementation::Fused)?;
    let tasks = bench.tasks()?;
    let rates = rates(&mut bench, parameters)?;
    let plan = plan(&validated, &tasks, rates, measured);
    let seconds = plan.iter().map(|line| line.seconds).sum();
    Ok(PlanAnswer {
        model_type: validated.model_type,
        parameters,
        threads: model.threads(),
        rates,
        plan,
        seconds,
        budget: spec.budget,
    })
}

fn rates(bench: &mut Bench, parameters: u64) -> Result<Rates, Fault> {
    let progress = ProgressLine::begin();
    let tell = |what: &str, number: usize| {
        let what = format!("timing {what}");
        progress.tell(Now { what, number, of: 3, left: None, since: Instant::now() });
    };
    tell("a forward", 1);
    let mut flops = 0.0;
    let forward = least(|| {
        flops = bench.forward()?.flops.unwrap_or(0.0);
        Ok(())
    })?;
    tell("a backward", 2);
    let both = least(|| {
        bench.backward()?;
        Ok(())
    })?;
    tell("a pass over the parameters", 3);
    let timed = usize::try_from(parameters).unwrap_or(MOST).clamp(1, MOST);
    let noisy = least(|| bench.perturb(timed).map(drop))?;
    let plain = least(|| bench.triad(timed).map(drop))?;
    Ok(Rates {
        forward,
        // Beside other work a difference of two times says little; a backward is never less than a forward.
        backward: (both - forward).max(forward),
        pass: noisy.midpoint(plain) * parameters as f64 / timed as f64,
        operation: if flops > 0.0 { forward / flops } else { 0.0 },
    })
}

/// The least of a few times: what else the machine does can only add to one.
fn least(mut work: impl FnMut() -> Result<(), Fault>) -> Result<f64, Fault> {
    let began = Instant::now();
    let mut times = Vec::new();
    while times.is_empty() || times.len() < ROUNDS && began.elapsed() < LONG {
        let round = Instant::now();
        work()?;
        times.push(round.elapsed().as_secs_f64());
    }
    Ok(times.into_iter().fold(f64::INFINITY, f64::min))
}

/// A line a measure. What does not fit into what is left of the budget is left out, and those behind it are still looked
/// at, as when they are measured.
fn plan(validated: &ValidatedRun, tasks: &[Task], rates: Rates, measured: &Measured) -> Vec<PlanLine> {
    let line = |(place, request): (usize, &MeasureRequest)| {
        let needs = &validated.needs[place];
        let init = (needs.init && measured.init.is_none()).then_some("needs --init");
        let previous = (needs.previous && measured.previous.is_none()).then_some("needs --previous");
        PlanLine {
            measure: request.name.clone(),
            parameters: request.parameters.clone(),
            work: validated.plan[place].work,
            readings: 0,
            seconds: 0.0,
            fit: measured.budget.map(|_| 0),
            unavailable: init.or(previous),
        }
    };
    let mut lines: Vec<PlanLine> = validated.measures.iter().enumerate().map(line).collect();
    let mut left = measured.budget.unwrap_or(f64::INFINITY);
    for task in tasks {
        let line = &mut lines[task.chosen];
        let seconds = if line.unavailable.is_some() { 0.0 } else { rates.seconds(task.expected) };
        line.readings += 1;
        line.seconds += seconds;
        if seconds <= left {
            left -= seconds;
            line.fit = line.fit.map(|fit| fit + 1);
        }
    }
    lines
}

pub(super) fn text(answer: &PlanAnswer, room: Option<usize>) -> String {
    let PlanAnswer { model_type, parameters, threads, rates, plan, seconds, budget } = answer;
    let mut text = format!(
        "{model_type}, {parameters} parameters, {}: a forward takes {} s, a backward {} s, a pass {} s\n",
        count(*threads as u64, "thread"),
        number(rates.forward),
        number(rates.backward),
        number(rates.pass)
    );
    text = within(&text, room);
    let work = ["readings", "forwards", "backwards", "passes", "seconds"].map(Column::number);
    let fits = budget.map(|budget| Column::word(&format!("within {budget} s")));
    let mut table = Grid::new(1, std::iter::once(Column::word("measure")).chain(work).chain(fits));
    let requests: Vec<MeasureRequest> = plan
        .iter()
        .map(|line| MeasureRequest { name: line.measure.clone(), parameters: line.parameters.clone() })
        .collect();
    for line in plan {
        let Work { forwards, backwards, passes, .. } = line.work;
        let name = titled(&requests, &line.measure, &line.parameters);
        let seconds = line.unavailable.map_or_else(|| number(line.seconds), str::to_owned);
        let cells = [line.readings.to_string(), times(forwards), times(backwards), times(passes), seconds];
        table.row(std::iter::once(name).chain(cells).chain(fit(line)));
    }
    text += &table.render(room);
    text + &within(&format!("all of them: {} s\n", number(*seconds)), room)
}

fn fit(line: &PlanLine) -> Option<String> {
    let fit = line.fit?;
    Some(match fit {
        _ if line.unavailable.is_some() => NOTHING.to_owned(),
        0 => "no".to_owned(),
        all if all == line.readings => "yes".to_owned(),
        some => format!("{some} of {}", line.readings),
    })
}

/// An answer for tests of how it looks.
#[cfg(test)]
pub(super) fn example() -> PlanAnswer {
    let line = |measure: &str, work: Work, seconds: f64, fit| PlanLine {
        measure: measure.into(),
        parameters: BTreeMap::new(),
        work,
        readings: 3,
        seconds,
        fit: Some(fit),
        unavailable: (measure == "distance").then_some("needs --init"),
    };
    PlanAnswer {
        model_type: "bert".into(),
        parameters: 109_483_778,
        threads: 2,
        rates: Rates { forward: 1.25, backward: 2.5, pass: 0.28, operation: 1e-11 },
        plan: vec![
            line("distance", Work::of(0.0, 0.0, 1.0), 0.0, 3),
            line("loss", Work::of(1.0, 0.0, 0.0), 1.25, 3),
            line("sharpness", Work::of(16.0, 8.0, 24.0), 93.44, 2),
            line("hessian_density", Work::of(240.0, 240.0, 4830.0), 4504.8, 0),
        ],
        seconds: 4599.49,
        budget: Some(60.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rates_times_work() {
        let rates = Rates { forward: 2.0, backward: 3.0, pass: 0.5, operation: 1e-9 };
        let work = Work { operations: 2e9, ..Work::of(4.0, 1.0, 6.0) };
        assert_eq!(rates.seconds(work), 8.0 + 3.0 + 3.0 + 2.0);
    }

    #[test]
    fn the_least_of_a_few_rounds_is_taken_and_of_one_that_is_long() {
        let mut rounds = 0;
        let taken = least(|| {
            rounds += 1;
            Ok(())
        });
        assert!(taken.is_ok_and(|seconds| seconds < 1.0) && rounds == ROUNDS);
        assert!(least(|| Err(Fault::internal("broken"))).is_err());
    }
}
