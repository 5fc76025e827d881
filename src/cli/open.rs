//! `clino open` and `clino close`: the beginning and the end of a run without any client library.
//!
//! Owns: nothing beside its arguments. May not touch: what makes a run valid (the daemon says so).

use super::connect::ConnectArguments;
use super::files::TensorFiles;
use super::grid::{Column, Grid};
use super::kinds;
use super::out::{columns, print, say};
use super::table::times;
use super::view::titled;
use super::words::NOTHING;
use super::{arguments, policy, selection};
use clap::{Args, ValueEnum};
use clino_client::Plan;
use clino_domain::run::DEFAULT_PROJECT;
use clino_domain::text::{quoted, shown};
use clino_domain::{Delivery, Fault, MeasureRequest, OpenedRun, RunLabel, Work};
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Snapshots {
    /// Only the newest: it replaces one that waits
    Latest,
    /// All of them: `clino push` waits
    Every,
}

/// Opens a run and prints its id.
#[derive(Debug, Clone, Args)]
pub struct Open {
    #[command(flatten)]
    daemon: ConnectArguments,
    /// The model: a Hugging Face config.json or its folder, or for an mlp
    /// {"model_type":"mlp","sizes":[8,32,3],"hidden_act":"relu"}.
    #[arg(long)]
    config: PathBuf,
    /// A probe group: its name (in quotes if it has a =) and a safetensors file with input_ids, attention_mask and labels, or
    /// inputs and labels for an mlp.
    #[arg(long = "probe", value_name = "[GROUP=]FILE", value_parser = arguments::probe, required = true, num_args = 1..)]
    probes: Vec<(String, PathBuf)>,
    /// A measure with its parameters, such as sharpness:alpha=.01,draws=4. [default: the standard set]
    #[arg(long = "measure", value_name = "NAME[:KEY=VALUE,…]", value_parser = arguments::measure, num_args = 1..)]
    measures: Vec<MeasureRequest>,
    /// Seed of all noise.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Which snapshots to measure when they arrive faster than they can be measured.
    #[arg(long, value_enum, default_value = "latest")]
    delivery: Snapshots,
    /// Precision of the engine.
    #[arg(long, value_enum, default_value = "auto")]
    precision: arguments::PrecisionName,
    /// Seconds that a snapshot may take; measures that do not fit are reported as skipped.
    #[arg(long, value_name = "SECONDS")]
    budget: Option<f64>,
    /// Measure only on GPUs, never on the CPU instead.
    #[arg(long)]
    gpu_only: bool,
    /// Name of the run, for people.
    #[arg(long, default_value = "run")]
    name: String,
    /// Project of the run, which decides access and quotas.
    #[arg(long, default_value = DEFAULT_PROJECT)]
    project: String,
    /// Experiment of the run; some rules compare the runs of one experiment.
    #[arg(long, default_value = "", hide_default_value = true)]
    experiment: String,
    /// A tag, for people and filters. May be repeated.
    #[arg(long = "tag", value_name = "NAME=TEXT", value_parser = selection::tag)]
    tags: Vec<(String, String)>,
    /// Policy that says when to stop: a file of rules, .toml or .json.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Key of this request: opening again with the same key and content returns the same run.
    #[arg(long)]
    key: Option<String>,
}

impl Open {
    /// Opens the run; prints its id on standard output and its plan on standard error.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] naming the file that is not sound, or what the daemon answers.
    pub async fn run(&self) -> Result<(), Fault> {
        let plan = self.plan()?;
        let run = self.daemon.connect().await?.open_run(&plan).await?;
        if let Some(opened) = run.opened() {
            opened.warnings.iter().for_each(|warning| super::warn(warning));
            say(planned(opened).render(columns()).trim_end());
        }
        print(&format!("{}\n", shown(&run.id().0)))
    }

    fn label(&self) -> Result<RunLabel, Fault> {
        let mut tags = BTreeMap::new();
        for (name, text) in &self.tags {
            if tags.insert(name.clone(), text.clone()).is_some() {
                return Err(Fault::invalid("tag", format!("found {} twice, expected it once", quoted(name))));
            }
        }
        Ok(RunLabel { project: self.project.clone(), experiment: self.experiment.clone(), tags })
    }

    fn plan(&self) -> Result<Plan, Fault> {
        let config = kinds::config(&self.config)?;
        let delivery = match self.delivery {
            Snapshots::Latest => Delivery::Latest,
            Snapshots::Every => Delivery::Every,
        };
        let precision = self.precision.into();
        let mut plan = Plan::new(&self.name, config).seed(self.seed).delivery(delivery).precision(precision);
        plan.spec.measures = self.measures.clone();
        plan.spec.budget = self.budget;
        plan.spec.gpu_only = self.gpu_only;
        plan.spec.label = self.label()?;
        plan.spec.policy = self.policy.as_deref().map(policy::load).transpose()?;
        for (group, file) in &self.probes {
            plan.spec.groups.push(TensorFiles::open(file)?.probe(group)?);
        }
        match &self.key {
            Some(key) => Ok(plan.key(key)),
            None => Ok(plan),
        }
    }
}

/// What each measure will do on one group, from the cheapest to the most expensive, less what those before it have made; and the
/// seconds that it took, where the run has measured before.
pub(super) fn planned(opened: &OpenedRun) -> Grid {
    let work = ["forwards", "backwards", "passes", "operations", "seconds"].map(Column::number);
    let mut table = Grid::new(1, std::iter::once(Column::word("measure")).chain(work));
    for (measure, planned) in opened.measures.iter().zip(&opened.plan) {
        let Work { forwards, backwards, passes, operations } = planned.work;
        let name = titled(&opened.measures, &measure.name, &measure.parameters);
        let operations = if operations > 0.0 { format!("{operations:.1e}") } else { NOTHING.into() };
        let seconds = planned.seconds.map_or(NOTHING.into(), |seconds| format!("{seconds:.3}"));
        let times = [forwards, backwards, passes].map(times);
        table.row(std::iter::once(name).chain(times).chain([operations, seconds]));
    }
    table
}

/// Closes a run: waiting snapshots are still measured, then its watchers end.
#[derive(Debug, Clone, Args)]
pub struct Close {
    #[command(flatten)]
    daemon: ConnectArguments,
    /// The run: its id, the start of its id, its name, or latest.
    run: String,
    /// End what is being measured and skip what waits.
    #[arg(long)]
    abandon: bool,
}

impl Close {
    /// Closes the run.
    ///
    /// # Errors
    /// The fault that the daemon answers.
    pub async fn run(&self) -> Result<(), Fault> {
        let run = self.daemon.run(&self.run).await?;
        if self.abandon { run.abandon().await.map(drop) } else { run.close().await.map(drop) }
    }
}
