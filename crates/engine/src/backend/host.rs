//! The CPU: vectors in memory, networks written by hand.
//!
//! Owns: the buffers of one worker's forwards and backwards. May not touch: arithmetic over parameters, which is
//! [`cpu`]'s, and who walks where.

use super::{At, Backend, DirectionSource, GroupContext, On, Scaled, Times};
use crate::criterion::{Criterion, Target};
use crate::device::ascent::AscentJob;
use crate::device::cpu;
use crate::device::filter;
use crate::device::metric::ParameterMetric;
use crate::device::noise::{Draw, Purpose};
use crate::device::norms::Norms;
use crate::device::slot::mirror;
use crate::landscape::PointView;
use crate::network::batch::Batch;
use crate::network::{Pass, PassInput, Passes};
use crate::weights::Weights;
use clino_domain::Fault;

/// A worker on the CPU; its point is allocated when it is first needed.
pub struct Host<T> {
    pass: Box<dyn Pass<T>>,
    point: Vec<T>,
    slopes: Vec<T>,
}

impl<T> Host<T> {
    /// A worker that computes with `pass`.
    pub fn new(pass: Box<dyn Pass<T>>) -> Self {
        Self { pass, point: Vec::new(), slopes: Vec::new() }
    }
}

fn parameters<'a, T>(on: On<'a, Host<T>>, point: &'a [T], at: At) -> &'a [T]
where
    T: Passes,
{
    match at {
        At::Start => &on.weights.data,
        At::Point => point,
    }
}

/// Calls `with(outputs, target)` for every unit of a few batches.
pub fn each_unit<T: Passes>(outputs: &[T], batches: &[&Batch], mut with: impl FnMut(&[f64], Target<'_>)) {
    let units: usize = batches.iter().map(|batch| batch.units()).sum();
    let mut row = vec![0.0; outputs.len() / units.max(1)];
    let targets = batches.iter().flat_map(|batch| batch.targets.iter());
    for (outputs, target) in outputs.chunks_exact(row.len().max(1)).zip(targets) {
        row.iter_mut().zip(outputs).for_each(|(wide, z)| *wide = z.wide());
        with(&row, target);
    }
}

/// Sum of the weights of all units, where their targets tell it.
pub fn known_weight(criterion: &dyn Criterion, batches: &[&Batch]) -> Option<f64> {
    let targets = batches.iter().flat_map(|batch| batch.targets.iter());
    targets.map(|target| criterion.weight_by_target(target)).sum()
}

/// Sums over units.
#[derive(Debug, Clone, Copy, Default)]
pub struct LossSum {
    /// Of losses times weights.
    pub loss: f64,
    /// Of weights.
    pub weight: f64,
}

impl LossSum {
    /// The mean loss; NaN where nothing counts.
    pub fn mean(self) -> f64 {
        self.loss / self.weight
    }

    fn add(&mut self, other: Self) {
        self.loss += other.loss;
        self.weight += other.weight;
    }
}

/// Derivative of Σ weight * loss / `total` along the outputs of a few batches; returns their sums.
pub fn loss_slopes<T: Passes>(
    criterion: &dyn Criterion,
    outputs: &[T],
    batches: &[&Batch],
    total: f64,
    out: &mut Vec<T>,
) -> LossSum {
    if out.capacity() < outputs.len() {
        *out = Vec::with_capacity(outputs.len());
    }
    out.clear();
    // Where nothing counts all weights are zero, and so are the derivatives.
    let total = if total == 0.0 { 1.0 } else { total };
    let mut sum = LossSum::default();
    let mut slopes = Vec::new();
    each_unit(outputs, batches, |row, target| {
        let weight = criterion.weight(row, target);
        sum.add(LossSum { loss: weight * criterion.loss(row, target), weight });
        slopes.resize(row.len(), 0.0);
        criterion.slopes(row, target, &mut slopes);
        out.extend(slopes.iter().map(|slope| T::of(slope * weight / total)));
    });
    sum
}

impl<T: Passes> Backend for Host<T> {
    type Element = T;
    type Vector = Vec<T>;
    type Scales = Vec<f64>;
    type Unit = ParameterMetric;
    type Squares = Norms;
    type Losses = f64;
    type Number = f64;
    type Base = Vec<T>;

    fn scales(&self, scales: &[f64]) -> Result<Vec<f64>, Fault> {
        Ok(scales.to_vec())
    }

    fn unit(&self, metric: &ParameterMetric) -> Result<ParameterMetric, Fault> {
        Ok(metric.clone())
    }

    fn vector(&self, on: On<'_, Self>) -> Result<Vec<T>, Fault> {
        Ok(vec![T::ZERO; on.weights.data.len()])
    }

    fn write(&self, to: &mut Vec<T>, from: &[T]) -> Result<(), Fault> {
        to.copy_from_slice(from);
        Ok(())
    }

    fn share(&self, gradient: Vec<T>, _: bool) -> Result<Vec<T>, Fault> {
        Ok(gradient)
    }

    fn take_up(&self, from: &Vec<T>, to: &mut Vec<T>) -> Result<(), Fault> {
        self.write(to, from)
    }

    fn reclaim(&self, base: Vec<T>) -> Option<Vec<T>> {
        Some(base)
    }

    fn place(
        &mut self,
        on: On<'_, Self>,
        u: DirectionSource<'_, Self>,
        by: Scaled<'_, Self>,
    ) -> Result<(), Fault> {
        let weights = &on.weights;
        if self.point.is_empty() {
            self.point = vec![T::ZERO; weights.data.len()];
        }
        let by = cpu::ScaledVector { scales: by.scales, metric: by.unit };
        match u {
            DirectionSource::Noise(draw) => {
                cpu::perturb(&weights.slots, &mut self.point, &weights.data, draw, by)
            }
            DirectionSource::Vector(u) => {
                cpu::displace(&weights.slots, &mut self.point, &weights.data, u, by)
            }
        }
        mirror(&weights.ties, &mut self.point);
        Ok(())
    }

    fn gradient(&mut self, context: GroupContext<'_, Self>, at: At, out: &mut Vec<T>) -> Result<f64, Fault> {
        let Self { pass, point, slopes } = self;
        let prepared = context.prepared;
        let w = parameters(prepared, point, at);
        let fixed = &prepared.weights.fixed;
        let known = known_weight(&*prepared.criterion, context.batches);
        out.fill(T::ZERO);
        let mut sum = LossSum::default();
        for group in context.batches.chunks(pass.width()) {
            let input = PassInput { w, fixed, batches: group, stop: context.stop };
            let outputs = pass.forward(input, true)?;
            sum.add(loss_slopes(&*prepared.criterion, outputs, group, known.unwrap_or(1.0), slopes));
            pass.backward(input, slopes, out)?;
        }
        for tie in &prepared.weights.ties {
            for i in 0..tie.len {
                let mirrored = out[tie.mirror + i];
                out[tie.original + i] += mirrored;
            }
        }
        if known.is_none() && sum.weight != 0.0 {
            out.iter_mut().for_each(|slope| *slope = T::of(slope.wide() / sum.weight));
        }
        Ok(sum.mean())
    }

    fn loss(&self, losses: f64) -> Result<f64, Fault> {
        Ok(losses)
    }

    fn look(&mut self, context: GroupContext<'_, Self>, at: At) -> Result<PointView, Fault> {
        let Self { pass, point, .. } = self;
        let w = parameters(context.prepared, point, at);
        let fixed = &context.prepared.weights.fixed;
        let criterion = &*context.prepared.criterion;
        let mut sum = LossSum::default();
        let mut right = 0u32;
        let mut classified = true;
        for group in context.batches.chunks(pass.width()) {
            let outputs = pass.forward(PassInput { w, fixed, batches: group, stop: context.stop }, false)?;
            each_unit(outputs, group, |row, target| {
                let weight = criterion.weight(row, target);
                sum.add(LossSum { loss: weight * criterion.loss(row, target), weight });
                match target.class() {
                    Some(class) => right += u32::from(criterion.chosen(row) == class),
                    None => classified = false,
                }
            });
        }
        let accuracy = f64::from(right) / context.units() as f64;
        Ok(PointView { loss: sum.mean(), accuracy: if classified { accuracy } else { f64::NAN } })
    }

    fn each_unit(
        &mut self,
        context: GroupContext<'_, Self>,
        with: &mut dyn FnMut(&[f64], Target<'_>),
    ) -> Result<(), Fault> {
        for group in context.batches.chunks(self.pass.width()) {
            let Weights { data: w, fixed, .. } = &context.prepared.weights;
            let input = PassInput { w, fixed, batches: group, stop: context.stop };
            each_unit(self.pass.forward(input, false)?, group, &mut *with);
        }
        Ok(())
    }

    fn noise(&self, on: On<'_, Self>, out: &mut Vec<T>, draw: Draw) -> Result<(), Fault> {
        cpu::noise(&on.weights.slots, out, draw);
        Ok(())
    }

    fn noise_squares(&mut self, on: On<'_, Self>, draw: u32, purpose: Purpose) -> Result<Norms, Fault> {
        Ok(Norms::clone(&on.noise_norms(draw, purpose)))
    }

    fn squares(&self, on: On<'_, Self>, x: &Vec<T>) -> Result<Norms, Fault> {
        Ok(cpu::norms(&on.weights.slots, x))
    }

    fn to_metric(&self, on: On<'_, Self>, g: &mut Vec<T>, unit: &ParameterMetric) -> Result<Norms, Fault> {
        Ok(match unit {
            ParameterMetric::Plain => cpu::norms(&on.weights.slots, g),
            metric => cpu::to_metric(&on.weights.slots, g, &on.weights.data, metric),
        })
    }

    fn scale_and_perturb(
        &self,
        on: On<'_, Self>,
        x: &mut Vec<T>,
        factors: &Vec<f64>,
        noise: Option<(Draw, &Vec<f64>)>,
    ) -> Result<Norms, Fault> {
        let noise = noise.map(|(draw, scales)| (draw, scales.as_slice()));
        Ok(cpu::scale_and_perturb(&on.weights.slots, x, factors, noise))
    }

    fn combine(
        &self,
        on: On<'_, Self>,
        x: Times<'_, Self, &mut Vec<T>>,
        y: Times<'_, Self, &Vec<T>>,
    ) -> Result<Norms, Fault> {
        Ok(cpu::combine(&on.weights.slots, x.factors, x.vector, y.factors, y.vector))
    }

    fn product(&self, on: On<'_, Self>, x: &Vec<T>, y: &Vec<T>) -> Result<f64, Fault> {
        Ok(cpu::products(&on.weights.slots, x, y).iter().sum())
    }

    fn product_with_noise(&self, on: On<'_, Self>, x: &Vec<T>, draw: Draw) -> Result<f64, Fault> {
        Ok(cpu::product_with_noise(&on.weights.slots, x, draw))
    }

    fn climb_box(&self, on: On<'_, Self>, u: &mut Vec<T>, g: &Vec<T>, size: [f64; 2]) -> Result<(), Fault> {
        cpu::climb_box(&on.weights.slots, u, g, size);
        Ok(())
    }

    fn add_direction(
        &mut self,
        on: On<'_, Self>,
        u: &mut Vec<T>,
        draw: u32,
        coefficient: f64,
    ) -> Result<(), Fault> {
        let rows = on.filter(draw);
        let draw = on.draw(draw, Purpose::Direction);
        filter::add_direction(&on.weights.slots, u, draw, &rows, coefficient);
        Ok(())
    }

    fn norms(&self, squares: Norms) -> Result<Norms, Fault> {
        Ok(squares)
    }

    fn steps(
        &self,
        order: &AscentJob<'_>,
        size: f64,
        squares: &Norms,
        _: &Vec<f64>,
    ) -> Result<Vec<f64>, Fault> {
        Ok(order.scales(size, squares))
    }

    fn project(
        &self,
        order: &AscentJob<'_>,
        squares: &Norms,
        _: &Vec<f64>,
    ) -> Result<(Vec<f64>, f64), Fault> {
        Ok(order.pull(squares))
    }

    fn number(&self, number: f64) -> Result<f64, Fault> {
        Ok(number)
    }
}
