//! Encoder classifiers of the BERT family (`bert`, `roberta`, `xlm-roberta`): post-LayerNorm encoder, first token
//! through a dense layer and tanh, then the classifier. Names and arithmetic are those of Hugging Face in evaluation
//! mode.
//!
//! Owns: configuration, names, positions. May not touch: the arithmetic, which is in `pass`, `layer`, `attention`.

mod attention;
mod layer;
mod pass;
mod shape;

use super::batch::{Batch, Extent, TokenTable};
use super::layout::ParameterLayout;
use super::probe::ProbeTensors;
use super::{Architecture, Network, Pass, Product, activation, check_task, classes, parse, positive};
use clino_domain::{Fault, ProbeGroup};
use pass::EncoderPass;
use serde::Deserialize;
use shape::{EncoderFamily, Shape};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Its line in the registry.
pub const ARCHITECTURE: Architecture =
    Architecture { model_types: &["bert", "roberta", "xlm-roberta"], build };

/// What its configuration is.
const EXPECTED: &str = "the whole config.json, as model.config.to_dict() or save_pretrained() give it";
/// What it reads of a probe.
const COLUMNS: &[&str] = &["input_ids", "attention_mask", "token_type_ids", "labels"];
const MOST: usize = 1 << 24;
const MOST_LAYERS: usize = 4096;

#[derive(Deserialize)]
struct EncoderConfig {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    #[serde(default = "two")]
    type_vocab_size: usize,
    #[serde(default = "gelu")]
    hidden_act: String,
    #[serde(default = "epsilon")]
    layer_norm_eps: f64,
    pad_token_id: Option<usize>,
    position_embedding_type: Option<String>,
    id2label: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    num_labels: Option<usize>,
    problem_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
}

fn two() -> usize {
    2
}

fn gelu() -> String {
    "gelu".into()
}

fn epsilon() -> f64 {
    1e-12
}

impl EncoderConfig {
    fn check(&self) -> Result<(), Fault> {
        let wrong =
            |key: &str, description: String| Err(Fault::invalid(format!("config_json.{key}"), description));
        if !self.hidden_size.is_multiple_of(positive("num_attention_heads", self.num_attention_heads, MOST)?)
        {
            let found = self.hidden_size;
            let heads = self.num_attention_heads;
            return wrong(
                "hidden_size",
                format!("found {found}, expected a multiple of {heads} attention heads"),
            );
        }
        if !(self.layer_norm_eps.is_finite() && self.layer_norm_eps >= 0.0) {
            let found = self.layer_norm_eps;
            return wrong("layer_norm_eps", format!("found {found}, expected a finite number of at least 0"));
        }
        if let Some(found) = self.pad_token_id.filter(|id| *id >= self.most_padding()) {
            let least = format!("found {found}, expected an id below {}", self.most_padding());
            return wrong(
                "pad_token_id",
                format!("{least}, the size of the vocabulary (and of RoBERTa's positions)"),
            );
        }
        if self.is_decoder {
            return wrong("is_decoder", "found true, expected false: clino measures encoders".into());
        }
        match self.position_embedding_type.as_deref() {
            None | Some("absolute") => {}
            Some(other) => {
                let found = clino_domain::text::quoted(other);
                return wrong("position_embedding_type", format!("found {found}, expected \"absolute\""));
            }
        }
        check_task(self.problem_type.as_deref())
    }

    fn family(&self) -> EncoderFamily {
        if self.model_type == "bert" { EncoderFamily::Bert } else { EncoderFamily::Roberta }
    }

    /// Ids of padding lie below it. RoBERTa counts positions from the padding id on.
    fn most_padding(&self) -> usize {
        match self.family() {
            EncoderFamily::Bert => self.vocab_size,
            EncoderFamily::Roberta => self.vocab_size.min(self.max_position_embeddings),
        }
    }

    fn shape(&self) -> Result<Shape, Fault> {
        self.check()?;
        let family = self.family();
        let (key, labels) = match (&self.id2label, self.num_labels) {
            (Some(names), _) => ("id2label", names.len()),
            (None, labels) => ("num_labels", labels.unwrap_or(2)),
        };
        Ok(Shape {
            family,
            vocabulary: positive("vocab_size", self.vocab_size, MOST)?,
            hidden: positive("hidden_size", self.hidden_size, MOST)?,
            layers: positive("num_hidden_layers", self.num_hidden_layers, MOST_LAYERS)?,
            heads: self.num_attention_heads,
            inner: positive("intermediate_size", self.intermediate_size, MOST)?,
            positions: positive("max_position_embeddings", self.max_position_embeddings, MOST)?,
            types: positive("type_vocab_size", self.type_vocab_size, MOST)?,
            classes: classes(key, labels, MOST)?,
            padding: self.pad_token_id.unwrap_or(family.default_padding()) as u32,
            activation: activation(&self.hidden_act)?,
            epsilon: self.layer_norm_eps,
        })
    }
}

fn build(config_json: &str) -> Result<Arc<dyn Network>, Fault> {
    let shape = parse::<EncoderConfig>(config_json, EXPECTED)?.shape()?;
    let layout = ParameterLayout::new(shape.tensors(), shape.family.habits())?;
    let places = shape.places(&layout);
    Ok(Arc::new(Encoder { shape: Arc::new(shape), places: Arc::new(places), layout: Arc::new(layout) }))
}

struct Encoder {
    shape: Arc<Shape>,
    places: Arc<shape::Places>,
    layout: Arc<ParameterLayout>,
}

impl Encoder {
    /// Most tokens of a batch. Wide weights are prepared for each product, which many rows pay for; batches of a narrow
    /// model had better be several, to go side by side. Not a matter of threads: it moves the last bits of a gradient.
    fn batch_tokens(&self) -> usize {
        (3 * self.shape.hidden).clamp(512, 1024)
    }

    fn positions(&self, ids: &[u32], width: usize) -> Result<Vec<u32>, Fault> {
        let positions: Vec<u32> = match self.shape.family {
            EncoderFamily::Bert => (0..ids.len()).map(|i| (i % width) as u32).collect(),
            EncoderFamily::Roberta => {
                ids.chunks(width).flat_map(|row| after_padding(row, self.shape.padding)).collect()
            }
        };
        match positions.iter().position(|p| *p as usize >= self.shape.positions) {
            None => Ok(positions),
            Some(at) => {
                let row = at / width;
                let most = self.shape.positions;
                let description = format!(
                    "row {row} is longer than the {most} positions of the model: truncate the \
                                          probe's rows"
                );
                Err(Fault::invalid("input_ids", description))
            }
        }
    }
}

/// RoBERTa counts positions from the padding id, over tokens that are not padding.
fn after_padding(row: &[u32], padding: u32) -> Vec<u32> {
    let mut count = 0;
    let place = |id: &u32| {
        let real = u32::from(*id != padding);
        count += real;
        padding + count * real
    };
    row.iter().map(place).collect()
}

impl Network for Encoder {
    fn layout(&self) -> &Arc<ParameterLayout> {
        &self.layout
    }

    fn unit_width(&self) -> usize {
        self.shape.classes
    }

    fn columns(&self) -> Vec<&str> {
        COLUMNS.to_vec()
    }

    fn padding(&self) -> Option<u32> {
        Some(self.shape.padding)
    }

    fn batches(&self, group: &ProbeGroup) -> Result<Vec<Batch>, Fault> {
        let probe = ProbeTensors::new(group, COLUMNS)?;
        let labels = probe.labels(self.shape.classes)?;
        let examples = labels.len();
        let (ids, width) = probe.needed_tokens(
            "input_ids",
            "the tokens of each example",
            examples,
            self.shape.vocabulary,
        )?;
        let (mask, mask_width) =
            probe.needed_tokens("attention_mask", "1 for a token, 0 for padding", examples, 2)?;
        let types = probe.tokens("token_type_ids", examples, self.shape.types)?;
        let (types, types_width) = types.unwrap_or_else(|| (vec![0; ids.len()], width));
        for (name, found) in [("attention_mask", mask_width), ("token_type_ids", types_width)] {
            if found != width {
                let description = format!("found {found} tokens per row, expected {width} as in input_ids");
                return Err(Fault::invalid(name, description));
            }
        }
        let positions = self.positions(&ids, width)?;
        Ok(TokenTable { width, ids, mask, types, positions }.cut(&labels, self.batch_tokens()))
    }

    fn products(&self, batch: &Batch) -> Vec<Product> {
        pass::products(&self.shape, &self.places, batch)
    }

    fn reads(&self) -> String {
        let Shape { family, vocabulary, positions, types, classes, padding, .. } = &*self.shape;
        let batch = self.batch_tokens();
        format!("encoder {family:?} {vocabulary} {positions} {types} {classes} {padding} {batch}")
    }

    fn workspace(&self, extent: Extent, keep: bool, size: usize) -> f64 {
        pass::workspace(&self.shape, extent, keep, size)
    }

    fn pass_f32(&self, threads: usize) -> Box<dyn Pass<f32>> {
        Box::new(EncoderPass::new(self.shape.clone(), self.places.clone(), threads))
    }

    fn pass_f64(&self, threads: usize) -> Box<dyn Pass<f64>> {
        Box::new(EncoderPass::new(self.shape.clone(), self.places.clone(), threads))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roberta_counts_positions_from_its_padding() {
        assert_eq!(after_padding(&[0, 7, 1, 9, 1], 1), [2, 3, 1, 4, 1]);
    }

    #[test]
    fn a_configuration_is_checked_key_by_key() {
        let config = |over: &str| {
            let base = r#""model_type":"bert","vocab_size":9,"hidden_size":4,"num_hidden_layers":1,
                "num_attention_heads":2,"intermediate_size":8,"max_position_embeddings":5"#;
            build(&format!("{{{base}{over}}}")).map(|_| ())
        };
        assert_eq!(config(""), Ok(()));
        let field = |over: &str| config(over).expect_err(over).violations[0].field.clone();
        assert_eq!(field(r#","hidden_act":"swoosh""#), "config_json.hidden_act");
        assert_eq!(field(r#","layer_norm_eps":-1.0"#), "config_json.layer_norm_eps");
        assert_eq!(
            field(r#","position_embedding_type":"relative_key""#),
            "config_json.position_embedding_type"
        );
        assert_eq!(field(r#","id2label":{"0":"LABEL_0"}"#), "config_json.id2label");
        assert_eq!(field(r#","num_labels":1"#), "config_json.num_labels");
        assert_eq!(field(r#","problem_type":"regression""#), "config_json.problem_type");
        assert_eq!(field(r#","type_vocab_size":0"#), "config_json.type_vocab_size");
    }
}
