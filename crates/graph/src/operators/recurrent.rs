//! RECURRENT: LSTM, GRU and plain recurrent layers, whole.
//!
//! Owns: its rule: layers and directions. May not touch: other operators; one direction of a layer is in `crate::cell`.

use crate::cell::{Cell, Past, Start, Targets, Trace, Weights};
use crate::operation::{Context, Cost, Gradients, Infer, Operation, Read, Typed};
use crate::real::Real;
use crate::shape::numel;
use crate::value::Data;
use crate::walk::Strided;
use crate::wrong::{Result, operand};
use clino_domain::graph::{Recurrent, RecurrentKind};

rule!(Recurrent);

/// Sizes of a recurrent layer.
#[derive(Clone, Copy)]
struct Sizes {
    time: usize,
    batch: usize,
    features: usize,
    hidden: usize,
}

/// What a forward has made.
struct Made<T> {
    /// The input of each layer, and the output of the last one: [time, batch, features].
    inputs: Vec<Vec<T>>,
    /// By layer and direction.
    traces: Vec<Trace<T>>,
}

/// One direction of a layer, to be reversed.
struct Step<'a, T> {
    cell: Cell,
    /// Among all layers and directions.
    place: usize,
    past: Past<'a, T>,
}

const H: usize = 1;
const C: usize = 2;

impl Rule<'_> {
    fn directions(&self) -> usize {
        1 + usize::from(self.bidirectional)
    }

    fn gates(&self) -> usize {
        match self.kind {
            RecurrentKind::Lstm => 4,
            RecurrentKind::Gru => 3,
            RecurrentKind::Tanh | RecurrentKind::Relu => 1,
        }
    }

    fn is_lstm(&self) -> bool {
        self.kind == RecurrentKind::Lstm
    }

    /// The first weight of a layer's direction among the operands.
    fn first(&self, layer: usize, direction: usize) -> usize {
        let states = if self.is_lstm() { 3 } else { 2 };
        states + (layer * self.directions() + direction) * if self.biases { 4 } else { 2 }
    }

    fn sizes(&self, x: &[usize], state: &[usize]) -> Option<Sizes> {
        let [a, b, features] = x else { return None };
        let [_, hidden] = state else { return None };
        let [time, batch] = if self.batch_first { [*b, *a] } else { [*a, *b] };
        Some(Sizes { time, batch, features: *features, hidden: *hidden })
    }

    fn of<T: Real>(&self, cx: &Context<'_, T>) -> Result<Sizes> {
        match self.sizes(cx.shape(0)?, cx.shape(self.first(0, 0) + 1)?) {
            Some(sizes) => Ok(sizes),
            None => operand(0, "found a shape that does not fit"),
        }
    }

    fn cell(&self, sizes: Sizes, layer: usize, direction: usize) -> Cell {
        let features = if layer == 0 { sizes.features } else { sizes.hidden * self.directions() };
        let Sizes { time, batch, hidden, .. } = sizes;
        Cell { kind: self.kind, time, batch, features, hidden, gates: self.gates(), reversed: direction == 1 }
    }

    /// [time, batch, width] of an operand or result, and back.
    fn turned<T: Real>(&self, threads: usize, x: &[T], [first, second, width]: [usize; 3]) -> Vec<T> {
        if !self.batch_first {
            return x.to_vec();
        }
        let strides = vec![width as isize, (second * width) as isize, 1];
        Strided { shape: vec![second, first, width], strides, offset: 0 }.read(threads, x)
    }

    fn weights<'a, T: Real>(&self, cx: &Context<'a, T>, first: usize) -> Result<Weights<'a, T>> {
        let biases = if self.biases { Some([cx.work(first + 2)?, cx.work(first + 3)?]) } else { None };
        Ok(Weights { input: cx.work(first)?, state: cx.work(first + 1)?, biases })
    }

    fn start<'a, T: Real>(&self, cx: &Context<'a, T>, place: usize, size: usize) -> Result<Start<'a, T>> {
        let part = |i: usize| -> Result<Option<&'a [T]>> {
            Ok(if cx.has(i) { Some(&cx.work(i)?[place * size..][..size]) } else { None })
        };
        Ok(Start { h: part(H)?, c: if self.is_lstm() { part(C)? } else { None } })
    }

    /// All layers.
    fn run<T: Real>(&self, cx: &Context<'_, T>) -> Result<Made<T>> {
        let sizes = self.of(cx)?;
        let x = cx.shape(0)?;
        let mut inputs = vec![self.turned(cx.threads, cx.work(0)?, [x[0], x[1], x[2]])];
        let mut traces = Vec::new();
        for layer in 0..self.layers {
            for direction in 0..self.directions() {
                let weights = self.weights(cx, self.first(layer, direction))?;
                let place = layer * self.directions() + direction;
                let start = self.start(cx, place, sizes.batch * sizes.hidden)?;
                let cell = self.cell(sizes, layer, direction);
                traces.push(cell.forward(cx.threads, &inputs[layer], &weights, &start));
            }
            inputs.push(self.joined(sizes, &traces[layer * self.directions()..]));
        }
        Ok(Made { inputs, traces })
    }

    /// States of both directions side by side: [time, batch, directions * hidden].
    fn joined<T: Real>(&self, sizes: Sizes, traces: &[Trace<T>]) -> Vec<T> {
        let mut out = Vec::with_capacity(sizes.time * sizes.batch * sizes.hidden * traces.len());
        for row in 0..sizes.time * sizes.batch {
            for trace in traces {
                out.extend_from_slice(&trace.h[row * sizes.hidden..][..sizes.hidden]);
            }
        }
        out
    }

    /// The part of one direction of such.
    fn part<T: Real>(&self, sizes: Sizes, d: &[T], direction: usize) -> Vec<T> {
        let width = sizes.hidden;
        let rows = d.chunks(width * self.directions());
        rows.flat_map(|row| &row[direction * width..][..width]).copied().collect()
    }

    fn check(&self, cx: &Infer<'_>, sizes: Sizes) -> Result<()> {
        let expect = |i: usize, expected: &[usize]| match cx.work(i)? {
            found if found == expected => Ok(()),
            found => operand(i, format!("found {found:?}, expected {expected:?}")),
        };
        let states = [self.layers * self.directions(), sizes.batch, sizes.hidden];
        for i in (H..self.first(0, 0)).filter(|i| cx.has(*i)) {
            expect(i, &states)?;
        }
        let Some(rows) = sizes.hidden.checked_mul(self.gates()) else {
            return operand(self.first(0, 0), "found a width that overflows");
        };
        for layer in 0..self.layers {
            for direction in 0..self.directions() {
                let first = self.first(layer, direction);
                expect(first, &[rows, self.cell(sizes, layer, direction).features])?;
                expect(first + 1, &[rows, sizes.hidden])?;
                if self.biases {
                    expect(first + 2, &[rows])?;
                    expect(first + 3, &[rows])?;
                }
            }
        }
        Ok(())
    }
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        let x = cx.work(0)?;
        let state = cx.work(self.first(0, 0) + 1)?;
        let Some(sizes) = self.sizes(x, state) else {
            return operand(0, format!("found {x:?}, expected three axes: time, batch and features"));
        };
        if sizes.hidden == 0 {
            return operand(
                self.first(0, 0) + 1,
                format!("found {state:?}, expected a state of at least one number"),
            );
        }
        self.check(cx, sizes)?;
        let last = Typed::work([self.layers * self.directions(), sizes.batch, sizes.hidden]);
        let out = Typed::work([x[0], x[1], sizes.hidden * self.directions()]);
        let mut results = vec![out, last.clone()];
        results.extend(self.is_lstm().then_some(last));
        Ok(results)
    }

    fn work(&self, cx: &Cost<'_>) -> f64 {
        let rows = cx.out(0) as f64;
        let weights: f64 = (self.first(0, 0)..cx.operands.len()).map(|i| cx.numel(i) as f64).sum();
        2.0 * rows * weights
    }

    fn reads(&self, what: Read, _wants: &dyn Fn(usize) -> bool) -> bool {
        matches!(what, Read::Operand(_))
    }

    fn scratch(&self, cx: &Cost<'_>) -> usize {
        let Some(sizes) = self.sizes(cx.shape(0), cx.shape(self.first(0, 0) + 1)) else { return 0 };
        let Sizes { time, batch, features, hidden } = sizes;
        let rows = time.saturating_mul(batch);
        let gates = hidden * self.gates();
        let wide = hidden * self.directions();
        let traces = self.layers * self.directions() * (gates + 2 * hidden);
        let inputs = features + self.layers * wide;
        let below = if self.layers > 1 { features.max(wide) } else { features };
        let reversed = wide + below + hidden + 2 * gates;
        let each = traces + inputs + if cx.back() { reversed } else { 0 };
        let states = batch * (gates + 6 * hidden);
        let products = crate::product::scratch(rows, gates, features.max(wide), cx.size)
            .max(crate::product::scratch(gates, features.max(wide), rows, cx.size));
        // In a forward products are made before there are results.
        let results = if cx.back() { 0 } else { cx.out(0) * cx.size };
        (rows.saturating_mul(each) + states).saturating_mul(cx.size) + products.saturating_sub(results)
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        let sizes = self.of(cx)?;
        let Made { mut inputs, traces } = self.run(cx)?;
        let out = inputs.pop().unwrap_or_default();
        let turned =
            self.turned(cx.threads, &out, [sizes.time, sizes.batch, sizes.hidden * self.directions()]);
        let mut h = Vec::with_capacity(numel(cx.out(1)?));
        let mut c = Vec::new();
        for (i, trace) in traces.iter().enumerate() {
            let cell = self.cell(sizes, i / self.directions(), i % self.directions());
            let place = i * sizes.batch * sizes.hidden;
            let start = self.start(cx, i, sizes.batch * sizes.hidden)?;
            debug_assert_eq!(place, h.len());
            h.extend(cell.last(&trace.h, start.h));
            if self.is_lstm() {
                c.extend(cell.last(&trace.extra, start.c));
            }
        }
        let mut results = vec![Data::Work(turned), Data::Work(h)];
        results.extend(self.is_lstm().then_some(Data::Work(c)));
        Ok(results)
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        let sizes = self.of(cx)?;
        let Made { inputs, traces } = self.run(cx)?;
        let wide = sizes.hidden * self.directions();
        let mut d = match cx.d.first().copied().flatten() {
            Some(d) => self.turned(cx.threads, d, [cx.out(0)?[0], cx.out(0)?[1], wide]),
            None => vec![T::ZERO; sizes.time * sizes.batch * wide],
        };
        for layer in (0..self.layers).rev() {
            let mut d_input = vec![T::ZERO; inputs[layer].len()];
            for direction in 0..self.directions() {
                let cell = self.cell(sizes, layer, direction);
                let place = layer * self.directions() + direction;
                let part = self.part(sizes, &d, direction);
                let weights = self.weights(cx, self.first(layer, direction))?;
                let start = self.start(cx, place, cell.batch * cell.hidden)?;
                let past = Past { x: &inputs[layer], trace: &traces[place], d: &part, weights, start };
                self.back(cx, grads, Step { cell, place, past }, &mut d_input)?;
            }
            d = d_input;
        }
        if grads.wants(0) {
            let turned = self.turned(cx.threads, &d, [sizes.time, sizes.batch, sizes.features]);
            grads.give(0, turned);
        }
        Ok(())
    }
}

impl Rule<'_> {
    /// One direction of a layer: adds to the derivatives along weights, states and the layer's input.
    fn back<T: Real>(
        &self,
        cx: &Context<'_, T>,
        grads: &mut Gradients<'_, T>,
        step: Step<'_, T>,
        d_input: &mut [T],
    ) -> Result<()> {
        let Step { cell, place, past } = step;
        let first = self.first(place / self.directions(), place % self.directions());
        let size = cell.batch * cell.hidden;
        let last = |i: usize| match cx.d.get(i).copied().flatten() {
            Some(d) => d[place * size..][..size].to_vec(),
            None => vec![T::ZERO; size],
        };
        let mut targets =
            Targets { h: last(1), c: if self.is_lstm() { last(2) } else { Vec::new() }, d_input };
        let gates = cell.backward(cx.threads, &past, &mut targets);
        let Targets { h, c, .. } = targets;
        for (i, d) in [(H, h), (C, c)] {
            if let Some(target) = grads.target(i).filter(|_| i == H || self.is_lstm()) {
                crate::parallel::add(1, &mut target[place * size..][..size], &d);
            }
        }
        if let Some(target) = grads.target(first) {
            cell.add_input_weight(cx.threads, target, &gates, past.x);
        }
        if let Some(target) = grads.target(first + 1) {
            cell.add_state_weight(cx.threads, target, &gates, &past);
        }
        if self.biases {
            for (i, gates) in [(first + 2, &gates.input), (first + 3, &gates.state)] {
                if let Some(target) = grads.target(i) {
                    let width = target.len();
                    let rows = gates.len() / width.max(1);
                    crate::sums::add_columns(cx.threads, target, rows, |row, column| {
                        gates[row * width + column].wide()
                    });
                }
            }
        }
        Ok(())
    }
}
