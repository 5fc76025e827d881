// What every kernel shares: the table of pieces, quads of elements, sums over blocks, the units of a metric.
//
// A grid has one block of THREADS threads for each piece. A thread handles quads of four elements, THREADS quads apart,
// so that a warp touches one range of memory without gaps and a quad is what one block of the noise's generator makes.
//
// Owns: access to memory and the order of sums. May not touch: what is computed.
#pragma once

namespace clino {

typedef unsigned int u32;
typedef unsigned long long u64;

/// Threads of a block: the order of sums depends on it, so it is fixed.
constexpr u32 THREADS = 256;
constexpr u32 WARP = 32;
constexpr u32 ALL_LANES = 0xffffffffu;

/// A part of one slot, or one row of a matrix (see `filter.cuh`).
struct Piece {
    /// First element in a flat arena; a piece, not a row, is aligned there to 32 elements.
    u64 offset;
    /// Elements.
    u32 len;
    /// Index of the slot in tables by slot.
    u32 slot;
    /// Tensor word of the noise.
    u32 rank;
    /// First element within the slot.
    u32 start;
    /// Elements of a matrix's row; 0 for vectors.
    u32 columns;
    /// Index of the slot's first row in tables by row.
    u32 row0;
};
static_assert(sizeof(Piece) == 32, "the host writes this table");

// -- the two precisions -----------------------------------------------------------------------------------------------

/// a * b + c, rounded once: where the CPU has `fma`, and nowhere else.
__device__ __forceinline__ float fused(float a, float b, float c) { return fmaf(a, b, c); }
__device__ __forceinline__ double fused(double a, double b, double c) { return fma(a, b, c); }
__device__ __forceinline__ float root(float x) { return sqrtf(x); }
__device__ __forceinline__ double root(double x) { return sqrt(x); }
__device__ __forceinline__ float magnitude(float x) { return fabsf(x); }
__device__ __forceinline__ double magnitude(double x) { return fabs(x); }

/// False for infinities and what is not a number.
__device__ __forceinline__ bool finite(double x) { return x - x == 0.0; }

// -- quads ------------------------------------------------------------------------------------------------------------

template <class T> struct Quad {
    T v[4];
};

__device__ __forceinline__ Quad<float> load_whole(const float *at) {
    const float4 x = *reinterpret_cast<const float4 *>(at);
    return {{x.x, x.y, x.z, x.w}};
}
__device__ __forceinline__ Quad<double> load_whole(const double *at) {
    const double2 a = reinterpret_cast<const double2 *>(at)[0], b = reinterpret_cast<const double2 *>(at)[1];
    return {{a.x, a.y, b.x, b.y}};
}
__device__ __forceinline__ void store_whole(float *at, const Quad<float> &x) {
    *reinterpret_cast<float4 *>(at) = make_float4(x.v[0], x.v[1], x.v[2], x.v[3]);
}
__device__ __forceinline__ void store_whole(double *at, const Quad<double> &x) {
    reinterpret_cast<double2 *>(at)[0] = make_double2(x.v[0], x.v[1]);
    reinterpret_cast<double2 *>(at)[1] = make_double2(x.v[2], x.v[3]);
}
/// Eight bytes a thread: a warp still writes 256 bytes in a row.
__device__ __forceinline__ void store_whole(unsigned short *at, const Quad<unsigned short> &x) {
    *reinterpret_cast<ushort4 *>(at) = make_ushort4(x.v[0], x.v[1], x.v[2], x.v[3]);
}

/// Lanes `from..to` of the quad at `at`, zeros in the others, whose memory is not touched.
template <class T> __device__ __forceinline__ Quad<T> load_part(const T *at, u32 from, u32 to) {
    if (from == 0 && to == 4) return load_whole(at);
    Quad<T> x;
#pragma unroll
    for (u32 k = 0; k < 4; ++k) x.v[k] = k >= from && k < to ? at[k] : T(0);
    return x;
}

/// The first `n` lanes, zeros behind them.
template <class T> __device__ __forceinline__ Quad<T> load(const T *at, u32 n) { return load_part(at, 0, n); }

/// The first `n` lanes.
template <class T> __device__ __forceinline__ void store(T *at, const Quad<T> &x, u32 n) {
    if (n == 4) return store_whole(at, x);
#pragma unroll
    for (u32 k = 0; k < 4; ++k)
        if (k < n) at[k] = x.v[k];
}

/// Calls `with(i, n)` for this thread's quads: elements `i .. i + n` of the piece, n = 4 but at the end.
template <class F> __device__ __forceinline__ void each_quad(const Piece &piece, F with) {
    for (u32 i = 4 * threadIdx.x; i < piece.len; i += 4 * THREADS) {
        const u32 left = piece.len - i;
        with(i, left < 4 ? left : 4);
    }
}

// -- sums -------------------------------------------------------------------------------------------------------------

/// Over the lanes of a warp in a fixed tree; in lane 0.
__device__ __forceinline__ double warp_sum(double x) {
#pragma unroll
    for (u32 distance = WARP / 2; distance > 0; distance /= 2) x += __shfl_down_sync(ALL_LANES, x, distance);
    return x;
}

/// Over the block, whose size is a multiple of a warp's, in a fixed tree; in all threads.
__device__ __forceinline__ double block_sum(double x) {
    __shared__ double of_warp[WARP];
    x = warp_sum(x);
    if (threadIdx.x % WARP == 0) of_warp[threadIdx.x / WARP] = x;
    __syncthreads();
    double sum = 0.0;
    for (u32 warp = 0; warp < blockDim.x / WARP; ++warp) sum += of_warp[warp];
    // The next sum writes there.
    __syncthreads();
    return sum;
}

/// The greater number; one that is not a number counts as nothing.
__device__ __forceinline__ double greater(double a, double b) { return b > a ? b : a; }

/// The greatest over the block; in all threads.
__device__ __forceinline__ double block_top(double x) {
    __shared__ double of_warp[WARP];
#pragma unroll
    for (u32 distance = WARP / 2; distance > 0; distance /= 2)
        x = greater(x, __shfl_down_sync(ALL_LANES, x, distance));
    if (threadIdx.x % WARP == 0) of_warp[threadIdx.x / WARP] = x;
    __syncthreads();
    double top = of_warp[0];
    for (u32 warp = 1; warp < blockDim.x / WARP; ++warp) top = greater(top, of_warp[warp]);
    __syncthreads();
    return top;
}

/// Writes the block's sum for its piece.
__device__ __forceinline__ void write_sum(double *partial, double x) {
    const double sum = block_sum(x);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

/// sum + x · y.
template <class T> __device__ __forceinline__ double plus_product(double sum, const Quad<T> &x, const Quad<T> &y) {
#pragma unroll
    for (u32 k = 0; k < 4; ++k) sum = fma(double(x.v[k]), double(y.v[k]), sum);
    return sum;
}

// -- units ------------------------------------------------------------------------------------------------------------

/// T within one tensor: 1, a |w| + b, or √(a w² + b).
template <class T> struct Unit {
    u32 mode;
    T a, b;

    __device__ static __forceinline__ Unit of(u32 mode, const double *terms, u32 slot) {
        if (mode == 0) return {mode, T(1), T(0)};
        return {mode, T(terms[2 * slot]), T(terms[2 * slot + 1])};
    }
    __device__ __forceinline__ T at(T w) const {
        if (mode == 0) return T(1);
        return mode == 1 ? a * magnitude(w) + b : root(a * w * w + b);
    }
    /// w + T∘(scale * u).
    __device__ __forceinline__ T shift(T w, T u, T scale) const {
        return mode == 0 ? fused(u, scale, w) : fused(u * scale, at(w), w);
    }
};

} // namespace clino
