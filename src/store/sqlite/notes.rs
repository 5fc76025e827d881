//! What goes wrong in the folder of the history, some of it before anybody counts.
//!
//! Owns: what was noted before the store was started. May not touch: what happens to the files.

use super::lock;
use clino_domain::counters::Counters;
use clino_domain::incident::Incident;
use std::sync::{Arc, Mutex, OnceLock};

/// Most that is remembered until somebody counts.
const EARLY: usize = 64;

/// Notes incidents, and keeps those that come before there are counters.
#[derive(Debug, Default)]
pub(super) struct Notes {
    counters: OnceLock<Arc<Counters>>,
    early: Mutex<Vec<(Incident, String)>>,
}

impl Notes {
    /// Something happened; returns its code, for the log.
    #[must_use = "what is noted is logged under its code as well"]
    pub fn note(&self, incident: Incident, detail: &str) -> &'static str {
        if let Some(counters) = self.counters.get() {
            return counters.note(incident, detail);
        }
        let mut early = lock(&self.early);
        if early.len() < EARLY {
            early.push((incident, detail.to_owned()));
        }
        incident.code()
    }

    /// From now on it is counted there, with what came before.
    pub fn begin(&self, counters: &Arc<Counters>) {
        let _ = self.counters.set(counters.clone());
        // They were logged when they happened.
        for (incident, detail) in lock(&self.early).drain(..) {
            let _ = counters.note(incident, &detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_early_is_counted_later() {
        let notes = Notes::default();
        assert_eq!(notes.note(Incident::HistoryDamaged, "torn"), "C507");
        let counters = Arc::new(Counters::default());
        notes.begin(&counters);
        assert_eq!(notes.note(Incident::FilesExposed, ""), "C509");
        let noted = counters.noted();
        let told: Vec<_> =
            noted.iter().map(|noted| (noted.incident, noted.count, noted.last.as_str())).collect();
        assert_eq!(told, [(Incident::HistoryDamaged, 1, "torn"), (Incident::FilesExposed, 1, "")]);
    }
}
