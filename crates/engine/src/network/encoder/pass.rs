//! The whole encoder: embeddings, layers, classifier; forward and backward.
//!
//! Batches that are taken together go side by side, each through a workspace of its own with products on one thread;
//! only the gradients of weights need all of them, and add them in their order.
//!
//! Owns: workspaces, and what is done side by side. May not touch: how weights were made.

use super::layer::{self, Context, Counts, Layer, LayerPosition, LayerScratch};
use super::shape::{LayerPlaces, Places, Shape};
use crate::device::real::Real;
use crate::network::batch::{Batch, Extent, Inputs, Tokens};
use crate::network::dense::{Dense, Gradient, GradientShare, add_gradients, try_each};
use crate::network::ops::{Normed, add, add_bias};
use crate::network::{Pass, PassInput, Product, gathered, sized};
use clino_domain::Fault;
use std::sync::Arc;

/// One worker that runs an encoder forward and backward.
pub struct EncoderPass<T> {
    shape: Arc<Shape>,
    places: Arc<Places>,
    threads: usize,
    spaces: Vec<EncoderWorkspace<T>>,
    logits: Vec<T>,
}

/// Activations of one batch. With `keep` every layer has its own; without, all layers share the first's.
struct EncoderWorkspace<T> {
    /// Normalized embeddings before gain and shift [tokens, hidden], and 1 / deviation [tokens].
    embedded: (Vec<T>, Vec<T>),
    /// Input of each layer and the output of the last: [tokens, hidden].
    streams: Vec<Vec<T>>,
    /// Which of them is the output of the last.
    last: usize,
    layers: Vec<Layer<T>>,
    /// What the dense layer makes of the first tokens: [examples, hidden].
    pooled: Vec<T>,
    logits: Vec<T>,
    d_logits: Vec<T>,
    d_pooled: Vec<T>,
    d: Vec<T>,
    scratch: LayerScratch<T>,
}

fn tokens(batch: &Batch) -> &Tokens {
    let Inputs::Tokens(tokens) = &batch.inputs else { unreachable!("an encoder cuts tokens") };
    tokens
}

/// Layer `i` of the stack.
fn place(places: &Places, i: usize) -> LayerPosition<'_> {
    LayerPosition { places: &places.layers[i], last: i + 1 == places.layers.len() }
}

/// The matrix products of a forward over `batch`.
pub fn products(shape: &Shape, places: &Places, batch: &Batch) -> Vec<Product> {
    let tokens = tokens(batch);
    let mut all = Vec::new();
    let dense = |dense: Dense, m| Product { m, n: dense.outputs, k: dense.inputs, times: 1 };
    for i in 0..places.layers.len() {
        let place = place(places, i);
        let LayerPlaces { qkv, output, inner, outer, .. } = *place.places;
        let rows = place.rows(tokens);
        let width = shape.hidden / shape.heads;
        all.push(dense(qkv, tokens.ids.len()));
        all.extend([output, inner, outer].map(|layer| dense(layer, rows)));
        for sequence in &tokens.sequences {
            let m = if place.last { 1 } else { sequence.len };
            all.push(Product { m, n: sequence.len, k: width, times: shape.heads });
            all.push(Product { m, n: width, k: sequence.len, times: shape.heads });
        }
    }
    all.extend([places.pooler, places.classifier].map(|layer| dense(layer, batch.units())));
    all
}

/// Bytes of [`EncoderWorkspace`] once all buffers have been used; see [`crate::network::Network::workspace`].
pub fn workspace(shape: &Shape, extent: Extent, keep: bool, size: usize) -> f64 {
    let [n, e, h] = [extent.tokens, extent.examples, shape.hidden].map(|count| count as f64);
    let layers = shape.layers as f64;
    let classes = shape.classes as f64;
    let last = layer::elements(shape, extent, true, keep);
    let inner =
        if shape.layers > 1 { layer::elements(shape, extent, false, keep) } else { Default::default() };
    let embedded = n * h + n;
    let head = e * h + e * classes;
    let elements = match keep {
        true => {
            let streams = layers * n * h + e * h;
            // `d` and the scratch's `wide` change places: both have been as long as all tokens.
            let back = e * classes + e * h + 2.0 * n * h + layer::scratch(shape, extent);
            embedded + streams + (layers - 1.0) * inner.sum() + last.sum() + head + back
        }
        // All layers share one, and two streams take turns.
        false => {
            let streams = n * h + if shape.layers > 1 { n * h } else { e * h };
            embedded + streams + inner.union(last).sum() + head
        }
    };
    let vectors = size_of::<Layer<f64>>() + size_of::<Vec<f64>>();
    elements * size as f64 + layers * vectors as f64
}

impl<T: Real> EncoderWorkspace<T> {
    fn new(layers: usize) -> Self {
        let empty = Vec::new;
        Self {
            embedded: (empty(), empty()),
            streams: vec![Vec::new(); layers + 1],
            last: 0,
            layers: (0..layers).map(|_| Layer::default()).collect(),
            pooled: empty(),
            logits: empty(),
            d_logits: empty(),
            d_pooled: empty(),
            d: empty(),
            scratch: LayerScratch::default(),
        }
    }

    fn embed(&mut self, cx: Context<'_, T>, at: &Places) {
        let h = cx.shape.hidden;
        let tokens = cx.tokens;
        let n = tokens.ids.len();
        let rows = sized(&mut self.embedded.0, n * h);
        let places = tokens.ids.iter().zip(&tokens.types).zip(&tokens.positions);
        for (row, ((id, kind), position)) in rows.chunks_exact_mut(h).zip(places) {
            let of = |table: usize, index: u32| &cx.w[table + index as usize * h..][..h];
            let word = of(at.words, *id);
            let kind = of(at.types, *kind);
            let position = of(at.positions, *position);
            for (((x, a), b), c) in row.iter_mut().zip(word).zip(kind).zip(position) {
                *x = *a + *b + *c;
            }
        }
        let rstd = sized(&mut self.embedded.1, n);
        cx.norm(at.norm).apply(rows, None, sized(&mut self.streams[0], n * h), rstd);
    }

    fn forward(&mut self, cx: Context<'_, T>, places: &Places) -> Result<(), Fault> {
        self.embed(cx, places);
        let n = cx.tokens.ids.len();
        let h = cx.shape.hidden;
        for i in 0..places.layers.len() {
            cx.stop.check()?;
            let place = place(places, i);
            let (from, to, layer) = if cx.keep { (i, i + 1, i) } else { (i % 2, (i + 1) % 2, 0) };
            let mut input = Vec::new();
            let mut output = Vec::new();
            std::mem::swap(&mut input, &mut self.streams[from]);
            std::mem::swap(&mut output, &mut self.streams[to]);
            let rows = sized(&mut output, place.rows(cx.tokens) * h);
            self.layers[layer].forward(cx, place, &input[..n * h], rows);
            (self.streams[from], self.streams[to]) = (input, output);
            self.last = to;
        }
        self.classify(cx, places);
        Ok(())
    }

    fn classify(&mut self, cx: Context<'_, T>, at: &Places) {
        let h = cx.shape.hidden;
        let n = cx.tokens.sequences.len();
        let pooled = sized(&mut self.pooled, n * h);
        at.pooler.forward(cx.w, &self.streams[self.last][..n * h], pooled, 1);
        add_bias(pooled, at.pooler.bias(cx.w));
        pooled.iter_mut().for_each(|x| *x = x.tanh());
        let logits = sized(&mut self.logits, n * cx.shape.classes);
        at.classifier.forward(cx.w, pooled, logits, 1);
        add_bias(logits, at.classifier.bias(cx.w));
    }

    fn classify_back(&mut self, cx: Context<'_, T>, at: &Places, d_logits: &[T]) {
        let h = cx.shape.hidden;
        let n = cx.tokens.sequences.len();
        sized(&mut self.d_logits, d_logits.len()).copy_from_slice(d_logits);
        let d_pooled = sized(&mut self.d_pooled, n * h);
        at.classifier.back(cx.w, d_logits, d_pooled, 1);
        for (d, p) in d_pooled.iter_mut().zip(&self.pooled) {
            *d *= T::ONE - *p * *p;
        }
        at.pooler.back(cx.w, d_pooled, sized(&mut self.d, n * h), 1);
    }

    fn embed_back(&mut self, cx: Context<'_, T>, at: &Places) {
        let h = cx.shape.hidden;
        let n = cx.tokens.ids.len();
        let norms = sized(&mut self.scratch.norms, 2 * h);
        norms.fill(T::ZERO);
        let saved = Normed { rows: &mut self.embedded.0[..n * h], rstd: &self.embedded.1[..n] };
        cx.norm(at.norm).back(&mut self.d[..n * h], saved, norms);
    }

    /// Adds the gradients of the tables and of the embeddings' LayerNorm.
    fn add_tables(&self, tokens: &Tokens, at: &Places, h: usize, gradient: &mut [T]) {
        add(&mut gradient[at.norm..][..2 * h], &self.scratch.norms[..2 * h]);
        let places = tokens.ids.iter().zip(&tokens.types).zip(&tokens.positions);
        for (row, ((id, kind), position)) in self.d.chunks_exact(h).zip(places) {
            for (table, index) in [(at.words, id), (at.types, kind), (at.positions, position)] {
                add(&mut gradient[table + *index as usize * h..][..h], row);
            }
        }
    }
}

impl<T: Real> EncoderPass<T> {
    pub fn new(shape: Arc<Shape>, places: Arc<Places>, threads: usize) -> Self {
        Self { shape, places, threads: threads.max(1), spaces: Vec::new(), logits: Vec::new() }
    }

    /// Runs `work` on every batch with its workspace, side by side.
    fn each(
        &mut self,
        input: PassInput<'_, T>,
        work: impl Fn(usize, &mut EncoderWorkspace<T>, Context<'_, T>) -> Result<(), Fault> + Sync + Send,
    ) -> Result<(), Fault> {
        let PassInput { w, batches, stop, .. } = input;
        while self.spaces.len() < batches.len() {
            self.spaces.push(EncoderWorkspace::new(self.shape.layers));
        }
        let shape = &*self.shape;
        let threads = self.threads / batches.len().max(1);
        let jobs: Vec<_> = self.spaces.iter_mut().zip(batches).enumerate().collect();
        try_each(self.threads, jobs, |(i, (space, batch))| {
            let threads = threads.max(1);
            work(i, space, Context { shape, w, tokens: tokens(batch), threads, keep: true, stop })
        })
    }

    /// Adds all batches' shares in the gradients of layer `i`.
    fn add_layer(&self, i: usize, batches: &[&Batch], gradient: &mut [T]) {
        let place = place(&self.places, i);
        let LayerPlaces { qkv, output, norm1, inner, outer, norm2 } = *place.places;
        let used = || self.spaces.iter().zip(batches);
        for (space, _) in used() {
            let (norms1, norms2) = space.scratch.norms.split_at(2 * self.shape.hidden);
            add(&mut gradient[norm1..][..norms1.len()], norms1);
            add(&mut gradient[norm2..][..norms1.len()], norms2);
        }
        let shares: Vec<[GradientShare<'_, T>; 4]> = used()
            .map(|(space, batch)| {
                let counts = Counts { tokens: tokens(batch).ids.len(), rows: place.rows(tokens(batch)) };
                space.layers[i].shares(&self.shape, counts, &space.streams[i], &space.scratch)
            })
            .collect();
        // The largest first, so that threads end together.
        let dense = [outer, inner, qkv, output];
        let targets = gradient.get_disjoint_mut(dense.map(|dense| dense.range()));
        let targets = targets.expect("parameters of a layout are disjoint");
        let of = |(target, (dense, share)): (_, (_, usize))| Gradient {
            dense,
            target,
            shares: shares.iter().map(|all| all[share]).collect(),
        };
        add_gradients(
            targets.into_iter().zip(dense.into_iter().zip([3, 2, 0, 1])).map(of).collect(),
            self.threads,
        );
    }

    /// Adds all batches' shares in the gradients of pooler and classifier.
    fn add_head(&self, batches: &[&Batch], gradient: &mut [T]) {
        let at = &self.places;
        let h = self.shape.hidden;
        let classes = self.shape.classes;
        let used = || self.spaces.iter().zip(batches).map(|(space, batch)| (space, batch.units()));
        let classifier = used()
            .map(|(space, n)| GradientShare { d: &space.d_logits[..n * classes], x: &space.pooled[..n * h] })
            .collect();
        let pooler = used()
            .map(|(space, n)| GradientShare {
                d: &space.d_pooled[..n * h],
                x: &space.streams[space.last][..n * h],
            })
            .collect();
        for (dense, shares) in [(at.classifier, classifier), (at.pooler, pooler)] {
            let target = &mut gradient[dense.range()];
            add_gradients(vec![Gradient { dense, target, shares }], self.threads);
        }
    }
}

impl<T: Real> Pass<T> for EncoderPass<T> {
    fn width(&self) -> usize {
        self.threads
    }

    fn forward(&mut self, input: PassInput<'_, T>, keep: bool) -> Result<&[T], Fault> {
        let places = self.places.clone();
        self.each(input, |_, space, cx| space.forward(Context { keep, ..cx }, &places))?;
        let classes = self.shape.classes;
        let used = self.spaces.iter().zip(input.batches);
        let parts = used.map(|(space, batch)| &space.logits[..batch.units() * classes]);
        gathered(&mut self.logits, parts);
        Ok(&self.logits)
    }

    fn backward(&mut self, input: PassInput<'_, T>, d_logits: &[T], gradient: &mut [T]) -> Result<(), Fault> {
        let batches = input.batches;
        let places = self.places.clone();
        let classes = self.shape.classes;
        let ends: Vec<usize> = batches
            .iter()
            .scan(0, |end, batch| {
                *end += batch.units() * classes;
                Some(*end)
            })
            .collect();
        self.each(input, |i, space, cx| {
            let own = ends[i] - batches[i].units() * classes..ends[i];
            space.classify_back(cx, &places, &d_logits[own]);
            Ok(())
        })?;
        self.add_head(batches, gradient);
        for i in (0..places.layers.len()).rev() {
            self.each(input, |_, space, cx| {
                cx.stop.check()?;
                space.layers[i].backward(cx, place(&places, i), &mut space.d, &mut space.scratch);
                Ok(())
            })?;
            self.add_layer(i, batches, gradient);
        }
        self.each(input, |_, space, cx| {
            space.embed_back(cx, &places);
            Ok(())
        })?;
        for (space, batch) in self.spaces.iter().zip(batches) {
            space.add_tables(tokens(batch), &places, self.shape.hidden, gradient);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::network::batch::TokenTable;
    use crate::network::{Network, build};

    fn room(space: &EncoderWorkspace<f32>) -> f64 {
        let EncoderWorkspace { embedded, streams, layers, pooled, logits, d_logits, d_pooled, d, .. } = space;
        let single = [&embedded.0, &embedded.1, pooled, logits, d_logits, d_pooled, d];
        let elements = single.into_iter().chain(streams).map(Vec::capacity).sum::<usize>();
        let elements = elements + layers.iter().map(Layer::room).sum::<usize>() + space.scratch.room();
        let vectors = layers.len() * (size_of::<Layer<f32>>() + size_of::<Vec<f32>>());
        (4 * elements + vectors) as f64
    }

    #[test]
    fn a_workspace_takes_what_it_says() {
        for layers in 1..4 {
            let network: Arc<dyn Network> = build(&format!(
                r#"{{"model_type":"bert","vocab_size":9,"hidden_size":4,"num_hidden_layers":{layers},
                "num_attention_heads":2,"intermediate_size":8,"max_position_embeddings":5}}"#
            ))
            .unwrap()
            .0;
            let shape = Shape {
                family: crate::network::encoder::shape::EncoderFamily::Bert,
                vocabulary: 9,
                hidden: 4,
                layers,
                heads: 2,
                inner: 8,
                positions: 5,
                types: 2,
                classes: 2,
                padding: 0,
                activation: crate::network::ops::Activation::Gelu,
                epsilon: 1e-12,
            };
            let places = shape.places(network.layout());
            let shape = Arc::new(shape);
            let places = Arc::new(places);
            let mask = vec![1, 1, 1, 1, 1, 0];
            let table = TokenTable {
                width: 3,
                ids: vec![5; 6],
                mask,
                types: vec![0; 6],
                positions: vec![0, 1, 2, 0, 1, 2],
            };
            let batch = table.cut(&[0, 1], 100).remove(0);
            let w = vec![0.1; network.layout().total()];
            let mut gradient = vec![0.0; w.len()];
            let extent = Extent::of(&batch);
            let mut look = EncoderPass::<f32>::new(shape.clone(), places.clone(), 1);
            look.forward(PassInput::unstopped(&w, &[&batch]), false).unwrap();
            assert_eq!(room(&look.spaces[0]), network.workspace(extent, false, 4), "{layers} layers");
            let mut pass = EncoderPass::<f32>::new(shape, places, 1);
            for _ in 0..3 {
                pass.forward(PassInput::unstopped(&w, &[&batch]), true).unwrap();
                pass.backward(PassInput::unstopped(&w, &[&batch]), &[0.1; 4], &mut gradient).unwrap();
            }
            assert_eq!(room(&pass.spaces[0]), network.workspace(extent, true, 4), "{layers} layers");
        }
    }
}
