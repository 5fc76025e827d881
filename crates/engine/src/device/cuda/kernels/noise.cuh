// Counter-based noise, equal to the CPU's bit for bit: Philox4x32-10, and normals by Box-Muller.
//
// The noise of element `i` of the tensor with rank `t` in draw `k` for purpose `p` is lane `i % 4` of the block with
// counter (i / 4, t, k, p) and key (seed mod 2^32, seed / 2^32). Only operations that are rounded to nearest, in the order
// of the CPU's, with a fused one exactly where it has one: no library function, no contraction by the compiler.
//
// Moves no bytes. Owns: the map from (seed, tensor, draw, purpose, element) to a number.
#pragma once

#include "common.cuh"

namespace clino {

/// The last word of the counter.
enum Purpose : u32 { GAUSS = 0, UNIFORM = 1, SIGN = 2, DIRECTION = 3 };

struct Words {
    u32 a, b, c, d;
};

/// One block with ten rounds.
__device__ __forceinline__ Words philox(Words c, u32 k0, u32 k1) {
    constexpr u32 M0 = 0xD2511F53u, M1 = 0xCD9E8D57u;
#pragma unroll
    for (u32 round = 0; round < 10; ++round) {
        const u32 high0 = __umulhi(M0, c.a), low0 = M0 * c.a, high1 = __umulhi(M1, c.c), low1 = M1 * c.c;
        c = {high1 ^ c.b ^ k0, low1, high0 ^ c.d ^ k1, low0};
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c;
}

// -- tables: those of the CPU -----------------------------------------------------------------------------------------

/// Horner's rule, lowest power first.
template <class T> __device__ __forceinline__ T polynomial(T, T last) { return last; }
template <class T, class... Rest> __device__ __forceinline__ T polynomial(T x, T first, Rest... rest) {
    return fused(polynomial(x, rest...), x, first);
}

/// atanh(s) / s in s².
__device__ __forceinline__ float atanh_over(float x) { return polynomial(x, 1.0f, 0.3333341f, 0.19987425f, 0.14962195f); }
__device__ __forceinline__ double atanh_over(double x) {
    return polynomial(x, 1.0, 0.3333333333333333, 0.19999999999999962, 0.14285714285731085, 0.11111111107408907,
                      0.09090909558999226, 0.07692271719589844, 0.06668373108772176, 0.05833689621645853,
                      0.060215591927199295);
}
/// sin(x) / x in x².
__device__ __forceinline__ float sin_over(float x) {
    return polynomial(x, 1.0f, -0.16666651f, 0.0083320355f, -1.9503904e-4f);
}
__device__ __forceinline__ double sin_over(double x) {
    return polynomial(x, 1.0, -0.16666666666666666, 0.008333333333333333, -0.00019841269841269825,
                      2.7557319223973195e-6, -2.5052108379494507e-8, 1.6059042200144437e-10, -7.646901156604028e-13,
                      2.7887259589946948e-15);
}
/// cos(x) in x².
__device__ __forceinline__ float cos_of(float x) {
    return polynomial(x, 1.0f, -0.5f, 0.041666616f, -0.0013886618f, 2.4379831e-5f);
}
__device__ __forceinline__ double cos_of(double x) {
    return polynomial(x, 1.0, -0.5, 0.041666666666666664, -0.001388888888888886, 2.4801587301563195e-5,
                      -2.7557319212693446e-7, 2.0876753880061373e-9, -1.1470246973813004e-11, 4.736305380233916e-14);
}

/// x = m 2^e with m in [√½, √2), for a positive normal number.
template <class T> struct Split {
    T e, m;
};
// The exponent is added to the bits of 1.5 times the power of two at which the last place is worth one, and that number is
// taken away again: it becomes a float without a conversion, which is slow for doubles.
__device__ __forceinline__ Split<float> split(float x) {
    constexpr u32 LEAST = 0x3F3504F3u;
    const float integer = 12582912.0f;
    const u32 above = __float_as_uint(x) - LEAST;
    const u32 e = u32(int(above) >> 23);
    return {__uint_as_float(__float_as_uint(integer) + e) - integer, __uint_as_float((above & 0x7FFFFFu) + LEAST)};
}
__device__ __forceinline__ Split<double> split(double x) {
    constexpr u64 LEAST = 0x3FE6A09E667F3BCDull;
    const double integer = 6755399441055744.0;
    const u64 above = u64(__double_as_longlong(x)) - LEAST;
    const u64 e = u64((long long)above >> 52);
    return {__longlong_as_double((long long)(u64(__double_as_longlong(integer)) + e)) - integer,
            __longlong_as_double((long long)((above & 0xFFFFFFFFFFFFFull) + LEAST))};
}

/// -x when `negative` is 1, x when it is 0.
__device__ __forceinline__ float flip(float x, u32 negative) { return __uint_as_float(__float_as_uint(x) ^ (negative << 31)); }
__device__ __forceinline__ double flip(double x, u32 negative) {
    return __longlong_as_double((long long)(u64(__double_as_longlong(x)) ^ (u64(negative) << 63)));
}

// -- numbers ----------------------------------------------------------------------------------------------------------

/// (word + 1/2) / 2^32.
template <class T> __device__ __forceinline__ T unit_of(u32 word) { return (T(word) + T(0.5)) * T(1.0 / 4294967296.0); }

/// ln(x), given as f = m - 1 and e of its split.
template <class T> __device__ __forceinline__ T logarithm(T f, T e) {
    const T s = f / (T(2.0) + f);
    return fused(s + s, atanh_over(s * s), e * T(0.693147180559945309417232121458));
}

/// √(-2 ln u) for u = (word + 1/2) / 2^32.
template <class T> __device__ __forceinline__ T radius(u32 word) {
    const Split<T> parts = split(unit_of<T>(word));
    // Near 1 the number would round; 1 - u does not.
    const bool near = word >= 0xB504F334u;
    const T f = near ? -unit_of<T>(~word) : parts.m - T(1);
    return root(T(-2.0) * logarithm(f, near ? T(0) : parts.e));
}

/// Two normals from two words.
template <class T> __device__ __forceinline__ void box_muller(u32 length, u32 angle, T &first, T &second) {
    const T r = radius<T>(length);
    const u32 quadrant = (angle + (1u << 29)) >> 30;
    const int rest = int(angle - (quadrant << 30));
    const T x = (T(rest) + T(0.5)) * T(1.57079632679489661923132169164 / 1073741824.0);
    const T square = x * x, sin = x * sin_over(square), cos = cos_of(square);
    const bool odd = quadrant & 1;
    first = r * flip(odd ? sin : cos, ((quadrant + 1) >> 1) & 1);
    second = r * flip(odd ? cos : sin, (quadrant >> 1) & 1);
}

/// Uniform on (-1, 1), signed about the middle, so that numbers near zero keep all their places.
template <class T> __device__ __forceinline__ T uniform(u32 word) {
    return (T(int(word ^ (1u << 31))) + T(0.5)) * T(1.0 / 2147483648.0);
}

/// Names one draw of noise over all parameters.
struct Draw {
    u64 seed;
    u32 index, purpose;

    /// Numbers 4 block .. 4 block + 4 of the tensor with rank `tensor`.
    template <class T> __device__ __forceinline__ Quad<T> quad(u32 tensor, u32 block) const {
        const Words w = philox({block, tensor, index, purpose}, u32(seed), u32(seed >> 32));
        Quad<T> x;
        if (purpose == SIGN) return {{flip(T(1), w.a >> 31), flip(T(1), w.b >> 31), flip(T(1), w.c >> 31), flip(T(1), w.d >> 31)}};
        if (purpose == UNIFORM) return {{uniform<T>(w.a), uniform<T>(w.b), uniform<T>(w.c), uniform<T>(w.d)}};
        box_muller(w.a, w.b, x.v[0], x.v[1]);
        box_muller(w.c, w.d, x.v[2], x.v[3]);
        return x;
    }
    /// Those of the quad at element `i` of a piece.
    template <class T> __device__ __forceinline__ Quad<T> at(const Piece &piece, u32 i) const {
        return quad<T>(piece.rank, (piece.start + i) / 4);
    }
};

} // namespace clino
