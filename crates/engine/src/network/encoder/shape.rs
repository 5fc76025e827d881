//! Sizes of an encoder, the names of its parameters, and where they lie in the arena.
//!
//! Owns: names as Hugging Face writes them. May not touch: values.

use crate::network::dense::Dense;
use crate::network::layout::ParameterLayout;
use crate::network::naming::Habits;
use crate::network::ops::Activation;

/// Which names and positions the model has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncoderFamily {
    /// `bert.*`, pooler, positions from 0.
    Bert,
    /// `roberta.*`, dense classifier head, positions after the padding id.
    Roberta,
}

impl EncoderFamily {
    /// Padding id when the configuration names none.
    pub fn default_padding(self) -> usize {
        match self {
            Self::Bert => 0,
            Self::Roberta => 1,
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Bert => "bert",
            Self::Roberta => "roberta",
        }
    }

    /// What else its checkpoints hold: heads of the pretraining, and a pooler that classifiers of RoBERTa do without.
    pub fn habits(self) -> Habits {
        match self {
            Self::Bert => Habits {
                class: "BertForSequenceClassification of Hugging Face",
                unread: &["cls.predictions.", "cls.seq_relationship.", "bert.embeddings.position_ids"],
                head: &["classifier.", "bert.pooler."],
                body: "bert.",
                ..Habits::default()
            },
            Self::Roberta => Habits {
                class: "RobertaForSequenceClassification or XLMRobertaForSequenceClassification of Hugging Face",
                unread: &["lm_head.", "roberta.pooler.", "roberta.embeddings.position_ids"],
                head: &["classifier."],
                body: "roberta.",
                ..Habits::default()
            },
        }
    }

    /// Names of the dense layer and of the classifier behind the encoder.
    fn head(self) -> [&'static str; 2] {
        match self {
            Self::Bert => ["bert.pooler.dense", "classifier"],
            Self::Roberta => ["classifier.dense", "classifier.out_proj"],
        }
    }
}

/// Sizes of an encoder.
#[derive(Debug, Clone)]
pub struct Shape {
    pub family: EncoderFamily,
    pub vocabulary: usize,
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub inner: usize,
    pub positions: usize,
    pub types: usize,
    pub classes: usize,
    pub padding: u32,
    pub activation: Activation,
    pub epsilon: f64,
}

/// Where one encoder layer's parameters lie.
#[derive(Debug, Clone, Copy)]
pub struct LayerPlaces {
    /// Query, key and value, one after the other.
    pub qkv: Dense,
    pub output: Dense,
    /// Gain and shift, side by side.
    pub norm1: usize,
    pub inner: Dense,
    pub outer: Dense,
    pub norm2: usize,
}

/// Where an encoder's parameters lie.
#[derive(Debug, Clone)]
pub struct Places {
    pub words: usize,
    pub positions: usize,
    pub types: usize,
    pub norm: usize,
    pub layers: Vec<LayerPlaces>,
    pub pooler: Dense,
    pub classifier: Dense,
}

const TABLES: [&str; 3] = ["word_embeddings", "position_embeddings", "token_type_embeddings"];
const QKV: [&str; 3] = ["query", "key", "value"];

impl Shape {
    /// Names and shapes in the order in which the arithmetic wants them: query, key and value side by side, each bias
    /// behind its weight, each shift behind its gain.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let prefix = self.family.prefix();
        let h = self.hidden;
        let embeddings = format!("{prefix}.embeddings");
        let rows = [self.vocabulary, self.positions, self.types];
        let mut all: Vec<(String, Vec<usize>)> = TABLES
            .iter()
            .zip(rows)
            .map(|(t, rows)| (format!("{embeddings}.{t}.weight"), vec![rows, h]))
            .collect();
        all.extend(pair(&format!("{embeddings}.LayerNorm"), &[h]));
        for layer in 0..self.layers {
            all.extend(self.layer_tensors(&format!("{prefix}.encoder.layer.{layer}")));
        }
        let [dense, classifier] = self.family.head();
        all.extend(pair(dense, &[h, h]));
        all.extend(pair(classifier, &[self.classes, h]));
        all
    }

    fn layer_tensors(&self, base: &str) -> Vec<(String, Vec<usize>)> {
        let h = self.hidden;
        let inner = self.inner;
        let qkv = |part: &str, shape: &[usize]| {
            QKV.map(|name| (format!("{base}.attention.self.{name}.{part}"), shape.to_vec()))
        };
        let mut all = Vec::new();
        all.extend(qkv("weight", &[h, h]));
        all.extend(qkv("bias", &[h]));
        all.extend(pair(&format!("{base}.attention.output.dense"), &[h, h]));
        all.extend(pair(&format!("{base}.attention.output.LayerNorm"), &[h]));
        all.extend(pair(&format!("{base}.intermediate.dense"), &[inner, h]));
        all.extend(pair(&format!("{base}.output.dense"), &[h, inner]));
        all.extend(pair(&format!("{base}.output.LayerNorm"), &[h]));
        all
    }

    /// Looks every parameter up in the layout that was made from [`Shape::tensors`].
    pub fn places(&self, layout: &ParameterLayout) -> Places {
        let prefix = self.family.prefix();
        let h = self.hidden;
        let at = |name: &str| layout.offset(&format!("{name}.weight"));
        let table = |name: &str| at(&format!("{prefix}.embeddings.{name}"));
        let dense = |name: &str, outputs, inputs| Dense { at: at(name), outputs, inputs };
        let layer = |i: usize| {
            let part = |name: &str| format!("{prefix}.encoder.layer.{i}.{name}");
            LayerPlaces {
                qkv: dense(&part("attention.self.query"), 3 * h, h),
                output: dense(&part("attention.output.dense"), h, h),
                norm1: at(&part("attention.output.LayerNorm")),
                inner: dense(&part("intermediate.dense"), self.inner, h),
                outer: dense(&part("output.dense"), h, self.inner),
                norm2: at(&part("output.LayerNorm")),
            }
        };
        let [pooler, classifier] = self.family.head();
        Places {
            words: table(TABLES[0]),
            positions: table(TABLES[1]),
            types: table(TABLES[2]),
            norm: table("LayerNorm"),
            layers: (0..self.layers).map(layer).collect(),
            pooler: dense(pooler, h, h),
            classifier: dense(classifier, self.classes, h),
        }
    }
}

/// A weight of `shape` and a bias (or gain and shift) as long as its first axis.
fn pair(name: &str, shape: &[usize]) -> [(String, Vec<usize>); 2] {
    [(format!("{name}.weight"), shape.to_vec()), (format!("{name}.bias"), vec![shape[0]])]
}
