// Noise, the exponential and the narrow types against golden bits and known answers.
//
// Owns: these comparisons. May not touch: memory of kernels.
#define CLINO_HOST
#include "cuda_host.h"
#include "golden.h"
// clang-format off
#include "check.h"
// clang-format on
#include <cstdlib>
#ifdef __F16C__
#include <immintrin.h>
#endif

namespace device {
// Without a name, as in `launch.cpp`.
namespace {
#include "outputs.cuh"
#include "points.cuh"
} // namespace
} // namespace device

namespace {

void check_philox() {
    struct Case {
        u32 counter[4], key[2], want[4];
    };
    // Of Random123's kat_vectors.
    const Case cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (const Case &one : cases) {
        const auto &c = one.counter;
        const device::clino::Words w = device::clino::philox({c[0], c[1], c[2], c[3]}, one.key[0], one.key[1]);
        guard::expect_equal<u32>("philox", {w.a, w.b, w.c, w.d}, {one.want[0], one.want[1], one.want[2], one.want[3]});
    }
    guard::proved("Philox4x32-10 answers as Random123's known vectors");
}

template <class T, class Bits> void check_golden(const golden::Noise &golden, u64 want, Bits fourth) {
    const Row piece = {64, golden::NUMBERS, 0, golden.rank, golden.start, 0, 0};
    guard::Buffer<Row> pieces(std::vector<Row>{piece});
    guard::Buffer<T> out(64 + golden::NUMBERS);
    guard::run(kernel<T>("noise"), 1, THREADS, pieces.in(), out.out(), golden.seed, golden.index, u32(golden.purpose));
    u64 hash = golden::EMPTY;
    for (u32 i = 0; i < golden::NUMBERS; ++i) hash = golden::mix(hash, cuda_host::same_bits<Bits>(out[64 + i]));
    guard::compared(golden::NUMBERS);
    if (hash != want || cuda_host::same_bits<Bits>(out[67]) != fourth)
        guard::failed("noise %s of purpose %u, seed %llx: not the CPU's bits", suffix<T>(), golden.purpose,
                      (unsigned long long)golden.seed);
}

void check_exponential() {
    u64 hash = golden::EMPTY;
    for (u32 i = 0; i < 65536; ++i)
        hash = golden::mix(hash, cuda_host::same_bits<u64>(device::clino::exponential(-760.0 + double(i) * 0.0225)));
    if (hash != golden::EXPONENTIAL) guard::failed("the exponential: not the CPU's bits");
    guard::compared(65536);
    for (u32 i = 0; i < 100000; ++i) {
        const double x = 1.0 + std::fabs(some(i, 5)) * std::pow(10.0, i % 300);
        guard::expect_close("logarithm", i, device::clino::log_of_sum(x), std::log((long double)x),
                            4e-16L * (1.0L + std::log((long double)x)));
    }
    guard::proved("e^x has the CPU's bits, ln x those of libm to two places");
}

/// The nearest of the two neighbours with a zero lower half, the even one in the middle.
unsigned short nearest_bf16(float x) {
    if (x != x) return 0x7fc0;
    const u32 low = __float_as_uint(x) >> 16;
    if (std::isinf(x)) return (unsigned short)low;
    const long double below = std::fabs((long double)__uint_as_float(low << 16));
    // Beyond the greatest number lies what would be the next one.
    const u32 next = low + 1;
    const bool most = (next & 0x7f80) == 0x7f80;
    const long double above = most ? std::ldexp(1.0L, 128) : std::fabs((long double)__uint_as_float(next << 16));
    const long double size = std::fabs((long double)x), middle = (below + above) / 2;
    if (size == middle) return (unsigned short)(low & 1 ? next : low);
    return (unsigned short)(size > middle ? next : low);
}

void check_narrow() {
    size_t n = 0;
    for (u64 bits = 0; bits < (1ull << 32); bits += 1009, ++n) {
        const float x = __uint_as_float(u32(bits));
        if (device::clino::AsBf16::of(x) != nearest_bf16(x)) guard::failed("bf16 of %.9g", double(x));
#ifdef __F16C__
        const unsigned short want = x == x ? (unsigned short)_cvtss_sh(x, 0) : (unsigned short)0x7e00;
        if (device::clino::AsF16::of(x) != want) guard::failed("f16 of %.9g", double(x));
#endif
    }
    // Around every number of the narrow type and every middle between two.
    for (u32 high = 0; high < 0x10000; ++high)
        for (u32 low : {0x0u, 0x1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu, 0xfffu, 0x1000u, 0x1001u, 0x2000u, 0x3000u}) {
            const float x = __uint_as_float(high << 16 | low);
            ++n;
            if (device::clino::AsBf16::of(x) != nearest_bf16(x)) guard::failed("bf16 of %.9g", double(x));
#ifdef __F16C__
            const unsigned short want = x == x ? (unsigned short)_cvtss_sh(x, 0) : (unsigned short)0x7e00;
            if (device::clino::AsF16::of(x) != want) guard::failed("f16 of %.9g", double(x));
#endif
        }
    guard::compared(n);
    guard::proved("bf16 and f16 are rounded to nearest even, what is not a number to one pattern");
}

} // namespace

void check_noise() {
    check_philox();
    for (const golden::Noise &golden : golden::NOISE) {
        check_golden<float, u32>(golden, golden.narrow, golden.fourth_narrow);
        check_golden<double, u64>(golden, golden.wide, golden.fourth_wide);
    }
    guard::proved("noise has the CPU's bits for every purpose in both precisions");
    check_exponential();
    check_narrow();
}
