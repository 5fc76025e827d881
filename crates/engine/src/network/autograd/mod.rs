//! The same networks a second time, as somebody would write them in candle, with gradients from candle's autograd.
//! The hand-written networks are held against these: in value by the tests here, in speed by benchmarks.
//!
//! Parameters are found by their names alone, and shapes are read from the configuration again, so that a mistake in
//! the places of the hand-written networks shows. Batches are padded back into rectangles. candle chooses its own
//! threads (`RAYON_NUM_THREADS`).
//!
//! Owns: the second implementation of every architecture. May not touch: the hand-written arithmetic.

mod encoder;
mod mlp;
mod ops;
mod parameters;

use super::batch::{Batch, Extent, Inputs};
use super::examples::join;
use super::layout::ParameterLayout;
use super::{Network, Pass, PassInput, Product};
use crate::device::real::Real;
use candle_core::{Result as Candle, Tensor, WithDType};
use clino_domain::{Fault, ProbeGroup};
use encoder::{CandleEncoder, Rectangle};
use mlp::CandleMlp;
pub use parameters::CandleParameters;
use std::sync::Arc;

/// The arithmetic of one architecture.
pub enum CandleModel {
    /// A fully connected network.
    Mlp(CandleMlp),
    /// A transformer encoder of the BERT family.
    Encoder(CandleEncoder),
}

/// A batch as candle reads it, on the device of the parameters.
pub enum CandleBatch {
    /// Features of each example, [examples, inputs].
    Features(Tensor),
    /// Token sequences, padded to the longest one.
    Tokens(Rectangle),
}

impl CandleModel {
    /// The arithmetic of a model type, from a configuration that its hand-written network took.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] for an architecture that is not written in candle.
    pub fn read(model_type: &str, config_json: &str) -> Result<Self, Fault> {
        match model_type {
            "mlp" => Ok(Self::Mlp(CandleMlp::read(config_json)?)),
            "bert" | "roberta" | "xlm-roberta" => Ok(Self::Encoder(CandleEncoder::read(config_json)?)),
            other => {
                let found = clino_domain::text::quoted(other);
                Err(Fault::invalid(
                    "config_json.model_type",
                    format!("found {found}, which candle does not support"),
                ))
            }
        }
    }

    /// Brings a batch to the device of the parameters.
    pub fn prepare(&self, parameters: &CandleParameters, batch: &Batch) -> Candle<CandleBatch> {
        match (self, &batch.inputs) {
            (Self::Mlp(mlp), Inputs::Features(features)) => {
                Ok(CandleBatch::Features(mlp.prepare(parameters, features)?))
            }
            (Self::Encoder(_), Inputs::Tokens(tokens)) => {
                Ok(CandleBatch::Tokens(Rectangle::new(parameters, tokens)?))
            }
            _ => candle_core::bail!("the batch was cut by another network"),
        }
    }

    /// The logits of a batch, [examples, classes].
    pub fn logits(&self, parameters: &CandleParameters, batch: &CandleBatch) -> Candle<Tensor> {
        match (self, batch) {
            (Self::Mlp(mlp), CandleBatch::Features(features)) => mlp.logits(parameters, features),
            (Self::Encoder(encoder), CandleBatch::Tokens(tokens)) => encoder.logits(parameters, tokens),
            _ => candle_core::bail!("the batch was prepared by another network"),
        }
    }
}

/// The network of [`super::build`] with candle's arithmetic: same layout, same classes, same batches.
///
/// # Errors
/// Those of [`super::build`].
pub fn build(config_json: &str) -> Result<Arc<dyn Network>, Fault> {
    let (network, model_type) = super::build(config_json)?;
    let model = Arc::new(CandleModel::read(&model_type, config_json)?);
    Ok(Arc::new(Autograd { network, model }))
}

struct Autograd {
    /// The hand-written network: whatever is not arithmetic is its answer.
    network: Arc<dyn Network>,
    model: Arc<CandleModel>,
}

impl Autograd {
    fn pass<T: Real + WithDType>(&self) -> Box<dyn Pass<T>> {
        let model = self.model.clone();
        let layout = self.network.layout().clone();
        Box::new(AutogradPass { model, layout, kept: None, logits: Vec::new() })
    }
}

impl Network for Autograd {
    fn layout(&self) -> &Arc<ParameterLayout> {
        self.network.layout()
    }

    fn unit_width(&self) -> usize {
        self.network.unit_width()
    }

    fn columns(&self) -> Vec<&str> {
        self.network.columns()
    }

    fn padding(&self) -> Option<u32> {
        self.network.padding()
    }

    fn batches(&self, group: &ProbeGroup) -> Result<Vec<Batch>, Fault> {
        self.network.batches(group)
    }

    fn products(&self, batch: &Batch) -> Vec<Product> {
        self.network.products(batch)
    }

    fn reads(&self) -> String {
        self.network.reads()
    }

    /// What candle's graph takes is told nowhere: it serves tests and benches, and GPUs have a sum of their own.
    fn workspace(&self, extent: Extent, keep: bool, size: usize) -> f64 {
        self.network.workspace(extent, keep, size)
    }

    fn pass_f32(&self, _threads: usize) -> Box<dyn Pass<f32>> {
        self.pass()
    }

    fn pass_f64(&self, _threads: usize) -> Box<dyn Pass<f64>> {
        self.pass()
    }
}

struct AutogradPass<T> {
    model: Arc<CandleModel>,
    layout: Arc<ParameterLayout>,
    /// The last forward with `keep`: its variables and its logits [examples, classes], which hold the graph.
    kept: Option<(CandleParameters, Tensor)>,
    logits: Vec<T>,
}

impl<T: Real + WithDType> Pass<T> for AutogradPass<T> {
    fn width(&self) -> usize {
        usize::MAX
    }

    fn forward(&mut self, input: PassInput<'_, T>, keep: bool) -> Result<&[T], Fault> {
        input.stop.check()?;
        let batch = &join(input.batches);
        // The graph before goes first: two of them would be the peak of memory.
        self.kept = None;
        let parameters = sound(CandleParameters::new(&self.layout, input.w, keep));
        let batch = sound(self.model.prepare(&parameters, batch));
        let logits = sound(self.model.logits(&parameters, &batch));
        self.logits = sound(values(&logits));
        self.kept = keep.then_some((parameters, logits));
        Ok(&self.logits)
    }

    fn backward(&mut self, input: PassInput<'_, T>, d_logits: &[T], gradient: &mut [T]) -> Result<(), Fault> {
        input.stop.check()?;
        let (parameters, logits) = self.kept.as_ref().expect("a forward with keep comes before a backward");
        sound(parameters.add_gradient(&self.layout, logits, d_logits, gradient));
        Ok(())
    }
}

/// The elements of a tensor, row-major.
fn values<T: WithDType>(tensor: &Tensor) -> Candle<Vec<T>> {
    tensor.flatten_all()?.to_vec1()
}

/// The one place where an error of candle becomes a panic: it can only be a mistake of this module.
fn sound<V>(result: Candle<V>) -> V {
    result.expect("the layout and the batch were checked against the configuration")
}

#[cfg(test)]
mod tests;
