//! `clino rules`: the rules of policies, as text for the terminal, as the reference page, or as JSON.
//!
//! Owns: how the list is laid out. May not touch: what is in it.

use super::catalogue::{self, CatalogueArguments, Look, cell, parameter_lines, parameter_table};
use crate::decide::RuleCompiler;
use clino_domain::{Fault, PolicyCompiler, RuleInfo};
use std::fmt::Write as _;

/// Prints the list.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] for a name that it does not have.
pub fn run(arguments: &CatalogueArguments) -> Result<(), Fault> {
    catalogue::print(
        arguments,
        RuleCompiler::default().rules(),
        &Look { name: |info| info.name, text, markdown },
    )
}

/// What it looks at, as people say it.
fn looks(info: &RuleInfo) -> &'static str {
    if info.across { "the run and the other runs of its experiment" } else { "the run alone" }
}

fn text(info: &RuleInfo) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}\n    {}", info.name, info.summary);
    let _ = writeln!(out, "    {:<11} {}\n    {:<11} {}", "looks at", looks(info), "source", info.source);
    parameter_lines(&mut out, &info.parameters);
    out
}

const HEAD: &str = "# Rules

When a run should stop: the rules of policies, with their parameters and defaults. This page is the output of
`clino rules --format markdown`, and CI compares the two. [deciding.md](deciding.md) says which rule to use when, what a
decision means, and how these rules compare with Optuna's.

A rule looks at a **subject**, a number of each snapshot: `MEASURE[.PART][@GROUP]`, such as `loss@de`, or several combined by
`mean(..)`, `min(..)`, `max(..)` or `sum(..)`. A group can be quoted, `loss@\"xlm-r/en\"`, and must be if its name has a
comma. A **check** is a snapshot for which the subject has a value. Snapshots without one (skipped, failed, NaN, infinite)
stop nothing and are not counted, except by `non_finite`. A run is **complete** when it was closed and its policy did not
end it.
";

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
    parameter_table(out, &info.parameters);
}
