//! One piece of the engine's work at a time, to be timed.
//!
//! Owns: what is run, and how many operations and bytes that is. May not touch: clocks, measures.

use crate::backend::host::{each_unit, loss_slopes};
use crate::criterion::{Criterion, CrossEntropy};
use crate::device::cpu::{self, ScaledVector};
use crate::device::metric::ParameterMetric;
use crate::device::noise::{Draw, Purpose};
use crate::device::widest::{MulAdd, widest};
use crate::engine::{Arrived, Engine};
use crate::network::batch::Batch;
use crate::network::dense::Dense;
use crate::network::layout::{ParameterLayout, Untied};
use crate::network::{self, Network, Pass, PassInput, Passes, Product};
use crate::plan::PreparedRun;
use crate::streaming;
use crate::task::{Limits, Task};
use crate::weights::Weights;
use clino_domain::{
    Fault, InMemory, Layout, Manifest, ParameterSource, Precision, Reading, References, Snapshot,
    SnapshotHeader, Stop, ValidatedRun,
};
use rayon::prelude::*;
use std::hint::black_box;
use std::sync::Arc;

/// Which implementation of the networks runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Implementation {
    /// The engine's own networks, without candle.
    Fused,
    /// The same networks with candle's autograd.
    Autograd,
}

/// The result and the amount of work of one benchmark run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Done {
    /// Loss, norm or sum: something that tells whether it was done right.
    pub result: f64,
    /// Floating-point operations of its matrix products, where it consists of them.
    pub flops: Option<f64>,
    /// Bytes that it reads and writes at least, where it is a pass over vectors.
    pub bytes: Option<f64>,
}

/// A model, a snapshot and a probe, ready to be worked with.
pub struct Bench {
    engine: Engine,
    validated: ValidatedRun,
    plan: Arc<PreparedRun>,
    snapshot: Snapshot,
    model: Box<dyn BenchModel>,
    vectors: Option<BenchVectors>,
}

/// Forward and backward in one of the two precisions.
trait BenchModel: Send {
    fn forward(&mut self, plan: &PreparedRun) -> Result<Done, Fault>;
    fn backward(&mut self, plan: &PreparedRun) -> Result<Done, Fault>;
    fn products(&mut self, plan: &PreparedRun) -> Done;
}

struct In<T> {
    weights: Weights<T>,
    network: Arc<dyn Network>,
    pass: Box<dyn Pass<T>>,
    gradient: Vec<T>,
    slopes: Vec<T>,
}

fn batches(plan: &PreparedRun) -> Vec<&Batch> {
    plan.groups.iter().flat_map(|group| &group.batches).collect()
}

fn flops<'a>(network: &dyn Network, batches: impl IntoIterator<Item = &'a Batch>) -> f64 {
    let products = batches.into_iter().flat_map(|batch| network.products(batch));
    products.map(|Product { m, n, k, times }| 2.0 * (m * n * k * times) as f64).sum()
}

impl<T: Passes> In<T> {
    fn new(network: Arc<dyn Network>, snapshot: Snapshot, threads: usize) -> Result<Self, Fault> {
        let weights = Weights::new(network.layout(), snapshot, &References::default(), None)?;
        let pass = T::pass(&*network, threads);
        Ok(Self { weights, network, pass, gradient: Vec::new(), slopes: Vec::new() })
    }
}

impl<T: Passes> BenchModel for In<T> {
    fn forward(&mut self, plan: &PreparedRun) -> Result<Done, Fault> {
        let stop = Stop::default();
        let batches = batches(plan);
        let mut total = 0.0;
        let mut examples = 0;
        for group in batches.chunks(self.pass.width()) {
            let input =
                PassInput { w: &self.weights.data, fixed: &self.weights.fixed, batches: group, stop: &stop };
            let logits = self.pass.forward(input, false)?;
            each_unit(logits, group, |row, target| {
                total += CrossEntropy::default().loss(row, target);
                examples += 1;
            });
        }
        let flops = flops(&*self.network, batches);
        Ok(Done { result: total / f64::from(examples), flops: Some(flops), bytes: None })
    }

    fn backward(&mut self, plan: &PreparedRun) -> Result<Done, Fault> {
        let stop = Stop::default();
        let batches = batches(plan);
        let examples = batches.iter().map(|batch| batch.units()).sum::<usize>() as f64;
        self.gradient.clear();
        self.gradient.resize(self.weights.data.len(), T::ZERO);
        for group in batches.chunks(self.pass.width()) {
            let input =
                PassInput { w: &self.weights.data, fixed: &self.weights.fixed, batches: group, stop: &stop };
            let outputs = self.pass.forward(input, true)?;
            loss_slopes(&CrossEntropy::default(), outputs, group, examples, &mut self.slopes);
            self.pass.backward(input, &self.slopes, &mut self.gradient)?;
        }
        let norm = cpu::norms(&self.weights.slots, &self.gradient).global();
        // Each product has two derivatives, each a product as large.
        Ok(Done { result: norm, flops: Some(3.0 * flops(&*self.network, batches)), bytes: None })
    }

    fn products(&mut self, plan: &PreparedRun) -> Done {
        let products: Vec<Product> =
            batches(plan).into_iter().flat_map(|batch| self.network.products(batch)).collect();
        let most = |f: fn(&Product) -> usize| products.iter().map(f).max().unwrap_or(0);
        let a = vec![T::ONE; most(|p| p.m * p.k)];
        let b = vec![T::ONE; most(|p| p.n * p.k)];
        let mut out = vec![T::ZERO; most(|p| p.m * p.n)];
        for Product { m, n, k, times } in &products {
            for _ in 0..*times {
                Dense { at: 0, outputs: *n, inputs: *k }.forward(&b, &a[..m * k], &mut out[..m * n], 1);
            }
        }
        let flops = flops(&*self.network, batches(plan));
        Done { result: out.first().map_or(0.0, |x| x.wide()), flops: Some(flops), bytes: None }
    }
}

/// Vectors for passes over parameters, as arrays and as snapshots of one tensor.
struct BenchVectors {
    untied: Untied,
    out: Vec<f32>,
    w: Vec<f32>,
    c: Vec<f32>,
    /// `w`, as a trainer sends it.
    snapshot: Snapshot,
    /// `c` is the initialization.
    references: References,
}

impl BenchVectors {
    fn new(n: usize) -> Result<Self, Fault> {
        let layout = ParameterLayout::new(
            vec![("vector".into(), vec![n])],
            crate::network::layout::Habits::default(),
        )?;
        let manifest = Manifest::new(layout.parameters().to_vec(), Vec::new())?;
        let header = SnapshotHeader::live(0);
        let sent = |x: &[f32]| {
            let bytes = x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
            Snapshot::new(header, manifest.clone(), vec![bytes.into()])
        };
        let w: Vec<f32> = (0..n).map(|i| 0.1 + (i % 97) as f32 * 1e-3).collect();
        let c: Vec<f32> = w.iter().map(|x| x + 0.25).collect();
        let snapshot = sent(&w)?;
        let init: Arc<dyn ParameterSource> = Arc::new(InMemory::new(sent(&c)?, &layout)?);
        let references = References { init: Some(init), previous: None };
        let untied = layout.untie(&[0], snapshot.manifest());
        Ok(Self { untied, out: vec![0.0; n], w, c, snapshot, references })
    }

    fn bytes(&self, streams: usize) -> Option<f64> {
        Some((4 * streams * self.w.len()) as f64)
    }
}

impl Bench {
    /// A bench with a validated run (its measure is what [`Bench::reading`] makes) and a snapshot.
    ///
    /// # Errors
    /// Those of [`Engine::new`] and of [`clino_domain::Layout::arrange`].
    pub fn new(
        validated: ValidatedRun,
        snapshot: Snapshot,
        threads: usize,
        config_json: &str,
        implementation: Implementation,
    ) -> Result<Self, Fault> {
        let engine = Engine::new(threads)?;
        let plan = PreparedRun::of(&validated)?;
        let network = match implementation {
            Implementation::Fused => plan.network.clone(),
            Implementation::Autograd => network::autograd::build(config_json)?,
        };
        let copy = snapshot.clone();
        let model: Box<dyn BenchModel> = match plan.precision {
            Precision::F32 => Box::new(In::<f32>::new(network, copy, threads)?),
            _ => Box::new(In::<f64>::new(network, copy, threads)?),
        };
        Ok(Self { engine, validated, plan, snapshot, model, vectors: None })
    }

    /// Loss of the whole probe at w0; the result is the loss.
    ///
    /// # Errors
    /// None but defects.
    pub fn forward(&mut self) -> Result<Done, Fault> {
        let model = &mut self.model;
        let plan = &self.plan;
        self.engine.install(|| model.forward(plan))
    }

    /// Forward and backward to all parameters; the result is the norm of the gradient.
    ///
    /// # Errors
    /// None but defects.
    pub fn backward(&mut self) -> Result<Done, Fault> {
        let model = &mut self.model;
        let plan = &self.plan;
        self.engine.install(|| model.backward(plan))
    }

    /// The matrix products of a forward and nothing else, on one thread.
    pub fn products(&mut self) -> Done {
        let model = &mut self.model;
        let plan = &self.plan;
        self.engine.install(|| model.products(plan))
    }

    /// The first reading of the run's last measure, with everything that a snapshot costs.
    ///
    /// # Errors
    /// Those of [`Engine::take`].
    pub fn reading(&mut self) -> Result<Reading, Fault> {
        let snapshot = self.snapshot.clone();
        let references = References::default();
        let arrived = Arrived { snapshot, references, statistics: None };
        let mut session = self.engine.take(&self.validated, 0, arrived)?;
        let tasks = session.tasks();
        let task = tasks.last().ok_or_else(|| Fault::internal("a run without measures"))?;
        session.measure(task, &mut Default::default(), Limits { stop: &Stop::default(), clock: &|| 0.0 })
    }

    /// The readings that a snapshot of the run has, in their order.
    ///
    /// # Errors
    /// Those of [`Engine::take`].
    pub fn tasks(&self) -> Result<Vec<Task>, Fault> {
        let snapshot = self.snapshot.clone();
        let references = References::default();
        let arrived = Arrived { snapshot, references, statistics: None };
        Ok(self.engine.take(&self.validated, 0, arrived)?.tasks())
    }

    fn vectors(&mut self, n: usize) -> Result<(&mut BenchVectors, &Engine), Fault> {
        let vectors = match self.vectors.take() {
            Some(vectors) if vectors.w.len() == n => vectors,
            _ => BenchVectors::new(n)?,
        };
        Ok((self.vectors.insert(vectors), &self.engine))
    }

    /// out = w + s * noise over `n` parameters in f32.
    ///
    /// # Errors
    /// If there cannot be that many.
    pub fn perturb(&mut self, n: usize) -> Result<Done, Fault> {
        let (v, engine) = self.vectors(n)?;
        let draw = Draw { seed: 1, index: 0, purpose: Purpose::Gauss };
        engine.install(|| {
            let by = ScaledVector { scales: &[0.1], metric: &ParameterMetric::Plain };
            cpu::perturb(&v.untied.slots, &mut v.out, &v.w, draw, by);
        });
        Ok(Done { result: f64::from(v.out[n / 2]), bytes: v.bytes(2), flops: None })
    }

    /// All moments of `n` parameters in f32 and of their difference to others.
    ///
    /// # Errors
    /// If there cannot be that many.
    pub fn moments(&mut self, n: usize) -> Result<Done, Fault> {
        let (v, engine) = self.vectors(n)?;
        let all = engine.install(|| streaming::of_all(&v.untied, &[0], &v.snapshot, &v.references))?;
        let square = all.tensors.iter().map(|tensor| tensor.w.square).sum();
        Ok(Done { result: square, bytes: v.bytes(2), flops: None })
    }

    /// out = w + s * c over `n` parameters in f32: the triad of STREAM (McCalpin 1995).
    ///
    /// # Errors
    /// If there cannot be that many.
    pub fn triad(&mut self, n: usize) -> Result<Done, Fault> {
        let (v, engine) = self.vectors(n)?;
        let BenchVectors { out, w, c, .. } = &mut *v;
        let sources = w.par_chunks(cpu::PIECE).zip(c.par_chunks(cpu::PIECE));
        engine.install(|| {
            out.par_chunks_mut(cpu::PIECE).zip(sources).for_each(|(out, (w, c))| {
                widest!(|m| triad(m, out, w, c));
            });
        });
        Ok(Done { result: f64::from(v.out[n / 2]), bytes: v.bytes(3), flops: None })
    }

    /// Multiply-adds in registers: the peak of one thread.
    pub fn multiply_adds(&self) -> Done {
        const ROUNDS: usize = 4_000_000;
        const LANES: usize = 192;
        #[inline(always)]
        fn run<M: MulAdd>(m: M, by: f32, plus: f32) -> f32 {
            let mut lanes = [1f32; LANES];
            for _ in 0..ROUNDS {
                lanes.iter_mut().for_each(|lane| *lane = m.fma(*lane, by, plus));
            }
            lanes.iter().sum()
        }
        let result = self.engine.install(|| widest!(|m| run(m, black_box(0.5), black_box(1.0))));
        Done { result: f64::from(result), flops: Some((2 * ROUNDS * LANES) as f64), bytes: None }
    }
}

#[inline(always)]
fn triad<M: MulAdd>(m: M, out: &mut [f32], w: &[f32], c: &[f32]) {
    for ((out, w), c) in out.iter_mut().zip(w).zip(c) {
        *out = m.fma(*c, 0.3, *w);
    }
}
