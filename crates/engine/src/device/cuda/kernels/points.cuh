// Points that move: w0 and noise or a vector to tensors that lie apart, and back into a flat arena.
//
// Shapes: one block for each piece; `bases` has one pointer for each slot, aligned to 256 bytes.
// Bytes for each element of T: perturb and displace along nothing read w0 and write the point (2 T; with 16-bit outputs
// 4 + 2), displace along u reads that as well (3 T), noise writes (1 T), gather copies (2 T): in each case the minimum.
// In f64 a thread's four elements are two loads of 16 bytes, 32 bytes apart; the first cache joins them.
// Deterministic: an element depends on nothing but its own inputs; equal to the CPU bit for bit.
#pragma once

#include "common.cuh"
#include "noise.cuh"

namespace clino {

/// How results are written.
template <class T> struct As {
    typedef T Out;
    __device__ static __forceinline__ T of(T x) { return x; }
};
/// The upper half of an f32, rounded to nearest even; by integers, as old processors have no instruction for it.
struct AsBf16 {
    typedef unsigned short Out;
    __device__ static __forceinline__ Out of(float x) {
        const u32 bits = __float_as_uint(x);
        const u32 rounded = (bits + 0x7FFFu + ((bits >> 16) & 1)) >> 16;
        return Out(x == x ? rounded : 0x7FC0u);
    }
};
/// IEEE half, rounded to nearest even; infinite above its range.
struct AsF16 {
    typedef unsigned short Out;
    __device__ static __forceinline__ Out of(float x) {
        // One pattern for what is not a number, as processors differ in theirs.
        return x == x ? half_bits(x) : Out(0x7E00u);
    }
    __device__ static __forceinline__ Out half_bits(float x) {
        Out bits;
#ifdef CLINO_HOST
        bits = host_half_bits(x);
#else
        asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
#endif
        return bits;
    }
};

template <class As, class T>
__device__ __forceinline__ void store_as(typename As::Out *at, const Quad<T> &x, u32 n) {
    store(at, Quad<typename As::Out>{{As::of(x.v[0]), As::of(x.v[1]), As::of(x.v[2]), As::of(x.v[3])}}, n);
}

/// out = w0 + T∘(scale * noise).
template <class As, class T>
__device__ __forceinline__ void perturb(const Piece &piece, const T *w0, typename As::Out *out, const Draw &draw,
                                        T scale, const Unit<T> &unit) {
    each_quad(piece, [&](u32 i, u32 n) {
        const Quad<T> noise = draw.at<T>(piece, i);
        Quad<T> w = load(w0 + i, n);
#pragma unroll
        for (u32 k = 0; k < 4; ++k) w.v[k] = unit.shift(w.v[k], noise.v[k], scale);
        store_as<As>(out + i, w, n);
    });
}

/// out = w0 + T∘(scale * u); out = w0 without u.
template <class T>
__device__ __forceinline__ void displace(const Piece &piece, const T *w0, T *out, const T *u, T scale,
                                         const Unit<T> &unit) {
    each_quad(piece, [&](u32 i, u32 n) {
        Quad<T> w = load(w0 + i, n);
        if (u) {
            const Quad<T> along = load(u + i, n);
#pragma unroll
            for (u32 k = 0; k < 4; ++k) w.v[k] = unit.shift(w.v[k], along.v[k], scale);
        }
        store(out + i, w, n);
    });
}

} // namespace clino

#define CLINO_PERTURB(SUFFIX, T, AS)                                                                                   \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        clino_perturb_##SUFFIX(const clino::Piece *pieces, const T *w0, AS::Out *const *out_bases,                     \
                               unsigned long long seed, unsigned index, unsigned purpose, const double *scales,        \
                               unsigned mode, const double *terms) {                                                   \
        const clino::Piece piece = pieces[blockIdx.x];                                                                 \
        clino::perturb<AS, T>(piece, w0 + piece.offset, out_bases[piece.slot] + piece.start, {seed, index, purpose},   \
                              T(scales[piece.slot]), clino::Unit<T>::of(mode, terms, piece.slot));                     \
    }
CLINO_PERTURB(f32, float, clino::As<float>)
CLINO_PERTURB(f64, double, clino::As<double>)
CLINO_PERTURB(bf16, float, clino::AsBf16)
CLINO_PERTURB(f16, float, clino::AsF16)

#define CLINO_POINTS(SUFFIX, T)                                                                                        \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        clino_displace_##SUFFIX(const clino::Piece *pieces, const T *w0, T *const *out_bases, const T *u,              \
                                const double *scales, unsigned mode, const double *terms) {                            \
        const clino::Piece piece = pieces[blockIdx.x];                                                                 \
        clino::displace<T>(piece, w0 + piece.offset, out_bases[piece.slot] + piece.start,                              \
                           u ? u + piece.offset : nullptr, u ? T(scales[piece.slot]) : T(1),                           \
                           clino::Unit<T>::of(u ? mode : 0, terms, piece.slot));                                       \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        clino_noise_##SUFFIX(const clino::Piece *pieces, T *out, unsigned long long seed, unsigned index,              \
                             unsigned purpose) {                                                                       \
        const clino::Piece piece = pieces[blockIdx.x];                                                                 \
        const clino::Draw draw = {seed, index, purpose};                                                               \
        clino::each_quad(piece, [&](unsigned i, unsigned n) {                                                          \
            clino::store(out + piece.offset + i, draw.at<T>(piece, i), n);                                             \
        });                                                                                                            \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        clino_gather_##SUFFIX(const clino::Piece *pieces, const T *const *bases, T *out) {                             \
        const clino::Piece piece = pieces[blockIdx.x];                                                                 \
        const T *from = bases[piece.slot] + piece.start;                                                               \
        clino::each_quad(piece, [&](unsigned i, unsigned n) {                                                          \
            clino::store(out + piece.offset + i, clino::load(from + i, n), n);                                         \
        });                                                                                                            \
    }
CLINO_POINTS(f32, float)
CLINO_POINTS(f64, double)
