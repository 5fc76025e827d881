//! Subjects: what a rule or a comparison looks at, made of one reading or of several.
//!
//! Owns: their grammar, and how values and errors are joined. May not touch: rules, where readings are kept.
//!
//! `MEASURE[.PART][@GROUP]`, where `@*` is every group but the pooled one and no `@` is the pooled group, or no group for
//! measures of the weights alone. A group whose name has more than letters, digits, space and `._:-` may be quoted, and
//! must be where it has a comma: `loss@"xlm-r/en"`; in quotes `\"` is a quote and `\\` a backslash. `mean(..)`, `min(..)`,
//! `max(..)` and `sum(..)` join several; a number and `*` before a term multiply it.

use super::reading::POOLED;
use super::text::{in_quotes, quoted, unquoted};
use super::{Outcome, Reading, SeriesPoint, SnapshotRef};
use std::fmt;
use std::str::FromStr;

/// How several values become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Join {
    /// The sum; the only one for a single term.
    Sum,
    /// Mean of the terms.
    Mean,
    /// Smallest of the terms.
    Min,
    /// Largest of the terms.
    Max,
}

const JOINS: [(Join, &str); 4] =
    [(Join::Sum, "sum"), (Join::Mean, "mean"), (Join::Min, "min"), (Join::Max, "max")];

/// One number of one reading, multiplied.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// Factor by which the value is multiplied.
    pub weight: f64,
    /// Name in the catalogue.
    pub measure: String,
    /// A number beside the principal one.
    pub part: Option<String>,
    /// `None`: pooled, or none. `*`: every group but pooled.
    pub group: Option<String>,
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// How the terms are joined.
    pub join: Join,
    /// The terms; at least one.
    pub terms: Vec<Term>,
}

/// Every group but the pooled one.
pub const EVERY_GROUP: &str = "*";

/// What no group may be called, because it means something of its own.
pub const RESERVED_GROUPS: [(&str, &str); 2] =
    [(POOLED, "all groups together"), (EVERY_GROUP, "every group but the pooled one")];

/// Longest text of a subject, in bytes.
pub const MAX_SUBJECT: usize = 4_096;

/// Between a measure and a group.
const GROUP: char = '@';

impl Subject {
    /// Its value on one snapshot: not a number where a reading is missing or has none; `non_finite` where one was not
    /// finite. Errors of different readings are taken for independent; of `min` and `max` it is that of the chosen one.
    pub fn observe(&self, at: SnapshotRef, readings: &[&Reading]) -> SeriesPoint {
        let mut found: Vec<(f64, Option<f64>)> = Vec::new();
        let mut point = SeriesPoint { at, value: f64::NAN, stderr: None, non_finite: false };
        let mut whole = true;
        for term in &self.terms {
            let before = found.len();
            for reading in readings.iter().filter(|reading| term.is_of(reading)) {
                let (value, stderr) = term.number(reading);
                point.non_finite |= reading.outcome == Outcome::Undefined
                    || reading.outcome == Outcome::Measured && value.is_some_and(|value| !value.is_finite());
                match value.filter(|value| value.is_finite()) {
                    Some(value) => found.push((term.weight * value, stderr.map(|e| (term.weight * e).abs()))),
                    None => whole = false,
                }
            }
            whole &= found.len() > before;
        }
        if whole {
            (point.value, point.stderr) = self.join.of(&found);
        }
        point
    }
}

impl Join {
    fn of(self, found: &[(f64, Option<f64>)]) -> (f64, Option<f64>) {
        let total = || {
            let value = found.iter().map(|(value, _)| value).sum::<f64>();
            let known = found.iter().any(|(_, stderr)| stderr.is_some());
            let squares = found.iter().filter_map(|(_, stderr)| *stderr).map(|e| e * e).sum::<f64>();
            (value, known.then(|| squares.sqrt()))
        };
        let chosen = |better: fn(f64, f64) -> bool| {
            let first = found.first().copied().unwrap_or((f64::NAN, None));
            found.iter().fold(first, |best, next| if better(next.0, best.0) { *next } else { best })
        };
        match self {
            Self::Sum => total(),
            Self::Mean => {
                let n = found.len() as f64;
                let (value, stderr) = total();
                (value / n, stderr.map(|e| e / n))
            }
            Self::Min => chosen(|a, b| a < b),
            Self::Max => chosen(|a, b| a > b),
        }
    }
}

impl Term {
    fn is_of(&self, reading: &Reading) -> bool {
        let group = reading.group.as_deref();
        self.measure == reading.measure
            && match self.group.as_deref() {
                None => group.is_none_or(|group| group == POOLED),
                Some(EVERY_GROUP) => group.is_some_and(|group| group != POOLED),
                some => group == some,
            }
    }

    fn number(&self, reading: &Reading) -> (Option<f64>, Option<f64>) {
        if reading.outcome != Outcome::Measured {
            return (None, None);
        }
        match &self.part {
            None => (reading.value, reading.estimate.and_then(|estimate| estimate.stderr)),
            Some(name) => {
                let part = reading.parts.iter().find(|part| part.name == *name);
                (part.and_then(|part| part.value), None)
            }
        }
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let call = text.strip_suffix(')').and_then(|head| head.split_once('('));
        // A group may have parentheses in its name.
        let call = call.filter(|(name, _)| !name.contains(GROUP));
        let (join, inner) = match call {
            None => (Join::Sum, text),
            Some((name, inner)) => {
                let entry = JOINS.iter().find(|(_, known)| *known == name.trim());
                let (join, _) = entry.ok_or_else(|| {
                    format!("found {}, expected mean(..), min(..), max(..) or sum(..)", quoted(text))
                })?;
                (*join, inner)
            }
        };
        let terms = pieces(inner).into_iter().map(str::parse).collect::<Result<Vec<Term>, _>>()?;
        if call.is_none() && terms.len() > 1 {
            return Err(
                "found several readings, expected mean(..), min(..), max(..) or sum(..) around them, or \
                        quotes around a group that has a comma in its name: loss@\"a,b\""
                    .into(),
            );
        }
        if call.is_none() && terms.iter().any(|term| term.group.as_deref() == Some(EVERY_GROUP)) {
            return Err("found @*, expected mean(..), min(..), max(..) or sum(..) around it".into());
        }
        Ok(Self { join, terms })
    }
}

/// A text at its commas, but for those within the quotes of a group.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut begin = 0;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let next = at + c.len_utf8();
        at = match c {
            GROUP => unquoted(&text[next..]).map_or(next, |(_, rest)| text.len() - rest.len()),
            _ => next,
        };
        if c == ',' {
            pieces.push(&text[begin..next - 1]);
            begin = next;
        }
    }
    pieces.push(&text[begin..]);
    pieces
}

/// The name of a group, with or without quotes.
fn group(text: &str) -> Option<String> {
    let name = match (text.starts_with('"'), unquoted(text)) {
        (true, Some((name, ""))) => name,
        (true, _) => return None,
        (false, _) => text.to_owned(),
    };
    Some(name).filter(|name| !name.is_empty())
}

/// Whether a name of a group needs no quotes.
fn is_plain(group: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || " ._:-".contains(c);
    group == EVERY_GROUP
        || group.starts_with(char::is_alphanumeric) && group.chars().all(plain) && !group.ends_with(' ')
}

impl FromStr for Term {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (head, named) = match text.split_once(GROUP) {
            None => (text, None),
            Some((head, name)) => (head, Some(group(name).ok_or_else(|| malformed(text))?)),
        };
        let (weight, name) = match head.split_once('*') {
            None => (1.0, head),
            Some((number, name)) => {
                let weight = number.trim().parse::<f64>().ok().filter(|weight| weight.is_finite());
                (
                    weight.ok_or_else(|| format!("found {}, expected a number before *", quoted(number)))?,
                    name.trim(),
                )
            }
        };
        let (measure, part) = name.split_once('.').map_or((name, None), |(name, part)| (name, Some(part)));
        let word = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_');
        if !word(measure) || part.is_some_and(str::is_empty) {
            return Err(malformed(text));
        }
        Ok(Self { weight, measure: measure.into(), part: part.map(Into::into), group: named })
    }
}

fn malformed(text: &str) -> String {
    let expected =
        "MEASURE[.PART][@GROUP] such as loss@de, or loss@\"xlm-r/en\" for a group with other characters";
    format!("found {}, expected {expected}", quoted(text))
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.weight != 1.0 {
            write!(f, "{}*", self.weight)?;
        }
        write!(f, "{}", self.measure)?;
        if let Some(part) = &self.part {
            write!(f, ".{part}")?;
        }
        match &self.group {
            None => Ok(()),
            Some(name) if is_plain(name) => write!(f, "{GROUP}{name}"),
            Some(name) => write!(f, "{GROUP}{}", in_quotes(name)),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = JOINS.iter().find(|(join, _)| *join == self.join).map_or("sum", |(_, name)| name);
        let terms: Vec<_> = self.terms.iter().map(Term::to_string).collect();
        match &terms[..] {
            [one] if self.join == Join::Sum && self.terms[0].group.as_deref() != Some(EVERY_GROUP) => {
                f.write_str(one)
            }
            _ => write!(f, "{name}({})", terms.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Estimate, MeasureRequest, Precision};

    const AT: SnapshotRef = SnapshotRef { step: 3, attempt: 1 };

    fn reading(group: Option<&str>, value: f64, stderr: Option<f64>) -> Reading {
        let measure = MeasureRequest { name: "loss".into(), parameters: Default::default() };
        let mut reading = Reading::blank(measure, group, AT, Precision::F64);
        reading.value = Some(value);
        reading.estimate = stderr.map(|e| Estimate { mean: value, stderr: Some(e), min: value, max: value });
        reading
    }

    fn observed(subject: &str, readings: &[Reading]) -> SeriesPoint {
        subject.parse::<Subject>().unwrap().observe(AT, &readings.iter().collect::<Vec<_>>())
    }

    #[test]
    fn texts_come_back() {
        for text in
            ["loss", "loss@de", "sam.rise@en", "mean(loss@*)", "sum(loss@de, -1*loss@en)", "max(a@x, b)"]
        {
            assert_eq!(text.parse::<Subject>().unwrap().to_string(), text);
        }
        for bad in
            ["", "loss@", "@de", "loss@*", "loss, margin", "median(loss)", "x*loss", "loss.", "mean()", "a b"]
        {
            assert!(bad.parse::<Subject>().is_err(), "{bad}");
        }
    }

    #[test]
    fn groups_of_any_name_come_back() {
        let names = [
            "xlm-r/en",
            "a=b",
            "a+b",
            "#7",
            "(x)",
            "a,b",
            "a \"q\"",
            "back\\slash",
            "a@b",
            "日本",
            " padded ",
            "-x",
            "x)",
            "a*b",
            "\\",
            "\"",
        ];
        for name in names {
            let term = |weight| Term {
                weight,
                measure: "loss".into(),
                part: Some("p".into()),
                group: Some(name.into()),
            };
            let one = Subject { join: Join::Sum, terms: vec![term(1.0)] };
            let two = Subject { join: Join::Max, terms: vec![term(1.0), term(-2.0)] };
            for subject in [one, two] {
                let text = subject.to_string();
                assert_eq!(text.parse::<Subject>(), Ok(subject), "{text}");
            }
        }
        // Quotes may be left out where nothing can be mistaken.
        for (text, name) in [
            ("loss@xlm-r/en", "xlm-r/en"),
            ("loss@a(b)", "a(b)"),
            ("loss@a*b", "a*b"),
            ("mean(loss@a(b))", "a(b)"),
            ("loss@\"de\"", "de"),
        ] {
            assert_eq!(text.parse::<Subject>().unwrap().terms[0].group.as_deref(), Some(name), "{text}");
        }
        assert_eq!("loss@\"xlm-r/en\"".parse::<Subject>().unwrap().to_string(), "loss@\"xlm-r/en\"");
        for bad in
            ["loss@\"\"", "loss@\"a", "loss@\"a\"b", "loss@\"a\\\"", "loss@\"a,b", "loss@a,b", "loss@\"*\""]
        {
            assert!(bad.parse::<Subject>().is_err(), "{bad}");
        }
    }

    #[test]
    fn values_and_errors_are_joined() {
        let all = [
            reading(Some("en"), 1.0, Some(0.3)),
            reading(Some("de"), 3.0, Some(0.4)),
            reading(Some(POOLED), 2.5, None),
        ];
        let point = observed("mean(loss@*)", &all);
        assert_eq!((point.value, point.stderr), (2.0, Some(0.25)));
        assert_eq!(observed("loss", &all).value, 2.5);
        let gap = observed("sum(loss@de, -1*loss@en)", &all);
        assert_eq!((gap.value, gap.stderr), (2.0, Some(0.5)));
        assert_eq!(observed("max(loss@*)", &all).stderr, Some(0.4));
    }

    #[test]
    fn what_is_missing_or_not_finite_has_no_value() {
        let all = [reading(Some("en"), 1.0, None), reading(Some("de"), f64::NAN, None)];
        assert!(observed("loss@fr", &all).value.is_nan());
        assert!(!observed("loss@fr", &all).non_finite);
        let point = observed("mean(loss@*)", &all);
        assert!(point.value.is_nan() && point.non_finite);
        let mut failed = reading(Some("en"), 1.0, None);
        (failed.outcome, failed.value) = (Outcome::Failed, None);
        let point = observed("loss@en", &[failed]);
        assert!(point.value.is_nan() && !point.non_finite);
    }
}
