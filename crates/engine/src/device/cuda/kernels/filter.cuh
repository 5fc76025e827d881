// Directions normalized by filter: each row of a matrix gets the length of the same row of w0, vectors stand still.
//
// Shapes: a table of rows has the form of a table of pieces: `offset` and `start` of the row's first element (of any
// alignment), `len` its columns. One warp for each row, eight to a block, so a grid has ceil(count / 8) blocks. A caller
// may cut long rows into several entries, none longer than suits a warp, and join their sums with `clino_join_rows`.
// Bytes for each element of T: row squares 1 T, noise row squares nothing, plane 2 T, add_direction 2 T: the minimum; and
// 32 for each row and 8 for each of its numbers.
// Deterministic: a lane over its quads in order, then lanes by halves. Plane and add_direction equal the CPU's bit for bit.
#pragma once

#include "common.cuh"
#include "noise.cuh"

namespace clino {

/// Added to the norm of a row of noise, so that none is divided by zero.
constexpr double LEAST = 1e-10;

/// Calls `with(quad, from, to)` for this lane's quads of the slot that touch the row, with the lanes that lie in it.
template <class F> __device__ __forceinline__ void each_quad_of_row(const Piece &row, F with) {
    const u64 end = u64(row.start) + row.len;
    for (u64 at = (row.start & ~3u) + 4 * (threadIdx.x % WARP); at < end; at += 4 * WARP) {
        const u32 from = at < row.start ? u32(row.start - at) : 0;
        const u32 to = end - at < 4 ? u32(end - at) : 4;
        with(u32(at / 4), from, to);
    }
}

/// Index of the row of this warp; not below `count` where there is none.
__device__ __forceinline__ u32 row_of_warp() { return blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP; }

/// Writes the sum over the lanes.
__device__ __forceinline__ void write_row(double *sums, double x) {
    const double sum = warp_sum(x);
    if (threadIdx.x % WARP == 0) sums[row_of_warp()] = sum;
}

template <class T> __device__ __forceinline__ double row_squares(const Piece &row, const T *x) {
    // From the first element of the slot on, quads are aligned.
    const T *slot = x + (row.offset - row.start);
    double sum = 0.0;
    each_quad_of_row(row, [&](u32 quad, u32 from, u32 to) {
        const Quad<T> some = load_part(slot + 4ull * quad, from, to);
        sum = plus_product(sum, some, some);
    });
    return sum;
}

template <class T> __device__ __forceinline__ double noise_row_squares(const Piece &row, const Draw &draw) {
    double sum = 0.0;
    each_quad_of_row(row, [&](u32 quad, u32 from, u32 to) {
        Quad<T> noise = draw.quad<T>(row.rank, quad);
#pragma unroll
        for (u32 k = 0; k < 4; ++k) noise.v[k] = k >= from && k < to ? noise.v[k] : T(0);
        sum = plus_product(sum, noise, noise);
    });
    return sum;
}

/// u + coefficient * (the filter-normalized direction of a draw), for the quad at element `i` of a matrix's piece.
template <class T>
__device__ __forceinline__ Quad<T> along(Quad<T> u, const Piece &piece, u32 i, u32 n, const Draw &draw,
                                         double coefficient, const double *rows) {
    const Quad<T> noise = draw.at<T>(piece, i);
    u32 row = (piece.start + i) / piece.columns, column = piece.start + i - row * piece.columns;
#pragma unroll
    for (u32 k = 0; k < 4; ++k) {
        if (k < n) u.v[k] = fused(noise.v[k], T(coefficient * rows[piece.row0 + row]), u.v[k]);
        const bool last = ++column == piece.columns;
        row += last;
        column = last ? 0 : column;
    }
    return u;
}

/// One axis of a plane; none when `rows` is null.
struct Axis {
    u32 index;
    double coefficient;
    const double *rows;
};

/// out = w0 + a d1 + b d2: the displacement first, as where it is kept.
template <class T>
__device__ __forceinline__ void plane(const Piece &piece, const T *w0, T *out, u64 seed, const Axis &a, const Axis &b) {
    each_quad(piece, [&](u32 i, u32 n) {
        Quad<T> u = {}, w = load(w0 + i, n);
        if (piece.columns && a.rows) u = along(u, piece, i, n, {seed, a.index, DIRECTION}, a.coefficient, a.rows);
        if (piece.columns && b.rows) u = along(u, piece, i, n, {seed, b.index, DIRECTION}, b.coefficient, b.rows);
#pragma unroll
        for (u32 k = 0; k < 4; ++k) w.v[k] = u.v[k] + w.v[k];
        store(out + i, w, n);
    });
}

/// u = u + coefficient * direction.
template <class T>
__device__ __forceinline__ void add_direction(const Piece &piece, T *u, u64 seed, const Axis &axis) {
    if (!piece.columns) return;
    each_quad(piece, [&](u32 i, u32 n) {
        const Quad<T> x = load(u + i, n);
        store(u + i, along(x, piece, i, n, {seed, axis.index, DIRECTION}, axis.coefficient, axis.rows), n);
    });
}

} // namespace clino

#define CLINO_FILTER(SUFFIX, T)                                                                                        \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        clino_row_squares_##SUFFIX(const clino::Piece *rows, unsigned count, const T *x, double *sums) {               \
        if (clino::row_of_warp() >= count) return;                                                                     \
        clino::write_row(sums, clino::row_squares<T>(rows[clino::row_of_warp()], x));                                  \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        clino_noise_row_squares_##SUFFIX(const clino::Piece *rows, unsigned count, unsigned long long seed,            \
                                         unsigned index, unsigned purpose, double *sums) {                             \
        if (clino::row_of_warp() >= count) return;                                                                     \
        clino::write_row(sums,                                                                                         \
                         clino::noise_row_squares<T>(rows[clino::row_of_warp()], {seed, index, purpose}));             \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        clino_plane_##SUFFIX(const clino::Piece *pieces, const T *w0, T *const *out_bases, unsigned long long seed,    \
                             unsigned index_a, unsigned index_b, double a, double b, const double *rows_a,             \
                             const double *rows_b) {                                                                   \
        const clino::Piece piece = pieces[blockIdx.x];                                                                 \
        clino::plane<T>(piece, w0 + piece.offset, out_bases[piece.slot] + piece.start, seed, {index_a, a, rows_a},     \
                        {index_b, b, rows_b});                                                                         \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        clino_add_direction_##SUFFIX(const clino::Piece *pieces, T *u, unsigned long long seed, unsigned index,        \
                                     double coefficient, const double *rows) {                                         \
        const clino::Piece piece = pieces[blockIdx.x];                                                                 \
        clino::add_direction<T>(piece, u + piece.offset, seed, {index, coefficient, rows});                            \
    }
CLINO_FILTER(f32, float)
CLINO_FILTER(f64, double)

/// out[row] = partial[first[row]] + …, in order; one thread for each row.
extern "C" __global__ void __launch_bounds__(256)
    clino_join_rows(const double *partial, const unsigned *first, unsigned rows, double *out) {
    const unsigned row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    double sum = 0.0;
    for (unsigned i = first[row]; i < first[row + 1]; ++i) sum += partial[i];
    out[row] = sum;
}

/// out[row] = ‖w row‖ / (‖noise row‖ + 1e-10), from squares; one thread for each row.
extern "C" __global__ void __launch_bounds__(256)
    clino_row_scales(const double *weights, const double *noise, unsigned rows, double *out) {
    const unsigned row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row < rows) out[row] = sqrt(weights[row]) / (sqrt(noise[row]) + clino::LEAST);
}
