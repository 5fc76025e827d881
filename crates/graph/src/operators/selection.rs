//! Elements chosen by indices: what GATHER and SCATTER share.
//!
//! Owns: which element of a tensor each index means, and checks of indices. May not touch: what is done with them.

use crate::operation::{Context, Infer, Typed};
use crate::real::Real;
use crate::shape::{broadcast, broadcast_strides, numel, offsets, strides};
use crate::walk::Walk;
use crate::wrong::{Result, attribute, operand};
use clino_domain::graph::{GatherMode, ValueType};

/// Chosen elements in the order of the result: for each outer place, each point, each inner place.
pub struct Selection {
    /// Of the result.
    pub shape: Vec<usize>,
    /// First elements, by index of the axes before the chosen ones.
    pub outer: Vec<usize>,
    /// What the indices add.
    pub points: Vec<usize>,
    /// What the axes behind the chosen ones add.
    pub inner: Vec<usize>,
}

/// How indices choose, and where the index operands begin.
pub struct Chooser<'a> {
    pub mode: GatherMode,
    pub axes: &'a [usize],
    pub first: usize,
}

impl Chooser<'_> {
    /// The chosen axes stand side by side and in order.
    fn adjacent(&self) -> bool {
        self.axes.windows(2).all(|pair| pair[1] == pair[0] + 1)
    }

    /// The shape of what is chosen from operand 0.
    pub fn shape(&self, cx: &Infer<'_>) -> Result<Vec<usize>> {
        let x = cx.shape(0)?;
        for axis in self.axes {
            cx.axis("axes", *axis)?;
        }
        let indices = (0..self.axes.len())
            .map(|i| cx.of(self.first + i, ValueType::I64))
            .collect::<Result<Vec<_>>>()?;
        let Some(points) = broadcast(&indices) else {
            return operand(self.first, format!("found indices {indices:?}, which do not broadcast"));
        };
        if self.mode == GatherMode::Along {
            let axis = self.axes[0];
            let fits = points.len() == x.len() && (0..x.len()).all(|i| i == axis || points[i] <= x[i]);
            if !fits {
                return operand(
                    self.first,
                    format!("found {points:?}, expected at most {x:?} but for axis {axis}"),
                );
            }
            return Ok(points);
        }
        let shape = self.result(x, &points);
        match shape.len() <= clino_domain::tensor::MAX_RANK {
            true => Ok(shape),
            false => attribute("axes", format!("found {} axes of the result, expected fewer", shape.len())),
        }
    }

    /// The shape of what points of this shape choose.
    fn result(&self, x: &[usize], points: &[usize]) -> Vec<usize> {
        if self.adjacent() {
            let first = self.axes[0];
            return [&x[..first], points, &x[first + self.axes.len()..]].concat();
        }
        let rest = (0..x.len()).filter(|i| !self.axes.contains(i)).map(|i| x[i]);
        points.iter().copied().chain(rest).collect()
    }

    /// Points, and elements that each of them chooses.
    fn counts(&self, operands: &[Option<&Typed>]) -> [usize; 2] {
        let shape = |i: usize| operands.get(i).copied().flatten().map_or(&[][..], |typed| &typed.shape);
        let x = shape(0);
        let indices: Vec<&[usize]> = (0..self.axes.len()).map(|i| shape(self.first + i)).collect();
        let points = numel(&broadcast(&indices).unwrap_or_default());
        let rest = (0..x.len()).filter(|i| !self.axes.contains(i)).map(|i| x[i]).product();
        [points, if self.mode == GatherMode::Along { 1 } else { rest }]
    }

    /// Elements that are chosen.
    pub fn count(&self, operands: &[Option<&Typed>]) -> usize {
        self.counts(operands).iter().product()
    }

    /// Bytes of a selection and of indices while they are checked.
    pub fn scratch(&self, operands: &[Option<&Typed>]) -> usize {
        let [points, rest] = self.counts(operands);
        // Points, their order and what sorting them lays by, indices; places of the other axes, and sums.
        (points * 4 + 2 * rest + 64) * size_of::<usize>() + rest * size_of::<f64>()
    }

    /// Which elements of operand 0 the indices mean.
    pub fn select<T: Real>(&self, cx: &Context<'_, T>) -> Result<Selection> {
        let x = cx.shape(0)?;
        let along = strides(x);
        if self.mode == GatherMode::Along {
            return self.along(cx, x, &along);
        }
        let shapes = (0..self.axes.len()).map(|i| cx.shape(self.first + i)).collect::<Result<Vec<_>>>()?;
        let to = broadcast(&shapes).unwrap_or_default();
        let mut points = vec![0usize; numel(&to)];
        for (i, axis) in self.axes.iter().enumerate() {
            let place = self.first + i;
            let index = checked(cx.i64(place)?, x[*axis], place)?;
            let walk = Walk::new(&to, [&broadcast_strides(shapes[i], &to)]);
            let [step] = walk.step;
            walk.fill(1, &mut points, |[at], points| {
                for (j, point) in points.iter_mut().enumerate() {
                    *point += index[(at + j as isize * step) as usize] * along[*axis] as usize;
                }
            });
        }
        let of = |axes: Vec<usize>| {
            let sizes: Vec<usize> = axes.iter().map(|axis| x[*axis]).collect();
            let strides: Vec<isize> = axes.iter().map(|axis| along[*axis]).collect();
            offsets(&sizes, &strides)
        };
        let rest = (0..x.len()).filter(|axis| !self.axes.contains(axis));
        let (before, behind) = match self.adjacent() {
            true => rest.partition(|axis| *axis < self.axes[0]),
            false => (Vec::new(), rest.collect()),
        };
        Ok(Selection { shape: self.result(x, &to), outer: of(before), points, inner: of(behind) })
    }

    fn along<T: Real>(&self, cx: &Context<'_, T>, x: &[usize], strides: &[isize]) -> Result<Selection> {
        let axis = self.axes[0];
        let mut others = strides.to_vec();
        others[axis] = 0;
        let shape = cx.shape(self.first)?.to_vec();
        let mut points = offsets(&shape, &others);
        let index = checked(cx.i64(self.first)?, x[axis], self.first)?;
        for (point, index) in points.iter_mut().zip(index) {
            *point += index * strides[axis] as usize;
        }
        Ok(Selection { shape, outer: vec![0], points, inner: vec![0] })
    }
}

/// Indices of an axis of `size` elements, from 0.
fn checked(index: &[i64], size: usize, place: usize) -> Result<Vec<usize>> {
    let mut out = Vec::with_capacity(index.len());
    for (i, found) in index.iter().enumerate() {
        let from_start = if *found < 0 { found.saturating_add(size as i64) } else { *found };
        match usize::try_from(from_start) {
            Ok(at) if at < size => out.push(at),
            _ => {
                let description = format!(
                    "found index {found} as element {i}, expected {} to {}: an axis of {size} elements has no other",
                    -(size as i64),
                    size as i64 - 1
                );
                return operand(place, description);
            }
        }
    }
    Ok(out)
}

impl Selection {
    /// Number of chosen elements.
    pub fn len(&self) -> usize {
        self.outer.len() * self.points.len() * self.inner.len()
    }

    /// Chosen elements of `x`.
    pub fn read<U: Copy + Default + Send + Sync>(&self, threads: usize, x: &[U]) -> Vec<U> {
        let mut out = vec![U::default(); self.len()];
        let run = self.inner.len();
        let contiguous = self.inner.iter().enumerate().all(|(i, at)| i == *at);
        if run == 0 {
            return out;
        }
        crate::parallel::pieces(threads, &mut out, crate::parallel::rows(run) * run, |first, out| {
            for (i, out) in out.chunks_mut(run).enumerate() {
                let row = first / run + i;
                let at = self.outer[row / self.points.len()] + self.points[row % self.points.len()];
                if contiguous {
                    out.copy_from_slice(&x[at..][..run]);
                    continue;
                }
                for (out, inner) in out.iter_mut().zip(&self.inner) {
                    *out = x[at + inner];
                }
            }
        });
        out
    }

    /// Calls `f` with each chosen element's place and its place in the result.
    pub fn each(&self, mut f: impl FnMut(usize, usize)) {
        let mut i = 0;
        for outer in &self.outer {
            for point in &self.points {
                for inner in &self.inner {
                    f(outer + point + inner, i);
                    i += 1;
                }
            }
        }
    }

    /// Adds elements of the result to the chosen ones: those that were chosen several times get a sum that is made in f64.
    pub fn add<T: Real>(&self, d: &[T], target: &mut [T], skip: Option<usize>) {
        let mut order: Vec<usize> = (0..self.points.len()).collect();
        order.sort_by_key(|i| (self.points[*i], *i));
        let run = self.inner.len();
        let mut sums = vec![0.0f64; run];
        for (o, outer) in self.outer.iter().enumerate() {
            for same in order.chunk_by(|a, b| self.points[*a] == self.points[*b]) {
                let point = self.points[same[0]];
                if skip == Some(point) {
                    continue;
                }
                sums.fill(0.0);
                for i in same {
                    let d = &d[(o * self.points.len() + i) * run..][..run];
                    for (sum, d) in sums.iter_mut().zip(d) {
                        *sum += d.wide();
                    }
                }
                for (sum, inner) in sums.iter().zip(&self.inner) {
                    target[outer + point + inner] += T::of(*sum);
                }
            }
        }
    }
}
