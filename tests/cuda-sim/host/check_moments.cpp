// Moments against two passes in long double, with constants, means far away, and what is not finite.
//
// Owns: these comparisons. May not touch: kernels.
#include "check.h"
#include <algorithm>

namespace {

/// As kernels write them.
struct Six {
    double count, mean, spread, square, largest, non_finite;
};
static_assert(sizeof(Six) == 48, "as the kernels have it");

constexpr long double PIECES = 2e-13L, JOINED = 2e-12L;

struct Want {
    long double count = 0, mean = 0, spread = 0, square = 0, largest = 0, non_finite = 0;
};

template <class T> Want two_passes(const T *x, size_t n) {
    Want want;
    want.count = n;
    for (size_t i = 0; i < n; ++i) {
        const long double w = x[i];
        want.mean += w / n, want.square += w * w;
        want.largest = w == w ? std::max(want.largest, std::fabs(w)) : want.largest;
        want.non_finite += !std::isfinite(double(x[i]));
    }
    for (size_t i = 0; i < n; ++i) want.spread += (x[i] - want.mean) * (x[i] - want.mean);
    return want;
}

/// `places` is of the spread: a join has lost those that the rounded means have.
void expect(size_t i, const Six &found, const Want &want, long double places) {
    guard::expect_close("count", i, found.count, want.count, 0);
    guard::expect_close("non-finite", i, found.non_finite, want.non_finite, 0);
    guard::expect_close("largest", i, found.largest, want.largest, 0);
    if (want.non_finite > 0) {
        // Which one the sum becomes depends on what meets; that it is none, does not.
        if (std::isfinite(found.mean) || std::isfinite(found.square)) guard::failed("finite moments [%zu]", i);
        guard::compared(2);
        return;
    }
    guard::expect_close("mean", i, found.mean, want.mean, 1e-14L * want.largest);
    guard::expect_close("spread", i, found.spread, want.spread, places * want.spread + 1e-30L * want.square);
    guard::expect_close("square", i, found.square, want.square, 2e-14L * want.square);
}

template <class T> std::vector<Six> moments(const Shapes &shapes, const std::vector<T> &x) {
    guard::Buffer<Row> pieces(shapes.pieces);
    guard::Buffer<T> numbers_(x);
    guard::Buffer<Six> partial(shapes.count());
    guard::run(kernel<T>("moments"), shapes.count(), THREADS, pieces.in(), numbers_.in(), partial.out());
    return partial.copy();
}

template <class T> void follow_two_passes(const Shapes &shapes, const std::vector<T> &x) {
    const std::vector<Six> found = moments(shapes, x);
    for (u32 p = 0; p < shapes.count(); ++p)
        expect(p, found[p], two_passes(x.data() + shapes.pieces[p].offset, shapes.pieces[p].len), PIECES);
    guard::Buffer<Six> partial(found), out(shapes.tensors());
    guard::Buffer<u32> first(shapes.first);
    for (unsigned threads : {32, 64, 256}) {
        guard::run(guard::named("clino_moments_join"), shapes.tensors(), threads, partial.in(), first.in(), out.out());
        for (u32 s = 0; s < shapes.tensors(); ++s)
            expect(s, out[s], two_passes(x.data() + shapes.slots[s].offset, shapes.slots[s].len), JOINED);
    }
}

template <class T> void special(const Shapes &shapes) {
    std::vector<T> x(shapes.total, T(1.1f));
    for (const Six &six : moments(shapes, x))
        guard::expect_equal<double>("constants", {six.mean, six.spread}, {double(1.1f), 0.0});
    for (size_t i = 0; i < x.size(); ++i) x[i] = T(16777216.0 + double(i % 4));
    follow_two_passes(shapes, x);
    x = numbers<T>(shapes.total, 2);
    // Every third piece has some; one has nothing else.
    for (u32 p = 0; p < shapes.count(); p += 3)
        for (u32 i = p; i < shapes.pieces[p].len; i += 1 + p)
            x[shapes.pieces[p].offset + i] = T(i % 2 ? INFINITY : NAN);
    const Row &whole = shapes.pieces[4];
    for (u32 i = 0; i < whole.len; ++i) x[whole.offset + i] = T(-INFINITY);
    follow_two_passes(shapes, x);
    for (const Six &six : moments(shapes, std::vector<T>(shapes.total, T(NAN))))
        guard::expect_equal<double>("only NaN", {six.largest, six.spread, six.non_finite}, {0.0, 0.0, six.count});
}

/// A slot of hundreds of pieces, more than a block has threads.
void many_pieces() {
    std::vector<Six> six;
    std::vector<double> x = numbers<double>(3 * 1000, 9);
    for (size_t i = 0; i < 1000; ++i) {
        const Want w = two_passes(&x[3 * i], 3);
        six.push_back({3, double(w.mean), double(w.spread), double(w.square), double(w.largest), 0});
    }
    guard::Buffer<Six> partial(six), out(2);
    guard::Buffer<u32> first(std::vector<u32>{0, 1000, 1000});
    for (unsigned threads : {32, 96, 256}) {
        guard::run(guard::named("clino_moments_join"), 2, threads, partial.in(), first.in(), out.out());
        expect(0, out[0], two_passes(x.data(), x.size()), JOINED);
        guard::expect_equal<double>("no pieces", {out[1].count, out[1].mean, out[1].largest}, {0, 0, 0});
    }
}

} // namespace

void check_moments() {
    const Shapes shapes = odd_shapes();
    follow_two_passes(shapes, numbers<float>(shapes.total, 1));
    follow_two_passes(shapes, numbers<double>(shapes.total, 1));
    special<float>(shapes);
    special<double>(shapes);
    const Shapes far = cut({{4000, 0}, {16383, 0}, {40001, 0}});
    std::vector<double> x(far.total);
    for (size_t i = 0; i < x.size(); ++i) x[i] = 1e8 + double(i % 4);
    follow_two_passes(far, x);
    many_pieces();
    guard::proved("moments and their join follow two passes; what is not finite is counted");
}
