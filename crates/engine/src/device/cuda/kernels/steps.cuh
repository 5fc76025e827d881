// What lies between two passes of an ascent, so that no number has to go to the host in between: the lengths of steps and
// the way back into a ball.
//
// Shapes: one block of any size up to 256; `squares`, `radii` and `scales` have one double for each slot.
// Bytes: 16 to 32 for each slot. Sums over slots are in the order of the slots, as the CPU's: equal to it bit for bit.
#pragma once

#include "common.cuh"

namespace clino {

/// Whether tensors are held together or apart, by the numbers of `Region`: all in one ball, each in a ball of the one
/// radius, each in a ball of its own.
enum Region : u32 { GLOBAL = 0, TENSOR = 1, LAYER = 2 };

/// a / b, and 0 where b is 0: where the gradient vanishes there is nowhere to ascend to.
__device__ __forceinline__ double over(double a, double b) { return b == 0.0 ? 0.0 : a / b; }

/// What pulls a vector of this norm back into a ball.
__device__ __forceinline__ double pull(double norm, double radius) { return norm < radius ? 1.0 : over(radius, norm); }

/// term(0) + term(1) + … in this order, in all threads. Terms are made side by side; one thread adds them.
template <class F> __device__ __forceinline__ double sum_in_order(u32 n, F term) {
    __shared__ double terms[THREADS];
    __shared__ double total;
    double sum = 0.0;
    for (u32 first = 0; first < n; first += blockDim.x) {
        if (first + threadIdx.x < n) terms[threadIdx.x] = term(first + threadIdx.x);
        __syncthreads();
        if (threadIdx.x == 0)
            for (u32 i = 0; i < blockDim.x && first + i < n; ++i) sum += terms[i];
        __syncthreads();
    }
    if (threadIdx.x == 0) total = sum;
    __syncthreads();
    const double all = total;
    __syncthreads();
    return all;
}

} // namespace clino

/// scales[t] = what brings a vector with these squares to the length size * radii[t]: as a whole, and for the region
/// LAYER each tensor by itself.
extern "C" __global__ void __launch_bounds__(256)
    clino_steps(const double *squares, const double *radii, double size, unsigned region, unsigned slots,
                double *scales) {
    const double global = sqrt(clino::sum_in_order(slots, [&](unsigned t) { return squares[t]; }));
    for (unsigned t = threadIdx.x; t < slots; t += blockDim.x) {
        const double norm = region == clino::LAYER ? sqrt(squares[t]) : global;
        scales[t] = clino::over(size * radii[t], norm);
    }
}

/// scales[t] *= what pulls the displacement back into its ball; displacement[0] = its norm afterwards.
extern "C" __global__ void __launch_bounds__(256)
    clino_project(const double *squares, const double *radii, unsigned region, unsigned slots, double *scales,
                  double *displacement) {
    const double global = sqrt(clino::sum_in_order(slots, [&](unsigned t) { return squares[t]; }));
    const auto factor = [&](unsigned t) {
        return clino::pull(region == clino::GLOBAL ? global : sqrt(squares[t]), radii[t]);
    };
    for (unsigned t = threadIdx.x; t < slots; t += blockDim.x) scales[t] *= factor(t);
    const double left = clino::sum_in_order(slots, [&](unsigned t) { return squares[t] * factor(t) * factor(t); });
    if (threadIdx.x == 0) displacement[0] = sqrt(left);
}
