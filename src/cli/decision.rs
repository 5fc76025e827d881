//! `clino decision` and `clino override`: what the policy of a run says, and taking it back.
//!
//! Owns: the text of a decision. May not touch: rules.

use super::connect::ConnectArguments;
use super::out::{print, print_json};
use super::view::advice;
use super::words::count;
use clap::Args;
use clino_client::Advised;
use clino_domain::text::{harmless, shown};
use clino_domain::{Decision, Fault};
use tokio_stream::StreamExt;

/// Shows the decision of a run's policy. The exit code is 0; with --exit-code it is 10 for STOP and 11 for not enough data.
#[derive(Debug, Clone, Args)]
pub struct Ask {
    #[command(flatten)]
    daemon: ConnectArguments,
    /// The run: its id, the start of its id, its name, or latest.
    run: String,
    /// Decide as if nothing after this step had been measured.
    #[arg(long, value_name = "STEP", conflicts_with = "follow")]
    as_of: Option<u64>,
    /// Print every decision as it is made, until the run is closed.
    #[arg(long)]
    follow: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// For scripts: exit with 10 for STOP, 11 for not enough data.
    #[arg(long, conflicts_with = "follow")]
    exit_code: bool,
}

impl Ask {
    /// Asks; the answer is the exit code.
    ///
    /// # Errors
    /// The fault that the daemon answers.
    pub async fn run(&self) -> Result<u8, Fault> {
        let run = self.daemon.run(&self.run).await?;
        if self.follow {
            let mut decisions = std::pin::pin!(run.decisions(None).await?);
            while let Some((_, decision)) = decisions.next().await.transpose()? {
                self.print(&decision)?;
            }
            return Ok(0);
        }
        let Advised { decision, snapshots_behind, steps_behind, .. } = run.decide(self.as_of).await?;
        self.print(&decision)?;
        if !self.json && snapshots_behind > 0 {
            let behind = count(snapshots_behind, "snapshot");
            print(&format!("not measured yet: {behind} ({})\n", count(steps_behind, "step")))?;
        }
        Ok(if self.exit_code { code(&decision) } else { 0 })
    }

    fn print(&self, decision: &Decision) -> Result<(), Fault> {
        match self.json {
            true => {
                let json = serde_json::to_string(decision);
                print_json(&json.map_err(|error| Fault::internal(error.to_string()))?)
            }
            false => print(&format!("{}\n", text(decision))),
        }
    }
}

fn code(decision: &Decision) -> u8 {
    use clino_domain::Advice::{Continue, NotEnoughData, Stop};
    match decision.advice {
        Continue => 0,
        Stop => 10,
        NotEnoughData => 11,
    }
}

/// Some lines for people.
pub fn text(decision: &Decision) -> String {
    let mut text = format!("{}: {}", advice(decision.advice), harmless(&decision.sentence));
    if let Some(at) = decision.evaluated {
        text += &format!("\nlooked at up to step {}", at.step);
    }
    if let Some((at, value)) = decision.best {
        text += &format!(", best at step {} ({value:.6})", at.step);
    }
    if decision.peer_count > 0 {
        text += &format!(", compared with {}", count(decision.peer_count, "run"));
    }
    if let Some(step) = decision.next_check_step {
        text += &format!(", may change from step {step}");
    }
    if let Some(overridden) = &decision.overridden {
        text += &format!("\noverridden by {}: {}", shown(&overridden.by), shown(&overridden.reason));
    }
    text
}

/// Overrides a STOP; the reason is stored.
#[derive(Debug, Clone, Args)]
pub struct Override {
    #[command(flatten)]
    daemon: ConnectArguments,
    /// The run: its id, the start of its id, its name, or latest.
    run: String,
    /// The reason; stored with the run and in the audit log.
    #[arg(long)]
    reason: String,
}

impl Override {
    /// Takes it back and prints what the policy says now.
    ///
    /// # Errors
    /// The fault that the daemon answers.
    pub async fn run(&self) -> Result<(), Fault> {
        let run = self.daemon.run(&self.run).await?;
        print(&format!("{}\n", text(&run.take_back(&self.reason).await?)))
    }
}
