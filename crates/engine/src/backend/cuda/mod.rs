//! One GPU as a backend: everything that a perturbation asks for is launched on its one stream, and only numbers that measures
//! decide on come back.
//!
//! Owns: the order of launches, what is kept on the device for a snapshot. May not touch: kernels' arithmetic, perturbations.

use crate::criterion::Target;
use crate::device::cuda::arena::{Arena, DeviceScaled as There, DeviceUnit, Vector};
use crate::device::cuda::gpu::{Arg, Element, Gpu};
use crate::device::cuda::upload_permits::MeasuredSnapshot;
mod network;

use crate::backend::{At, Backend, DirectionSource, GroupContext, On, Scaled, Times};
use crate::device::ascent::AscentJob;
use crate::device::cuda::rows::Rows;
use crate::device::metric::ParameterMetric;
use crate::device::noise::{Draw, Purpose};
use crate::device::norms::Norms;
use crate::landscape::PointView;
use crate::network::Passes;
use crate::network::autograd::CandleModel;
use crate::network::layout::ParameterLayout;
use crate::weights::PreparedSnapshot;
use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use clino_domain::Fault;
use network::{DeviceNetwork, Ready, Scores, rows};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Numbers in which networks and GPUs both compute.
pub trait Accelerated: Element + Passes {}

impl<T: Element + Passes> Accelerated for T {}

/// One worker's GPU as a [`Backend`], with the parameters w0 on it.
pub struct Cuda<T: Accelerated> {
    gpu: Arc<Gpu>,
    arena: Arena,
    w0: Vector<T>,
    resident: DeviceNetwork<T>,
    /// What the tensors hold, when it is w0.
    at_start: bool,
    plain: DeviceUnit,
    ones: CudaSlice<f64>,
    ready: HashMap<Range<usize>, Arc<Vec<Ready>>>,
    noise: HashMap<(u32, Purpose), Arc<CudaSlice<f64>>>,
    rows: Option<Rows<T>>,
    _stay: MeasuredSnapshot,
}

/// A gradient that all workers read.
pub enum SharedGradient<T> {
    /// On the only device.
    There(Vector<T>),
    /// On the host, laid out as on a device.
    Here(Vec<T>),
}

impl<T: Accelerated> Cuda<T> {
    /// Brings w0 to a GPU, unless it was carried there.
    ///
    /// # Errors
    /// If memory runs out or the device is lost.
    pub fn new(
        gpu: &Arc<Gpu>,
        model: Arc<CandleModel>,
        layout: &ParameterLayout,
        prepared: &PreparedSnapshot<T>,
        carried: Option<Vector<T>>,
    ) -> Result<Self, Fault> {
        let weights = &prepared.weights;
        let arena = Arena::new(gpu.clone(), &weights.slots)?;
        let _stay = gpu.permits().stay((arena.total() * size_of::<T>()) as u64);
        let write = || {
            let mut w0 = arena.vector()?;
            arena.write(&mut w0, &weights.data)?;
            Ok::<_, Fault>(w0)
        };
        let w0 = carried.map_or_else(write, Ok)?;
        let resident = DeviceNetwork::new(gpu, model, layout, &weights.slots, &weights.ties)?;
        let plain = arena.unit(&ParameterMetric::Plain)?;
        let ones = gpu.upload(&vec![1.0; weights.slots.len()])?;
        let ready = Default::default();
        let noise = Default::default();
        let rows = Default::default();
        Ok(Self {
            gpu: gpu.clone(),
            arena,
            w0,
            resident,
            at_start: false,
            plain,
            ones,
            ready,
            noise,
            rows,
            _stay,
        })
    }

    /// The batches of a ground, prepared; kept for groups, made anew for other cuts.
    fn ready(&mut self, context: &GroupContext<'_, Self>) -> Result<Arc<Vec<Ready>>, Fault> {
        if let Some(known) = context.of.and_then(|of| self.ready.get(of)) {
            return Ok(known.clone());
        }
        let made = Arc::new(self.resident.prepare(context.batches)?);
        if let Some(of) = context.of {
            self.ready.insert(of.clone(), made.clone());
        }
        Ok(made)
    }

    /// What the rows of a draw for directions are multiplied with.
    fn scales_of_rows(&mut self, on: On<'_, Self>, draw: u32) -> Result<Arc<CudaSlice<f64>>, Fault> {
        let mut rows = self.rows.take().map_or_else(|| Rows::new(&self.arena, &self.w0), Ok)?;
        let scales = rows.scales(on.draw(draw, Purpose::Direction))?;
        self.rows = Some(rows);
        Ok(scales)
    }

    /// Makes the network's tensors those that are asked for.
    fn hold(&mut self, at: At) -> Result<(), Fault> {
        if at == At::Start && !self.at_start {
            let by = There { scales: &self.ones, unit: &self.plain };
            self.arena.displace(&self.resident.bases, &self.w0, None, by)?;
            self.at_start = true;
        }
        Ok(())
    }
}

impl<T: Accelerated> Drop for Cuda<T> {
    fn drop(&mut self) {
        // Memory that came on the copy stream goes back on it, which does not wait for what is launched here.
        let _ = self.gpu.wait();
    }
}

impl<T: Accelerated> Backend for Cuda<T> {
    type Element = T;
    type Vector = Vector<T>;
    type Scales = CudaSlice<f64>;
    type Unit = DeviceUnit;
    type Squares = Arc<CudaSlice<f64>>;
    type Losses = CudaSlice<f64>;
    type Number = CudaSlice<f64>;
    type Base = SharedGradient<T>;

    fn scales(&self, scales: &[f64]) -> Result<CudaSlice<f64>, Fault> {
        self.gpu.upload(scales)
    }

    fn unit(&self, metric: &ParameterMetric) -> Result<DeviceUnit, Fault> {
        self.arena.unit(metric)
    }

    fn vector(&self, _: On<'_, Self>) -> Result<Vector<T>, Fault> {
        self.arena.vector()
    }

    fn write(&self, to: &mut Vector<T>, from: &[T]) -> Result<(), Fault> {
        self.arena.write(to, from)
    }

    fn share(&self, gradient: Vector<T>, alone: bool) -> Result<SharedGradient<T>, Fault> {
        Ok(match alone {
            true => SharedGradient::There(gradient),
            false => SharedGradient::Here(self.gpu.download(&gradient)?),
        })
    }

    fn take_up(&self, from: &SharedGradient<T>, to: &mut Vector<T>) -> Result<(), Fault> {
        match from {
            SharedGradient::There(from) => self.gpu.copy(from, to),
            SharedGradient::Here(from) => self.gpu.write(to, 0, from),
        }
    }

    fn reclaim(&self, base: SharedGradient<T>) -> Option<Vector<T>> {
        match base {
            SharedGradient::There(vector) => Some(vector),
            SharedGradient::Here(_) => None,
        }
    }

    fn place(
        &mut self,
        _: On<'_, Self>,
        u: DirectionSource<'_, Self>,
        by: Scaled<'_, Self>,
    ) -> Result<(), Fault> {
        self.at_start = false;
        let bases = &self.resident.bases;
        let by = There { scales: by.scales, unit: by.unit };
        match u {
            DirectionSource::Noise(draw) => self.arena.perturb(bases, &self.w0, draw, by),
            DirectionSource::Vector(u) => self.arena.displace(bases, &self.w0, Some(u), by),
        }
    }

    fn place_on_plane(&mut self, on: On<'_, Self>, terms: &[(u32, f64)]) -> Result<bool, Fault> {
        let (first, second) = match terms {
            [first] => (*first, None),
            [first, second] => (*first, Some(*second)),
            _ => return Ok(false),
        };
        let axis = |of: &mut Self, (draw, coefficient): (u32, f64)| {
            Ok::<_, Fault>((of.scales_of_rows(on, draw)?, draw, coefficient))
        };
        let first = axis(self, first)?;
        let second = second.map(|second| axis(self, second)).transpose()?;
        self.at_start = false;
        let axes =
            [Some((&*first.0, first.1, first.2)), second.as_ref().map(|(rows, i, c)| (&**rows, *i, *c))];
        self.arena.plane(&self.resident.bases, &self.w0, on.seed, axes)?;
        on.counter.pass();
        Ok(true)
    }

    fn gradient(
        &mut self,
        context: GroupContext<'_, Self>,
        at: At,
        out: &mut Vector<T>,
    ) -> Result<CudaSlice<f64>, Fault> {
        self.hold(at)?;
        let ready = self.ready(&context)?;
        let losses = self.gpu.zeros(rows(&ready))?;
        self.resident.gradient(&self.arena, &ready, (&losses, out), context.stop)?;
        Ok(losses)
    }

    fn loss(&self, losses: CudaSlice<f64>) -> Result<f64, Fault> {
        let losses = self.gpu.download(&losses)?;
        Ok(losses.iter().sum::<f64>() / losses.len() as f64)
    }

    fn look(&mut self, context: GroupContext<'_, Self>, at: At) -> Result<PointView, Fault> {
        self.hold(at)?;
        let ready = self.ready(&context)?;
        let rows = rows(&ready);
        // Both in one buffer, so that the host waits once.
        let found = self.gpu.zeros::<u8>(9 * rows)?;
        let losses = self.gpu.address(&found);
        let scores = Scores { losses, right: Some(losses + 8 * rows as u64) };
        self.resident.look(&ready, scores, context.stop)?;
        let found = self.gpu.download(&found)?;
        let (losses, right) = found.split_at(8 * rows);
        let total: f64 = losses.as_chunks().0.iter().map(|bytes| f64::from_ne_bytes(*bytes)).sum();
        let hits: u32 = right.iter().map(|hit| u32::from(*hit)).sum();
        Ok(PointView { loss: total / rows as f64, accuracy: f64::from(hits) / rows as f64 })
    }

    fn each_unit(
        &mut self,
        context: GroupContext<'_, Self>,
        with: &mut dyn FnMut(&[f64], Target<'_>),
    ) -> Result<(), Fault> {
        self.hold(At::Start)?;
        let ready = self.ready(&context)?;
        let logits = self.resident.logits(&ready, context.stop)?;
        let width = logits.len() / context.units().max(1);
        let targets = context.batches.iter().flat_map(|batch| batch.targets.iter());
        logits.chunks_exact(width.max(1)).zip(targets).for_each(|(row, target)| with(row, target));
        Ok(())
    }

    fn noise(&self, _: On<'_, Self>, out: &mut Vector<T>, draw: Draw) -> Result<(), Fault> {
        self.arena.noise(out, draw)
    }

    fn noise_squares(
        &mut self,
        on: On<'_, Self>,
        draw: u32,
        purpose: Purpose,
    ) -> Result<Arc<CudaSlice<f64>>, Fault> {
        if let Some(known) = self.noise.get(&(draw, purpose)) {
            return Ok(known.clone());
        }
        let made = Arc::new(self.arena.noise_squares::<T>(on.draw(draw, purpose))?);
        on.counter.pass();
        Ok(self.noise.entry((draw, purpose)).or_insert(made).clone())
    }

    fn squares(&self, _: On<'_, Self>, x: &Vector<T>) -> Result<Arc<CudaSlice<f64>>, Fault> {
        Ok(Arc::new(self.arena.products(x, x)?))
    }

    fn to_metric(
        &self,
        _: On<'_, Self>,
        g: &mut Vector<T>,
        unit: &DeviceUnit,
    ) -> Result<Arc<CudaSlice<f64>>, Fault> {
        Ok(Arc::new(self.arena.to_metric(g, &self.w0, unit)?))
    }

    fn scale_and_perturb(
        &self,
        _: On<'_, Self>,
        x: &mut Vector<T>,
        factors: &CudaSlice<f64>,
        noise: Option<(Draw, &CudaSlice<f64>)>,
    ) -> Result<Arc<CudaSlice<f64>>, Fault> {
        Ok(Arc::new(self.arena.scale_and_perturb(x, factors, noise)?))
    }

    fn combine(
        &self,
        _: On<'_, Self>,
        x: Times<'_, Self, &mut Vector<T>>,
        y: Times<'_, Self, &Vector<T>>,
    ) -> Result<Arc<CudaSlice<f64>>, Fault> {
        Ok(Arc::new(self.arena.combine(x.factors, x.vector, y.factors, y.vector)?))
    }

    fn product(&self, _: On<'_, Self>, x: &Vector<T>, y: &Vector<T>) -> Result<f64, Fault> {
        Ok(self.arena.read(&self.arena.products(x, y)?)?.iter().sum())
    }

    fn product_with_noise(&self, _: On<'_, Self>, x: &Vector<T>, draw: Draw) -> Result<f64, Fault> {
        Ok(self.arena.read(&self.arena.product_with_noise(x, draw)?)?.iter().sum())
    }

    fn climb_box(
        &self,
        _: On<'_, Self>,
        u: &mut Vector<T>,
        g: &Vector<T>,
        size: [f64; 2],
    ) -> Result<(), Fault> {
        self.arena.climb_box(u, g, size)
    }

    fn add_direction(
        &mut self,
        on: On<'_, Self>,
        u: &mut Vector<T>,
        draw: u32,
        coefficient: f64,
    ) -> Result<(), Fault> {
        let scales = self.scales_of_rows(on, draw)?;
        self.arena.add_direction(u, on.draw(draw, Purpose::Direction), &scales, coefficient)
    }

    fn norms(&self, squares: Arc<CudaSlice<f64>>) -> Result<Norms, Fault> {
        self.arena.norms(&squares)
    }

    fn steps(
        &self,
        order: &AscentJob<'_>,
        size: f64,
        squares: &Arc<CudaSlice<f64>>,
        radii: &CudaSlice<f64>,
    ) -> Result<CudaSlice<f64>, Fault> {
        let scales = self.gpu.zeros(order.radii.len())?;
        let arguments = [
            self.gpu.at(&**squares),
            self.gpu.at(radii),
            Arg::F64(size),
            Arg::U32(order.region as u32),
            Arg::U32(order.radii.len() as u32),
            self.gpu.at(&scales),
        ];
        self.gpu.launch("clino_steps", 1, &arguments)?;
        Ok(scales)
    }

    fn project(
        &self,
        order: &AscentJob<'_>,
        squares: &Arc<CudaSlice<f64>>,
        radii: &CudaSlice<f64>,
    ) -> Result<(CudaSlice<f64>, CudaSlice<f64>), Fault> {
        let mut scales = self.gpu.zeros(order.radii.len())?;
        let left = self.gpu.zeros(1)?;
        self.gpu.copy(&self.ones, &mut scales)?;
        let arguments = [
            self.gpu.at(&**squares),
            self.gpu.at(radii),
            Arg::U32(order.region as u32),
            Arg::U32(order.radii.len() as u32),
            self.gpu.at(&scales),
            self.gpu.at(&left),
        ];
        self.gpu.launch("clino_project", 1, &arguments)?;
        Ok((scales, left))
    }

    fn number(&self, number: CudaSlice<f64>) -> Result<f64, Fault> {
        Ok(self.gpu.download(&number)?[0])
    }
}
