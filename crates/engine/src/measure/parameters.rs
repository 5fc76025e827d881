//! Parameters of measures: what may be given, what it is when it is not.
//!
//! Owns: ranges, defaults, and the check of a request. May not touch: what a parameter does.

use super::shared::draws;
use clino_domain::reading::POOLED;
use clino_domain::text::{quoted, suggestion};
use clino_domain::{Fault, FaultKind, ParameterInfo, Value, Violation};
use std::collections::BTreeMap;

/// A parameter with its default and range.
#[derive(Debug, Clone, Copy)]
pub struct MeasureParameter {
    /// As users write it.
    pub name: &'static str,
    /// Description in one sentence.
    pub summary: &'static str,
    /// Kind, default and range.
    pub kind: ParameterKind,
}

/// What a parameter may be.
#[derive(Debug, Clone, Copy)]
pub enum ParameterKind {
    /// A finite number above zero (or of at least zero) and at most `most`.
    Real {
        /// Value that is used when none is given.
        default: f64,
        /// Whether zero is allowed.
        zero: bool,
        /// Largest value that is allowed.
        most: f64,
    },
    /// A whole number in a range.
    Count {
        /// Value that is used when none is given.
        default: u32,
        /// Smallest value that is allowed.
        least: u32,
        /// Largest value that is allowed.
        most: u32,
    },
    /// One of several words; the first is the default.
    Choice(&'static [&'static str]),
    /// A switch, with its default.
    Flag(bool),
    /// The name of a probe group; empty, which is the default: the one that is measured.
    Group,
    /// Numbers above zero, in rising order.
    Ladder {
        /// Value that is used when none is given.
        default: &'static [f64],
        /// The greatest allowed number.
        most: f64,
    },
}

/// Most rungs of a ladder.
const MOST_RUNGS: usize = 64;

impl MeasureParameter {
    fn default(&self) -> Value {
        match &self.kind {
            ParameterKind::Real { default, .. } => Value::Number(*default),
            ParameterKind::Count { default, .. } => Value::Number(f64::from(*default)),
            ParameterKind::Choice(words) => Value::Text(words[0].into()),
            ParameterKind::Flag(default) => Value::Flag(*default),
            ParameterKind::Group => Value::Text(String::new()),
            ParameterKind::Ladder { default, .. } => Value::Numbers(default.to_vec()),
        }
    }

    fn range(&self) -> String {
        match &self.kind {
            ParameterKind::Real { zero: false, most, .. } => format!("a number above 0 and at most {most}"),
            ParameterKind::Real { zero: true, most, .. } => format!("a number from 0 to {most}"),
            ParameterKind::Count { least, most, .. } => format!("a whole number from {least} to {most}"),
            ParameterKind::Choice(words) => format!("one of {}", words.join(", ")),
            ParameterKind::Flag(_) => "true or false".into(),
            ParameterKind::Group => "the name of a probe group, pooled, or nothing".into(),
            ParameterKind::Ladder { most, .. } => {
                format!("1 to {MOST_RUNGS} increasing numbers above 0 and at most {most}")
            }
        }
    }

    fn accepts(&self, value: &Value, groups: &[&str]) -> bool {
        let above = |x: f64, most: f64| x > 0.0 && x <= most;
        match (&self.kind, value) {
            (ParameterKind::Real { zero, most, .. }, Value::Number(x)) => {
                above(*x, *most) || (*zero && *x == 0.0)
            }
            (ParameterKind::Count { least, most, .. }, Value::Number(x)) => {
                x.fract() == 0.0 && (f64::from(*least)..=f64::from(*most)).contains(x)
            }
            (ParameterKind::Choice(words), Value::Text(word)) => words.contains(&word.as_str()),
            (ParameterKind::Flag(_), Value::Flag(_)) => true,
            (ParameterKind::Group, Value::Text(word)) => {
                word.is_empty() || word == POOLED || groups.contains(&word.as_str())
            }
            (ParameterKind::Ladder { most, .. }, Value::Numbers(xs)) => {
                (1..=MOST_RUNGS).contains(&xs.len())
                    && xs.iter().all(|x| above(*x, *most))
                    && xs.windows(2).all(|pair| pair[0] < pair[1])
            }
            _ => false,
        }
    }

    /// What a word that is not accepted was probably meant to be.
    fn suggestion(&self, value: &Value, groups: &[&str]) -> String {
        match (&self.kind, value) {
            (ParameterKind::Choice(words), Value::Text(word)) => suggestion(word, words.iter().copied()),
            (ParameterKind::Group, Value::Text(word)) => suggestion(word, groups.iter().copied()),
            _ => String::new(),
        }
    }

    /// Its line in the catalogue.
    pub fn info(&self) -> ParameterInfo {
        ParameterInfo { name: self.name, summary: self.summary, default: self.default(), range: self.range() }
    }
}

/// Checked and complete parameters of one measure.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasureParameters(BTreeMap<String, Value>);

impl MeasureParameters {
    /// Checks what was given against what the measure takes, in a run with these probe groups.
    ///
    /// # Errors
    /// [`FaultKind::Invalid`] with a violation for each unknown name and each value out of range.
    pub fn new(
        takes: &[MeasureParameter],
        given: &BTreeMap<String, Value>,
        groups: &[&str],
    ) -> Result<Self, Fault> {
        let mut violations = Vec::new();
        let mut wrong = |name: &str, description: String| {
            violations.push(Violation { field: format!("parameters.{name}"), description });
        };
        for name in given.keys().filter(|name| !takes.iter().any(|p| p.name == name.as_str())) {
            let known: Vec<&str> = takes.iter().map(|p| p.name).collect();
            let near = suggestion(name, known.iter().copied());
            let known = if known.is_empty() { "no parameters".into() } else { known.join(", ") };
            let short: String = name.chars().take(64).collect();
            wrong(&clino_domain::text::shown(&short), format!("unknown{near}, expected {known}"));
        }
        let mut all = BTreeMap::new();
        for parameter in takes {
            let value = given.get(parameter.name).cloned().unwrap_or_else(|| parameter.default());
            // A single number is a ladder of one rung.
            let value = match (&parameter.kind, value) {
                (ParameterKind::Ladder { .. }, Value::Number(x)) => Value::Numbers(vec![x]),
                (_, value) => value,
            };
            if !parameter.accepts(&value, groups) {
                let found = quoted(&serde_json::to_string(&value).unwrap_or_default());
                let near = parameter.suggestion(&value, groups);
                wrong(parameter.name, format!("found {found}{near}, expected {}", parameter.range()));
            }
            all.insert(parameter.name.to_owned(), value);
        }
        if violations.is_empty() {
            violations.extend(draws::settle(given, &mut all));
        }
        if violations.is_empty() { Ok(Self(all)) } else { Err(Fault::of(FaultKind::Invalid, violations)) }
    }

    /// All of them, by name.
    pub fn all(&self) -> &BTreeMap<String, Value> {
        &self.0
    }

    /// A real number.
    ///
    /// # Panics
    /// When the measure did not declare it so; the same holds for the other getters.
    pub fn real(&self, name: &str) -> f64 {
        let Some(Value::Number(x)) = self.0.get(name) else { unreachable!("{name} is declared as a number") };
        *x
    }

    /// Value of a parameter that is a whole number.
    pub fn count(&self, name: &str) -> u32 {
        self.real(name) as u32
    }

    /// Value of a parameter that is a choice.
    pub fn word(&self, name: &str) -> &str {
        let Some(Value::Text(word)) = self.0.get(name) else {
            unreachable!("{name} is declared as a choice")
        };
        word
    }

    /// Value of a parameter that is a switch.
    pub fn flag(&self, name: &str) -> bool {
        let Some(Value::Flag(flag)) = self.0.get(name) else { unreachable!("{name} is declared as a flag") };
        *flag
    }

    /// Value of a parameter that is a list of increasing numbers.
    pub fn ladder(&self, name: &str) -> &[f64] {
        let Some(Value::Numbers(xs)) = self.0.get(name) else {
            unreachable!("{name} is declared as a ladder")
        };
        xs
    }
}
