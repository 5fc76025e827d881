//! The list of rules.
//!
//! A rule sees a [`RuleView`] and its parameters, and answers with a [`Verdict`]. A new one is one file and one line of
//! [`RULES`]; validation, the reference page and the contract tests go over the slice.
//!
//! Owns: which rules there are. May not touch: how a policy joins them.

mod divergence;
mod hyperband;
mod median;
mod non_finite;
mod patience;
mod percentile;
mod plateau;
mod shared;
mod successive_halving;
mod threshold;
mod trend_reversal;
mod wilcoxon;

use super::parameters::{RuleParameter, RuleParameters};
use super::view::{RuleView, Verdict};
use clino_domain::{RuleInfo, Subject, Violation};

/// All rules, in the order of the reference page: those of a run alone, then those across runs.
pub static RULES: &[&dyn Rule] = &[
    &threshold::Threshold,
    &patience::Patience,
    &plateau::Plateau,
    &divergence::Divergence,
    &trend_reversal::TrendReversal,
    &non_finite::NonFinite,
    &median::Median,
    &percentile::Percentile,
    &successive_halving::SuccessiveHalving,
    &hyperband::Hyperband,
    &wilcoxon::Wilcoxon,
];

/// A rule's line in the list.
pub struct RuleDescription {
    /// As users write it.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Whose rule it is, and where ours differs.
    pub source: &'static str,
    /// Whether it compares with other runs of the experiment.
    pub across: bool,
    /// With defaults and ranges.
    pub parameters: &'static [RuleParameter],
}

/// When to stop.
pub trait Rule: Sync {
    /// Its line in the list.
    fn description(&self) -> &'static RuleDescription;

    /// What is wrong with parameters that are each in their range, under `parameters.`.
    fn check(&self, _: &RuleParameters) -> Vec<Violation> {
        Vec::new()
    }

    /// The other subject that it takes, and the parameter that names it. The default goes by the subject of the rule and
    /// the groups of the run.
    ///
    /// # Errors
    /// What is wrong with it.
    fn against(
        &self,
        _: &Subject,
        _: &[String],
        _: &RuleParameters,
    ) -> Result<Option<(&'static str, Subject)>, Violation> {
        Ok(None)
    }

    /// What it says. The same view gives the same verdict.
    fn evaluate(&self, view: &RuleView<'_>, parameters: &RuleParameters) -> Verdict;
}

/// The rule of this name.
pub fn find(name: &str) -> Option<&'static dyn Rule> {
    RULES.iter().find(|rule| rule.description().name == name).copied()
}

/// Every rule as data.
pub fn list() -> Vec<RuleInfo> {
    let info = |d: &RuleDescription| RuleInfo {
        name: d.name,
        summary: d.summary,
        source: d.source,
        across: d.across,
        parameters: d.parameters.iter().map(RuleParameter::info).collect(),
    };
    RULES.iter().map(|rule| info(rule.description())).collect()
}
