//! Arguments that commands on many runs share: which runs, and in which form.
//!
//! Owns: their grammar. May not touch: which runs there are.

use super::arguments::named;
use clap::{Args, ValueEnum};
use clino_domain::{RunFilter, Subject};
use std::collections::BTreeMap;

/// Which runs; all by default.
#[derive(Debug, Clone, Default, Args)]
pub struct Selection {
    /// Only runs of this project.
    #[arg(long)]
    project: Option<String>,
    /// Only runs of this experiment.
    #[arg(long)]
    experiment: Option<String>,
    /// Only runs with this tag. May be repeated: then runs with all of the tags.
    #[arg(long = "tag", value_name = "NAME=TEXT", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// Only runs that are open.
    #[arg(long)]
    open: bool,
}

impl Selection {
    /// What is said where there is no run.
    pub fn none(&self) -> &'static str {
        match self.filter() == RunFilter::default() {
            true => "no runs yet: a trainer opens one, or `clino open` does\n",
            false => "no run fits --project, --experiment, --tag and --open\n",
        }
    }

    /// What is asked of a daemon.
    pub fn filter(&self) -> RunFilter {
        RunFilter {
            project: self.project.clone(),
            experiment: self.experiment.clone(),
            tags: self.tags.iter().cloned().collect::<BTreeMap<_, _>>(),
            open: self.open,
        }
    }
}

/// Output format of runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RunsFormat {
    /// A table for people
    Table,
    /// One JSON object per line, for scripts
    Json,
}

/// `NAME=TEXT`, where a name with `=` in it is quoted.
///
/// # Errors
/// A sentence that says what was found and what was expected.
pub fn tag(text: &str) -> Result<(String, String), String> {
    match named(text)? {
        Some((name, text)) if !name.is_empty() => Ok((name, text.into())),
        _ => Err("expected NAME=TEXT".into()),
    }
}

/// A subject of which the principal number of each reading is enough: that is what a daemon tells of all its runs.
///
/// # Errors
/// A sentence that says what was found and what was expected.
pub fn principal(text: &str) -> Result<Subject, String> {
    let subject: Subject = text.parse()?;
    match subject.terms.iter().find_map(|term| term.part.as_ref()) {
        None => Ok(subject),
        Some(part) => Err(format!("found .{part}, expected a measure without a part")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_have_a_name() {
        assert_eq!(tag("lr=1e-3"), Ok(("lr".into(), "1e-3".into())));
        assert_eq!(tag("note=a=b"), Ok(("note".into(), "a=b".into())));
        assert_eq!(tag("note="), Ok(("note".into(), String::new())));
        assert_eq!(tag("\"a=b\"=c"), Ok(("a=b".into(), "c".into())));
        assert!(tag("lr").is_err() && tag("=x").is_err() && tag("\"a\"b").is_err());
    }

    #[test]
    fn parts_are_not_shown() {
        assert!(principal("mean(loss@*)").is_ok() && principal("margin@de").is_ok());
        assert!(principal("sam.rise@en").expect_err("a part").contains(".rise"));
        assert!(principal("loss@").is_err());
    }
}
