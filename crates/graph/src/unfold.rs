//! Convolutions as matrix products: windows of an image are unfolded into columns.
//!
//! Owns: forward and both reverses of a plain convolution. May not touch: attributes of operators.

use crate::parallel;
use crate::product::{self, matrix};
use crate::real::Real;

/// One spatial axis.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    /// Elements of the operand, and of the result.
    pub x: usize,
    pub y: usize,
    pub kernel: usize,
    pub stride: usize,
    /// Zeros before the operand.
    pub before: usize,
    pub dilation: usize,
}

impl Default for Axis {
    /// An axis that is not there.
    fn default() -> Self {
        Self { x: 1, y: 1, kernel: 1, stride: 1, before: 0, dilation: 1 }
    }
}

impl Axis {
    /// The element of the operand under element `k` of window `y`.
    fn place(&self, y: usize, k: usize) -> Option<usize> {
        (y * self.stride + k * self.dilation).checked_sub(self.before).filter(|at| *at < self.x)
    }
}

/// Sizes of a convolution from `inputs` to `outputs` channels.
#[derive(Debug, Clone)]
pub struct Geometry {
    pub batch: usize,
    pub inputs: usize,
    pub outputs: usize,
    pub groups: usize,
    pub axes: [Axis; 3],
}

impl Geometry {
    fn x_plane(&self) -> usize {
        self.axes.iter().map(|axis| axis.x).fold(1, usize::saturating_mul)
    }

    fn y_plane(&self) -> usize {
        self.axes.iter().map(|axis| axis.y).fold(1, usize::saturating_mul)
    }

    fn kernel(&self) -> usize {
        self.axes.iter().map(|axis| axis.kernel).fold(1, usize::saturating_mul)
    }

    /// Rows of the columns of one group.
    fn rows(&self) -> usize {
        (self.inputs / self.groups).saturating_mul(self.kernel())
    }

    /// Whether a window is one element, so that nothing is to be unfolded.
    fn flat(&self) -> bool {
        self.axes
            .iter()
            .all(|axis| axis.kernel == 1 && axis.stride == 1 && axis.before == 0 && axis.x == axis.y)
    }

    /// Additions and multiplications.
    pub fn work(&self) -> f64 {
        2.0 * self.batch as f64 * self.outputs as f64 * self.rows() as f64 * self.y_plane() as f64
    }

    /// Bytes of columns and products on all threads.
    pub fn scratch(&self, size: usize, threads: usize) -> usize {
        let rows = self.rows();
        let plane = self.y_plane();
        let outputs = self.outputs / self.groups;
        let columns = if self.flat() { 0 } else { rows.saturating_mul(plane).saturating_mul(size) };
        let products = product::scratch(outputs, plane, rows, size)
            .max(product::scratch(rows, plane, outputs, size))
            .max(product::scratch(outputs, rows, plane, size));
        columns.saturating_add(products).saturating_mul(threads.min(self.batch).max(1))
    }

    /// Calls `f` with runs of elements: the place in the columns, in the operand, and how many windows lie there.
    fn each(&self, mut f: impl FnMut(usize, usize)) {
        let [a, b, c] = self.axes;
        let x_plane = self.x_plane();
        let y_plane = self.y_plane();
        let mut row = 0;
        for channel in 0..self.inputs / self.groups {
            for (k_a, k_b, k_c) in triples(a.kernel, b.kernel, c.kernel) {
                for y_a in 0..a.y {
                    let Some(at_a) = a.place(y_a, k_a) else { continue };
                    for y_b in 0..b.y {
                        let Some(at_b) = b.place(y_b, k_b) else { continue };
                        let to = row * y_plane + (y_a * b.y + y_b) * c.y;
                        let from = channel * x_plane + (at_a * b.x + at_b) * c.x;
                        for y_c in 0..c.y {
                            if let Some(at_c) = c.place(y_c, k_c) {
                                f(to + y_c, from + at_c);
                            }
                        }
                    }
                }
                row += 1;
            }
        }
    }

    /// y += w * x.
    pub fn forward<T: Real>(&self, threads: usize, x: &[T], w: &[T], y: &mut [T]) {
        let rows = self.rows();
        let plane = self.y_plane();
        let outputs = self.outputs / self.groups;
        let image = self.inputs * self.x_plane();
        let of_group = image / self.groups;
        self.images(threads, y, self.outputs * plane, |i, y, threads| {
            let mut columns = self.columns(rows * plane);
            for group in 0..self.groups {
                let x = &x[i * image + group * of_group..][..of_group];
                let unfolded = self.unfold(x, &mut columns);
                let w = matrix(&w[group * outputs * rows..], outputs, rows);
                let y = &mut y[group * outputs * plane..];
                product::multiply(y, w, matrix(unfolded, rows, plane), product::add(threads));
            }
        });
    }

    /// d_x += wᵀ * d.
    pub fn back_input<T: Real>(&self, threads: usize, d: &[T], w: &[T], d_x: &mut [T]) {
        let rows = self.rows();
        let plane = self.y_plane();
        let outputs = self.outputs / self.groups;
        let image = self.inputs * self.x_plane();
        let of_group = image / self.groups;
        self.images(threads, d_x, image, |i, d_x, threads| {
            let mut columns = self.columns(rows * plane);
            for group in 0..self.groups {
                let d = &d[(i * self.outputs + group * outputs) * plane..];
                let d = matrix(d, outputs, plane);
                let w = matrix(&w[group * outputs * rows..], outputs, rows);
                let d_x = &mut d_x[group * of_group..][..of_group];
                if self.flat() {
                    product::multiply(d_x, w.t(), d, product::add(threads));
                    continue;
                }
                product::multiply(&mut columns, w.t(), d, product::set(threads));
                self.each(|from, to| d_x[to] += columns[from]);
            }
        });
    }

    /// d_w += d * xᵀ, image by image.
    pub fn back_weight<T: Real>(&self, threads: usize, x: &[T], d: &[T], d_w: &mut [T]) {
        let rows = self.rows();
        let plane = self.y_plane();
        let outputs = self.outputs / self.groups;
        let image = self.inputs * self.x_plane();
        let of_group = image / self.groups;
        let mut columns = self.columns(rows * plane);
        for i in 0..self.batch {
            for group in 0..self.groups {
                let x = &x[i * image + group * of_group..][..of_group];
                let unfolded = self.unfold(x, &mut columns);
                let d = matrix(&d[(i * self.outputs + group * outputs) * plane..], outputs, plane);
                let d_w = &mut d_w[group * outputs * rows..];
                product::multiply(d_w, d, matrix(unfolded, rows, plane).t(), product::add(threads));
            }
        }
    }

    /// Calls `f` with each image of `out`, side by side where there are enough of them.
    fn images<T: Real>(
        &self,
        threads: usize,
        out: &mut [T],
        size: usize,
        f: impl Fn(usize, &mut [T], usize) + Sync + Send,
    ) {
        let [outer, inner] = if self.batch >= threads.max(2) { [threads, 1] } else { [1, threads] };
        if size > 0 {
            parallel::pieces(outer, out, size, |first, out| f(first / size, out, inner));
        }
    }

    fn columns<T: Real>(&self, len: usize) -> Vec<T> {
        if self.flat() { Vec::new() } else { vec![T::ZERO; len] }
    }

    /// The columns of one group; those outside of the operand stay 0.
    fn unfold<'a, T: Real>(&self, x: &'a [T], columns: &'a mut [T]) -> &'a [T] {
        if self.flat() {
            return x;
        }
        self.each(|to, from| columns[to] = x[from]);
        columns
    }
}

/// All triples below three sizes, the last one fastest.
fn triples(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| (i, j, k))))
}
