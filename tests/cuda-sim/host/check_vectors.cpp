// Vectors that change where they lie, bit for bit against the CPU's formulas; their squares to a few places.
//
// Owns: these comparisons. May not touch: how noise is made.
#include "check.h"

namespace {

constexpr long double PLACES = 2e-14L;

/// A vector, the tables, and what each kernel leaves.
template <class T> struct Bench {
    const Shapes &shapes;
    guard::Buffer<Row> pieces;
    guard::Buffer<T> x, y;
    guard::Buffer<double> keep, factors, partial;

    explicit Bench(const Shapes &all)
        : shapes(all), pieces(all.pieces), x(numbers<T>(all.total, 3)), y(numbers<T>(all.total, 4)),
          keep(numbers<double>(all.tensors(), 5)), factors(numbers<double>(all.tensors(), 6)), partial(all.count()) {}

    /// Every element of x as `with(slot, index)` has it, and the sums of squares.
    template <class F> void expect(const char *name, F with) {
        std::vector<T> want = numbers<T>(shapes.total, 3);
        each_element(shapes, [&](u32 s, u32, size_t at) { want[at] = with(s, at); });
        guard::expect_equal(name, x.copy(), want);
        for (u32 p = 0; p < shapes.count(); ++p) {
            const Row &piece = shapes.pieces[p];
            long double sum = 0;
            for (u32 i = 0; i < piece.len; ++i) {
                const long double one = want[piece.offset + i];
                sum += one * one;
            }
            guard::expect_close(name, p, partial[p], sum, PLACES * sum);
        }
    }
};

template <class T> void to_metric(const Shapes &shapes, u32 mode) {
    Bench<T> bench(shapes);
    const std::vector<double> some_terms = numbers<double>(2 * shapes.tensors(), 7);
    std::vector<double> terms_;
    for (double x : some_terms) terms_.push_back(std::fabs(x));
    guard::Buffer<double> terms(terms_);
    const std::vector<T> before = bench.x.copy();
    guard::run(kernel<T>("to_metric"), shapes.count(), THREADS, bench.pieces.in(), bench.x.out(), bench.y.in(), mode,
               mode ? terms.in() : nullptr, bench.partial.out());
    bench.expect("to_metric", [&](u32 s, size_t at) {
        const T a = T(terms_[2 * s]), b = T(terms_[2 * s + 1]), w = bench.y[at];
        if (mode == 0) return before[at];
        return mode == 1 ? before[at] * (a * std::fabs(w) + b) : before[at] * std::sqrt(a * w * w + b);
    });
}

template <class T> void ascend(const Shapes &shapes, bool noisy, u32 purpose) {
    Bench<T> bench(shapes);
    const Draw draw = {0xfedcba9876543210ull, 9, purpose};
    const std::vector<T> before = bench.x.copy(), noise = noise_of<T>(shapes, draw);
    guard::run(kernel<T>("ascend"), shapes.count(), THREADS, bench.pieces.in(), bench.x.out(), bench.factors.in(),
               u32(noisy), draw.seed, draw.index, draw.purpose, noisy ? bench.keep.in() : nullptr, bench.partial.out());
    bench.expect("ascend", [&](u32 s, size_t at) {
        const T scaled = T(bench.factors[s]) * before[at];
        return noisy ? once(noise[at], T(bench.keep[s]), scaled) : scaled;
    });
}

template <class T> void combine(const Shapes &shapes) {
    Bench<T> bench(shapes);
    const std::vector<T> before = bench.x.copy();
    guard::run(kernel<T>("combine"), shapes.count(), THREADS, bench.pieces.in(), bench.x.out(), bench.keep.in(),
               bench.y.in(), bench.factors.in(), bench.partial.out());
    bench.expect("combine", [&](u32 s, size_t at) {
        return once(T(bench.factors[s]), bench.y[at], T(bench.keep[s]) * before[at]);
    });
}

template <class T> T sign(T x) { return T((x > 0) - (x < 0)); }

template <class T> void climb_box(const Shapes &shapes) {
    Bench<T> bench(shapes);
    std::vector<T> slopes = bench.y.copy();
    for (size_t i = 0; i < slopes.size(); i += 5) slopes[i] = T(0);
    for (size_t i = 1; i < slopes.size(); i += 35) slopes[i] = T(NAN);
    bench.y.set(slopes);
    std::vector<T> want = bench.x.copy();
    const double step = 0.3, bound = 1.1;
    guard::run(kernel<T>("climb_box"), shapes.count(), THREADS, bench.pieces.in(), bench.x.out(), bench.y.in(), step,
               bound);
    each_element(shapes, [&](u32, u32, size_t at) {
        const T moved = want[at] + sign(slopes[at]) * T(step);
        want[at] = moved > T(bound) ? T(bound) : moved < -T(bound) ? -T(bound) : moved;
    });
    guard::expect_equal("climb_box", bench.x.copy(), want);
}

template <class T> void all(const Shapes &shapes) {
    for (u32 mode = 0; mode < 3; ++mode) to_metric<T>(shapes, mode);
    for (u32 purpose = 0; purpose < 4; ++purpose) ascend<T>(shapes, true, purpose);
    ascend<T>(shapes, false, 0);
    combine<T>(shapes);
    climb_box<T>(shapes);
}

} // namespace

void check_vectors() {
    const Shapes shapes = odd_shapes();
    all<float>(shapes);
    all<double>(shapes);
    guard::proved("to_metric, ascend, combine and climb_box have the bits of the CPU's formulas");
}
