//! `clino watch`: a live table of a run in a terminal, one line a reading elsewhere.
//!
//! Owns: the terminal. May not touch: what the table says.

use super::connect::ConnectArguments;
use super::out::{columns, print, print_json, put};
use super::view::{self, RunView};
use super::which::{self, LATEST};
use clap::Args;
use clino_client::Run;
use clino_domain::text::harmless_lines;
use clino_domain::{Event, Fault, RunSummary, Sequenced};
use std::io::IsTerminal;
use std::time::Duration;

/// Pause between two pictures.
const FRAME: Duration = Duration::from_millis(100);

/// Pause between two questions why nothing comes.
const LOOK: Duration = Duration::from_secs(2);

/// Shows readings as they are measured, until the run is closed.
#[derive(Debug, Clone, Args)]
pub struct Watch {
    #[command(flatten)]
    daemon: ConnectArguments,
    /// The run: its id, the start of its id, its name, or latest for the one opened last.
    #[arg(default_value = LATEST)]
    run: String,
    /// Sequence number of the first event to show.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Print the readings of the last measured snapshot and exit.
    #[arg(long, conflicts_with = "json")]
    once: bool,
    /// Print every event as a line of JSON.
    #[arg(long)]
    json: bool,
}

impl Watch {
    /// Runs until the run is closed.
    ///
    /// # Errors
    /// What the daemon answers; [`clino_domain::FaultKind::Unavailable`] when it stays away for 30 seconds.
    pub async fn run(&self) -> Result<(), Fault> {
        let client = self.daemon.connect().await?;
        let run = client.run(which::run(&client, &self.run).await?);
        let summary = run.summary().await?;
        if self.once {
            return once(&run, summary).await;
        }
        if self.json {
            let json = |event: &Sequenced| view::json(event).map_or(Ok(()), |json| print_json(&json));
            return self.lines(&run, json).await;
        }
        let line =
            |event: &Sequenced| view::line(&event.event).map_or(Ok(()), |line| print(&format!("{line}\n")));
        match std::io::stdout().is_terminal() {
            true => self.table(&run, summary).await,
            false => self.lines(&run, line).await,
        }
    }

    async fn lines(&self, run: &Run, print: impl Fn(&Sequenced) -> Result<(), Fault>) -> Result<(), Fault> {
        let mut events = run.follow(Some(self.from));
        while let Some(event) = events.next().await? {
            print(&event)?;
        }
        Ok(())
    }

    async fn table(&self, run: &Run, summary: RunSummary) -> Result<(), Fault> {
        let mut events = run.follow(Some(self.from));
        let mut view = RunView::new(summary);
        let mut ticks = tokio::time::interval(FRAME);
        let mut looks = tokio::time::interval(LOOK);
        let mut height = 0;
        let mut stale = true;
        loop {
            tokio::select! {
                event = events.next() => match event? {
                    Some(event) => {
                        view.apply(&event.event);
                        stale = true;
                    }
                    None => break,
                },
                // A refused upload is no event.
                _ = looks.tick(), if !view.has_begun() => {
                    view.renew(run.summary().await?);
                    stale = true;
                }
                _ = ticks.tick(), if stale => {
                    height = draw(&view.render(columns()), height)?;
                    stale = false;
                }
            }
        }
        draw(&view.render(columns()), height)?;
        Ok(())
    }
}

async fn once(run: &Run, summary: RunSummary) -> Result<(), Fault> {
    if summary.measured == 0 {
        return print(&RunView::counted(summary).render(columns()));
    }
    let report = run.report(None).await?;
    let readings = u32::try_from(report.readings.len()).unwrap_or(u32::MAX);
    let seconds = report.readings.iter().map(|reading| reading.seconds).sum();
    let mut view = RunView::counted(summary);
    view.apply(&Event::Started { snapshot: report.snapshot, readings });
    for reading in report.readings {
        view.apply(&Event::Reading(Box::new(reading)));
    }
    view.show(seconds);
    print(&view.render(columns()))
}

/// Draws a text over the picture before, which was `height` lines; gives the new height.
///
/// # Errors
/// When standard output is closed.
pub(super) fn draw(text: &str, height: usize) -> Result<usize, Fault> {
    let back = if height == 0 { String::new() } else { format!("\x1b[{height}A\x1b[J") };
    put(&format!("{back}{}", harmless_lines(text)))?;
    Ok(text.lines().count())
}
