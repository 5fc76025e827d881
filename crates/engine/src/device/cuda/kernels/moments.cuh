// Moments of the parameters in one pass: count, mean, spread, square, largest magnitude, and how many are not finite.
//
// Shapes: six doubles for each piece, in that order; `clino_moments_join` makes six for each slot of them.
// Bytes for each element of T: 1 T, the minimum; 48 for each piece.
// As on the CPU, sums are of differences to the piece's first number, so that constant numbers have a spread of exactly
// zero and a mean far from zero costs no places; and a number that is not finite makes the mean so, and is counted apart.
// Deterministic: the order of `products.cuh`; pieces are joined by threads in order, then lanes by halves, then warps.
#pragma once

#include "common.cuh"

namespace clino {

/// Six doubles, as they are written.
struct Moments {
    double count, mean, spread, square, largest, non_finite;

    /// Of both sets together (Chan et al. 1983).
    __device__ __forceinline__ Moments join(const Moments &other) const {
        if (other.count == 0.0) return *this;
        if (count == 0.0) return other;
        const double all = count + other.count, gap = other.mean - mean;
        return {all,
                mean + gap * (other.count / all),
                spread + other.spread + gap * gap * (count * other.count / all),
                square + other.square,
                greater(largest, other.largest),
                non_finite + other.non_finite};
    }
};

/// Those of the lane `distance` behind.
__device__ __forceinline__ Moments of_lane_behind(const Moments &x, u32 distance) {
    return {__shfl_down_sync(ALL_LANES, x.count, distance),   __shfl_down_sync(ALL_LANES, x.mean, distance),
            __shfl_down_sync(ALL_LANES, x.spread, distance),  __shfl_down_sync(ALL_LANES, x.square, distance),
            __shfl_down_sync(ALL_LANES, x.largest, distance), __shfl_down_sync(ALL_LANES, x.non_finite, distance)};
}

/// Over the block; in thread 0.
__device__ __forceinline__ Moments block_join(Moments x) {
    __shared__ double of_warp[WARP][6];
    for (u32 distance = WARP / 2; distance > 0; distance /= 2) x = x.join(of_lane_behind(x, distance));
    if (threadIdx.x % WARP == 0) {
        double *to = of_warp[threadIdx.x / WARP];
        to[0] = x.count, to[1] = x.mean, to[2] = x.spread, to[3] = x.square, to[4] = x.largest, to[5] = x.non_finite;
    }
    __syncthreads();
    if (threadIdx.x == 0)
        for (u32 warp = 1; warp < blockDim.x / WARP; ++warp) {
            const double *of = of_warp[warp];
            x = x.join({of[0], of[1], of[2], of[3], of[4], of[5]});
        }
    return x;
}

template <class T> __device__ __forceinline__ Moments moments(const Piece &piece, const T *x) {
    const double shift = double(x[0]), n = double(piece.len);
    double sum = 0.0, shifted = 0.0, square = 0.0, largest = 0.0, non_finite = 0.0;
    each_quad(piece, [&](u32 i, u32 lanes) {
        const Quad<T> quad = load(x + i, lanes);
#pragma unroll
        for (u32 k = 0; k < 4; ++k) {
            if (k >= lanes) break;
            const double w = double(quad.v[k]), d = w - shift;
            sum += d;
            shifted = fma(d, d, shifted);
            square = fma(w, w, square);
            largest = greater(largest, fabs(w));
            non_finite += finite(w) ? 0.0 : 1.0;
        }
    });
    sum = block_sum(sum);
    const double spread = block_sum(shifted) - sum * sum / n;
    // Not a number becomes 0 as well, as the CPU's `max` has it.
    return {n,                shift + sum / n,    spread > 0.0 ? spread : 0.0,
            block_sum(square), block_top(largest), block_sum(non_finite)};
}

} // namespace clino

#define CLINO_MOMENTS(SUFFIX, T)                                                                                       \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        clino_moments_##SUFFIX(const clino::Piece *pieces, const T *x, clino::Moments *partial) {                      \
        const clino::Piece piece = pieces[blockIdx.x];                                                                 \
        const clino::Moments found = clino::moments<T>(piece, x + piece.offset);                                       \
        if (threadIdx.x == 0) partial[blockIdx.x] = found;                                                             \
    }
CLINO_MOMENTS(f32, float)
CLINO_MOMENTS(f64, double)

/// One block for each slot, whose size is a multiple of 32 up to 256.
extern "C" __global__ void __launch_bounds__(256)
    clino_moments_join(const clino::Moments *partial, const unsigned *first_piece, clino::Moments *out) {
    clino::Moments x = {};
    for (unsigned i = first_piece[blockIdx.x] + threadIdx.x; i < first_piece[blockIdx.x + 1]; i += blockDim.x)
        x = x.join(partial[i]);
    x = clino::block_join(x);
    if (threadIdx.x == 0) out[blockIdx.x] = x;
}
