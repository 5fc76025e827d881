//! `clino rules`: the rules of policies, as text for the terminal, as the reference page, or as JSON.
//!
//! Owns: how the list is laid out. May not touch: what is in it.

use super::table::typed;
use crate::decide::Bench;
use crate::domain::{Fault, Judge, ParameterInfo, RuleInfo};
use clap::{Args, ValueEnum};
use std::fmt::Write as _;
use std::io::{self, Write as _};

/// Arguments of `clino rules`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Which of them [default: all]
    names: Vec<String>,
    /// Of the list on stdout
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For the terminal
    Text,
    /// The page docs/rules.md
    Markdown,
    /// For scripts
    Json,
}

/// Prints the list.
///
/// # Errors
/// [`crate::domain::FaultKind::Invalid`] for a name that it does not have.
pub fn run(arguments: Arguments) -> Result<(), Fault> {
    let rules = Bench::default().rules();
    if let Some(name) = arguments.names.iter().find(|name| !rules.iter().any(|info| info.name == *name)) {
        let known: Vec<&str> = rules.iter().map(|info| info.name).collect();
        return Err(Fault::invalid("NAME", format!("found {name:?}, expected some of {}", known.join(", "))));
    }
    let asked =
        |info: &RuleInfo| arguments.names.is_empty() || arguments.names.iter().any(|n| n == info.name);
    let chosen: Vec<RuleInfo> = rules.into_iter().filter(asked).collect();
    let text = match arguments.format {
        Format::Text => chosen.iter().map(text).collect::<Vec<_>>().join("\n"),
        Format::Markdown => markdown(&chosen),
        Format::Json => serde_json::to_string_pretty(&chosen).unwrap_or_default() + "\n",
    };
    let written = io::stdout().lock().write_all(text.as_bytes());
    written.map_err(|error| Fault::internal(format!("stdout: {error}")))
}

/// What it looks at, as people say it.
fn looks(info: &RuleInfo) -> &'static str {
    if info.across { "the run and the other runs of its experiment" } else { "the run alone" }
}

fn text(info: &RuleInfo) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}\n    {}", info.name, info.summary);
    let _ = writeln!(out, "    {:<11} {}\n    {:<11} {}", "looks at", looks(info), "source", info.source);
    for ParameterInfo { name, summary, default, range } in &info.parameters {
        let _ = writeln!(out, "      {name}={} ({range}): {summary}", typed(default));
    }
    out
}

const HEAD: &str = "# Rules

When a run should stop: the rules that a policy is made of, with their parameters and defaults. This page is what
`clino rules --format markdown` prints, and CI compares the two. [deciding.md](deciding.md) says which rule is for what, what
a decision means, and how these rules compare with Optuna's.

A rule looks at a **subject**, a number of each snapshot: `MEASURE[.PART][@GROUP]`, such as `loss@de`, or several joined by
`mean(..)`, `min(..)`, `max(..)` or `sum(..)`. A **check** is a snapshot at which the subject has a value. Snapshots without
one (skipped, failed, NaN, infinite) stop nothing and are not counted, except by `non_finite`. A run is **complete** when it
was closed and its policy has not ended it.
";

/// A text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn markdown(chosen: &[RuleInfo]) -> String {
    let mut out = String::from(HEAD);
    let _ = writeln!(out, "\n| rule | what it does | looks at |\n|---|---|---|");
    for info in chosen {
        let _ = writeln!(out, "| [`{0}`](#{0}) | {1} | {2} |", info.name, cell(info.summary), looks(info));
    }
    chosen.iter().for_each(|info| section(&mut out, info));
    out
}

fn section(out: &mut String, info: &RuleInfo) {
    let _ = writeln!(out, "\n## {}\n\n{}\n", info.name, info.summary);
    let _ = writeln!(out, "- **Looks at:** {}\n- **Source:** {}", looks(info), info.source);
    let _ = writeln!(out, "\n| parameter | default | accepted | meaning |\n|---|---|---|---|");
    for ParameterInfo { name, summary, default, range } in &info.parameters {
        let default = typed(default);
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        let _ = writeln!(out, "| `{name}` | {default} | {range} | {} |", cell(summary));
    }
}
