//! One direction of a recurrent layer over time.
//!
//! Owns: the arithmetic of LSTM, GRU and plain cells, forward and reverse. May not touch: layers, operands.

use crate::functions::{relu, sigmoid};
use crate::product::{self, matrix};
use crate::real::Real;
use clino_domain::graph::RecurrentKind;

/// Sizes of one direction of a layer.
#[derive(Clone, Copy)]
pub struct Cell {
    pub kind: RecurrentKind,
    pub time: usize,
    pub batch: usize,
    pub features: usize,
    pub hidden: usize,
    pub gates: usize,
    /// Whether it goes from the last step to the first.
    pub reversed: bool,
}

/// [gates * hidden, features], [gates * hidden, hidden] and biases [gates * hidden].
pub struct Weights<'a, T> {
    pub input: &'a [T],
    pub state: &'a [T],
    pub biases: Option<[&'a [T]; 2]>,
}

/// States before the first step, [batch, hidden]; zeros where there are none.
pub struct Start<'a, T> {
    pub h: Option<&'a [T]>,
    pub c: Option<&'a [T]>,
}

/// What a forward has made: states h [time, batch, hidden], gates behind their functions [time, batch, gates * hidden],
/// and c of an LSTM, or the state's part of the new gate of a GRU, [time, batch, hidden].
pub struct Trace<T> {
    pub h: Vec<T>,
    pub gates: Vec<T>,
    pub extra: Vec<T>,
}

/// What a reverse reads.
pub struct Past<'a, T> {
    pub x: &'a [T],
    pub trace: &'a Trace<T>,
    /// Derivative along h.
    pub d: &'a [T],
    pub weights: Weights<'a, T>,
    pub start: Start<'a, T>,
}

/// Derivatives along states: those behind the last step at first, those before the first one at last; and along x.
pub struct Targets<'a, T> {
    pub h: Vec<T>,
    pub c: Vec<T>,
    pub d_input: &'a mut [T],
}

/// Derivatives along what input and state add to the gates, [time, batch, gates * hidden].
pub struct GateGradients<T> {
    pub input: Vec<T>,
    pub state: Vec<T>,
}

impl Cell {
    fn width(&self) -> usize {
        self.gates * self.hidden
    }

    /// The step at place `i` of the order in which steps are made.
    fn step(&self, i: usize) -> usize {
        if self.reversed { self.time - 1 - i } else { i }
    }

    /// The part of a step in [time, batch, width].
    fn at<'a, T>(&self, x: &'a [T], step: usize, width: usize) -> &'a [T] {
        let size = self.batch * width;
        &x[step * size..][..size]
    }

    fn before<'a, T>(&self, x: &'a [T], i: usize, start: Option<&'a [T]>) -> Option<&'a [T]> {
        match i.checked_sub(1) {
            Some(before) => Some(self.at(x, self.step(before), self.hidden)),
            None => start,
        }
    }

    /// What an LSTM or a GRU keeps beside the state.
    fn before_extra<'a, T>(&self, trace: &'a Trace<T>, i: usize, start: &Start<'a, T>) -> Option<&'a [T]> {
        if self.gates > 1 { self.before(&trace.extra, i, start.c) } else { None }
    }

    /// The state behind the last step.
    pub fn last<T: Real>(&self, x: &[T], start: Option<&[T]>) -> Vec<T> {
        let none = vec![T::ZERO; self.batch * self.hidden];
        self.before(x, self.time, start).map_or(none, <[T]>::to_vec)
    }

    /// All steps.
    pub fn forward<T: Real>(
        &self,
        threads: usize,
        x: &[T],
        w: &Weights<'_, T>,
        start: &Start<'_, T>,
    ) -> Trace<T> {
        let width = self.width();
        let hidden = self.hidden;
        let rows = self.time * self.batch;
        let mut gates = vec![T::ZERO; rows * width];
        let inputs = matrix(w.input, width, self.features).t();
        product::multiply(&mut gates, matrix(x, rows, self.features), inputs, product::set(threads));
        let extra = if self.gates > 1 { rows * hidden } else { 0 };
        let mut trace = Trace { h: vec![T::ZERO; rows * hidden], gates, extra: vec![T::ZERO; extra] };
        let mut state = vec![T::ZERO; self.batch * width];
        for i in 0..self.time {
            let h = self.before(&trace.h, i, start.h);
            match h {
                Some(h) => {
                    let w = matrix(w.state, width, hidden).t();
                    product::multiply(&mut state, matrix(h, self.batch, hidden), w, product::set(threads));
                }
                None => state.fill(T::ZERO),
            }
            let h = h.map(<[T]>::to_vec);
            let c = self.before_extra(&trace, i, start).map(<[T]>::to_vec);
            self.make(w, i, &Before { h, c, state: &state }, &mut trace);
        }
        trace
    }

    /// The new states of the step at place `i`.
    fn make<T: Real>(&self, w: &Weights<'_, T>, i: usize, before: &Before<'_, T>, trace: &mut Trace<T>) {
        let width = self.width();
        let hidden = self.hidden;
        for unit in 0..self.batch * hidden {
            let row = unit / hidden;
            let j = unit % hidden;
            let at = self.step(i) * self.batch + row;
            let of = |x: &Option<Vec<T>>| x.as_ref().map_or(0.0, |x| x[unit].wide());
            let sums = self.sums(w, &trace.gates[at * width..], &before.state[row * width..], j);
            let new = self.new_state(sums, [of(&before.h), of(&before.c)]);
            for (gate, value) in new.gates.iter().enumerate().take(self.gates) {
                trace.gates[at * width + gate * hidden + j] = T::of(*value);
            }
            trace.h[at * hidden + j] = T::of(new.h);
            if self.gates > 1 {
                trace.extra[at * hidden + j] = T::of(new.extra);
            }
        }
    }

    /// What input and state add to each gate of unit `j`.
    fn sums<T: Real>(&self, w: &Weights<'_, T>, input: &[T], state: &[T], j: usize) -> [[f64; 2]; 4] {
        let mut sums = [[0.0; 2]; 4];
        for (gate, sum) in sums.iter_mut().enumerate().take(self.gates) {
            let at = gate * self.hidden + j;
            let [bias, state_bias] = w.biases.map_or([0.0; 2], |[a, b]| [a[at].wide(), b[at].wide()]);
            *sum = [input[at].wide() + bias, state[at].wide() + state_bias];
        }
        sums
    }

    fn new_state(&self, sums: [[f64; 2]; 4], [h, c]: [f64; 2]) -> NewState {
        let sum = |gate: usize| sums[gate][0] + sums[gate][1];
        match self.kind {
            RecurrentKind::Lstm => {
                let gates = [sigmoid(sum(0)), sigmoid(sum(1)), sum(2).tanh(), sigmoid(sum(3))];
                let c = gates[1] * c + gates[0] * gates[2];
                NewState { gates, h: gates[3] * c.tanh(), extra: c }
            }
            RecurrentKind::Gru => {
                let r = sigmoid(sum(0));
                let z = sigmoid(sum(1));
                let n = (sums[2][0] + r * sums[2][1]).tanh();
                NewState { gates: [r, z, n, 0.0], h: (1.0 - z) * n + z * h, extra: sums[2][1] }
            }
            RecurrentKind::Tanh | RecurrentKind::Relu => {
                let h = if self.kind == RecurrentKind::Tanh { sum(0).tanh() } else { relu(sum(0)) };
                NewState { gates: [h, 0.0, 0.0, 0.0], h, extra: 0.0 }
            }
        }
    }

    /// All steps backwards.
    pub fn backward<T: Real>(
        &self,
        threads: usize,
        past: &Past<'_, T>,
        to: &mut Targets<'_, T>,
    ) -> GateGradients<T> {
        let width = self.width();
        let hidden = self.hidden;
        let rows = self.time * self.batch;
        let Past { weights: w, start, .. } = past;
        let mut out =
            GateGradients { input: vec![T::ZERO; rows * width], state: vec![T::ZERO; rows * width] };
        for i in (0..self.time).rev() {
            let step = self.step(i);
            let h = self.before(&past.trace.h, i, start.h);
            let c = self.before_extra(past.trace, i, start);
            for unit in 0..self.batch * hidden {
                let row = step * self.batch + unit / hidden;
                let j = unit % hidden;
                let gate = |g: usize| past.trace.gates[row * width + g * hidden + j].wide();
                let gates: [f64; 4] = std::array::from_fn(|g| if g < self.gates { gate(g) } else { 0.0 });
                let of = |x: Option<&[T]>| x.map_or(0.0, |x| x[unit].wide());
                let extra = past.trace.extra.get(row * hidden + j).map_or(0.0, |x| x.wide());
                let d = to.h[unit].wide() + past.d[row * hidden + j].wide();
                let d_c = to.c.get(unit).map_or(0.0, |x| x.wide());
                let back = self.back_state(gates, [of(h), of(c), extra], [d, d_c]);
                for g in 0..self.gates {
                    let at = row * width + g * hidden + j;
                    out.input[at] = T::of(back.input[g]);
                    out.state[at] = T::of(back.state[g]);
                }
                to.h[unit] = T::of(back.h);
                if let Some(c) = to.c.get_mut(unit) {
                    *c = T::of(back.c);
                }
            }
            let d = matrix(self.at(&out.state, step, width), self.batch, width);
            product::multiply(&mut to.h, d, matrix(w.state, width, hidden), product::add(threads));
        }
        let d = matrix(&out.input, rows, width);
        product::multiply(to.d_input, d, matrix(w.input, width, self.features), product::add(threads));
        out
    }

    /// Derivatives of a unit: `past` has the state before, c before, and c or the state's part of the new gate.
    fn back_state(&self, gates: [f64; 4], [h, c, extra]: [f64; 3], [d, d_c]: [f64; 2]) -> BackState {
        match self.kind {
            RecurrentKind::Lstm => {
                let [i, f, g, o] = gates;
                let t = extra.tanh();
                let d_c = d_c + d * o * (1.0 - t * t);
                let along = [
                    d_c * g * i * (1.0 - i),
                    d_c * c * f * (1.0 - f),
                    d_c * i * (1.0 - g * g),
                    d * t * o * (1.0 - o),
                ];
                BackState { input: along, state: along, h: 0.0, c: d_c * f }
            }
            RecurrentKind::Gru => {
                let [r, z, n, _] = gates;
                let d_n = d * (1.0 - z) * (1.0 - n * n);
                let d_r = d_n * extra * r * (1.0 - r);
                let d_z = d * (h - n) * z * (1.0 - z);
                BackState { input: [d_r, d_z, d_n, 0.0], state: [d_r, d_z, d_n * r, 0.0], h: d * z, c: 0.0 }
            }
            RecurrentKind::Tanh | RecurrentKind::Relu => {
                let [y, ..] = gates;
                let slope = match self.kind {
                    RecurrentKind::Tanh => 1.0 - y * y,
                    // As torch has it, also behind a NaN.
                    _ => f64::from(u8::from(y > 0.0 || y.is_nan())),
                };
                let along = [d * slope, 0.0, 0.0, 0.0];
                BackState { input: along, state: along, h: 0.0, c: 0.0 }
            }
        }
    }

    /// Adds the derivative along the input weights.
    pub fn add_input_weight<T: Real>(
        &self,
        threads: usize,
        target: &mut [T],
        gates: &GateGradients<T>,
        x: &[T],
    ) {
        let rows = self.time * self.batch;
        let d = matrix(&gates.input, rows, self.width()).t();
        product::multiply(target, d, matrix(x, rows, self.features), product::add(threads));
    }

    /// Adds the derivative along the state weights, step by step.
    pub fn add_state_weight<T: Real>(
        &self,
        threads: usize,
        target: &mut [T],
        gates: &GateGradients<T>,
        past: &Past<'_, T>,
    ) {
        for i in 0..self.time {
            let Some(before) = self.before(&past.trace.h, i, past.start.h) else { continue };
            let d = matrix(self.at(&gates.state, self.step(i), self.width()), self.batch, self.width()).t();
            product::multiply(target, d, matrix(before, self.batch, self.hidden), product::add(threads));
        }
    }
}

/// What a step begins with.
struct Before<'a, T> {
    h: Option<Vec<T>>,
    c: Option<Vec<T>>,
    /// What the state adds to the gates, [batch, gates * hidden].
    state: &'a [T],
}

struct NewState {
    gates: [f64; 4],
    h: f64,
    extra: f64,
}

struct BackState {
    input: [f64; 4],
    state: [f64; 4],
    h: f64,
    c: f64,
}
