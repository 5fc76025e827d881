//! `clino doctor`: what is wrong with a daemon, or with the way to it, and what to do.
//!
//! Owns: exit codes, the order of questions. May not touch: how findings look; how the way is explored.

use super::connect::CredentialArguments;
use super::out::{columns, print, print_json};
use super::{codes, doctor_view as view, doctor_way as way};
use crate::config::unknown_variables;
use clap::{Args, ValueEnum};
use clino_client::Client;
use clino_client::endpoint::client_address;
use clino_domain::diagnosis::{Concern, DaemonFacts, Diagnosis, Finding, rank};
use clino_domain::incident::{Incident, Severity};
use clino_domain::{Fault, FaultKind};
use std::time::Duration;

/// Exit code when something is found that is more than a note.
const FOUND: u8 = 1;
/// Exit code when the daemon cannot be asked.
const UNREACHED: u8 = 2;
/// How long a daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Says what is slow, full, skipped, refused, unreachable or misconfigured, and what to do about it. Exit codes: 0 if nothing
/// is worse than a note, 1 for warnings and errors, 2 if the daemon cannot be asked.
#[derive(Debug, Clone, Args)]
pub struct DoctorArguments {
    /// Address of the daemon: http://HOST:PORT, https://HOST:PORT or unix:///PATH; also CLINO_ADDR. By default the socket
    /// on which this user's clino serve listens.
    #[arg(value_name = "ADDR")]
    address: Option<String>,
    /// The same, as other commands have it.
    #[arg(long = "addr", value_name = "ADDR", conflicts_with = "address", hide = true)]
    flag: Option<String>,
    #[command(flatten)]
    shown: CredentialArguments,
    /// Print the table of all codes instead of asking a daemon.
    #[arg(long)]
    codes: bool,
    /// Output format.
    #[arg(long, value_enum, default_value_t = DoctorFormat::Text)]
    format: DoctorFormat,
}

/// How findings or codes are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DoctorFormat {
    /// Sentences for people
    Text,
    /// One object for programs
    Json,
    /// The reference page of docs/, with --codes
    Markdown,
}

/// What was found, and where.
pub struct Examined {
    /// The address that was asked.
    pub address: String,
    /// What the daemon is; `None` where it could not be asked.
    pub facts: Option<DaemonFacts>,
    /// The worst first.
    pub findings: Vec<Finding>,
}

impl DoctorArguments {
    /// Prints what is found; the answer is the exit code.
    ///
    /// # Errors
    /// [`FaultKind::Invalid`] for a format that does not fit.
    pub async fn run(&self) -> Result<u8, Fault> {
        if self.codes {
            return codes::run(self.format).map(|()| 0);
        }
        if self.format == DoctorFormat::Markdown {
            let expected = "found markdown, which only --codes has, expected text or json";
            return Err(Fault::invalid("format", expected));
        }
        let examined = self.examine().await;
        match self.format {
            DoctorFormat::Json => print_json(&view::json(&examined).to_string())?,
            _ => print(&view::text(&examined, columns()))?,
        }
        Ok(examined.code())
    }

    async fn examine(&self) -> Examined {
        let address = self.address.clone().or_else(|| self.flag.clone()).unwrap_or_else(client_address);
        let mut findings: Vec<Finding> = unknown_variables().into_iter().map(unknown).collect();
        let facts = match self.ask(&address).await {
            Ok(Diagnosis { facts, findings: found }) => {
                findings.extend(found);
                Some(facts)
            }
            Err(fault) => {
                findings.push(way::explain(&address, &fault).await);
                None
            }
        };
        rank(&mut findings);
        Examined { address, facts, findings }
    }

    async fn ask(&self, address: &str) -> Result<Diagnosis, Fault> {
        let client = Client::connect_with(address, &self.shown.access()?).await?;
        let silence = |_| {
            let seconds = PATIENCE.as_secs();
            Err(Fault::new(FaultKind::Deadline, format!("no answer within {seconds} seconds")))
        };
        tokio::time::timeout(PATIENCE, client.diagnose()).await.unwrap_or_else(silence)
    }
}

impl Examined {
    fn code(&self) -> u8 {
        match &self.facts {
            None => UNREACHED,
            Some(_) if self.findings.iter().any(|finding| finding.severity > Severity::Note) => FOUND,
            Some(_) => 0,
        }
    }
}

fn unknown(variable: String) -> Finding {
    let what = format!("{variable} is set in the environment, and is no setting of clino.");
    Finding::of(Incident::VariableUnknown).about(Concern::Setting, variable).told(what)
}
