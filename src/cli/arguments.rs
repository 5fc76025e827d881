//! Arguments that several commands share: measures with parameters, named probe files.
//!
//! Owns: their grammar. May not touch: the catalogue, which checks what was parsed.

use clap::ValueEnum;
use clino_domain::text::{quoted, unquoted};
use clino_domain::{MeasureRequest, Precision, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Group of a probe that was given without a group.
pub const UNNAMED_GROUP: &str = "probe";

/// Precision, as it is typed on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PrecisionName {
    /// f64 up to 1,048,576 parameters, f32 above
    Auto,
    /// Single precision
    F32,
    /// Double precision
    F64,
}

impl From<PrecisionName> for Precision {
    fn from(name: PrecisionName) -> Self {
        match name {
            PrecisionName::Auto => Self::Auto,
            PrecisionName::F32 => Self::F32,
            PrecisionName::F64 => Self::F64,
        }
    }
}

/// `NAME[:key=value,…]`. A piece without `=` continues the list of the key before it:
/// `sharpness_profile:alphas=.0005,.001,draws=2`.
///
/// # Errors
/// A sentence that says what was found and what was expected.
pub fn measure(text: &str) -> Result<MeasureRequest, String> {
    let (name, rest) = text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
    if name.is_empty() {
        return Err("expected NAME or NAME:key=value,…".into());
    }
    if name.contains(',') {
        let several = name.replace(',', " ");
        return Err(format!("found {name:?}, expected one measure: separate several by spaces, {several}"));
    }
    let mut parameters: BTreeMap<String, Value> = BTreeMap::new();
    let mut last: Option<String> = None;
    for piece in rest.into_iter().flat_map(|rest| rest.split(',')) {
        match (piece.split_once('='), &last) {
            (Some((key, _)), _) if parameters.contains_key(key) => {
                return Err(format!("{key} is given twice"));
            }
            (Some((key, value)), _) if !key.is_empty() => {
                parameters.insert(key.into(), value_of(value));
                last = Some(key.into());
            }
            (None, Some(key)) => extend(&mut parameters, key, piece)?,
            _ => return Err(format!("found {piece:?}, expected key=value")),
        }
    }
    Ok(MeasureRequest { name: name.into(), parameters })
}

fn value_of(text: &str) -> Value {
    match (text, text.parse::<f64>()) {
        ("true", _) => Value::Flag(true),
        ("false", _) => Value::Flag(false),
        (_, Ok(number)) => Value::Number(number),
        _ => Value::Text(text.into()),
    }
}

fn extend(parameters: &mut BTreeMap<String, Value>, key: &str, piece: &str) -> Result<(), String> {
    let number = piece
        .parse::<f64>()
        .map_err(|_| format!("found {piece:?} in the list of {key}, expected a number"))?;
    match parameters.get_mut(key) {
        Some(Value::Numbers(list)) => list.push(number),
        Some(value @ Value::Number(_)) => {
            let Value::Number(first) = *value else { return Ok(()) };
            *value = Value::Numbers(vec![first, number]);
        }
        _ => return Err(format!("{key} is not a list of numbers")),
    }
    Ok(())
}

/// `[GROUP=]FILE`; the group is in quotes if its name or the file's has a `=`.
///
/// # Errors
/// A sentence that says what was found and what was expected.
pub fn probe(text: &str) -> Result<(String, PathBuf), String> {
    // A file that is there is no group, whatever signs its path has.
    if std::path::Path::new(text).exists() {
        return Ok((UNNAMED_GROUP.into(), text.into()));
    }
    let named = named(text)?;
    Ok(named.map_or((UNNAMED_GROUP.into(), text.into()), |(group, file)| (group, file.into())))
}

/// `NAME=TEXT`, with the name in quotes if it has a `=`; `None` without a `=`.
///
/// # Errors
/// A sentence for the terminal if quotes are not followed by `=`.
pub fn named(text: &str) -> Result<Option<(String, &str)>, String> {
    if !text.starts_with('"') {
        return Ok(text.split_once('=').map(|(name, rest)| (name.to_owned(), rest)));
    }
    let named = unquoted(text).and_then(|(name, rest)| Some((name, rest.strip_prefix('=')?)));
    named.map(Some).ok_or_else(|| format!("found {}, expected \"NAME\"=TEXT after the quote", quoted(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_are_parsed() {
        let request = measure("sharpness_profile:alphas=.0005,.001,1e-2,draws=2").expect("sound");
        assert_eq!(request.name, "sharpness_profile");
        assert_eq!(request.parameters["alphas"], Value::Numbers(vec![0.0005, 0.001, 0.01]));
        assert_eq!(request.parameters["draws"], Value::Number(2.0));
        assert_eq!(measure("loss").expect("sound").parameters.len(), 0);
        let paper = measure("sharpness_paper:radius=sum").expect("sound");
        assert_eq!(paper.parameters["radius"], Value::Text("sum".into()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in [
            "",
            ":a=1",
            "loss,accuracy",
            "loss:",
            "loss:1",
            "loss:=1",
            "loss:a=1,a=2",
            "loss:a=x,1",
            "loss:a=1,x",
        ] {
            assert!(measure(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn probes_may_be_named() {
        assert_eq!(probe("de=a.safetensors"), Ok(("de".into(), "a.safetensors".into())));
        assert_eq!(probe("a.safetensors"), Ok(("probe".into(), "a.safetensors".into())));
        assert_eq!(probe("\"lr=1\"=a=b.safetensors"), Ok(("lr=1".into(), "a=b.safetensors".into())));
        assert!(probe("\"lr=1").is_err());
        let directory = tempfile::tempdir().expect("a folder");
        let file = directory.path().join("lr=1.safetensors");
        std::fs::write(&file, "").expect("a file");
        assert_eq!(probe(file.to_str().expect("text")), Ok(("probe".into(), file)));
    }
}
