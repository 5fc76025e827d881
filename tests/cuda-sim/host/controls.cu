// Kernels that are broken on purpose, each in one way: the check must notice every one, and only those.
//
// Launched as one block of 64 threads, `again` as two; x has the numbers 1 to 64, whose sum is 2080, out 64 as well.
//
// A host's file in CUDA's words: each fault would be one on a GPU as well.
//
// Owns: faults. May not touch: kernels that are in use.
#pragma once

#define CONTROL(name) __global__ void name(const float *x, float *out, [[maybe_unused]] unsigned n)

// In rounds by halves, so that every round needs what others wrote.
__device__ __forceinline__ float tree(float *cells, bool synchronized) {
    for (unsigned half = 32; half > 0; half /= 2) {
        if (threadIdx.x < half) cells[threadIdx.x] += cells[threadIdx.x + half];
        if (synchronized) __syncthreads();
    }
    return cells[0];
}

CONTROL(sound) {
    __shared__ float cells[64];
    cells[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    const float sum = tree(cells, true);
    if (threadIdx.x < n) out[threadIdx.x] = sum;
}

CONTROL(no_barrier_before_reading) {
    __shared__ float cells[64];
    cells[threadIdx.x] = x[threadIdx.x];
    const float sum = tree(cells, true);
    if (threadIdx.x < n) out[threadIdx.x] = sum;
}

CONTROL(no_barrier_between_rounds) {
    __shared__ float cells[64];
    cells[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    const float sum = tree(cells, false);
    __syncthreads();
    if (threadIdx.x < n) out[threadIdx.x] = cells[0] + 0 * sum;
}

// A warp that runs ahead writes its next sum while others still read the one before.
CONTROL(no_barrier_before_the_next_sum) {
    __shared__ float of_warp[2];
    float total = 0;
    for (unsigned round = 0; round < 2; ++round) {
        float sum = round == 0 ? x[threadIdx.x] : 0;
        for (unsigned distance = 16; distance > 0; distance /= 2) sum += __shfl_down_sync(0xffffffffu, sum, distance);
        if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = sum;
        __syncthreads();
        total += of_warp[0] + of_warp[1];
    }
    if (threadIdx.x < n) out[threadIdx.x] = total;
}

// The next value is written while others still read the one before.
CONTROL(no_barrier_before_reuse) {
    __shared__ float cell;
    float sum = 0;
    for (unsigned i = 0; i < 64; ++i) {
        if (threadIdx.x == i) cell = x[i];
        __syncthreads();
        sum += cell;
    }
    if (threadIdx.x < n) out[threadIdx.x] = sum;
}

CONTROL(writes_one_too_many) {
    if (threadIdx.x < n) out[threadIdx.x] = 2080.0f;
    if (threadIdx.x == 0) out[n] = x[0];
}

CONTROL(writes_one_before) {
    if (threadIdx.x < n) out[threadIdx.x] = 2080.0f;
    if (threadIdx.x == 0) *(out - 1) = x[0];
}

CONTROL(reads_one_too_many) {
    float sum = 0;
    for (unsigned i = 1; i <= n; ++i) sum += x[i];
    if (threadIdx.x < n) out[threadIdx.x] = sum + x[0];
}

CONTROL(writes_an_input) {
    if (threadIdx.x < n) out[threadIdx.x] = 2080.0f;
    if (threadIdx.x == 3) const_cast<float *>(x)[3] = 5.0f;
}

CONTROL(barriers_at_two_places) {
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    if (threadIdx.x < n) out[threadIdx.x] = 2080.0f + 0 * x[0];
}

CONTROL(a_barrier_for_some) {
    if (threadIdx.x < 63) __syncthreads();
    if (threadIdx.x < n) out[threadIdx.x] = 2080.0f + 0 * x[0];
}

CONTROL(a_return_before_a_barrier) {
    if (threadIdx.x >= n - 1) return;
    __syncthreads();
    out[threadIdx.x] = 2080.0f + 0 * x[0];
}

CONTROL(two_write_one_cell) {
    __shared__ float cell;
    cell = x[threadIdx.x];
    __syncthreads();
    if (threadIdx.x < n) out[threadIdx.x] = 2080.0f + 0 * x[0] + cell;
}

CONTROL(a_sum_by_whoever_comes) {
    atomicAdd(out, x[threadIdx.x] * 0.1f + 1e-5f * float(threadIdx.x));
}

CONTROL(a_shuffle_without_all_lanes) {
    float sum = x[threadIdx.x];
    if (threadIdx.x < n - 1) sum += __shfl_down_sync(0xffffffffu, sum, 1);
    if (threadIdx.x < n) out[threadIdx.x] = 2080.0f + 0 * sum;
}

CONTROL(a_shuffle_after_a_return) {
    if (threadIdx.x % 2) return;
    const float other = __shfl_xor_sync(0xffffffffu, x[threadIdx.x], 2);
    out[threadIdx.x] = 2080.0f + 0 * other;
}

CONTROL(shuffles_at_two_places) {
    float sum = x[threadIdx.x];
    if (threadIdx.x % 32 < 16)
        sum = __shfl_sync(0xffffffffu, sum, 0);
    else
        sum = __shfl_sync(0xffffffffu, sum, 1);
    if (threadIdx.x < n) out[threadIdx.x] = 2080.0f + 0 * sum;
}

CONTROL(shared_memory_read_unwritten) {
    __shared__ float cells[64];
    if (threadIdx.x > 0) cells[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    const float sum = tree(cells, true);
    if (threadIdx.x < n) out[threadIdx.x] = sum;
}

// Blocks have no order.
CONTROL(again) {
    if (threadIdx.x < n) out[threadIdx.x] = 2080.0f * float(blockIdx.x + 1) + 0 * x[0];
}

// Those that only a sanitizer sees.
CONTROL(a_vector_at_an_odd_address) {
    const float4 four = *reinterpret_cast<const float4 *>(x + 1);
    if (threadIdx.x < n) out[threadIdx.x] = 2080.0f + 0 * four.w;
}

CONTROL(beyond_shared_memory) {
    __shared__ float cells[32];
    cells[threadIdx.x % 33] = x[threadIdx.x];
    __syncthreads();
    if (threadIdx.x < n) out[threadIdx.x] = 2080.0f + 0 * cells[threadIdx.x % 32];
}
