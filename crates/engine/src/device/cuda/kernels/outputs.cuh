// Losses of rows of logits, what is read off them, and their derivatives.
//
// Shapes: logits and d_logits [rows, classes]; one block for each row, whose size is a multiple of 32 up to 256 that may
// depend on `classes` alone. `losses`, `margins`, `ranks` and `right` have one number for each row; all outputs but the
// losses may be null.
// Bytes: 1 T for each logit and as much again, twice with d_logits; 1 T written where derivatives are wanted. The minimum
// is one reading, which would hold the row in registers. The second and third come from the second cache only while all
// rows in flight fit there, several for each multiprocessor: some ten thousand classes. Of 250,000 (1 MB in f32 for each
// row, a thousand rows in flight) every reading is one of memory: two or three times the minimum.
// Deterministic: in f64, threads over their classes in order, then lanes by halves, then warps in order.
#pragma once

#include "common.cuh"
#include "noise.cuh"

namespace clino {

/// e^x as the CPU's: 0 below the range; NaN stays NaN. No library function, so that no processor differs.
__device__ __forceinline__ double exponential(double x) {
    const double integer = 6755399441055744.0;
    const bool below = x < -708.0;
    x = below ? -708.0 : x;
    x = x > 709.0 ? 709.0 : x;
    const double shifted = fma(x, 1.44269504088896340735992468100, integer), n = shifted - integer;
    const double r = fma(-n, 1.9082149292705877e-10, fma(-n, 6.931471803691238e-1, x));
    const double sum = polynomial(r, 1.0, 1.0, 0.5, 0.16666666666666702, 0.04166666666666669, 0.008333333333309528,
                                  0.001388888888887189, 0.000198412699092171, 2.4801587350110797e-5,
                                  2.7557224958392624e-6, 2.7557251904174915e-7, 2.5114869528657765e-8,
                                  2.09215799649503e-9);
    const u64 bits = u64(__double_as_longlong(sum)) + (u64(__double_as_longlong(shifted)) << 52);
    return below ? 0.0 : __longlong_as_double((long long)bits);
}

/// ln(x) of a sum of exponentials, which is at least 1 where it is finite.
__device__ __forceinline__ double log_of_sum(double x) {
    if (!finite(x)) return x;
    const Split<double> parts = split(x);
    return logarithm(parts.m - 1.0, parts.e);
}

/// The greatest number so far, and the first class that has it.
struct Best {
    double score;
    u32 class_;

    __device__ __forceinline__ void meet(double score_, u32 other) {
        if (score_ > score || (score_ == score && other < class_)) {
            score = score_;
            class_ = other;
        }
    }
};

/// The best over the block; in all threads.
__device__ __forceinline__ Best block_best(Best best) {
    __shared__ double scores[WARP];
    __shared__ u32 classes[WARP];
#pragma unroll
    for (u32 distance = WARP / 2; distance > 0; distance /= 2) {
        const double score = __shfl_down_sync(ALL_LANES, best.score, distance);
        best.meet(score, __shfl_down_sync(ALL_LANES, best.class_, distance));
    }
    if (threadIdx.x % WARP == 0) {
        scores[threadIdx.x / WARP] = best.score;
        classes[threadIdx.x / WARP] = best.class_;
    }
    __syncthreads();
    best = {scores[0], classes[0]};
    for (u32 warp = 1; warp < blockDim.x / WARP; ++warp) best.meet(scores[warp], classes[warp]);
    __syncthreads();
    return best;
}

/// What one reading of a row tells.
struct Look {
    Best best;
    double other, above;
};

template <class T> __device__ __forceinline__ Look look(const T *row, u32 classes, u32 label, double mine) {
    const double none = -__longlong_as_double(0x7FF0000000000000ll);
    Best best = {none, ~0u};
    double other = none, above = 0.0;
    for (u32 c = threadIdx.x; c < classes; c += blockDim.x) {
        const double z = double(row[c]);
        best.meet(z, c);
        other = c == label ? other : greater(other, z);
        above += z > mine ? 1.0 : 0.0;
    }
    return {block_best(best), block_top(other), block_sum(above)};
}

/// log Σ exp(row), shifted by the greatest score.
template <class T> __device__ __forceinline__ double log_sum_exp(const T *row, u32 classes, double top) {
    double sum = 0.0;
    for (u32 c = threadIdx.x; c < classes; c += blockDim.x) sum += exponential(double(row[c]) - top);
    return top + log_of_sum(block_sum(sum));
}

/// Where the outputs go; all but the losses may be null.
struct Seen {
    double *losses, *margins;
    u32 *ranks;
    unsigned char *right;

    __device__ __forceinline__ void write(double loss, double mine, const Look &seen, bool is_right) const {
        const u32 row = blockIdx.x;
        losses[row] = loss;
        if (margins) margins[row] = mine - seen.other;
        if (ranks) ranks[row] = u32(seen.above);
        if (right) right[row] = is_right;
    }
};

template <class T>
__device__ __forceinline__ void cross_entropy(const T *row, u32 classes, u32 label, double share, const Seen &to,
                                              T *slopes) {
    // A label that no class has makes the loss undefined, and reads nothing.
    const double mine = label < classes ? double(row[label]) : __longlong_as_double(0x7FF8000000000000ll);
    const Look seen = look(row, classes, label, mine);
    const double total = log_sum_exp(row, classes, seen.best.score);
    // The CPU's search starts at the first class and never leaves one that is not a number.
    const double first = double(row[0]);
    const u32 greatest = first == first ? seen.best.class_ : 0;
    if (threadIdx.x == 0) to.write(total - mine, mine, seen, greatest == label);
    if (!slopes) return;
    for (u32 c = threadIdx.x; c < classes; c += blockDim.x) {
        const double probability = exponential(double(row[c]) - total);
        slopes[c] = T((probability - (c == label ? 1.0 : 0.0)) * share);
    }
}

} // namespace clino

#define CLINO_OUTPUTS(SUFFIX, T)                                                                                       \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        clino_cross_entropy_##SUFFIX(const T *logits, const unsigned *labels, unsigned classes, double share,          \
                                     double *losses, double *margins, unsigned *ranks, unsigned char *right,           \
                                     T *d_logits) {                                                                    \
        const unsigned long long at = (unsigned long long)blockIdx.x * classes;                                        \
        clino::cross_entropy<T>(logits + at, classes, labels[blockIdx.x], share, {losses, margins, ranks, right},      \
                                d_logits ? d_logits + at : nullptr);                                                   \
    }
CLINO_OUTPUTS(f32, float)
CLINO_OUTPUTS(f64, double)
