//! Sizes of axes, and where elements lie.
//!
//! Owns: checked products, strides, broadcasting. May not touch: elements.

use crate::wrong::{Result, attribute};
use clino_domain::tensor::MAX_RANK;

/// Sizes of axes, row-major.
pub type Shape = Vec<usize>;

/// Number of elements; `None` when it overflows.
pub fn checked_numel(shape: &[usize]) -> Option<usize> {
    // An axis of 0 makes the product 0 whatever stands behind it, and so it is asked first.
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1usize, |product, axis| product.checked_mul(*axis))
}

/// Most elements of what no limit counts: tensors, values that nobody needs, elements that indices choose. So few that no
/// arithmetic on their sizes overflows.
pub const MOST: usize = 1 << 40;

/// The elements of a shape, if they are not too many.
pub fn elements(shape: &[usize], most: usize) -> Result<usize> {
    if shape.len() > MAX_RANK {
        return attribute("", format!("found a result of {} axes, expected at most {MAX_RANK}", shape.len()));
    }
    // Axes count even where another one is 0: operators make lists of them.
    let wide: Vec<usize> = shape.iter().map(|size| *size.max(&1)).collect();
    match checked_numel(&wide).filter(|n| *n <= most) {
        Some(n) => Ok(n),
        None => attribute(
            "",
            format!(
                "found a value of shape {shape:?}, expected at most {most} elements: send fewer examples a batch, or \
             shorter ones"
            ),
        ),
    }
}

/// Number of elements of a shape that was checked.
pub fn numel(shape: &[usize]) -> usize {
    checked_numel(shape).unwrap_or(0)
}

/// Distances between neighbours along each axis.
pub fn strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![0; shape.len()];
    let mut stride = 1isize;
    for (out, size) in strides.iter_mut().zip(shape).rev() {
        *out = stride;
        stride = stride.saturating_mul(*size as isize);
    }
    strides
}

/// The shape to which all of `shapes` broadcast; `None` where two sizes differ and neither is 1.
pub fn broadcast(shapes: &[&[usize]]) -> Option<Shape> {
    let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or(0);
    let mut out = vec![1; rank];
    for shape in shapes {
        for (out, size) in out[rank - shape.len()..].iter_mut().zip(*shape) {
            match (*out, *size) {
                (a, b) if a == b => {}
                (1, b) => *out = b,
                (_, 1) => {}
                _ => return None,
            }
        }
    }
    Some(out)
}

/// Strides of `shape` when it is read as `to`, to which it broadcasts: 0 along repeated axes.
pub fn broadcast_strides(shape: &[usize], to: &[usize]) -> Vec<isize> {
    let own = strides(shape);
    let new = to.len().saturating_sub(shape.len());
    let mut out = vec![0; to.len()];
    for (i, size) in shape.iter().enumerate() {
        if *size == to[new + i] && *size != 1 {
            out[new + i] = own[i];
        }
    }
    out
}

/// Elements before, along and behind an axis: [outer, size, inner].
pub fn around(shape: &[usize], axis: usize) -> [usize; 3] {
    [numel(&shape[..axis]), shape[axis], numel(&shape[axis + 1..])]
}

/// Where each index of a shape lies, in row-major order.
pub fn offsets(shape: &[usize], strides: &[isize]) -> Vec<usize> {
    if shape.contains(&0) {
        return Vec::new();
    }
    let mut out = vec![0usize];
    for (size, stride) in shape.iter().zip(strides) {
        let mut next = Vec::with_capacity(out.len() * size);
        for at in out {
            next.extend((0..*size).map(|i| (at as isize + i as isize * stride) as usize));
        }
        out = next;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_broadcast_from_behind() {
        assert_eq!(broadcast(&[&[3, 1], &[4], &[]]), Some(vec![3, 4]));
        assert_eq!(broadcast(&[&[3], &[4]]), None);
        assert_eq!(broadcast_strides(&[3, 1], &[2, 3, 4]), [0, 1, 0]);
        assert_eq!(strides(&[2, 3, 4]), [12, 4, 1]);
    }

    #[test]
    fn sizes_do_not_overflow_unseen() {
        assert_eq!(checked_numel(&[usize::MAX, 2]), None);
        assert_eq!(checked_numel(&[usize::MAX, 2, 0]), Some(0));
    }
}
