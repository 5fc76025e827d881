//! The hand-written networks against candle's autograd, on random models and batches.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::device::noise::{Draw, Purpose};
use crate::network::Passes;
use crate::network::batch::{TokenTable, cut_features};
use crate::network::targets::Targets;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};
use serde_json::{Value, json};
use std::cell::Cell;

/// Largest differences that are let through, as parts of the largest magnitude (or of 1, if that is larger).
const NARROW: f64 = 1e-5;
const WIDE: f64 = 1e-10;

/// Repeatable numbers in (-1, 1).
struct Noise {
    draw: Draw,
    made: std::vec::IntoIter<f64>,
}

impl Noise {
    fn new(seed: u64) -> Self {
        Self { draw: Draw { seed, index: 0, purpose: Purpose::Uniform }, made: Vec::new().into_iter() }
    }

    fn next(&mut self) -> f64 {
        if self.made.len() == 0 {
            self.draw.index += 1;
            self.made = self.draw.vector(0, 1 << 12).into_iter();
        }
        self.made.next().unwrap()
    }

    fn below(&mut self, end: usize) -> usize {
        ((self.next() + 1.0) / 2.0 * end as f64) as usize
    }

    fn take(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.next()).collect()
    }
}

/// Both networks of one configuration, and what they are asked.
struct NetworkCase {
    networks: [Arc<dyn Network>; 2],
    w: Vec<f64>,
    batches: Vec<Batch>,
    /// Derivatives along the logits, for each batch.
    d_logits: Vec<Vec<f64>>,
}

impl NetworkCase {
    fn new(config: &Value, batches: Vec<Batch>, noise: &mut Noise) -> Self {
        let text = config.to_string();
        let networks = [crate::network::build(&text).unwrap().0, build(&text).unwrap()];
        let w = weights(networks[0].layout(), noise);
        let classes = networks[0].unit_width();
        let d_logits = batches.iter().map(|batch| noise.take(batch.units() * classes)).collect();
        Self { networks, w, batches, d_logits }
    }

    /// Logits of all batches and the gradient, from the hand-written network and from candle.
    fn run<T: Passes>(&self) -> [[Vec<f64>; 2]; 2] {
        let narrow = |values: &[f64]| values.iter().map(|x| T::of(*x)).collect::<Vec<T>>();
        let w = narrow(&self.w);
        [0, 1].map(|at| {
            let mut pass = T::pass(&*self.networks[at], 1);
            let mut logits = Vec::new();
            let mut gradient = vec![T::ZERO; w.len()];
            for (batch, d_logits) in self.batches.iter().zip(&self.d_logits) {
                logits.extend(
                    pass.forward(PassInput::unstopped(&w, &[batch]), true).unwrap().iter().map(|z| z.wide()),
                );
                pass.backward(PassInput::unstopped(&w, &[batch]), &narrow(d_logits), &mut gradient).unwrap();
            }
            [logits, gradient.into_iter().map(T::wide).collect()]
        })
    }

    /// Largest differences of logits and of gradients.
    fn differences<T: Passes>(&self) -> [f64; 2] {
        let [hand, candle] = self.run::<T>();
        [0, 1].map(|at| difference(&hand[at], &candle[at]))
    }
}

/// Part of the largest magnitude (or of 1), infinite where one side is not a number.
fn difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let largest = a.iter().chain(b).fold(1.0f64, |top, x| top.max(x.abs()));
    let apart = |(a, b): (&f64, &f64)| if (a - b).is_nan() { f64::INFINITY } else { (a - b).abs() };
    a.iter().zip(b).map(apart).fold(0.0, f64::max) / largest
}

/// Of the size that a trained model has: products keep the variance, gains are near 1.
fn weights(layout: &ParameterLayout, noise: &mut Noise) -> Vec<f64> {
    use clino_domain::Layout;
    let mut w = vec![0.0; layout.total()];
    for (spec, slot) in layout.parameters().iter().zip(layout.slots()) {
        let fan = if spec.shape.len() == 2 && !slot.name.contains("embeddings") { spec.shape[1] } else { 3 };
        let (scale, around) = match slot.name.ends_with("LayerNorm.weight") {
            true => (0.5, 1.0),
            false => ((3.0 / fan as f64).sqrt(), 0.0),
        };
        w[slot.range()].iter_mut().for_each(|x| *x = around + scale * noise.next());
    }
    w
}

/// What a row's mask looks like; the last two keep their masked tokens.
#[derive(Debug, Clone, Copy)]
enum Mask {
    Full,
    Tail,
    Holes,
    NoFirst,
    Nothing,
}

fn mask(kind: Mask, width: usize, noise: &mut Noise) -> Vec<u32> {
    let holes = |first: u32, noise: &mut Noise| {
        (0..width).map(|at| if at == 0 { first } else { noise.below(2) as u32 }).collect()
    };
    match kind {
        Mask::Full => vec![1; width],
        Mask::Tail => {
            let len = 1 + noise.below(width);
            (0..width).map(|at| u32::from(at < len)).collect()
        }
        Mask::Holes => holes(1, noise),
        Mask::NoFirst => holes(0, noise),
        Mask::Nothing => vec![0; width],
    }
}

#[derive(Debug, Clone)]
struct Sizes {
    model_type: &'static str,
    heads: usize,
    head: usize,
    layers: usize,
    inner: usize,
    classes: usize,
    activation: &'static str,
    masks: Vec<Mask>,
    width: usize,
}

const VOCABULARY: usize = 17;
const POSITIONS: usize = 14;
const TYPES: usize = 2;

impl Sizes {
    fn config(&self) -> Value {
        json!({
            "model_type": self.model_type, "vocab_size": VOCABULARY, "hidden_size": self.heads * self.head,
            "num_hidden_layers": self.layers, "num_attention_heads": self.heads,
            "intermediate_size": self.inner, "max_position_embeddings": POSITIONS, "type_vocab_size": TYPES,
            "hidden_act": self.activation, "num_labels": self.classes
        })
    }

    /// Near the kink of a ReLU the last bit decides about a slope of 0 or 1, and a row of a few numbers is now and
    /// then nearly constant, so that LayerNorm divides by little: once in some 10 000 models of 4 units.
    fn delicate(&self) -> bool {
        self.activation == "relu" || self.heads * self.head < 8
    }

    fn case(&self, seed: u64) -> NetworkCase {
        let noise = &mut Noise::new(seed);
        let rows = self.masks.len();
        let width = self.width;
        let mask: Vec<u32> = self.masks.iter().flat_map(|kind| mask(*kind, width, noise)).collect();
        let mut tokens = |below: usize| (0..rows * width).map(|_| noise.below(below) as u32).collect();
        let ids = tokens(VOCABULARY);
        let types = tokens(TYPES);
        let positions = tokens(POSITIONS);
        let batches = TokenTable { width, ids, mask, types, positions }.cut(&vec![0; rows], 1024);
        NetworkCase::new(&self.config(), batches, noise)
    }
}

const ACTIVATIONS: [&str; 5] = ["gelu", "gelu_new", "tanh", "silu", "relu"];

fn encoders() -> impl Strategy<Value = Sizes> {
    let masks = prop::sample::select(vec![Mask::Full, Mask::Tail, Mask::Holes, Mask::NoFirst, Mask::Nothing]);
    let model_type = prop::sample::select(vec!["bert", "roberta", "xlm-roberta"]);
    let sizes = (1usize..5, 4usize..13, 1usize..4, 1usize..64, 2usize..6);
    let batch = (prop::collection::vec(masks, 1..6), 1usize..12);
    (model_type, sizes, prop::sample::select(ACTIVATIONS.to_vec()), batch).prop_map(
        |(model_type, (heads, head, layers, inner, classes), activation, (masks, width))| Sizes {
            model_type,
            heads,
            head,
            layers,
            inner,
            classes,
            activation,
            masks,
            width,
        },
    )
}

fn mlp(sizes: &[usize], activation: &str, rows: usize, seed: u64) -> NetworkCase {
    let noise = &mut Noise::new(seed);
    let config = json!({"model_type": "mlp", "sizes": sizes, "hidden_act": activation});
    let batches = cut_features(&noise.take(rows * sizes[0]), sizes[0], &vec![0; rows]);
    NetworkCase::new(&config, batches, noise)
}

/// The largest differences seen so far: f32 logits, f32 gradient, f64 logits, f64 gradient.
#[derive(Default)]
struct LargestDifferences(Cell<[f64; 4]>);

impl LargestDifferences {
    const OF: [&str; 4] = ["f32 logits", "f32 gradients", "f64 logits", "f64 gradients"];

    /// `delicate`: rounding to f32 may move the gradient by more than the bound, so that only f64 is held to it.
    fn hold(&self, case: &NetworkCase, delicate: bool) -> Result<(), TestCaseError> {
        let [narrow, wide] = [case.differences::<f32>(), case.differences::<f64>()];
        let found = [narrow[0], if delicate { 0.0 } else { narrow[1] }, wide[0], wide[1]];
        for (at, bound) in [NARROW, NARROW, WIDE, WIDE].into_iter().enumerate() {
            prop_assert!(found[at] <= bound, "{} differ by {:e}", Self::OF[at], found[at]);
        }
        let before = self.0.get();
        self.0.set([0, 1, 2, 3].map(|at| before[at].max(found[at])));
        Ok(())
    }

    fn print(&self, of: &str) {
        let [a, b, c, d] = self.0.get();
        println!("{of}: f32 logits {a:.1e}, gradient {b:.1e}; f64 logits {c:.1e}, gradient {d:.1e}");
    }
}

/// `PROPTEST_CASES` says how many cases, 256 without.
fn runner() -> TestRunner {
    TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })
}

#[test]
fn encoders_agree_with_candle() {
    let seen = LargestDifferences::default();
    let run = |(sizes, seed): (Sizes, u64)| seen.hold(&sizes.case(seed), sizes.delicate());
    runner().run(&(encoders(), any::<u64>()), run).unwrap();
    seen.print("encoders");
}

#[test]
fn mlps_agree_with_candle() {
    let seen = LargestDifferences::default();
    let sizes = (prop::collection::vec(1usize..40, 1..5), 2usize..40)
        .prop_map(|(widths, classes)| [widths, vec![classes]].concat());
    let models = (sizes, prop::sample::select(ACTIVATIONS.to_vec()), 1usize..300, any::<u64>());
    let run = |(sizes, activation, rows, seed): (Vec<usize>, &str, usize, u64)| {
        seen.hold(&mlp(&sizes, activation, rows, seed), activation == "relu")
    };
    runner().run(&models, run).unwrap();
    seen.print("MLPs");
}

fn fixed(model_type: &'static str, activation: &'static str) -> Sizes {
    let masks = vec![Mask::Full, Mask::Tail, Mask::Holes, Mask::NoFirst, Mask::Nothing];
    Sizes { model_type, heads: 2, head: 5, layers: 2, inner: 12, classes: 3, activation, masks, width: 9 }
}

#[test]
fn f32_agrees_with_relu_away_from_its_kink() {
    let seen = LargestDifferences::default();
    seen.hold(&fixed("bert", "relu").case(1), false).unwrap();
    seen.hold(&mlp(&[7, 9, 4], "relu", 20, 1), false).unwrap();
    seen.print("ReLU");
}

#[test]
fn relu_is_flat_at_zero() {
    // Without a feature and without biases every unit stands at 0.
    let mut case = mlp(&[2, 3, 2], "relu", 1, 1);
    case.batches = cut_features(&[0.0; 2], 2, &[0]);
    let layout = case.networks[0].layout().clone();
    layout.slots().iter().filter(|s| s.name.ends_with("bias")).for_each(|s| case.w[s.range()].fill(0.0));
    let [[_, hand], [_, candle]] = case.run::<f64>();
    assert_eq!(hand, candle);
    assert!(candle[layout.offset("layers.1.bias")..][..2].iter().all(|g| *g != 0.0), "{candle:?}");
}

#[test]
fn every_parameter_gets_a_gradient_from_candle() {
    let all = ACTIVATIONS.map(|activation| fixed("bert", activation).case(2));
    let rest = [fixed("roberta", "gelu").case(2), mlp(&[7, 9, 4], "gelu", 20, 2)];
    for case in all.into_iter().chain(rest) {
        let [_, [_, gradient]] = case.run::<f64>();
        for slot in case.networks[1].layout().slots() {
            // A key's bias shifts all scores of a row alike, which softmax does not see.
            let blind = slot.name.ends_with("key.bias");
            let moved = gradient[slot.range()].iter().any(|g| g.abs() > 1e-12);
            assert_eq!(moved, !blind, "{}", slot.name);
        }
    }
}

#[test]
fn rows_without_a_token_get_the_gradient_through_their_mask() {
    let mut sizes = fixed("bert", "gelu");
    // Next to a longer row: its padding must not share in the probabilities of the row without tokens.
    sizes.masks = vec![Mask::Nothing, Mask::Full];
    let mut case = sizes.case(3);
    let Inputs::Tokens(tokens) = &mut case.batches[0].inputs else { panic!("tokens") };
    let short = 4;
    let gone = tokens.sequences[0].len - 4;
    for column in [&mut tokens.ids, &mut tokens.types, &mut tokens.positions] {
        column.drain(short..short + gone);
    }
    tokens.sequences[0].len = short;
    tokens.sequences[0].masked.truncate(short);
    tokens.sequences[1].start = short;
    LargestDifferences::default().hold(&case, false).unwrap();
    let query = case.networks[0].layout().offset("bert.encoder.layer.1.attention.self.query.weight");
    case.batches[0] =
        Batch { inputs: Inputs::Tokens(alone(&case.batches[0], short)), targets: Targets::Classes(vec![0]) };
    case.d_logits[0].truncate(3);
    let [_, [_, gradient]] = case.run::<f64>();
    assert!(gradient[query..][..100].iter().any(|g| *g != 0.0), "the mask stops the gradient");
}

/// The first row of a batch.
fn alone(batch: &Batch, len: usize) -> crate::network::batch::Tokens {
    let Inputs::Tokens(tokens) = &batch.inputs else { panic!("tokens") };
    let mut tokens = tokens.clone();
    tokens.sequences.truncate(1);
    for column in [&mut tokens.ids, &mut tokens.types, &mut tokens.positions] {
        column.truncate(len);
    }
    tokens
}

#[test]
fn it_is_the_same_network_otherwise() {
    let text = fixed("roberta", "gelu").config().to_string();
    let hand = crate::network::build(&text).unwrap().0;
    let candle = build(&text).unwrap();
    assert_eq!(candle.layout().slots(), hand.layout().slots());
    assert_eq!(candle.unit_width(), hand.unit_width());
    assert!(build(r#"{"model_type":"lstm"}"#).is_err());
    for family in crate::network::ARCHITECTURES.iter().flat_map(|family| family.model_types) {
        let config = match *family {
            "mlp" => json!({"model_type": "mlp", "sizes": [2, 3]}),
            name => fixed(name, "gelu").config(),
        };
        assert!(build(&config.to_string()).is_ok(), "candle has no {family}");
    }
}
