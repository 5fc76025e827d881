//! Parameters of rules: what may be given, what it is when it is not.
//!
//! Owns: ranges, defaults, and the check of what was given. May not touch: what a parameter does.

use clino_domain::series::MOST_POINTS;
use clino_domain::text::{quoted, suggestion};
use clino_domain::{Direction, ParameterInfo, Value, Violation};
use std::collections::BTreeMap;

/// A parameter with its default and range.
#[derive(Debug, Clone, Copy)]
pub struct RuleParameter {
    /// As users write it.
    pub name: &'static str,
    /// Description in one sentence.
    pub summary: &'static str,
    /// Kind, default and range.
    pub kind: RuleParameterKind,
}

/// What a parameter may be.
#[derive(Debug, Clone, Copy)]
pub enum RuleParameterKind {
    /// A number in a range.
    Real {
        /// Value that is used when none is given.
        default: f64,
        /// Smallest value that is allowed.
        least: f64,
        /// Largest value that is allowed.
        most: f64,
    },
    /// A whole number in a range.
    Count {
        /// Value that is used when none is given.
        default: u64,
        /// Smallest value that is allowed.
        least: u64,
        /// Largest value that is allowed.
        most: u64,
    },
    /// A whole number above zero, or `auto`, which is the default.
    Auto,
    /// A number, or `none`, which is the default.
    Bound,
    /// One of several words; the first is the default.
    Choice(&'static [&'static str]),
    /// Text of a subject; nothing, which is the default, lets the rule choose.
    Subject,
    /// Some text; nothing unless given.
    Text,
}

/// Most checks that a rule looks back on: series hold them, and one more on either side.
pub const MOST_CHECKS: u64 = 1_000;
const _: () = assert!(MOST_CHECKS as usize + 2 <= MOST_POINTS);
/// The greatest step that a number can hold.
pub const MOST_STEPS: u64 = 1 << 53;
/// A greatest number of this size is there only to keep sums finite, and is not told.
const UNBOUNDED: f64 = 1e300;
/// Longest text, in bytes.
const MOST_TEXT: usize = 512;
const AUTO: &str = "auto";
const NONE: &str = "none";

/// The first step that counts.
pub const START_STEP: RuleParameter = RuleParameter {
    name: "start_step",
    summary: "Snapshots before this step are ignored.",
    kind: RuleParameterKind::Count { default: 0, least: 0, most: MOST_STEPS },
};
/// Which way is better.
pub const MODE: RuleParameter = RuleParameter {
    name: "mode",
    summary: "Whether lower or higher values are better.",
    kind: RuleParameterKind::Choice(&["min", "max"]),
};

impl RuleParameter {
    /// What it is when it is not given.
    pub fn default(&self) -> Value {
        match &self.kind {
            RuleParameterKind::Real { default, .. } => Value::Number(*default),
            RuleParameterKind::Count { default, .. } => Value::Number(*default as f64),
            RuleParameterKind::Auto => Value::Text(AUTO.into()),
            RuleParameterKind::Bound => Value::Text(NONE.into()),
            RuleParameterKind::Choice(words) => {
                Value::Text(words.first().copied().unwrap_or_default().into())
            }
            RuleParameterKind::Subject | RuleParameterKind::Text => Value::Text(String::new()),
        }
    }

    fn range(&self) -> String {
        match &self.kind {
            RuleParameterKind::Real { least, most, .. } if *most >= UNBOUNDED => {
                format!("a number of at least {least}")
            }
            RuleParameterKind::Real { least, most, .. } => format!("a number from {least} to {most}"),
            RuleParameterKind::Count { least, most, .. } if *most == MOST_STEPS => {
                format!("a whole number of at least {least}")
            }
            RuleParameterKind::Count { least, most, .. } => format!("a whole number from {least} to {most}"),
            RuleParameterKind::Auto => "a whole number above 0, or auto".into(),
            RuleParameterKind::Bound => "a number, or none".into(),
            RuleParameterKind::Choice(words) => format!("one of {}", words.join(", ")),
            RuleParameterKind::Subject => "a subject such as mean(loss@*)".into(),
            RuleParameterKind::Text => format!("a text of at most {MOST_TEXT} bytes"),
        }
    }

    fn accepts(&self, value: &Value) -> bool {
        let whole =
            |x: f64, least: u64, most: u64| x.fract() == 0.0 && (least as f64..=most as f64).contains(&x);
        match (&self.kind, value) {
            (RuleParameterKind::Real { least, most, .. }, Value::Number(x)) => (*least..=*most).contains(x),
            (RuleParameterKind::Count { least, most, .. }, Value::Number(x)) => whole(*x, *least, *most),
            (RuleParameterKind::Auto, Value::Number(x)) => whole(*x, 1, MOST_STEPS),
            (RuleParameterKind::Auto, Value::Text(word)) => word == AUTO,
            (RuleParameterKind::Bound, Value::Number(x)) => x.is_finite(),
            (RuleParameterKind::Bound, Value::Text(word)) => word == NONE,
            (RuleParameterKind::Choice(words), Value::Text(word)) => words.contains(&word.as_str()),
            (RuleParameterKind::Subject | RuleParameterKind::Text, Value::Text(text)) => {
                text.len() <= MOST_TEXT
            }
            _ => false,
        }
    }

    /// Its line in the list.
    pub fn info(&self) -> ParameterInfo {
        ParameterInfo { name: self.name, summary: self.summary, default: self.default(), range: self.range() }
    }

    /// The complaint that `found` is not what it may be.
    pub fn wrong(&self, found: &str) -> Violation {
        let description = format!("found {found}, expected {}", self.range());
        Violation { field: format!("parameters.{}", self.name), description }
    }
}

/// Checked and complete parameters of one rule.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RuleParameters(BTreeMap<String, Value>);

impl RuleParameters {
    /// Checks what was given against what a rule takes.
    ///
    /// # Errors
    /// A complaint for each unknown name and each value out of range, under `parameters.`.
    pub fn new(takes: &[RuleParameter], given: &BTreeMap<String, Value>) -> Result<Self, Vec<Violation>> {
        let known: Vec<&str> = takes.iter().map(|parameter| parameter.name).collect();
        let unknown = given.keys().filter(|name| !known.contains(&name.as_str())).map(|name| {
            let short: String = name.chars().take(64).collect();
            let near = suggestion(name, known.iter().copied());
            let description = format!("unknown{near}, expected {}", known.join(", "));
            Violation { field: format!("parameters.{}", clino_domain::text::shown(&short)), description }
        });
        let mut violations: Vec<Violation> = unknown.collect();
        let mut all = BTreeMap::new();
        for parameter in takes {
            let value = given.get(parameter.name).cloned().unwrap_or_else(|| parameter.default());
            if !parameter.accepts(&value) {
                let mut wrong = parameter.wrong(&quoted(&serde_json::to_string(&value).unwrap_or_default()));
                if let (RuleParameterKind::Choice(words), Value::Text(word)) = (&parameter.kind, &value) {
                    wrong.description.push_str(&suggestion(word, words.iter().copied()));
                }
                violations.push(wrong);
            }
            all.insert(parameter.name.to_owned(), value);
        }
        if violations.is_empty() { Ok(Self(all)) } else { Err(violations) }
    }

    /// All of them, by name.
    pub fn all(&self) -> &BTreeMap<String, Value> {
        &self.0
    }

    /// Writes out what a rule chose itself.
    pub fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// A number; `None` where it is `auto` or `none`.
    pub fn number(&self, name: &str) -> Option<f64> {
        match self.0.get(name) {
            Some(Value::Number(x)) => Some(*x),
            _ => None,
        }
    }

    /// A number with a default.
    pub fn real(&self, name: &str) -> f64 {
        self.number(name).unwrap_or(f64::NAN)
    }

    /// A whole number.
    pub fn count(&self, name: &str) -> u64 {
        self.real(name) as u64
    }

    /// A word or a text.
    pub fn word(&self, name: &str) -> &str {
        match self.0.get(name) {
            Some(Value::Text(word)) => word,
            _ => "",
        }
    }

    /// Which way is better.
    pub fn direction(&self) -> Direction {
        if self.word(MODE.name) == "max" { Direction::Maximize } else { Direction::Minimize }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TAKES: &[RuleParameter] = &[
        RuleParameter {
            name: "n",
            summary: "",
            kind: RuleParameterKind::Count { default: 5, least: 1, most: 9 },
        },
        RuleParameter { name: "r", summary: "", kind: RuleParameterKind::Auto },
        RuleParameter { name: "b", summary: "", kind: RuleParameterKind::Bound },
        MODE,
    ];

    #[test]
    fn defaults_are_accepted_and_filled_in() {
        let all = RuleParameters::new(TAKES, &BTreeMap::new()).unwrap();
        assert_eq!((all.count("n"), all.number("r"), all.number("b")), (5, None, None));
        assert_eq!(all.direction(), Direction::Minimize);
        assert!(Direction::Minimize.better(1.0, 2.0) && !Direction::Maximize.better(1.0, 1.0));
        assert_eq!(Direction::Maximize.worsened(1.0, 0.5), 0.5);
    }

    #[test]
    fn every_wrong_one_is_named() {
        let given =
            |pairs: &[(&str, Value)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        let wrong = RuleParameters::new(
            TAKES,
            &given(&[
                ("n", Value::Number(2.5)),
                ("r", Value::Number(0.0)),
                ("b", Value::Number(f64::INFINITY)),
                ("mode", Value::Text("least".into())),
                ("m", Value::Flag(true)),
            ]),
        );
        let fields: Vec<_> = wrong.unwrap_err().into_iter().map(|v| v.field).collect();
        let expected = ["parameters.m", "parameters.n", "parameters.r", "parameters.b", "parameters.mode"];
        assert_eq!(fields, expected);
    }
}
