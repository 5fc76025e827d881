//! Files with policies.
//!
//! Owns: which of TOML and JSON a file is. May not touch: rules, which check what was read.

use super::given;
use clino_domain::{Fault, Policy};
use std::path::Path;

/// Reads a policy; a file that ends in `.json` is JSON, any other TOML.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] naming the file, with the place in it.
pub fn load(path: &Path) -> Result<Policy, Fault> {
    let wrong = |error: String| Fault::invalid(path.display().to_string(), error.trim_end().to_owned());
    let text = given::text(path)?;
    match path.extension() {
        Some(end) if end == "json" => serde_json::from_str(&text).map_err(|error| wrong(error.to_string())),
        _ => toml::from_str(&text).map_err(|error| wrong(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clino_domain::{Mode, Value};

    fn written(name: &str, text: &str) -> Result<Policy, Fault> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        load(&path)
    }

    #[test]
    fn both_forms_say_the_same() {
        let toml = "mode = \"enforce\"\n[[rules]]\nname = \"patience\"\non = \"loss@de\"\n\
                    parameters = { patience = 5, min_delta = 0.01, mode = \"min\" }\n";
        let json = r#"{"mode": "enforce", "rules": [{"name": "patience", "on": "loss@de",
                    "parameters": {"patience": 5, "min_delta": 0.01, "mode": "min"}}]}"#;
        let policy = written("p.toml", toml).unwrap();
        assert_eq!(policy, written("p.json", json).unwrap());
        assert_eq!(policy.mode, Mode::Enforce);
        assert_eq!(policy.rules[0].parameters["patience"], Value::Number(5.0));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let fault = written("p.toml", "[[rules]]\nname = \"patience\"\nof = \"loss\"\n").unwrap_err();
        assert!(fault.message.contains("p.toml") && fault.message.contains("of"), "{fault}");
        let fault = written("p.json", "{\"rules\": [],}").unwrap_err();
        assert!(fault.message.contains("line 1"), "{fault}");
        assert!(load(Path::new("no such file.toml")).is_err());
    }
}
