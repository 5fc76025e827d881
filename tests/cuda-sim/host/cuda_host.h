// CUDA's words for a host compiler, so that the kernels compile unchanged as C++ and run without a GPU.
//
// A grid runs block by block; the threads of a block are fibers that change only at barriers and shuffles, in an order
// that a test chooses. What a GPU would leave undefined is an error here: see `fibers.h`.
//
// Owns: the words. May not touch: the order of threads, any kernel.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

// Inline, so that a test may include what it takes functions from without defining its kernels a second time.
#define __global__ inline
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
// In one section, so that it can be poisoned before each block.
#define __shared__ static __attribute__((section("cuda_host_shared"), used))

namespace cuda_host {

struct Index {
    unsigned x = 0, y = 0, z = 0;
};

/// Where the running thread is.
struct Where {
    Index thread, block, threads, blocks;
};
extern Where here;

/// A line of a kernel.
struct Line {
    const char *file;
    int line;
};

/// Waits for all threads of the block.
void barrier(Line at);
/// Waits for the lanes that `mask` names; answers with what lane `from` brought.
uint64_t exchange(Line at, unsigned mask, uint64_t bits, unsigned from);
/// Lane of the running thread.
unsigned lane();
/// Stops the launch.
void fail(Line at, const char *why);

template <class T> T shuffle(Line at, unsigned mask, T x, unsigned from) {
    static_assert(sizeof(T) <= sizeof(uint64_t), "a shuffle moves up to eight bytes");
    uint64_t bits = 0;
    std::memcpy(&bits, &x, sizeof(T));
    bits = exchange(at, mask, bits, from);
    std::memcpy(&x, &bits, sizeof(T));
    return x;
}

/// A lane beyond the last one keeps its own.
inline unsigned behind(unsigned distance) { return lane() + distance < 32 ? lane() + distance : lane(); }

} // namespace cuda_host

#define threadIdx (::cuda_host::here.thread)
#define blockIdx (::cuda_host::here.block)
#define blockDim (::cuda_host::here.threads)
#define gridDim (::cuda_host::here.blocks)
#define CUDA_HOST_LINE (::cuda_host::Line{__FILE__, __LINE__})
#define __syncthreads() ::cuda_host::barrier(CUDA_HOST_LINE)
#define __syncwarp() ((void)::cuda_host::exchange(CUDA_HOST_LINE, 0xffffffffu, 0, ::cuda_host::lane()))
#define __shfl_sync(mask, x, from) ::cuda_host::shuffle(CUDA_HOST_LINE, mask, x, (from) % 32)
#define __shfl_xor_sync(mask, x, flips) ::cuda_host::shuffle(CUDA_HOST_LINE, mask, x, ::cuda_host::lane() ^ (flips))
#define __shfl_down_sync(mask, x, distance)                                                                            \
    ::cuda_host::shuffle(CUDA_HOST_LINE, mask, x, ::cuda_host::behind(distance))

// -- vectors: with CUDA's alignment, which a sanitizer holds pointers to ----------------------------------------------

struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) double2 {
    double x, y;
};
struct alignas(8) ushort4 {
    unsigned short x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }
inline ushort4 make_ushort4(unsigned short x, unsigned short y, unsigned short z, unsigned short w) {
    return {x, y, z, w};
}

// -- intrinsics -------------------------------------------------------------------------------------------------------

namespace cuda_host {
template <class To, class From> To same_bits(From x) {
    static_assert(sizeof(To) == sizeof(From), "bits are kept");
    To y;
    std::memcpy(&y, &x, sizeof y);
    return y;
}
} // namespace cuda_host

inline unsigned __float_as_uint(float x) { return cuda_host::same_bits<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return cuda_host::same_bits<float>(x); }
inline long long __double_as_longlong(double x) { return cuda_host::same_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return cuda_host::same_bits<double>(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((uint64_t(a) * b) >> 32); }

/// One thread runs at a time, so that nothing can come between.
template <class T> T atomicAdd(T *at, T x) {
    const T before = *at;
    *at = before + x;
    return before;
}

/// cvt.rn.f16.f32 for a number: to nearest even, infinite above the range, with numbers below the normal ones.
inline unsigned short host_half_bits(float x) {
    const unsigned bits = __float_as_uint(x), sign = (bits >> 16) & 0x8000u, size = bits & 0x7fffffffu;
    const auto rounded = [](unsigned from, unsigned places) {
        const unsigned half = 1u << (places - 1), rest = from & ((1u << places) - 1);
        const unsigned whole = from >> places;
        return whole + (rest > half || (rest == half && (whole & 1)));
    };
    if (size >= 0x47800000u) return (unsigned short)(sign | 0x7c00u);
    if (size >= 0x38800000u) return (unsigned short)(sign | rounded(size - 0x38000000u, 13));
    if (size < 0x33000000u) return (unsigned short)sign;
    const unsigned mantissa = (size & 0x7fffffu) | 0x800000u;
    return (unsigned short)(sign | rounded(mantissa, 126 - (size >> 23)));
}
