//! Which run is meant: by its id, the beginning of its id, its name, or as the latest.
//!
//! Owns: how a run is named on the command line. May not touch: what is done with it.

use super::words::{count, without_ellipsis};
use clino_client::Client;
use clino_domain::text::{quoted, shown};
use clino_domain::{Fault, FaultKind, RunFilter, RunId, RunSummary};
use uuid::Uuid;

/// The run that was opened last.
pub const LATEST: &str = "latest";
/// Most candidates that are listed.
const LISTED: usize = 10;
/// Characters of an id.
const WHOLE: usize = 36;

/// A run of a daemon. A complete id is used without asking, because a client that may only push may not list runs.
///
/// # Errors
/// Those of [`choose`], and what the daemon answers.
pub async fn run(client: &Client, text: &str) -> Result<RunId, Fault> {
    match whole(text) {
        Some(id) => Ok(id),
        None => choose(text, &client.runs(&RunFilter::default()).await?, "`clino runs`"),
    }
}

fn whole(text: &str) -> Option<RunId> {
    let id = Uuid::try_parse(text).ok().filter(|_| text.len() == WHOLE)?;
    Some(RunId(id.to_string()))
}

/// The one of some runs that is meant; `list` is what lists them.
///
/// # Errors
/// [`FaultKind::NotFound`] naming what lists them, [`FaultKind::Invalid`] with the candidates where several are meant.
pub fn choose(text: &str, runs: &[RunSummary], list: &str) -> Result<RunId, Fault> {
    if text == LATEST {
        let latest =
            runs.iter().max_by(|a, b| a.opened_at.total_cmp(&b.opened_at).then_with(|| a.run.cmp(&b.run)));
        let none = || Fault::field(FaultKind::NotFound, "run", "found no run: `clino open` opens one");
        return latest.map(|run| run.run.clone()).ok_or_else(none);
    }
    let beginning = without_ellipsis(text).to_lowercase();
    let is_meant = |run: &&RunSummary| {
        run.name == text || !beginning.is_empty() && run.run.0.to_lowercase().starts_with(&beginning)
    };
    let meant: Vec<&RunSummary> = runs.iter().filter(is_meant).collect();
    match meant[..] {
        [one] => Ok(one.run.clone()),
        [] => {
            let expected = "an id, the beginning of one, a name, or latest";
            let description = format!("found {}, expected {expected}: {list} lists the runs", quoted(text));
            Err(Fault::field(FaultKind::NotFound, "run", description))
        }
        _ => Err(Fault::invalid("run", ambiguous(text, &meant))),
    }
}

fn ambiguous(text: &str, meant: &[&RunSummary]) -> String {
    let mut all = format!(
        "found {}, which matches {}; give more of the id:",
        quoted(text),
        count(meant.len() as u64, "run")
    );
    for run in meant.iter().take(LISTED) {
        let state = format!("{}, step {}", super::row::state(run), super::row::step(run));
        all += &format!("\n  {}  {}  ({state})", shown(&run.run.0), shown(&run.name));
    }
    if meant.len() > LISTED {
        all += &format!("\n  and {} more", meant.len() - LISTED);
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cli::view::tests::run as blank;

    fn runs() -> Vec<RunSummary> {
        let run = |id: &str, name: &str, opened_at: f64| RunSummary {
            run: RunId(id.into()),
            name: name.into(),
            opened_at,
            ..blank(vec![])
        };
        vec![
            run("01a213d0-4951-773d-9a61-3c0d79eafbf6", "lr 1e-3", 30.0),
            run("01a213d0-4991-721c-b9d5-486275661a1f", "lr 1e-4", 20.0),
            run("01b00000-0000-7000-8000-000000000000", "lr 1e-4", 10.0),
            run("01c00000-0000-7000-8000-000000000000", "01a213d0-499", 5.0),
        ]
    }

    fn chosen(text: &str) -> Result<String, Fault> {
        choose(text, &runs(), "`clino runs`").map(|run| run.0[..13].to_owned())
    }

    #[test]
    fn ids_beginnings_names_and_the_latest_are_found() {
        for text in
            ["01a213d0-4951-773d-9a61-3c0d79eafbf6", "01a213d0-495", "01A213D0-495…", "lr 1e-3", "latest"]
        {
            assert_eq!(chosen(text).unwrap(), "01a213d0-4951", "{text}");
        }
        assert_eq!(chosen("01b").unwrap(), "01b00000-0000");
    }

    #[test]
    fn what_may_be_several_runs_lists_them() {
        for (text, candidates) in [
            ("01a213d0", ["01a213d0-4951", "01a213d0-4991"]),
            ("lr 1e-4", ["01a213d0-4991", "01b00000-0000"]),
            // The name of one is the beginning of the other.
            ("01a213d0-499", ["01a213d0-4991", "01c00000-0000"]),
        ] {
            let fault = chosen(text).unwrap_err();
            assert_eq!(fault.kind, FaultKind::Invalid);
            assert!(candidates.iter().all(|candidate| fault.message.contains(candidate)), "{fault}");
            assert!(fault.message.contains("2 runs"), "{fault}");
        }
    }

    #[test]
    fn what_is_not_found_says_what_lists_the_runs() {
        for text in ["", "…", "nobody", "99", "lr 1e-"] {
            let fault = chosen(text).unwrap_err();
            assert_eq!(fault.kind, FaultKind::NotFound, "{text}");
            assert!(fault.message.contains("`clino runs` lists"), "{fault}");
        }
        let fault = choose(LATEST, &[], "`clino runs`").unwrap_err();
        assert!(fault.message.contains("`clino open`"), "{fault}");
    }

    #[test]
    fn a_whole_id_is_not_looked_up() {
        assert_eq!(
            whole("01A213D0-4951-773d-9a61-3c0d79eafbf6").unwrap().0,
            "01a213d0-4951-773d-9a61-3c0d79eafbf6"
        );
        assert!(whole("01a213d04951773d9a613c0d79eafbf6").is_none() && whole("latest").is_none());
    }
}
