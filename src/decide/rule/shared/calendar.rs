//! At which snapshots a rule with warm-up and interval looks.
//!
//! Owns: Optuna's calendar. May not touch: what is looked at.
//!
//! Checks are due at `start`, `start + interval`, …; one that is due when there is no value is made up for at the next
//! value. So a rule looks at a value if none came since the last one that was due.

use crate::decide::parameters::{MOST_STEPS, RuleParameter, RuleParameterKind};
use crate::decide::view::RuleView;

/// Steps without checks.
pub const N_WARMUP_STEPS: RuleParameter = RuleParameter {
    name: "n_warmup_steps",
    summary: "No check before this step.",
    kind: RuleParameterKind::Count { default: 0, least: 0, most: MOST_STEPS },
};
/// Steps between checks.
pub const INTERVAL_STEPS: RuleParameter = RuleParameter {
    name: "interval_steps",
    summary: "Steps between checks, from the first one on; a check without a value is made up for at the \
             next value.",
    kind: RuleParameterKind::Count { default: 1, least: 1, most: MOST_STEPS },
};

/// Whether a check is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// No value yet, or not far enough.
    Early,
    /// The last one stands.
    Between,
    /// Yes.
    Now,
}

/// Whether a check is due at the newest value.
pub fn due(view: &RuleView<'_>, start: u64, interval: u64) -> Due {
    let [before @ .., last] = view.checks else { return Due::Early };
    let Some(gone) = last.at.step.checked_sub(start) else { return Due::Early };
    let interval = interval.max(1);
    let due = start + gone / interval * interval;
    match before.last() {
        Some(point) if point.at.step >= due => Due::Between,
        _ => Due::Now,
    }
}

/// The step of the next check, as far as it can be foretold.
pub fn next(view: &RuleView<'_>, start: u64, interval: u64) -> Option<u64> {
    let last = view.checks.last()?.at.step;
    let interval = interval.max(1);
    let due = match last.checked_sub(start) {
        None => start,
        Some(gone) => start.saturating_add((gone / interval + 1).saturating_mul(interval)),
    };
    view.after(1, due)
}
