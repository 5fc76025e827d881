// Scalar products and squares of norms, a double for each piece, and their sums by slot.
//
// Shapes: `partial` has one double for each piece; `first_piece` says where a slot's begin, and behind the last one.
// Bytes for each element of T: products 2 T (1 T where x and y are one vector, from the cache the second time), noise
// squares nothing, product with noise 1 T: the minimum. `join` and `sum` read 8 bytes for each piece or number.
// Deterministic: in f64, a thread over its quads in order, then lanes by halves, then warps in order. The order depends
// on the size of the block, which is 256 for pieces; for `join` and `sum` a caller must keep to one multiple of 32 up to
// 256.
#pragma once

#include "common.cuh"
#include "noise.cuh"

namespace clino {

/// The sum of `n` numbers in all threads.
__device__ __forceinline__ double sum_of(const double *x, u32 n) {
    double sum = 0.0;
    for (u32 i = threadIdx.x; i < n; i += blockDim.x) sum += x[i];
    return block_sum(sum);
}

template <class T>
__device__ __forceinline__ double product(const Piece &piece, const T *x, const T *y) {
    double sum = 0.0;
    each_quad(piece, [&](u32 i, u32 n) { sum = plus_product(sum, load(x + i, n), load(y + i, n)); });
    return sum;
}

template <class T>
__device__ __forceinline__ double product_with_noise(const Piece &piece, const T *x, const Draw &draw) {
    double sum = 0.0;
    // Lanes of x behind the end are zero.
    each_quad(piece, [&](u32 i, u32 n) { sum = plus_product(sum, load(x + i, n), draw.at<T>(piece, i)); });
    return sum;
}

template <class T> __device__ __forceinline__ double noise_squares(const Piece &piece, const Draw &draw) {
    double sum = 0.0;
    each_quad(piece, [&](u32 i, u32 n) {
        Quad<T> noise = draw.at<T>(piece, i);
#pragma unroll
        for (u32 k = 0; k < 4; ++k) noise.v[k] = k < n ? noise.v[k] : T(0);
        sum = plus_product(sum, noise, noise);
    });
    return sum;
}

} // namespace clino

#define CLINO_PRODUCTS(SUFFIX, T)                                                                                      \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        clino_products_##SUFFIX(const clino::Piece *pieces, const T *x, const T *y, double *partial) {                 \
        const clino::Piece piece = pieces[blockIdx.x];                                                                 \
        clino::write_sum(partial, clino::product<T>(piece, x + piece.offset, y + piece.offset));                       \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        clino_product_with_noise_##SUFFIX(const clino::Piece *pieces, const T *x, unsigned long long seed,             \
                                          unsigned index, unsigned purpose, double *partial) {                         \
        const clino::Piece piece = pieces[blockIdx.x];                                                                 \
        clino::write_sum(partial, clino::product_with_noise<T>(piece, x + piece.offset, {seed, index, purpose}));      \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        clino_noise_squares_##SUFFIX(const clino::Piece *pieces, unsigned long long seed, unsigned index,              \
                                     unsigned purpose, double *partial) {                                              \
        clino::write_sum(partial, clino::noise_squares<T>(pieces[blockIdx.x], {seed, index, purpose}));                \
    }
CLINO_PRODUCTS(f32, float)
CLINO_PRODUCTS(f64, double)

/// out[slot] = the sum of its pieces' numbers; one block for each slot.
extern "C" __global__ void __launch_bounds__(256)
    clino_join(const double *partial, const unsigned *first_piece, double *out) {
    const unsigned first = first_piece[blockIdx.x];
    const double sum = clino::sum_of(partial + first, first_piece[blockIdx.x + 1] - first);
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

/// out[0] = the sum of `n` numbers; one block.
extern "C" __global__ void __launch_bounds__(256) clino_sum(const double *x, unsigned n, double *out) {
    const double sum = clino::sum_of(x, n);
    if (threadIdx.x == 0) out[0] = sum;
}
