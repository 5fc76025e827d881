//! A point that walks around w0 in the buffers of one worker.
//!
//! delta is kept as noise that can be made again, or as a vector once a gradient has come in; the gradient's buffer
//! becomes delta's, so that the usual single step needs two buffers as large as the parameters.
//!
//! Owns: delta, the perturbed copy and the gradient. May not touch: w0 (which it only reads).

use super::device::cpu;
use super::landscape::{Point, cross_entropy, log_sum_exp};
use super::model::{Snapped, mirror};
use super::network::batch::Batch;
use super::network::layout::Tie;
use super::network::{Pass, Passes};
use super::noise::Purpose;
use super::norms::Norms;
use super::stop::Stop;
use crate::domain::Fault;
use std::sync::Arc;

/// Buffers of one worker; vectors are allocated when they are first needed and stay.
pub struct Worker<T> {
    /// Forward and backward.
    pub pass: Box<dyn Pass<T>>,
    point: Vec<T>,
    gradient: Vec<T>,
    delta: Vec<T>,
    d_logits: Vec<T>,
}

impl<T> Worker<T> {
    /// A worker that computes with `pass`.
    pub fn new(pass: Box<dyn Pass<T>>) -> Self {
        Self { pass, point: Vec::new(), gradient: Vec::new(), delta: Vec::new(), d_logits: Vec::new() }
    }
}

enum Delta {
    Zero,
    /// A draw of noise with a scale for each slot.
    Noise(u32, Purpose, Vec<f64>),
    /// In [`Worker::delta`].
    Stored,
}

/// See the module.
pub struct Walker<'a, T> {
    snapped: &'a Snapped<T>,
    batches: &'a [&'a Batch],
    worker: &'a mut Worker<T>,
    stop: &'a Stop,
    delta: Delta,
    /// Whether the worker's point is w0 + delta.
    placed: bool,
}

impl<'a, T: Passes> Walker<'a, T> {
    /// A point at w0.
    pub fn new(
        snapped: &'a Snapped<T>,
        batches: &'a [&'a Batch],
        worker: &'a mut Worker<T>,
        stop: &'a Stop,
    ) -> Self {
        Self { snapped, batches, worker, stop, delta: Delta::Zero, placed: false }
    }

    /// Back to w0.
    pub fn reset(&mut self) {
        self.become_delta(Delta::Zero);
    }

    fn become_delta(&mut self, delta: Delta) {
        // A delta that is not stored leaves its buffer to the next gradient.
        if !matches!(delta, Delta::Stored) && self.worker.gradient.is_empty() {
            std::mem::swap(&mut self.worker.gradient, &mut self.worker.delta);
        }
        self.delta = delta;
        self.placed = false;
    }

    fn ties(&self) -> &'a [Tie] {
        &self.snapped.weights.ties
    }

    fn place(&mut self) {
        if self.placed {
            return;
        }
        let weights = &self.snapped.weights;
        let point = &mut self.worker.point;
        point.resize(weights.data.len(), T::ZERO);
        match &self.delta {
            Delta::Zero => point.copy_from_slice(&weights.data),
            Delta::Noise(draw, purpose, scales) => {
                let draw = self.snapped.draw(*draw, *purpose);
                cpu::perturb(&weights.slots, (point, &weights.data), draw, scales);
            }
            Delta::Stored => cpu::displace(&weights.slots, point, &weights.data, &self.worker.delta),
        }
        mirror(self.ties(), &mut self.worker.point);
        self.placed = true;
    }

    fn examples(&self) -> f64 {
        self.batches.iter().map(|batch| batch.labels.len()).sum::<usize>() as f64
    }
}

/// Calls `with(row, label)` for the logits of every example of a few batches.
pub fn each_example<T: Passes>(logits: &[T], batches: &[&Batch], mut with: impl FnMut(&[f64], usize)) {
    let labels = || batches.iter().flat_map(|batch| &batch.labels);
    let mut row = vec![0.0; logits.len() / labels().count().max(1)];
    for (logits, label) in logits.chunks_exact(row.len().max(1)).zip(labels()) {
        row.iter_mut().zip(logits).for_each(|(wide, z)| *wide = z.wide());
        with(&row, *label);
    }
}

/// Derivative of the mean loss over `examples` along the logits of a few batches.
pub fn loss_slopes<T: Passes>(logits: &[T], batches: &[&Batch], examples: f64, out: &mut Vec<T>) {
    out.clear();
    each_example(logits, batches, |row, label| {
        let total = log_sum_exp(row);
        out.extend(row.iter().enumerate().map(|(class, z)| {
            let target = if class == label { 1.0 } else { 0.0 };
            T::of((libm::exp(z - total) - target) / examples)
        }));
    });
}

impl<T: Passes> Point for Walker<'_, T> {
    fn noise_norms(&mut self, draw: u32, purpose: Purpose) -> Arc<Norms> {
        self.snapped.noise_norms(draw, purpose)
    }

    fn perturb(&mut self, draw: u32, purpose: Purpose, scale: f64) {
        let scales = vec![scale; self.snapped.weights.slots.len()];
        self.become_delta(Delta::Noise(draw, purpose, scales));
    }

    fn gradient(&mut self) -> Result<Norms, Fault> {
        self.place();
        let (examples, ties) = (self.examples(), self.ties());
        let Worker { pass, point, gradient, d_logits, .. } = &mut *self.worker;
        gradient.clear();
        gradient.resize(point.len(), T::ZERO);
        for group in self.batches.chunks(pass.width()) {
            self.stop.check()?;
            let logits = pass.forward(point, group, true);
            loss_slopes(logits, group, examples, d_logits);
            pass.backward(point, group, d_logits, gradient);
        }
        for tie in ties {
            for i in 0..tie.len {
                let mirrored = gradient[tie.mirror + i];
                gradient[tie.original + i] += mirrored;
            }
        }
        Ok(cpu::norms(&self.snapped.weights.slots, gradient))
    }

    fn ascend(&mut self, scale: f64) -> Norms {
        let slots = &self.snapped.weights.slots;
        let Worker { gradient, delta, .. } = &mut *self.worker;
        let norms = match &self.delta {
            Delta::Stored => cpu::add_scaled(slots, delta, scale, gradient),
            Delta::Zero => cpu::scale_and_perturb(slots, gradient, scale, None),
            Delta::Noise(draw, purpose, scales) => {
                let noise = (self.snapped.draw(*draw, *purpose), scales.as_slice());
                cpu::scale_and_perturb(slots, gradient, scale, Some(noise))
            }
        };
        if !matches!(self.delta, Delta::Stored) {
            std::mem::swap(&mut self.worker.gradient, &mut self.worker.delta);
        }
        self.become_delta(Delta::Stored);
        norms
    }

    fn shrink(&mut self, factors: &[f64]) {
        match &mut self.delta {
            Delta::Zero => {}
            Delta::Noise(_, _, scales) => scales.iter_mut().zip(factors).for_each(|(scale, f)| *scale *= f),
            Delta::Stored => cpu::scale(&self.snapped.weights.slots, &mut self.worker.delta, factors),
        }
        self.placed = false;
    }

    fn loss(&mut self) -> Result<f64, Fault> {
        self.place();
        let mut total = 0.0;
        for group in self.batches.chunks(self.worker.pass.width()) {
            self.stop.check()?;
            let logits = self.worker.pass.forward(&self.worker.point, group, false);
            each_example(logits, group, |row, label| total += cross_entropy(row, label));
        }
        Ok(total / self.examples())
    }
}
