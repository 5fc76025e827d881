//! Policies in files: .toml, or .json.
//!
//! Owns: their form. May not touch: what a rule means (the daemon says so).

use crate::domain::{Fault, Policy};
use std::path::Path;

/// Largest file, in bytes: 64 rules take far less.
const LARGEST: u64 = 1 << 20;

/// Reads a policy.
///
/// # Errors
/// [`crate::domain::FaultKind::Invalid`] naming the file.
pub fn load(path: &Path) -> Result<Policy, Fault> {
    let wrong = |why: String| Fault::invalid(path.display().to_string(), why);
    let size = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if size > LARGEST {
        return Err(wrong(format!("found {size} bytes, expected a policy of at most {LARGEST}")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    match path.extension().and_then(|end| end.to_str()) {
        Some("toml") => toml::from_str(&text).map_err(|error| wrong(error.to_string())),
        Some("json") => serde_json::from_str(&text).map_err(|error| wrong(error.to_string())),
        _ => Err(wrong("found another kind of file, expected .toml or .json".into())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::{Mode, Value};

    const TOML: &str = "mode = \"enforce\"\n[[rules]]\nname = \"patience\"\non = \"loss@de\"\n\
        parameters = { patience = 5, min_delta = 1e-3 }\n[[rules]]\nname = \"non_finite\"\non = \"loss\"\n";
    const JSON: &str = r#"{"mode": "enforce", "rules": [
        {"name": "patience", "on": "loss@de", "parameters": {"patience": 5, "min_delta": 0.001}},
        {"name": "non_finite", "on": "loss"}]}"#;

    fn loaded(name: &str, text: &str) -> Result<Policy, Fault> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        load(&path)
    }

    #[test]
    fn both_forms_say_the_same() {
        let policy = loaded("p.toml", TOML).unwrap();
        assert_eq!(policy, loaded("p.json", JSON).unwrap());
        assert_eq!((policy.mode, policy.rules.len()), (Mode::Enforce, 2));
        assert_eq!(policy.rules[0].parameters["patience"], Value::Number(5.0));
        assert_eq!(policy.rules[0].parameters["min_delta"], Value::Number(0.001));
    }

    #[test]
    fn what_is_no_policy_is_refused_with_the_name_of_its_file() {
        let large = format!("# {}", "x".repeat(1 << 20));
        let cases = [
            ("p.toml", "rules = 3"),
            ("p.json", "{}"),
            ("p.json", r#"{"rules": [], "mood": "good"}"#),
            ("p.yaml", "rules: []"),
            ("p.toml", large.as_str()),
        ];
        for (name, text) in cases {
            assert!(loaded(name, text).unwrap_err().violations[0].field.ends_with(name), "{name} {text:.40}");
        }
        assert!(load(Path::new("/nowhere/p.toml")).is_err());
    }
}
