//! Scopes, and in which projects somebody has them.
//!
//! Owns: what implies what. May not touch: who somebody is.

use serde::Deserialize;
use std::collections::BTreeMap;

/// What somebody may do in a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Open runs, send snapshots and probes, close runs.
    Push,
    /// See runs, readings and decisions. Implies [`Scope::Decide`]: someone who sees all readings can derive the decisions.
    Read,
    /// Ask for decisions, and see nothing else.
    Decide,
    /// Override decisions. Implies all others.
    Admin,
}

/// All of them with their names.
pub(super) const SCOPES: [(Scope, &str); 4] =
    [(Scope::Push, "push"), (Scope::Read, "read"), (Scope::Decide, "decide"), (Scope::Admin, "admin")];

impl Scope {
    /// As it stands in the tokens file.
    pub fn name(self) -> &'static str {
        SCOPES.iter().find(|(scope, _)| *scope == self).map_or("", |(_, name)| name)
    }

    fn implies(self, other: Self) -> bool {
        self == other || self == Self::Admin || (self, other) == (Self::Read, Self::Decide)
    }
}

impl std::str::FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = SCOPES.iter().find(|(_, name)| *name == text);
        found
            .map(|(scope, _)| *scope)
            .ok_or_else(|| format!("found {text:?}, expected push, read, decide or admin"))
    }
}

/// The line of all projects that have none of their own.
pub(super) const EVERY_PROJECT: &str = "*";

/// Scopes by project. A project's own line counts alone; that of `*` is for projects that have none, so that a line
/// without scopes keeps one project out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants(BTreeMap<String, Vec<Scope>>);

impl Grants {
    /// What is in a tokens file.
    pub fn new(projects: BTreeMap<String, Vec<Scope>>) -> Self {
        Self(projects)
    }

    /// Everything in every project.
    pub fn everything() -> Self {
        Self(BTreeMap::from([(EVERY_PROJECT.into(), vec![Scope::Admin])]))
    }

    /// Whether they hold `scope` in a project.
    pub fn allow(&self, project: &str, scope: Scope) -> bool {
        let line = self.0.get(project).or_else(|| self.0.get(EVERY_PROJECT));
        line.is_some_and(|line| line.iter().any(|held| held.implies(scope)))
    }

    /// Whether they hold `scope` anywhere.
    pub fn any(&self, scope: Scope) -> bool {
        self.0.values().flatten().any(|held| held.implies(scope))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(lines: &[(&str, &[Scope])]) -> Grants {
        Grants::new(lines.iter().map(|(project, scopes)| ((*project).into(), scopes.to_vec())).collect())
    }

    #[test]
    fn the_line_of_a_project_goes_before_that_of_all() {
        let some = grants(&[("vision", &[Scope::Push]), ("secret", &[]), ("*", &[Scope::Read])]);
        assert!(some.allow("vision", Scope::Push) && !some.allow("vision", Scope::Read));
        assert!(some.allow("text", Scope::Read) && !some.allow("text", Scope::Push));
        assert!(!some.allow("secret", Scope::Read));
        assert!(some.any(Scope::Push) && !some.any(Scope::Admin));
    }

    #[test]
    fn a_project_named_like_the_star_gets_no_more_than_the_star() {
        assert!(!grants(&[("a", &[Scope::Push])]).allow("*", Scope::Push));
    }

    #[test]
    fn read_implies_decide_and_admin_everything_and_nothing_else_anything() {
        for (held, _) in SCOPES {
            for (asked, _) in SCOPES {
                let expected =
                    held == asked || held == Scope::Admin || (held, asked) == (Scope::Read, Scope::Decide);
                assert_eq!(grants(&[("a", &[held])]).allow("a", asked), expected, "{held:?} {asked:?}");
            }
        }
    }
}
