//! What people give by mistake, and what they are told: `mistakes.txt` has each with its whole message, made by this test
//! and read by people. With `CLINO_RENEW=1` the file is written anew.

use safetensors::tensor::{TensorView, serialize};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

type Columns = Vec<(String, Dtype, Vec<usize>, Vec<u8>)>;

fn read(path: &Path) -> Columns {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let column = |(name, view): (String, TensorView<'_>)| {
        (name, view.dtype(), view.shape().to_vec(), view.data().to_vec())
    };
    let mut columns: Columns = file.tensors().into_iter().map(column).collect();
    columns.sort_by(|a, b| a.0.cmp(&b.0));
    columns
}

fn bytes(columns: &Columns) -> Vec<u8> {
    let views = columns
        .iter()
        .map(|(name, dtype, shape, data)| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    serialize(views, None).unwrap()
}

/// The files of a golden case, to be spoiled one at a time.
struct SpoiledModel {
    directory: tempfile::TempDir,
    told: String,
}

impl SpoiledModel {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), told: String::new() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn put(&self, case: &str) {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(case);
        for (name, into) in [
            ("config.json", "config.json"),
            ("probe.safetensors", "probe.safetensors"),
            ("snapshot-0060.safetensors", "model.safetensors"),
        ] {
            std::fs::copy(from.join(name), self.at(into)).unwrap();
        }
    }

    fn config(&self, change: impl Fn(&mut Value)) {
        let mut config: Value =
            serde_json::from_slice(&std::fs::read(self.at("config.json")).unwrap()).unwrap();
        change(&mut config);
        std::fs::write(self.at("config.json"), config.to_string()).unwrap();
    }

    fn tensors(&self, file: &str, change: impl Fn(&mut Columns)) {
        let mut columns = read(&self.at(file));
        change(&mut columns);
        std::fs::write(self.at(file), bytes(&columns)).unwrap();
    }

    fn measure(&self, measures: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clino"));
        command.current_dir(self.directory.path()).args([
            "measure",
            "--threads",
            "1",
            "--config",
            "config.json",
        ]);
        command.args(["--snapshot", "model.safetensors", "--probe", "en=probe.safetensors", "--measure"]);
        command.args(measures).output().unwrap()
    }

    /// A mistake in the files of `case`, and what is told of it.
    fn mistake(&mut self, title: &str, case: &str, spoil: impl Fn(&Self)) {
        self.put(case);
        spoil(self);
        let output = self.measure(&["loss"]);
        self.tell(title, &output);
    }

    fn tell(&mut self, title: &str, output: &Output) {
        let message = String::from_utf8_lossy(&output.stderr);
        writeln!(self.told, "# {title} (exit code {})\n{message}", output.status.code().unwrap()).unwrap();
    }
}

fn rename(columns: &mut Columns, name: impl Fn(&str) -> String) {
    columns.iter_mut().for_each(|column| column.0 = name(&column.0));
}

fn labels(columns: &mut Columns, values: impl Fn(i64) -> i64) {
    let column = columns.iter_mut().find(|column| column.0 == "labels").unwrap();
    let old = column.3.as_chunks::<8>().0.iter().map(|value| i64::from_le_bytes(*value));
    column.3 = old.flat_map(|value| values(value).to_le_bytes()).collect();
}

fn of_models(model: &mut SpoiledModel) {
    let key = |key: &'static str, value: Value| {
        move |model: &SpoiledModel| model.config(|config| config[key] = value.clone())
    };
    model.mistake("one label", "bert", key("id2label", json!({"0": "LABEL_0"})));
    model.mistake("an mlp with one output", "mlp-relu", key("sizes", json!([8, 16, 16, 1])));
    model.mistake("regression", "bert", key("problem_type", json!("regression")));
    model.mistake(
        "several labels an example",
        "bert",
        key("problem_type", json!("multi_label_classification")),
    );
    model.mistake("a model that is not known", "bert", key("model_type", json!("distilbert")));
    model.mistake("a model's name misspelled", "bert", key("model_type", json!("xlm_roberta")));
    model.mistake("an mlp without its sizes", "mlp-relu", |model| {
        std::fs::write(model.at("config.json"), r#"{"model_type":"mlp"}"#).unwrap();
    });
    model.mistake("an activation that is not known", "mlp-relu", key("hidden_act", json!("selu")));
    model.mistake("a configuration of another size", "mlp-relu", key("sizes", json!([8, 12, 16, 3])));
}

fn of_snapshots(model: &mut SpoiledModel) {
    let named = |name: fn(&str) -> String| {
        move |model: &SpoiledModel| model.tensors("model.safetensors", |columns| rename(columns, name))
    };
    model.mistake("LoRA adapters", "bert", |model| {
        model.tensors("model.safetensors", |columns| {
            rename(columns, |name| format!("base_model.model.{name}"));
            let adapter = "base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.default.weight";
            columns.push((adapter.into(), Dtype::F32, vec![1], vec![0; 4]));
        });
    });
    model.mistake(
        "a head for question answering",
        "bert",
        named(|name| name.replace("classifier", "qa_outputs")),
    );
    model.mistake("a body without a head", "bert", |model| {
        model.tensors("model.safetensors", |columns| {
            columns.retain(|column| !column.0.starts_with("classifier"))
        });
    });
    model.mistake("names of one's own", "mlp-relu", named(|name| name.replace("layers.", "fc")));
    model.mistake("a student with its teacher", "mlp-relu", |model| {
        model.tensors("model.safetensors", |columns| {
            let mut teacher = columns.clone();
            rename(columns, |name| format!("student.{name}"));
            rename(&mut teacher, |name| format!("teacher.{name}"));
            columns.append(&mut teacher);
        });
    });
    let written = |text: &'static [u8]| {
        move |model: &SpoiledModel| std::fs::write(model.at("model.safetensors"), text).unwrap()
    };
    model.mistake("a file of torch.save", "bert", written(b"PK\x03\x04\0\0\0\0"));
    model.mistake(
        "a pointer of Git LFS",
        "bert",
        written(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
    );
    model.mistake("an empty file", "bert", written(b""));
    model.mistake("a page instead of a file", "bert", written(b"<!DOCTYPE html><html></html>"));
    model.mistake("a file that was cut short", "bert", |model| {
        let whole = std::fs::read(model.at("model.safetensors")).unwrap();
        std::fs::write(model.at("model.safetensors"), &whole[..whole.len() - 100]).unwrap();
    });
    model.mistake("floats of 8 bits", "mlp-relu", |model| {
        model.tensors("model.safetensors", |columns| {
            let data = columns[1].3.iter().step_by(columns[1].1.bitsize() / 8).copied().collect();
            columns[1].1 = Dtype::F8_E4M3;
            columns[1].3 = data;
        });
    });
}

fn of_probes(model: &mut SpoiledModel) {
    let spoiled =
        |change: fn(&mut Columns)| move |model: &SpoiledModel| model.tensors("probe.safetensors", change);
    model.mistake("a split without labels", "bert", spoiled(|columns| labels(columns, |_| -100)));
    model.mistake(
        "some examples without labels",
        "bert",
        spoiled(|columns| labels(columns, |class| class - 1)),
    );
    model.mistake(
        "more classes than the model has",
        "bert",
        spoiled(|columns| labels(columns, |class| class + 40)),
    );
    model.mistake(
        "labels of a regression",
        "mlp-relu",
        spoiled(|columns| {
            columns.iter_mut().filter(|column| column.0 == "labels").for_each(|column| column.1 = Dtype::F64);
        }),
    );
    model.mistake(
        "labels under another name",
        "bert",
        spoiled(|columns| rename(columns, |name| name.replace("labels", "lables"))),
    );
    model.mistake(
        "labels as a data set calls them",
        "bert",
        spoiled(|columns| rename(columns, |name| name.replace("labels", "label"))),
    );
    model.mistake("a table of texts", "bert", |model| {
        std::fs::write(model.at("probe.safetensors"), "text,label\ngut,1\nschlecht,0\n").unwrap();
    });
    model.mistake(
        "no mask",
        "bert",
        spoiled(|columns| columns.retain(|column| column.0 != "attention_mask")),
    );
    model.mistake(
        "unsigned integers of 32 bits",
        "bert",
        spoiled(|columns| {
            let mask = &mut columns[0];
            mask.1 = Dtype::U32;
            mask.3 = mask.3.chunks(8).flat_map(|value| value[..4].to_vec()).collect();
        }),
    );
    model.mistake(
        "columns of the data set beside those of the model",
        "bert",
        spoiled(|columns| {
            columns.push(("idx".into(), Dtype::I64, vec![1], vec![0; 8]));
            columns.push(("token_type_id".into(), Dtype::I64, vec![1], vec![0; 8]));
        }),
    );
    model.mistake(
        "padding that the mask does not hide",
        "bert",
        spoiled(|columns| columns[0].3 = 1i64.to_le_bytes().repeat(32 * 12)),
    );
}

fn of_words(model: &mut SpoiledModel) {
    model.put("mlp-relu");
    for words in [
        "sharpnes",
        "sharpness:alfa=.01",
        "sharpness:scope=layers",
        "critical:direction=gradient,of=eng",
        "hessian",
        "loss,accuracy",
    ] {
        let output = model.measure(&[words]);
        model.tell(&format!("--measure {words}"), &output);
    }
    let known = Command::new(env!("CARGO_BIN_EXE_clino")).args(["measures", "losss"]).output().unwrap();
    model.tell("clino measures losss", &known);
}

#[test]
fn every_mistake_ends_in_a_next_step() {
    let mut model = SpoiledModel::new();
    of_models(&mut model);
    of_snapshots(&mut model);
    of_probes(&mut model);
    of_words(&mut model);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/client/mistakes.txt");
    if std::env::var_os("CLINO_RENEW").is_some() {
        std::fs::write(&page, &model.told).unwrap();
    }
    assert_eq!(model.told, std::fs::read_to_string(&page).unwrap(), "CLINO_RENEW=1 writes {page:?} anew");
}

/// Readings without their times.
fn readings(model: &SpoiledModel, config: &str, snapshot: &str) -> (Vec<Value>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clino"));
    command.current_dir(model.directory.path()).args(["measure", "--threads", "1", "--config", config]);
    command.args(["--snapshot", snapshot, "--probe", "en=probe.safetensors", "--format", "json"]);
    let output = command.args(["--measure", "loss", "sharpness:draws=2", "param_norm"]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    let mut json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let all = json["readings"].as_array_mut().unwrap();
    all.iter_mut().for_each(|reading| reading["seconds"] = Value::Null);
    (all.clone(), errors)
}

#[test]
fn other_names_and_shards_give_the_same_readings() {
    let model = SpoiledModel::new();
    model.put("mlp-relu");
    let (expected, errors) = readings(&model, "config.json", "model.safetensors");
    assert_eq!(errors, "");
    for (first, second, third) in [
        ("0", "2", "4"),
        ("net.1", "net.3", "net.7"),
        ("module.model.layers.0", "model.layers.1", "model.layers.2"),
    ] {
        model.put("mlp-relu");
        model.tensors("model.safetensors", |columns| {
            rename(columns, |name| {
                name.replace("layers.0", first).replace("layers.1", second).replace("layers.2", third)
            });
        });
        assert_eq!(
            readings(&model, "config.json", "model.safetensors"),
            (expected.clone(), String::new()),
            "{first}"
        );
    }
    model.put("mlp-relu");
    let mut columns = read(&model.at("model.safetensors"));
    std::fs::remove_file(model.at("model.safetensors")).unwrap();
    let rest = columns.split_off(3);
    let map: serde_json::Map<String, Value> = [(&columns, "a.safetensors"), (&rest, "b.safetensors")]
        .into_iter()
        .flat_map(|(columns, file)| columns.iter().map(move |column| (column.0.clone(), json!(file))))
        .collect();
    std::fs::write(model.at("a.safetensors"), bytes(&columns)).unwrap();
    std::fs::write(model.at("b.safetensors"), bytes(&rest)).unwrap();
    std::fs::write(model.at("model.safetensors.index.json"), json!({ "weight_map": map }).to_string())
        .unwrap();
    assert_eq!(readings(&model, ".", ".").0, expected);
}

#[test]
fn what_a_pretrained_checkpoint_holds_beside_is_left_out_and_told() {
    let model = SpoiledModel::new();
    model.put("bert");
    let (expected, _) = readings(&model, "config.json", "model.safetensors");
    model.tensors("model.safetensors", |columns| {
        columns.push(("cls.predictions.bias".into(), Dtype::F32, vec![1], vec![0; 4]));
    });
    let told = "clino: warning: left out because this model does not read them: \"cls.predictions.bias\"\n";
    assert_eq!(readings(&model, "config.json", "model.safetensors"), (expected, told.into()));
}
