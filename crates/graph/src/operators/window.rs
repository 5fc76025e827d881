//! Windows over an axis.
//!
//! Owns: which elements a window has and how many windows there are. May not touch: what is made of them.

use super::resample::Taps;
use clino_domain::graph::Pool;

/// Longest window: its elements are listed.
const MOST_KERNEL: usize = 1 << 16;

/// The windows over one axis.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub size: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    pub dilation: usize,
    pub ceil: bool,
}

/// `list[axis]`, where one number may stand for all axes.
pub fn at(list: &[u64], axis: usize, or: usize) -> Option<usize> {
    match list {
        [] => Some(or),
        [one] => usize::try_from(*one).ok(),
        list => usize::try_from(*list.get(axis)?).ok(),
    }
}

impl Window {
    /// The windows of a pool over one of its axes; `None` where its numbers make none.
    pub fn of(pool: &Pool, axis: usize, size: usize) -> Option<Self> {
        let kernel = at(&pool.kernel, axis, 0)?;
        let window = Self {
            size,
            kernel,
            stride: at(&pool.stride, axis, kernel)?,
            padding: at(&pool.padding, axis, 0)?,
            dilation: at(&pool.dilation, axis, 1)?,
            ceil: pool.ceil,
        };
        // torch wants no window without an element.
        let fits = (1..=MOST_KERNEL).contains(&kernel)
            && window.stride > 0
            && window.dilation > 0
            && window.padding <= kernel / 2;
        fits.then_some(window)
    }

    /// How many there are; `None` where not even one fits.
    pub fn count(&self) -> Option<usize> {
        let span = self.dilation.checked_mul(self.kernel - 1)?.checked_add(1)?;
        let room = self.size.checked_add(self.padding.checked_mul(2)?)?.checked_sub(span)?;
        let count = if self.ceil { room.div_ceil(self.stride) } else { room / self.stride } + 1;
        // The last one begins within the operand or before it.
        let beyond = self.ceil && (count - 1).checked_mul(self.stride)? >= self.size + self.padding;
        Some(if beyond { count - 1 } else { count })
    }

    /// Whether every window has an element of the operand, where one window fits at all.
    pub fn all_have_elements(&self) -> bool {
        // Only a step that is longer than the operand goes over it. With padding of at most half a kernel a window of such
        // fits only where it has two elements, one right before the operand and one right behind it.
        self.dilation <= self.size || self.padding == 0
    }

    /// Elements of window `i`, and how many there would be with the padding.
    fn elements(&self, i: usize) -> (Vec<usize>, usize) {
        let first = i * self.stride;
        let all = (0..self.kernel).map(|j| first + j * self.dilation);
        let end = self.size + 2 * self.padding;
        let counted = all.clone().filter(|at| *at < end).count();
        let within = all.filter_map(|at| at.checked_sub(self.padding)).filter(|at| *at < self.size);
        (within.collect(), counted)
    }

    /// Elements of all windows, each with the weight that makes a mean of them.
    pub fn taps(&self, count: usize, count_padding: bool) -> Taps {
        let taps = |i: usize| {
            let (elements, counted) = self.elements(i);
            let n = if count_padding { counted } else { elements.len() };
            elements.into_iter().map(|at| (at, 1.0 / n as f64)).collect()
        };
        (0..count).map(taps).collect()
    }
}

/// `count` windows that cover an axis of `size` elements.
pub fn adaptive(size: usize, count: usize) -> Taps {
    let taps = |i: usize| {
        let first = i * size / count;
        let end = ((i + 1) * size).div_ceil(count);
        (first..end).map(|at| (at, 1.0 / (end - first) as f64)).collect()
    };
    (0..count).map(taps).collect()
}
