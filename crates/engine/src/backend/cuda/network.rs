//! A model on one GPU: its parameters as candle's tensors, whose memory the kernels fill, and the batches of its groups.
//!
//! The tensors stay where they are for the life of a snapshot: a perturbation writes into them, a forward reads them, and
//! the gradients that candle's autograd leaves are gathered by one launch. Of tied parameters there is one tensor.
//!
//! Owns: tensors, prepared batches, forwards and backwards. May not touch: vectors over all parameters.

use crate::device::cuda::arena::{Arena, Vector};
use crate::device::cuda::gpu::{Arg, Element, Gpu};
use crate::device::slot::{Slot, Tie};
use crate::network::autograd::{CandleBatch, CandleModel, CandleParameters};
use crate::network::batch::{Batch, PLACES};
use crate::network::examples;
use crate::network::layout::ParameterLayout;
use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use candle_core::{Tensor, Var};
use clino_domain::{Checkpoint, Fault};
use std::collections::HashMap;
use std::sync::Arc;

/// A few batches as one, on the device.
pub struct Ready {
    inputs: CandleBatch,
    labels: CudaSlice<u32>,
    rows: usize,
}

/// Where the scores of a forward's examples go on the device, example by example.
#[derive(Clone, Copy)]
pub struct Scores {
    /// Device address of the losses [examples], in f64.
    pub losses: u64,
    /// Whether predictions are right [examples], one byte each.
    pub right: Option<u64>,
}

impl Scores {
    /// From the example `first` on.
    fn from(self, first: usize) -> Self {
        let first = first as u64;
        Self { losses: self.losses + 8 * first, right: self.right.map(|right| right + first) }
    }
}

/// A candle model on one GPU, whose tensors the kernels fill with parameters.
pub struct DeviceNetwork<T> {
    gpu: Arc<Gpu>,
    model: Arc<CandleModel>,
    /// The untied tensors, as variables, in the order of the slots.
    variables: Vec<Tensor>,
    /// By name, recorded by candle.
    recorded: CandleParameters,
    /// The same memory, not recorded.
    still: CandleParameters,
    /// Their addresses, in the order of the slots.
    pub bases: CudaSlice<u64>,
    /// For a second part's gradient.
    spare: Option<Vector<T>>,
    ones: CudaSlice<f64>,
}

impl<T: Element> DeviceNetwork<T> {
    /// Tensors of zeros for `slots`, and for what is tied to them.
    ///
    /// # Errors
    /// If memory runs out or the device is lost.
    pub fn new(
        gpu: &Arc<Gpu>,
        model: Arc<CandleModel>,
        layout: &ParameterLayout,
        slots: &[Slot],
        ties: &[Tie],
    ) -> Result<Self, Fault> {
        let shape = |slot: &Slot| {
            let spec = layout.specs().iter().find(|spec| spec.name == slot.name);
            spec.map_or_else(Vec::new, |spec| {
                spec.shape.iter().map(|axis| *axis as usize).collect::<Vec<_>>()
            })
        };
        let variable = |slot: &Slot| Ok(Var::zeros(shape(slot), T::DTYPE, gpu.device())?.into_inner());
        let variables: candle_core::Result<Vec<Tensor>> = slots.iter().map(variable).collect();
        let variables = variables.map_err(|error| gpu.fault(&error))?;
        let place = |slot: &Slot| {
            let tie = ties.iter().find(|tie| tie.mirror == slot.offset);
            let offset = tie.map_or(slot.offset, |tie| tie.original);
            slots.iter().position(|slot| slot.offset == offset)
        };
        let named = |of: &dyn Fn(&Tensor) -> Tensor| {
            let all = layout.slots().iter().filter_map(|slot| Some((slot.name.clone(), place(slot)?)));
            let tensors: HashMap<String, Tensor> = all.map(|(name, i)| (name, of(&variables[i]))).collect();
            CandleParameters::held(tensors, T::DTYPE, gpu.device().clone())
        };
        let recorded = named(&Tensor::clone);
        let still = named(&Tensor::detach);
        let bases: Vec<u64> =
            variables.iter().map(|tensor| gpu.tensor::<T>(tensor)).collect::<Result<_, _>>()?;
        let bases = gpu.upload(&bases)?;
        let ones = gpu.upload(&vec![1.0; slots.len()])?;
        Ok(Self { gpu: gpu.clone(), model, variables, recorded, still, bases, spare: None, ones })
    }

    /// Joins batches and brings them to the device, in their order.
    ///
    /// # Errors
    /// If memory runs out or the device is lost.
    pub fn prepare(&self, batches: &[&Batch]) -> Result<Vec<Ready>, Fault> {
        let ready = |part: &[&Batch]| {
            let joined = examples::join(part);
            let inputs = self.model.prepare(&self.still, &joined).map_err(|error| self.gpu.fault(&error))?;
            let labels: Vec<u32> = joined.targets.classes().iter().map(|label| *label as u32).collect();
            Ok(Ready { inputs, rows: labels.len(), labels: self.gpu.upload(&labels)? })
        };
        parts(batches).into_iter().map(ready).collect()
    }

    fn forward(&self, parameters: &CandleParameters, ready: &Ready) -> Result<Tensor, Fault> {
        let logits = self.model.logits(parameters, &ready.inputs).and_then(|logits| logits.contiguous());
        logits.map_err(|error| self.gpu.fault(&error))
    }

    /// Logits [examples, classes], on the host.
    ///
    /// # Errors
    /// `Cancelled` if a stop was requested; a fault if the device is lost.
    pub fn logits(&self, parts: &[Ready], stop: &dyn Checkpoint) -> Result<Vec<f64>, Fault> {
        let mut all = Vec::new();
        for ready in parts {
            stop.check()?;
            let logits = self.forward(&self.still, ready)?;
            let values: candle_core::Result<Vec<T>> = logits.flatten_all().and_then(|flat| flat.to_vec1());
            all.extend(values.map_err(|error| self.gpu.fault(&error))?.iter().map(|z| z.wide()));
        }
        Ok(all)
    }

    /// Scores every example.
    ///
    /// # Errors
    /// `Cancelled` if a stop was requested; a fault if the device is lost.
    pub fn look(&self, parts: &[Ready], scores: Scores, stop: &dyn Checkpoint) -> Result<(), Fault> {
        let mut first = 0;
        for ready in parts {
            stop.check()?;
            let logits = self.forward(&self.still, ready)?;
            self.score(&logits, ready, scores.from(first), None)?;
            first += ready.rows;
        }
        Ok(())
    }

    /// Scores every example; out = the gradient of the mean loss.
    ///
    /// # Errors
    /// `Cancelled` if a stop was requested; a fault if the device is lost.
    pub fn gradient(
        &mut self,
        arena: &Arena,
        parts: &[Ready],
        (losses, out): (&CudaSlice<f64>, &mut Vector<T>),
        stop: &dyn Checkpoint,
    ) -> Result<(), Fault> {
        let share = 1.0 / parts.iter().map(|ready| ready.rows).sum::<usize>() as f64;
        let mut first = 0;
        for (i, ready) in parts.iter().enumerate() {
            stop.check()?;
            let scores = Scores { losses: self.gpu.address(losses), right: None };
            let gradients = self.backward(ready, scores.from(first), share)?;
            if i == 0 {
                self.gather(arena, &gradients, out)?;
            } else {
                let mut more = self.spare.take().map_or_else(|| arena.vector(), Ok)?;
                self.gather(arena, &gradients, &mut more)?;
                arena.combine(&self.ones, out, &self.ones, &more)?;
                self.spare = Some(more);
            }
            first += ready.rows;
        }
        Ok(())
    }

    /// Gradients of the tensors, in the order of the slots, each contiguous.
    fn backward(&self, ready: &Ready, scores: Scores, share: f64) -> Result<Vec<Tensor>, Fault> {
        let logits = self.forward(&self.recorded, ready)?;
        let d_logits = logits.zeros_like().map_err(|error| self.gpu.fault(&error))?;
        self.score(&logits, ready, scores, Some((&d_logits, share)))?;
        let found = || -> candle_core::Result<Vec<Tensor>> {
            let gradients = (&logits * d_logits.detach())?.sum_all()?.backward()?;
            let of = |variable: &Tensor| match gradients.get(variable) {
                Some(gradient) => gradient.contiguous(),
                None => candle_core::bail!("a parameter got no gradient"),
            };
            self.variables.iter().map(of).collect()
        };
        found().map_err(|error| self.gpu.fault(&error))
    }

    fn gather(&self, arena: &Arena, gradients: &[Tensor], out: &mut Vector<T>) -> Result<(), Fault> {
        let bases: Vec<u64> =
            gradients.iter().map(|tensor| self.gpu.tensor::<T>(tensor)).collect::<Result<_, _>>()?;
        arena.gather(&self.gpu.upload(&bases)?, out)
    }

    /// Losses and hits of logits [rows, classes], and the derivative of the sum of `share` times each loss.
    fn score(
        &self,
        logits: &Tensor,
        ready: &Ready,
        scores: Scores,
        slopes: Option<(&Tensor, f64)>,
    ) -> Result<(), Fault> {
        let classes = logits.dims()[1];
        let (slopes, share) = match slopes {
            Some((slopes, share)) => (self.gpu.tensor::<T>(slopes)?, share),
            None => (0, 0.0),
        };
        let arguments = [
            Arg::At(self.gpu.tensor::<T>(logits)?),
            self.gpu.at(&ready.labels),
            Arg::U32(classes as u32),
            Arg::F64(share),
            Arg::At(scores.losses),
            Arg::At(0),
            Arg::At(0),
            Arg::At(scores.right.unwrap_or(0)),
            Arg::At(slopes),
        ];
        let threads = classes.next_multiple_of(32).min(256) as u32;
        self.gpu.launch_rows::<T>("cross_entropy", ready.rows, threads, &arguments)
    }
}

/// Examples of prepared batches.
pub fn rows(parts: &[Ready]) -> usize {
    parts.iter().map(|ready| ready.rows).sum()
}

/// Batches in runs that stay within [`PLACES`] when they are joined.
fn parts<'a, 'b>(batches: &'a [&'b Batch]) -> Vec<&'a [&'b Batch]> {
    let mut found = Vec::new();
    let mut first = 0;
    let mut taken = (0, 0);
    for (i, batch) in batches.iter().enumerate() {
        let rows = batch.units();
        let longest = batch.longest();
        let joined = (taken.0 + rows, longest.max(taken.1));
        if i > first && joined.0 * joined.1 > PLACES {
            found.push(&batches[first..i]);
            (first, taken) = (i, (rows, longest));
        } else {
            taken = joined;
        }
    }
    found.push(&batches[first..]);
    found
}
