//! What the commands that print a catalogue share: measures and rules, as text, as a reference page, or as JSON.
//!
//! Owns: the choice of lines, and how parameters are laid out. May not touch: what is in a catalogue.

use super::table::typed;
use clap::{Args, ValueEnum};
use clino_domain::text::suggestion;
use clino_domain::{Fault, ParameterInfo};
use serde::Serialize;
use std::fmt::Write as _;

/// Arguments of `clino measures` and `clino rules`.
#[derive(Debug, Args)]
pub struct CatalogueArguments {
    /// Names to show [default: all]
    names: Vec<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t = CatalogueFormat::Text)]
    format: CatalogueFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CatalogueFormat {
    /// A table for the terminal
    Text,
    /// The reference page of docs/, in Markdown
    Markdown,
    /// JSON for scripts
    Json,
}

/// How lines of a catalogue look.
pub struct Look<T> {
    /// What a line is called.
    pub name: fn(&T) -> &'static str,
    /// A line for the terminal.
    pub text: fn(&T) -> String,
    /// The reference page of some lines.
    pub markdown: fn(&[T]) -> String,
}

/// Prints the lines that are asked for.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] for a name that the catalogue does not have.
pub fn print<T: Serialize>(arguments: &CatalogueArguments, all: Vec<T>, look: &Look<T>) -> Result<(), Fault> {
    let CatalogueArguments { names, format } = arguments;
    if let Some(name) = names.iter().find(|name| !all.iter().any(|line| (look.name)(line) == *name)) {
        let known: Vec<&str> = all.iter().map(look.name).collect();
        let near = suggestion(name, known.iter().copied());
        let expected = format!("found {name:?}{near}, expected some of {}", known.join(", "));
        return Err(Fault::invalid("NAME", expected));
    }
    let asked = |line: &T| names.is_empty() || names.iter().any(|name| name == (look.name)(line));
    let chosen: Vec<T> = all.into_iter().filter(asked).collect();
    let text = match format {
        CatalogueFormat::Text => chosen.iter().map(look.text).collect::<Vec<_>>().join("\n"),
        CatalogueFormat::Markdown => (look.markdown)(&chosen),
        CatalogueFormat::Json => serde_json::to_string_pretty(&chosen).unwrap_or_default() + "\n",
    };
    super::out::print(&text)
}

/// A text in a cell of a table.
pub fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Parameters for the terminal, a line each.
pub fn parameter_lines(out: &mut String, parameters: &[ParameterInfo]) {
    for ParameterInfo { name, summary, default, range } in parameters {
        let _ = writeln!(out, "      {name}={} ({range}): {summary}", typed(default));
    }
}

/// Parameters as a table of the reference page; nothing where there are none.
pub fn parameter_table(out: &mut String, parameters: &[ParameterInfo]) {
    if !parameters.is_empty() {
        let _ = writeln!(out, "\n| parameter | default | accepted | meaning |\n|---|---|---|---|");
    }
    for ParameterInfo { name, summary, default, range } in parameters {
        let default = typed(default);
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        let _ = writeln!(out, "| `{name}` | {default} | {range} | {} |", cell(summary));
    }
}
