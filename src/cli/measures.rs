//! `clino measures`: the catalogue, as text for the terminal, as the reference page, or as JSON.
//!
//! Owns: how the catalogue is laid out. May not touch: what is in it.

use super::catalogue::{self, CatalogueArguments, Look, cell, parameter_lines, parameter_table};
use clino_domain::{Fault, MeasureInfo, RunValidator};
use clino_engine::Validator;
use std::fmt::Write as _;

/// Prints the catalogue.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] for a name that it does not have.
pub fn run(arguments: &CatalogueArguments) -> Result<(), Fault> {
    catalogue::print(arguments, Validator.catalogue(), &Look { name: |info| info.name, text, markdown })
}

/// What it needs, as people say it.
fn needs(info: &MeasureInfo) -> String {
    let said = |name: &str| match name {
        "init" => "the initialization".to_owned(),
        "previous" => "a previous snapshot".to_owned(),
        "init_if_given" => "the initialization, where it is given".to_owned(),
        "previous_if_given" => "the previous snapshot, where there is one".to_owned(),
        name => format!("a {name}"),
    };
    let all: Vec<String> = info.needs.names().into_iter().map(said).collect();
    if all.is_empty() { "the parameters alone".into() } else { all.join(", ") }
}

fn text(info: &MeasureInfo) -> String {
    let mut out = String::new();
    let mark = if info.standard { "  (in the default set)" } else { "" };
    let _ = writeln!(out, "{}{mark}\n    {}", info.name, info.summary);
    let rows = [
        ("formula", info.formula),
        ("cost", info.cost),
        ("needs", &needs(info)),
        ("invariance", info.invariance),
        ("source", info.source),
    ];
    for (name, value) in rows {
        let _ = writeln!(out, "    {name:<11} {value}");
    }
    parameter_lines(&mut out, &info.parameters);
    for (name, summary) in info.parts {
        let _ = writeln!(out, "      → {name}: {summary}");
    }
    out
}

const HEAD: &str = "# Measures

All measures of clino: what each one computes, its parameters, its cost and its invariances. This page is the output of
`clino measures --format markdown`, and CI compares the two. [choosing.md](choosing.md) says which measure to use when.

**Notation.** w0: the parameters of the snapshot, d of them; w_init: at initialization; L: mean cross-entropy of the probe
in evaluation mode; g: its gradient at w0; H: its Hessian; n: standard normal noise; t: a tensor, l: a matrix. Sharpnesses
are differences of L, in nats.

**Cost.** F: a forward over the probe group; B: a backward, about 2 F; P: a pass over all parameters. Shared work is
done once for all measures of a snapshot on a group: the forward at w0, the gradient at w0, ascents with the same radius
and draw, singular values. Each measure that needs a probe is computed on each group and pooled.

**Draws.** Every reading of a random measure lists its draws, with mean, standard error, minimum and maximum. A draw depends
only on the seed of the run and its own number, so that two snapshots are compared under the same noise. Instead of `draws`
you can give a target: `stderr` or `rel_stderr`, with `max_draws` and `max_seconds`; the reading says under `ended` which of
them ended it.

**Intervals.** Every value with a standard error also has an `interval` at 95 %: over the noise of the draws, for the given probe
(for `gradient_noise`: over the choice of examples in the probe). It is the value plus or minus Student's t times the standard
error, with one degree of freedom less than draws (3.2 standard errors for 4 draws, 2.4 for 8), and wider on the long side of
skewed draws (Hall's transformation). The interval of `sharpness` and its profile is corrected by how far the draws got, which
is known on average: for a model of a few hundred parameters some draws end inside the ball and rise less, and 8 draws may
contain none of them. A single draw has no interval. [coverage.md](coverage.md) says how often intervals
hold.

**Order.** Noise drawn per example (the classes of `fisher_trace`, the batches of `gradient_noise`) depends on the content of
the example, not on its place: a probe in any order gives the same readings up to rounding. `tests/order.rs` checks this.

**Invariance.** *Rescaling* multiplies layer 0 of a ReLU network by 4 and divides layer 1 by 4, which does not change the
function; `tests/invariance.rs` checks what is said here about the value of every measure.
";

fn markdown(chosen: &[MeasureInfo]) -> String {
    let mut out = String::from(HEAD);
    let _ = writeln!(out, "\n| measure | what it is | cost | stays under rescaling |\n|---|---|---|---|");
    for info in chosen {
        let stays = if info.rescaling { "yes" } else { "no" };
        let summary = cell(info.summary);
        let cost = cell(info.cost);
        let _ = writeln!(out, "| [`{0}`](#{0}) | {summary} | {cost} | {stays} |", info.name);
    }
    chosen.iter().for_each(|info| section(&mut out, info));
    out
}

fn section(out: &mut String, info: &MeasureInfo) {
    let mark = if info.standard { " In the default set." } else { "" };
    let _ = writeln!(out, "\n## {}\n\n{}{mark}\n", info.name, info.summary);
    let rows = [
        ("Formula", info.formula),
        ("Cost", info.cost),
        ("Needs", &needs(info)),
        ("Invariance", info.invariance),
        ("Source", info.source),
    ];
    for (name, value) in rows {
        let _ = writeln!(out, "- **{name}:** {value}");
    }
    parameter_table(out, &info.parameters);
    if !info.parts.is_empty() {
        let _ = writeln!(out, "\n| part | meaning |\n|---|---|");
    }
    for (name, summary) in info.parts {
        let _ = writeln!(out, "| `{name}` | {} |", cell(summary));
    }
}
