//! What is lost on the outputs of a graph.
//!
//! Owns: defaults of the loss, and ranges of its numbers. May not touch: how it is computed.

use crate::convert::present;
use crate::pb::{self, loss_spec::Kind as Message};
use clino_domain::Fault;
use clino_domain::graph::{AuxiliaryLoss, CrossEntropy, GraphParts, LossKind, LossSpec, MAX_OUTPUTS};
use clino_domain::tensor::MAX_TENSOR_NAME;
use clino_domain::text::quoted;

/// Most classes whose weights a loss may name.
const MAX_CLASSES: usize = 1 << 20;
/// Longest distance between a position and its label.
const MAX_SHIFT: u32 = 1 << 16;

/// A loss of the graph `parts`; paths of its faults begin at the loss.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] naming the first wrong field.
pub fn loss_from_pb(loss: pb::LossSpec, parts: &GraphParts) -> Result<LossSpec, Fault> {
    let or = |text: String, default: &str| if text.is_empty() { default.to_owned() } else { text };
    let kind = kind(present("kind", loss.kind)?, parts)?;
    let output = or(loss.output, "logits");
    check_output("output", &output, parts)?;
    let labels = or(loss.labels, "labels");
    if labels.len() > MAX_TENSOR_NAME {
        let found = labels.len();
        return Err(Fault::invalid(
            "labels",
            format!("found {found} bytes, expected at most {MAX_TENSOR_NAME}"),
        ));
    }
    super::counted("auxiliary", loss.auxiliary.len(), MAX_OUTPUTS)?;
    let auxiliary = loss.auxiliary.into_iter().enumerate().map(|(i, one)| {
        check_output(&format!("auxiliary[{i}].output"), &one.output, parts)?;
        between(&format!("auxiliary[{i}].weight"), one.weight, f64::MIN, f64::MAX)?;
        Ok(AuxiliaryLoss { output: one.output, weight: one.weight })
    });
    let auxiliary = auxiliary.collect::<Result<_, Fault>>()?;
    Ok(LossSpec { kind, output, labels, auxiliary, batch_coupled: loss.batch_coupled })
}

fn check_output(field: &str, name: &str, parts: &GraphParts) -> Result<(), Fault> {
    if parts.outputs.iter().any(|output| output.name == name) {
        return Ok(());
    }
    let names = parts.outputs.iter().map(|output| quoted(&output.name));
    let names: Vec<_> = names.take(8).collect();
    let description =
        format!("found {}, expected an output of the graph: {}", quoted(name), names.join(", "));
    Err(Fault::invalid(field, description))
}

fn between(field: &str, x: f64, least: f64, most: f64) -> Result<(), Fault> {
    match x >= least && x <= most {
        true => Ok(()),
        false => {
            let expected = match (least, most) {
                (f64::MIN, f64::MAX) => "a finite number".into(),
                (0.0, f64::MAX) => "a finite number from 0".into(),
                (f64::MIN_POSITIVE, f64::MAX) => "a finite number above 0".into(),
                _ => format!("{least} to {most}"),
            };
            Err(Fault::invalid(field, format!("found {x}, expected {expected}")))
        }
    }
}

fn weights(field: &str, weights: Vec<f64>) -> Result<Vec<f64>, Fault> {
    super::counted(field, weights.len(), MAX_CLASSES)?;
    for (i, weight) in weights.iter().enumerate() {
        between(&format!("{field}[{i}]"), *weight, 0.0, f64::MAX)?;
    }
    Ok(weights)
}

fn kind(message: Message, parts: &GraphParts) -> Result<LossKind, Fault> {
    Ok(match message {
        Message::CrossEntropy(m) => {
            between("cross_entropy.smoothing", m.smoothing, 0.0, 1.0)?;
            if m.shift > MAX_SHIFT {
                let found = m.shift;
                let description = format!("found {found}, expected at most {MAX_SHIFT}");
                return Err(Fault::invalid("cross_entropy.shift", description));
            }
            LossKind::CrossEntropy(CrossEntropy {
                ignore_index: m.ignore_index,
                shift: m.shift,
                smoothing: m.smoothing,
                class_weights: weights("cross_entropy.class_weights", m.class_weights)?,
                classes_first: m.classes_first,
            })
        }
        Message::SquaredError(_) => LossKind::SquaredError,
        Message::Huber(m) => {
            between("huber.delta", m.delta, f64::MIN_POSITIVE, f64::MAX)?;
            LossKind::Huber { delta: m.delta, smooth: m.smooth }
        }
        Message::BinaryCrossEntropy(m) => LossKind::BinaryCrossEntropy {
            positive_weights: weights("binary_cross_entropy.positive_weights", m.positive_weights)?,
        },
        Message::Given(m) => {
            if !m.weights.is_empty() {
                check_output("given.weights", &m.weights, parts)?;
            }
            LossKind::Given { weights: (!m.weights.is_empty()).then_some(m.weights) }
        }
    })
}
