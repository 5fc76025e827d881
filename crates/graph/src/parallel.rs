//! Work side by side, of which no bit depends on the number of threads.
//!
//! Owns: into which pieces work is cut. May not touch: what is computed.

use rayon::prelude::*;

/// Elements of a piece of elementwise work: fixed, whatever the number of threads.
pub const PIECE: usize = 16_384;

/// Does all `jobs`, side by side when there are several threads.
pub fn each<J: Send>(threads: usize, jobs: impl IntoIterator<Item = J>, work: impl Fn(J) + Sync + Send) {
    match threads {
        0 | 1 => jobs.into_iter().for_each(work),
        _ => jobs.into_iter().collect::<Vec<_>>().into_par_iter().for_each(work),
    }
}

/// Calls `work` with pieces of `out` of `piece` elements and the place of their first one.
pub fn pieces<U: Send>(
    threads: usize,
    out: &mut [U],
    piece: usize,
    work: impl Fn(usize, &mut [U]) + Sync + Send,
) {
    let piece = piece.max(1);
    if threads <= 1 || out.len() <= piece {
        out.chunks_mut(piece).enumerate().for_each(|(i, out)| work(i * piece, out));
    } else {
        out.par_chunks_mut(piece).enumerate().for_each(|(i, out)| work(i * piece, out));
    }
}

/// Rows of `width` elements in a piece of about [`PIECE`] elements.
pub fn rows(width: usize) -> usize {
    (PIECE / width.max(1)).max(1)
}

/// `f` of every element.
pub fn map<A: Copy + Sync, U: Copy + Default + Send>(
    threads: usize,
    x: &[A],
    f: impl Fn(A) -> U + Sync + Send,
) -> Vec<U> {
    if threads <= 1 || x.len() <= PIECE {
        return x.iter().map(|x| f(*x)).collect();
    }
    let mut out = vec![U::default(); x.len()];
    pieces(threads, &mut out, PIECE, |first, out| {
        for (out, x) in out.iter_mut().zip(&x[first..]) {
            *out = f(*x);
        }
    });
    out
}

/// Adds `f` of every two elements to `target`.
pub fn add_map<T: Copy + Send + Sync + std::ops::AddAssign>(
    threads: usize,
    target: &mut [T],
    [a, b]: [&[T]; 2],
    f: impl Fn(T, T) -> T + Sync + Send,
) {
    pieces(threads, target, PIECE, |first, target| {
        for ((target, a), b) in target.iter_mut().zip(&a[first..]).zip(&b[first..]) {
            *target += f(*a, *b);
        }
    });
}

/// Adds every element to `target`.
pub fn add<T: Copy + Send + Sync + std::ops::AddAssign>(threads: usize, target: &mut [T], x: &[T]) {
    pieces(threads, target, PIECE, |first, target| {
        for (target, x) in target.iter_mut().zip(&x[first..]) {
            *target += *x;
        }
    });
}
