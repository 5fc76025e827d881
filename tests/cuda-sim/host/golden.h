// Bits that the CPU's functions gave: what the kernels' noise and exponential have to equal.
//
// Made once by `Draw::each` of crates/engine/src/device/noise.rs and `exp` of crates/engine/src/device/functions.rs with fused instructions.
//
// Owns: those numbers, and how many are taken together. May not touch: the kernels.
#pragma once
#include <cstdint>

namespace golden {

struct Noise {
    unsigned purpose;
    uint64_t seed;
    unsigned index, rank, start;
    /// Of 16384 numbers from `start` on, in both precisions.
    uint64_t narrow, wide;
    /// Bits of the fourth of them.
    uint32_t fourth_narrow;
    uint64_t fourth_wide;
};

constexpr unsigned NUMBERS = 16384;
constexpr uint64_t EMPTY = 0xcbf29ce484222325ull;

/// One more number's bits.
inline uint64_t mix(uint64_t hash, uint64_t bits) {
    hash = (hash ^ bits) * 0x100000001b3ull;
    return hash ^ (hash >> 29);
}

constexpr Noise NOISE[] = {
    {0, 0x0ull, 0u, 0u, 0u,
     0x46306c48e4653215ull, 0xeba0f067f1d5b6a0ull,
     0xbef6d1b1u, 0xbfdeda36346bed2eull},
    {0, 0xfffffffffffffffaull, 3u, 7u, 16384u,
     0xea52a8f752065ac2ull, 0xcae968c3bf762eceull,
     0xc003a677u, 0xc00074cec9e3bc43ull},
    {0, 0x123456789abcdefull, 4000000000u, 65535u, 655360000u,
     0x3d576f12dea3613bull, 0xfa808f0f4f7ee8c4ull,
     0xbf3076e6u, 0xbfe60edca68c8136ull},
    {0, 0xbull, 2u, 1u, 49152u,
     0xec6af00a88344e53ull, 0x3b58427462998d42ull,
     0x3f964848u, 0x3ff2c9090ab435adull},
    {1, 0x0ull, 0u, 0u, 0u,
     0x3bcf404a5aacc61full, 0x582c27d35c350879ull,
     0x3e8a1eabu, 0x3fd143d56dc00000ull},
    {1, 0xfffffffffffffffaull, 3u, 7u, 16384u,
     0xa20354a4f25c5447ull, 0x4e72a0a11c7507e9ull,
     0xbf3691cfu, 0xbfe6d239e0a00000ull},
    {1, 0x123456789abcdefull, 4000000000u, 65535u, 655360000u,
     0x5f823d66efa8c64cull, 0x3b57c320c5fa1efbull,
     0xbe2a4acbu, 0xbfc5495965800000ull},
    {1, 0xbull, 2u, 1u, 49152u,
     0xc4d9d53faa9abccdull, 0xcbc9d86c2da2a257ull,
     0xbf6b4fe0u, 0xbfed69fc0f200000ull},
    {2, 0x0ull, 0u, 0u, 0u,
     0x33cab845017323ffull, 0x17b23a37252a6552ull,
     0xbf800000u, 0xbff0000000000000ull},
    {2, 0xfffffffffffffffaull, 3u, 7u, 16384u,
     0x11f0cf37e5809821ull, 0x33d5ac9ffb1dd0ceull,
     0x3f800000u, 0x3ff0000000000000ull},
    {2, 0x123456789abcdefull, 4000000000u, 65535u, 655360000u,
     0x9c60b0678e687964ull, 0xe2fee1a2a9a3a35full,
     0xbf800000u, 0xbff0000000000000ull},
    {2, 0xbull, 2u, 1u, 49152u,
     0x614c7f01b559969eull, 0x3a548560b03257d7ull,
     0x3f800000u, 0x3ff0000000000000ull},
    {3, 0x0ull, 0u, 0u, 0u,
     0xcdbad06c8e1d6107ull, 0x0bd8c9a0545b7d69ull,
     0xbff5c982u, 0xbffeb930160fec52ull},
    {3, 0xfffffffffffffffaull, 3u, 7u, 16384u,
     0xff801fe29edcad7full, 0x84dcb313a6e8dc95ull,
     0x3fe09c7bu, 0x3ffc138f6ab7fe64ull},
    {3, 0x123456789abcdefull, 4000000000u, 65535u, 655360000u,
     0xb87f4197fdc6d9b7ull, 0x0be278cf12da725bull,
     0x3e3cb757u, 0x3fc796eab94bf055ull},
    {3, 0xbull, 2u, 1u, 49152u,
     0x86a206c815efc28cull, 0xc68a70bf18e4005dull,
     0xbe8e9349u, 0xbfd1d2690b8024b3ull},
};

/// Of e^x at x = -760 + 0.0225 i for i below 65536.
constexpr uint64_t EXPONENTIAL = 0xe7f1d26481f9a6e0ull;

} // namespace golden
