//! What a file is that was given where safetensors are expected, and which files make up a model.
//!
//! Owns: telling kinds of files apart, and what to do with each. May not touch: tensors.

use super::given;
use crate::daemon::model_from_bytes;
use clino_domain::graph::ModelSource;
use clino_domain::{Fault, FaultKind};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What a folder of a model holds, the best first.
const MODEL: [&str; 2] = ["model.safetensors", "model.safetensors.index.json"];

const PICKLE: &str = "in Python: from safetensors.torch import save_file; \
                      save_file(torch.load(FILE, map_location=\"cpu\", weights_only=True), \"model.safetensors\")";

/// How files begin that are no safetensors, what they are, and what to do.
const BEGINNINGS: [(&[u8], &str, &str); 10] = [
    (b"PK\x03\x04", "a zip archive, as torch.save makes it (.pt, .bin, .ckpt)", PICKLE),
    (b"\x80\x02", "a pickle, as torch.save makes it (.pt, .bin, .ckpt)", PICKLE),
    (b"\x80\x04", "a pickle", PICKLE),
    (b"\x80\x05", "a pickle", PICKLE),
    (
        b"version https://git-lfs",
        "a pointer of Git LFS, not the file itself",
        "fetch it with git lfs pull, or download the file",
    ),
    (
        b"\x89HDF",
        "an HDF5 file (.h5)",
        "save the weights as safetensors, with the names of the Hugging Face model",
    ),
    (b"GGUF", "a GGUF file", "give the model's safetensors, in F32, F16 or BF16"),
    (b"\x93NUMPY", "a NumPy array (.npy)", "save the arrays by name with safetensors.numpy.save_file"),
    (
        b"<",
        "a page of HTML or XML",
        "the download returned a web page instead of the file: download it again",
    ),
    (b"{", "JSON", "give the tensor file that belongs to it"),
];

const TEXT: (&str, &str) = (
    "a text, such as a CSV file",
    "save its columns as tensors, in Python: from safetensors.numpy import save_file; save_file({\"input_ids\": …, \
     \"labels\": …}, \"probe.safetensors\")",
);

/// The folder's or index's files of tensors, or the file itself.
///
/// # Errors
/// [`FaultKind::Invalid`] for a folder without a model and for an index that is not sound.
pub fn model_files(path: &Path) -> Result<Vec<PathBuf>, Fault> {
    let path = if path.is_dir() { in_folder(path)? } else { path.to_owned() };
    let is_index = path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".index.json"));
    if is_index { shards(&path) } else { Ok(vec![path]) }
}

/// The text of a configuration: of a file, or of the folder of a model.
///
/// # Errors
/// [`FaultKind::Invalid`] naming the file that cannot be read.
pub fn config(path: &Path) -> Result<String, Fault> {
    let path = if path.is_dir() { path.join("config.json") } else { path.to_owned() };
    let wrong = |why: &str| {
        let adapter = path.with_file_name("adapter_config.json").exists();
        let advice = match adapter {
            true => "; it is the folder of a PEFT adapter: save the merged model, merge_and_unload()",
            false => "; expected a config.json or the folder of one, as save_pretrained() makes it",
        };
        Fault::invalid(path.display().to_string(), format!("{why}{advice}"))
    };
    let bytes = given::bytes(&path).map_err(|fault| wrong(&fault.message))?;
    String::from_utf8(bytes).map_err(|_| wrong("found bytes that are not UTF-8"))
}

/// A model that was exported as a graph.
///
/// # Errors
/// [`FaultKind::Invalid`] naming the file that cannot be read, or the field of the model that is wrong.
pub fn graph(path: &Path) -> Result<ModelSource, Fault> {
    model_from_bytes(given::bytes(path)?.into())
}

fn in_folder(folder: &Path) -> Result<PathBuf, Fault> {
    let found = MODEL.iter().map(|name| folder.join(name)).find(|path| path.exists());
    found.ok_or_else(|| {
        let advice = if folder.join("adapter_config.json").exists() {
            "it is the folder of a PEFT adapter: save the merged model, merge_and_unload()"
        } else if folder.join("pytorch_model.bin").exists() {
            "it has pytorch_model.bin: load the model and save it with save_pretrained(safe_serialization=True)"
        } else {
            "give a safetensors file, or the folder that save_pretrained() made"
        };
        let found = format!("found a folder without {}: {advice}", MODEL.join(" or "));
        Fault::new(FaultKind::Invalid, format!("{}: {found}", folder.display()))
    })
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, PathBuf>,
}

fn shards(path: &Path) -> Result<Vec<PathBuf>, Fault> {
    let unsound = |why: String| Fault::new(FaultKind::Invalid, format!("{}: {why}", path.display()));
    let bytes = given::bytes(path).map_err(|fault| unsound(fault.message))?;
    let index: Index = serde_json::from_slice(&bytes)
        .map_err(|error| unsound(format!("not a valid index of shards: {error}")))?;
    let names: BTreeSet<PathBuf> = index.weight_map.into_values().collect();
    let outside = |name: &&PathBuf| name.file_name() != Some(name.as_os_str());
    if let Some(name) = names.iter().find(outside) {
        return Err(unsound(format!("found shard {name:?}, expected files beside the index")));
    }
    let shards: Vec<PathBuf> = names.iter().map(|name| path.with_file_name(name)).collect();
    match shards.iter().find(|shard| !shard.exists()) {
        None if shards.is_empty() => Err(unsound("found an index without tensors".into())),
        None => Ok(shards),
        Some(missing) => {
            let missing = missing.display();
            let all = shards.len();
            Err(unsound(format!("{missing} is missing, one of its {all} shards: download all of them")))
        }
    }
}

/// What a file is that does not begin as safetensors do; `None` where its beginning tells nothing.
pub fn mistaken(beginning: &[u8]) -> Option<Fault> {
    if beginning.is_empty() {
        let message = "found an empty file, expected safetensors: saving did not finish, save it again";
        return Some(Fault::new(FaultKind::Invalid, message));
    }
    let known = BEGINNINGS.iter().find(|(mark, ..)| beginning.starts_with(mark));
    let text = || is_text(beginning).then_some(TEXT);
    let (found, advice) = known.map(|(_, found, advice)| (*found, *advice)).or_else(text)?;
    Some(Fault::new(FaultKind::Invalid, format!("found {found}, expected safetensors: {advice}")))
}

/// Whether bytes are the beginning of a text: none of them is a control character but blanks and line ends.
fn is_text(beginning: &[u8]) -> bool {
    beginning.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn refusal(result: Result<Vec<PathBuf>, Fault>, folder: &Path) -> String {
        result.unwrap_err().message.replace(folder.to_str().unwrap(), "DIR")
    }

    #[test]
    fn a_folder_is_read_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let message = || refusal(model_files(directory.path()), directory.path());
        assert_eq!(
            message(),
            "DIR: found a folder without model.safetensors or model.safetensors.index.json: give a safetensors file, or \
             the folder that save_pretrained() made"
        );
        std::fs::write(at("pytorch_model.bin"), "").unwrap();
        assert!(message().ends_with(
            "it has pytorch_model.bin: load the model and save it with save_pretrained(safe_serialization=True)"
        ));
        std::fs::write(at("adapter_config.json"), "{}").unwrap();
        assert!(
            message()
                .ends_with("it is the folder of a PEFT adapter: save the merged model, merge_and_unload()")
        );
        let index = |text: &str| std::fs::write(at(MODEL[1]), text).unwrap();
        index(r#"{"weight_map":{"a":"two.safetensors","b":"one.safetensors","c":"two.safetensors"}}"#);
        std::fs::write(at("one.safetensors"), "").unwrap();
        assert_eq!(
            message(),
            "DIR/model.safetensors.index.json: DIR/two.safetensors is missing, one of its 2 shards: download all of them"
        );
        std::fs::write(at("two.safetensors"), "").unwrap();
        let both = vec![at("one.safetensors"), at("two.safetensors")];
        assert_eq!(model_files(directory.path()).unwrap(), both);
        assert_eq!(model_files(&at(MODEL[1])).unwrap(), both);
        index(r#"{"weight_map":{"a":"../two.safetensors"}}"#);
        assert!(message().ends_with("found shard \"../two.safetensors\", expected files beside the index"));
        std::fs::write(at(MODEL[0]), "").unwrap();
        assert_eq!(model_files(directory.path()).unwrap(), [at(MODEL[0])]);
        assert_eq!(model_files(&at("any")).unwrap(), [at("any")]);
    }

    #[test]
    fn a_file_of_another_kind_is_named() {
        let message = |beginning: &[u8]| mistaken(beginning).map(|fault| fault.message);
        assert_eq!(
            message(b"version https://git-lfs.github.com/spec/v1\n").unwrap(),
            "found a pointer of Git LFS, not the file itself, expected safetensors: fetch it with git lfs pull, or \
             download the file"
        );
        let pickle = message(b"PK\x03\x04....").unwrap();
        assert!(
            pickle.starts_with(
                "found a zip archive, as torch.save makes it (.pt, .bin, .ckpt), expected safeten"
            )
        );
        assert!(pickle.contains("weights_only=True"), "{pickle}");
        assert_eq!(
            message(b"").unwrap(),
            "found an empty file, expected safetensors: saving did not finish, save it again"
        );
        let csv = message(b"text,label\r\ngut,1\n").unwrap();
        assert!(csv.starts_with("found a text, such as a CSV file, expected safetensors: save its"), "{csv}");
        assert_eq!(message(&[8, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(message(b"text\x00"), None);
    }
}
