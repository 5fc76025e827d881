//! A strict reader of OpenMetrics text: what it does not know it refuses.

use std::collections::{BTreeMap, BTreeSet};

/// One line with a number.
#[derive(Debug, Clone, PartialEq)]
pub struct ParsedSample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// All lines of an exposition.
#[derive(Debug)]
pub struct ParsedExposition(pub Vec<ParsedSample>);

impl ParsedExposition {
    /// # Panics
    /// When the text is no OpenMetrics.
    pub fn parse(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("it ends with # EOF");
        let (mut samples, mut families) = (Vec::new(), BTreeSet::new());
        let mut current: Option<ParsedFamily> = None;
        for line in body.lines() {
            assert!(!line.is_empty() && line.trim() == line, "{line:?}");
            if let Some(comment) = line.strip_prefix("# ") {
                let (word, rest) = comment.split_once(' ').expect(line);
                let (name, text) = rest.split_once(' ').expect(line);
                match word {
                    "HELP" => {
                        assert!(families.insert(name.to_owned()), "{name} comes twice");
                        if let Some(family) = current.replace(ParsedFamily::new(name)) {
                            family.close();
                        }
                        assert!(!text.is_empty(), "{line}");
                    }
                    "TYPE" => current.as_mut().expect(line).kind(name, text),
                    "UNIT" => assert!(name.ends_with(&format!("_{text}")), "{line}"),
                    _ => panic!("{line}"),
                }
                continue;
            }
            let sample = ParsedSample::parse(line);
            current.as_mut().expect(line).take(&sample);
            samples.push(sample);
        }
        current.expect("a family").close();
        Self(samples)
    }

    /// The value of a sample whose labels include these.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |s: &&ParsedSample| {
            s.name == name && labels.iter().all(|(k, v)| s.labels.get(*k).is_some_and(|found| found == v))
        };
        let found: Vec<_> = self.0.iter().filter(fits).collect();
        assert_eq!(found.len(), 1, "{name} {labels:?}: {found:?}");
        found[0].value
    }

    pub fn all(&self, name: &str) -> Vec<&ParsedSample> {
        self.0.iter().filter(|sample| sample.name == name).collect()
    }
}

impl ParsedSample {
    fn parse(line: &str) -> Self {
        let (head, value) = line.rsplit_once(' ').expect(line);
        let value = value.parse().expect(line);
        let Some((name, rest)) = head.split_once('{') else {
            assert!(is_name(head), "{line}");
            return Self { name: head.to_owned(), labels: BTreeMap::new(), value };
        };
        assert!(is_name(name), "{line}");
        let mut rest = rest.strip_suffix('}').expect(line);
        let mut labels = BTreeMap::new();
        while !rest.is_empty() {
            let (label, quoted) = rest.split_once("=\"").expect(line);
            assert!(is_name(label), "{line}");
            let (text, end) = unquote(quoted);
            assert!(labels.insert(label.to_owned(), text).is_none(), "{line}");
            rest = &quoted[end..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        Self { name: name.to_owned(), labels, value }
    }
}

fn is_name(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// The text up to the closing quote, and where that ends.
fn unquote(quoted: &str) -> (String, usize) {
    let (mut text, mut chars) = (String::new(), quoted.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (text, at + 1),
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => text.push('\n'),
                Some(c @ ('"' | '\\')) => text.push(c),
                other => panic!("\\{other:?}"),
            },
            '\n' => panic!("a bare line break"),
            c => text.push(c),
        }
    }
    panic!("no closing quote in {quoted}");
}

/// A family while its lines come.
struct ParsedFamily {
    name: String,
    kind: String,
    seen: BTreeSet<String>,
    /// Of a histogram: bounds and counts by the other labels, and the count.
    buckets: BTreeMap<String, Vec<(f64, f64)>>,
    counts: BTreeMap<String, f64>,
}

impl ParsedFamily {
    fn new(name: &str) -> Self {
        let (kind, seen) = (String::new(), BTreeSet::new());
        Self { name: name.to_owned(), kind, seen, buckets: BTreeMap::new(), counts: BTreeMap::new() }
    }

    fn kind(&mut self, name: &str, kind: &str) {
        assert_eq!(self.name, name);
        assert!(["counter", "gauge", "histogram"].contains(&kind), "{name} is a {kind}");
        self.kind = kind.to_owned();
    }

    fn take(&mut self, sample: &ParsedSample) {
        assert!(self.seen.insert(format!("{}{:?}", sample.name, sample.labels)), "{sample:?} comes twice");
        let suffix =
            sample.name.strip_prefix(&self.name).unwrap_or_else(|| panic!("{sample:?} in {}", self.name));
        let mut others = sample.labels.clone();
        let bound = others.remove("le");
        let others = format!("{others:?}");
        match (self.kind.as_str(), suffix) {
            ("counter", "_total") => assert!(sample.value >= 0.0 && bound.is_none(), "{sample:?}"),
            ("gauge", "") | ("histogram", "_sum") => {}
            ("histogram", "_count") => drop(self.counts.insert(others, sample.value)),
            ("histogram", "_bucket") => {
                let bound = bound.expect("a bound").parse().expect("a number");
                self.buckets.entry(others).or_default().push((bound, sample.value));
            }
            _ => panic!("{sample:?} is no sample of a {}", self.kind),
        }
    }

    fn close(self) {
        assert_eq!(self.buckets.len(), self.counts.len(), "{}", self.name);
        for (labels, buckets) in self.buckets {
            assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{} {buckets:?}", self.name);
            assert_eq!(
                buckets.last().expect("a bucket"),
                &(f64::INFINITY, self.counts[&labels]),
                "{}",
                self.name
            );
        }
    }
}
