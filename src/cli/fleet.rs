//! `clino fleet`: the runs of many daemons in one table.
//!
//! Owns: one listener a daemon, and the terminal. May not touch: what the table says.

use super::connect::CredentialArguments;
use super::fleet_view::{DaemonNews, Fleet};
use super::out::{columns, lines, print, print_json};
use super::selection::{RunsFormat, Selection, principal};
use super::watch::draw;
use clap::Args;
use clino_client::{Access, BEGINNING, Client};
use clino_domain::{Fault, FaultKind, RunFilter, RunNews, Subject};
use std::io::IsTerminal;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio_stream::StreamExt;

/// Pause between two pictures.
const FRAME: Duration = Duration::from_millis(250);
/// Words on their way to the picture. When it is full listeners wait, and their daemons keep the newest state only.
const IN_FLIGHT: usize = 64;
/// Pauses between calls to a daemon that is away: each twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Lines of a terminal that the picture cannot have: the cursor's.
const CURSOR: usize = 1;

/// Shows the runs of many daemons in one live table.
#[derive(Debug, Clone, Args)]
pub struct WatchFleet {
    /// Addresses of the daemons: http://HOST:PORT, https://HOST:PORT or unix:///PATH; one that does not answer is retried.
    /// By default CLINO_ADDR, or the socket on which this user's clino serve listens.
    #[arg(value_name = "ADDR", default_values_t = [clino_client::endpoint::client_address()])]
    addresses: Vec<String>,
    /// Readings to show for each run: MEASURE[@GROUP]; pooled unless a group is named.
    #[arg(long, value_name = "SUBJECT", value_parser = principal, num_args = 1.., default_values = ["loss", "sharpness"])]
    show: Vec<Subject>,
    #[command(flatten)]
    shown: CredentialArguments,
    #[command(flatten)]
    selection: Selection,
    /// Print the current state once and exit.
    #[arg(long)]
    once: bool,
    /// Output format; json prints one line per change.
    #[arg(long, value_enum, default_value_t = RunsFormat::Table)]
    format: RunsFormat,
}

type Heard = (usize, Result<DaemonNews, Fault>);

impl WatchFleet {
    /// Until it is interrupted, or once.
    ///
    /// # Errors
    /// [`FaultKind::Invalid`] for an address or a filter that no daemon understands. A daemon that is away is none.
    pub async fn run(&self) -> Result<(), Fault> {
        let access = self.shown.access()?;
        let fleet = Fleet::new(&self.addresses, self.show.clone());
        if self.once {
            return self.once(fleet, access).await;
        }
        let (sender, words) = channel(IN_FLIGHT);
        let mut listeners = JoinSet::new();
        for (place, address) in self.addresses.iter().enumerate() {
            let address = address.clone();
            let access = access.clone();
            let filter = self.selection.filter();
            let listener = DaemonListener { place, address, access, filter };
            listeners.spawn(listener.listen(sender.clone()));
        }
        drop(sender);
        match self.format {
            RunsFormat::Table if std::io::stdout().is_terminal() => live(fleet, words).await,
            format => self.lines(fleet, words, format).await,
        }
    }

    async fn once(&self, mut fleet: Fleet, access: Access) -> Result<(), Fault> {
        let mut asked = JoinSet::new();
        for (place, address) in self.addresses.iter().cloned().enumerate() {
            let access = access.clone();
            let filter = self.selection.filter();
            asked.spawn(async move { (place, ask(&address, &access, &filter).await) });
        }
        let mut answers = asked.join_all().await;
        answers.sort_by_key(|(place, _)| *place);
        for (place, answer) in answers {
            let words = match answer {
                Ok(news) => vec![DaemonNews::Here, DaemonNews::News(news)],
                Err(fault) if fault.kind == FaultKind::Invalid => return Err(fault),
                Err(fault) => vec![DaemonNews::Away(why(&self.addresses[place], &fault))],
            };
            for word in words {
                if self.format == RunsFormat::Json {
                    say(&mut fleet, place, &word, RunsFormat::Json)?;
                }
                fleet.apply(place, word);
            }
        }
        match self.format {
            RunsFormat::Json => Ok(()),
            RunsFormat::Table => print(&fleet.render(None, columns())),
        }
    }

    async fn lines(
        &self,
        mut fleet: Fleet,
        mut words: Receiver<Heard>,
        format: RunsFormat,
    ) -> Result<(), Fault> {
        while let Some((place, word)) = words.recv().await {
            say(&mut fleet, place, &word?, format)?;
        }
        Ok(())
    }
}

/// Prints a word as lines.
fn say(fleet: &mut Fleet, place: usize, word: &DaemonNews, format: RunsFormat) -> Result<(), Fault> {
    match format {
        RunsFormat::Json => fleet.json(place, word).iter().try_for_each(|line| print_json(&line.to_string())),
        RunsFormat::Table => fleet.lines(place, word).iter().try_for_each(|line| print(&format!("{line}\n"))),
    }
}

/// Draws over the picture before.
async fn live(mut fleet: Fleet, mut words: Receiver<Heard>) -> Result<(), Fault> {
    let mut ticks = tokio::time::interval(FRAME);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut height = 0;
    let mut stale = true;
    loop {
        tokio::select! {
            word = words.recv() => match word {
                Some((place, word)) => {
                    fleet.apply(place, word?);
                    stale = true;
                }
                None => return Ok(()),
            },
            _ = ticks.tick(), if stale => {
                (height, stale) = (draw(&fleet.render(room(), columns()), height)?, false);
            }
        }
    }
}

/// How many lines fit on the terminal: a picture that is higher could not be drawn over.
fn room() -> Option<usize> {
    lines().map(|lines| lines.saturating_sub(CURSOR).max(1))
}

/// Why a daemon does not answer; its address stands beside it.
fn why(address: &str, fault: &Fault) -> String {
    let said = fault.to_string();
    let why = said.strip_prefix(&format!("no daemon at {address}: ")).unwrap_or(&said);
    why.strip_suffix(BEGINNING).unwrap_or(why).to_owned()
}

async fn ask(address: &str, access: &Access, filter: &RunFilter) -> Result<RunNews, Fault> {
    let runs = Client::connect_with(address, access).await?.runs(filter).await?;
    Ok(RunNews { runs, forgotten: Vec::new() })
}

/// Hears of one daemon, and calls it again when it goes away.
struct DaemonListener {
    place: usize,
    address: String,
    access: Access,
    filter: RunFilter,
}

impl DaemonListener {
    /// Until nobody looks any more, or the daemon does not understand what it is asked.
    async fn listen(self, out: Sender<Heard>) {
        let mut pause = FIRST_PAUSE;
        let mut told = None;
        loop {
            let fault = match self.hear(&out, &mut pause, &mut told).await {
                Ok(()) => return,
                Err(fault) => fault,
            };
            if fault.kind == FaultKind::Invalid {
                // The command ends with it; when nobody looks any more it has ended.
                let _ = out.send((self.place, Err(fault))).await;
                return;
            }
            // The same complaint is told once, not with every call.
            let said = why(&self.address, &fault);
            let news = told.as_ref() != Some(&said);
            if news && out.send((self.place, Ok(DaemonNews::Away(said.clone())))).await.is_err() {
                return;
            }
            told = Some(said);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// While the daemon is here; `Ok` when nobody looks any more.
    async fn hear(
        &self,
        out: &Sender<Heard>,
        pause: &mut Duration,
        told: &mut Option<String>,
    ) -> Result<(), Fault> {
        let client = Client::connect_with(&self.address, &self.access).await?;
        let mut news = std::pin::pin!(client.watch_runs(&self.filter, None).await?);
        let mut here = false;
        while let Some(news) = news.next().await {
            let news = news?;
            if !here {
                (here, *pause, *told) = (true, FIRST_PAUSE, None);
                if out.send((self.place, Ok(DaemonNews::Here))).await.is_err() {
                    return Ok(());
                }
            }
            if out.send((self.place, Ok(DaemonNews::News(news)))).await.is_err() {
                return Ok(());
            }
        }
        Err(Fault::new(FaultKind::Unavailable, "the daemon ended the stream"))
    }
}
