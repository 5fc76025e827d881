// Vectors that change where they lie: gradients into the coordinates of a metric, steps, combinations, boxes.
//
// Shapes: one block for each piece; `partial` has one double for each piece, `clino_join` sums them by slot.
// Bytes for each element of T: read and write x (2 T), and read w0, y or g where there is one (3 T): the minimum, as the
// squares of the result are summed on the way.
// Deterministic: elements equal the CPU's bit for bit; sums have the fixed order of `products.cuh`.
#pragma once

#include "common.cuh"
#include "noise.cuh"

namespace clino {

/// Replaces the numbers of x by `with(k, quad, x)` in each lane k; returns the sum of the squares of the results.
template <class T, class Side, class F>
__device__ __forceinline__ double change(const Piece &piece, T *x, Side side, F with) {
    double sum = 0.0;
    each_quad(piece, [&](u32 i, u32 n) {
        const Quad<T> other = side(i, n);
        Quad<T> mine = load(x + i, n);
#pragma unroll
        // Lanes behind the end count as zero.
        for (u32 k = 0; k < 4; ++k) mine.v[k] = k < n ? with(mine.v[k], other.v[k]) : T(0);
        store(x + i, mine, n);
        sum = plus_product(sum, mine, mine);
    });
    return sum;
}

/// g = T∘g.
template <class T>
__device__ __forceinline__ double to_metric(const Piece &piece, T *g, const T *w0, const Unit<T> &unit) {
    return change(
        piece, g, [&](u32 i, u32 n) { return load(w0 + i, n); }, [&](T g, T w) { return g * unit.at(w); });
}

/// x = factor * x + scale * noise.
template <class T>
__device__ __forceinline__ double ascend(const Piece &piece, T *x, T factor, const Draw &draw, T scale) {
    return change(
        piece, x, [&](u32 i, u32) { return draw.at<T>(piece, i); },
        [&](T x, T noise) { return fused(noise, scale, factor * x); });
}

/// x = factor * x.
template <class T> __device__ __forceinline__ double scale(const Piece &piece, T *x, T factor) {
    return change(
        piece, x, [](u32, u32) { return Quad<T>{}; }, [&](T x, T) { return factor * x; });
}

/// x = keep * x + factor * y.
template <class T>
__device__ __forceinline__ double combine(const Piece &piece, T *x, T keep, const T *y, T factor) {
    return change(
        piece, x, [&](u32 i, u32 n) { return load(y + i, n); },
        [&](T x, T y) { return fused(factor, y, keep * x); });
}

/// The lesser, and x where x is not a number.
template <class T> __device__ __forceinline__ T at_most(T x, T bound) { return x > bound ? bound : x; }

/// u = u + step * sign(g), pulled back to |u| ≤ bound; the sign of zero is zero.
template <class T>
__device__ __forceinline__ void climb_box(const Piece &piece, T *u, const T *g, T step, T bound) {
    each_quad(piece, [&](u32 i, u32 n) {
        const Quad<T> slope = load(g + i, n);
        Quad<T> x = load(u + i, n);
#pragma unroll
        for (u32 k = 0; k < 4; ++k) {
            const T sign = (slope.v[k] > T(0) ? step : T(0)) - (slope.v[k] < T(0) ? step : T(0));
            x.v[k] = -at_most(-at_most(x.v[k] + sign, bound), bound);
        }
        store(u + i, x, n);
    });
}

} // namespace clino

#define CLINO_VECTORS(SUFFIX, T)                                                                                       \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        clino_to_metric_##SUFFIX(const clino::Piece *pieces, T *g, const T *w0, unsigned mode, const double *terms,    \
                                 double *partial) {                                                                    \
        const clino::Piece piece = pieces[blockIdx.x];                                                                 \
        const auto unit = clino::Unit<T>::of(mode, terms, piece.slot);                                                 \
        clino::write_sum(partial, clino::to_metric<T>(piece, g + piece.offset, w0 + piece.offset, unit));              \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        clino_ascend_##SUFFIX(const clino::Piece *pieces, T *x, const double *factors, unsigned noisy,                 \
                              unsigned long long seed, unsigned index, unsigned purpose, const double *scales,         \
                              double *partial) {                                                                       \
        const clino::Piece piece = pieces[blockIdx.x];                                                                 \
        const T factor = T(factors[piece.slot]);                                                                       \
        double sum;                                                                                                    \
        if (noisy)                                                                                                     \
            sum = clino::ascend<T>(piece, x + piece.offset, factor, {seed, index, purpose}, T(scales[piece.slot]));    \
        else                                                                                                           \
            sum = clino::scale<T>(piece, x + piece.offset, factor);                                                    \
        clino::write_sum(partial, sum);                                                                                \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        clino_combine_##SUFFIX(const clino::Piece *pieces, T *x, const double *keep, const T *y,                       \
                               const double *factors, double *partial) {                                               \
        const clino::Piece piece = pieces[blockIdx.x];                                                                 \
        clino::write_sum(partial, clino::combine<T>(piece, x + piece.offset, T(keep[piece.slot]), y + piece.offset,    \
                                                    T(factors[piece.slot])));                                          \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        clino_climb_box_##SUFFIX(const clino::Piece *pieces, T *u, const T *g, double step, double bound) {            \
        const clino::Piece piece = pieces[blockIdx.x];                                                                 \
        clino::climb_box<T>(piece, u + piece.offset, g + piece.offset, T(step), T(bound));                             \
    }
CLINO_VECTORS(f32, float)
CLINO_VECTORS(f64, double)
