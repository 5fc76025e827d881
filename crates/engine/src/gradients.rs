//! Loss and gradient of a model at parameters that their owner changes: all that a small trainer needs.
//!
//! Owns: the parameters between two steps. May not touch: optimizers, snapshots' measures.

use crate::backend::host::loss_slopes;
use crate::criterion::CrossEntropy;
use crate::engine::Engine;
use crate::network::{self, Network, Pass, PassInput, Passes};
use crate::weights::Weights;
use clino_domain::{Fault, Layout, ProbeGroup, References, Snapshot, Stop, TensorSpec};
use std::sync::Arc;

/// A model in f32 that can be trained: no dropout, cross-entropy.
pub struct Gradients {
    engine: Engine,
    network: Arc<dyn Network>,
    pass: Box<dyn Pass<f32>>,
    parameters: Vec<f32>,
    gradient: Vec<f32>,
    slopes: Vec<f32>,
}

impl Gradients {
    /// The model of a config.json with the parameters of a snapshot, computed by `threads`; the numbers do not depend on how
    /// many.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] naming a key of the configuration, [`clino_domain::FaultKind::Precondition`] for a
    /// snapshot of another model.
    pub fn new(config_json: &str, snapshot: Snapshot, threads: usize) -> Result<Self, Fault> {
        let engine = Engine::new(threads)?;
        let (network, _) = network::build(config_json)?;
        let parameters = Weights::new(network.layout(), snapshot, &References::default(), None)?.data;
        let pass = f32::pass(&*network, threads);
        let gradient = vec![0.0; parameters.len()];
        Ok(Self { engine, network, pass, parameters, gradient, slopes: Vec::new() })
    }

    /// Mean cross-entropy of some examples, in nats. Their gradient replaces the one before.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] naming the tensor that the model cannot read.
    pub fn of(&mut self, examples: &ProbeGroup) -> Result<f64, Fault> {
        let batches = self.network.batches(examples)?;
        let batches: Vec<_> = batches.iter().collect();
        let count = batches.iter().map(|batch| batch.units()).sum::<usize>() as f64;
        let Self { engine, pass, parameters, gradient, slopes, .. } = self;
        let criterion = &CrossEntropy::default();
        gradient.fill(0.0);
        let sum = engine.install(|| {
            let stop = Stop::default();
            let losses = batches.chunks(pass.width()).map(|some| {
                let input = PassInput { w: parameters, fixed: &[], batches: some, stop: &stop };
                let losses = loss_slopes(criterion, pass.forward(input, true)?, some, count, slopes).loss;
                pass.backward(input, slopes, gradient)?;
                Ok::<_, Fault>(losses)
            });
            losses.sum::<Result<f64, Fault>>()
        })?;
        Ok(sum / count)
    }

    /// Name and shape of each parameter with its elements, row-major, in the order of the names' bytes.
    pub fn parameters(&self) -> impl Iterator<Item = (&TensorSpec, &[f32])> {
        let layout = self.network.layout();
        let slots = layout.parameters().iter().zip(layout.slots());
        slots.map(|(spec, slot)| (spec, &self.parameters[slot.range()]))
    }

    /// All parameters and the gradient of [`Gradients::of`], element beside element, in an order that does not change.
    pub fn elements(&mut self) -> (&mut [f32], &[f32]) {
        (&mut self.parameters, &self.gradient)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clino_domain::{Dtype, SnapshotHeader, Tensor};

    const CONFIG: &str = r#"{"model_type":"mlp","sizes":[3,5,2],"hidden_act":"tanh"}"#;

    fn tensor(name: &str, dtype: Dtype, shape: &[u64], data: Vec<u8>) -> Tensor {
        Tensor::named(name, dtype, shape, data).unwrap()
    }

    fn examples() -> ProbeGroup {
        let inputs = (0..12u8).flat_map(|i| (f32::from(i % 5) / 4.0 - 0.5).to_le_bytes()).collect();
        let tensors = vec![
            tensor("inputs", Dtype::F32, &[4, 3], inputs),
            tensor("labels", Dtype::U8, &[4], vec![0, 1, 1, 0]),
        ];
        ProbeGroup::new("batch", tensors)
    }

    fn model(threads: usize) -> Gradients {
        let specs = network::build(CONFIG).unwrap().0.layout().parameters().to_vec();
        let filled = |spec: &TensorSpec| {
            let values = (0..spec.numel().unwrap()).map(|i| ((i * 7 + 3) % 11) as f32 / 10.0 - 0.5);
            tensor(&spec.name, Dtype::F32, &spec.shape, values.flat_map(f32::to_le_bytes).collect())
        };
        let snapshot = Snapshot::of(SnapshotHeader::live(0), specs.iter().map(filled).collect()).unwrap();
        Gradients::new(CONFIG, snapshot, threads).unwrap()
    }

    #[test]
    fn a_gradient_is_the_slope_of_the_loss() {
        let mut model = model(1);
        let loss = model.of(&examples()).unwrap();
        let gradient = model.elements().1.to_vec();
        let step = 1e-2;
        for (at, slope) in gradient.iter().enumerate() {
            let mut moved = |by: f32| {
                model.elements().0[at] += by;
                model.of(&examples()).unwrap()
            };
            let rise = moved(step) - moved(-2.0 * step);
            moved(step);
            let found = rise / (2.0 * f64::from(step));
            assert!((found - f64::from(*slope)).abs() < 1e-4, "{at}: {found} {slope}");
        }
        assert!((model.of(&examples()).unwrap() - loss).abs() < 1e-6);
    }

    #[test]
    fn steps_down_the_gradient_lower_the_loss_alike_on_any_number_of_threads() {
        let trained = |threads: usize| {
            let mut model = model(threads);
            let losses: Vec<f64> = (0..50)
                .map(|_| {
                    let loss = model.of(&examples()).unwrap();
                    let (parameters, gradient) = model.elements();
                    parameters.iter_mut().zip(gradient).for_each(|(w, g)| *w -= 0.5 * g);
                    loss
                })
                .collect();
            let names: Vec<String> = model.parameters().map(|(spec, _)| spec.name.clone()).collect();
            assert_eq!(names, ["layers.0.bias", "layers.0.weight", "layers.1.bias", "layers.1.weight"]);
            (losses, model.parameters)
        };
        let (losses, parameters) = trained(1);
        assert!(losses[49] < 0.8 * losses[0], "{losses:?}");
        assert_eq!((losses, parameters), trained(3));
    }
}
