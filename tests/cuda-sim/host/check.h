// The parts of the check: each compares kernels with a plain reference and says so in lines.
//
// Owns: what the parts share. May not touch: how a part compares.
#pragma once
#include "shapes.h"

struct Draw {
    u64 seed;
    u32 index, purpose;
};

/// A draw's noise for all tensors as the kernel makes it, which the golden bits prove; zeros in the gaps.
template <class T> std::vector<T> noise_of(const Shapes &shapes, const Draw &draw) {
    guard::Buffer<Row> pieces(shapes.pieces);
    guard::Buffer<T> out(shapes.total);
    guard::run(kernel<T>("noise"), shapes.count(), THREADS, pieces.in(), out.out(), draw.seed, draw.index,
               draw.purpose);
    return out.copy();
}

/// a b + c, rounded once.
inline float once(float a, float b, float c) { return std::fma(a, b, c); }
inline double once(double a, double b, double c) { return std::fma(a, b, c); }

void check_noise();
void check_points();
void check_vectors();
void check_sums();
void check_moments();
void check_rows();
void check_steps();
void check_outputs();
void check_launcher();
void check_controls();
