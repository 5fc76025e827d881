// Cross-entropy and what goes with it against a plain log-softmax in long double.
//
// Owns: these comparisons. May not touch: kernels.
#include "check.h"

namespace {

constexpr double SHARE = 1.0 / 7.0;

/// Logits, labels and all outputs.
template <class T> struct Losses {
    u32 rows, classes;
    guard::Buffer<T> logits, slopes;
    guard::Buffer<u32> labels, ranks;
    guard::Buffer<double> losses, margins;
    guard::Buffer<unsigned char> right;

    Losses(u32 classes_, const std::vector<T> &z, const std::vector<u32> &y)
        : rows(u32(y.size())), classes(classes_), logits(z), slopes(z.size()), labels(y), ranks(y.size()),
          losses(y.size()), margins(y.size()), right(y.size()) {}

    void run(unsigned threads) {
        guard::run(kernel<T>("cross_entropy"), rows, threads, logits.in(), labels.in(), classes, SHARE, losses.out(),
                   margins.out(), ranks.out(), right.out(), slopes.out());
    }
    /// With no output but the losses, they are the same.
    void run_alone(unsigned threads) {
        guard::Buffer<double> alone(rows);
        double *const no_margins = nullptr;
        u32 *const no_ranks = nullptr;
        unsigned char *const no_right = nullptr;
        T *const no_slopes = nullptr;
        guard::run(kernel<T>("cross_entropy"), rows, threads, logits.in(), labels.in(), classes, SHARE, alone.out(),
                   no_margins, no_ranks, no_right, no_slopes);
        guard::expect_equal("losses alone", alone.copy(), losses.copy());
    }
};

/// log Σ exp(row), as the CPU forms it.
template <class T> long double log_sum_exp(const T *row, u32 classes) {
    long double top = -INFINITY, sum = 0;
    for (u32 c = 0; c < classes; ++c)
        if (row[c] > top) top = row[c];
    for (u32 c = 0; c < classes; ++c) sum += std::exp((long double)row[c] - top);
    return top + std::log(sum);
}

template <class T> u32 greatest(const T *row, u32 classes) {
    u32 best = 0;
    for (u32 c = 1; c < classes; ++c) best = row[c] > row[best] ? c : best;
    return best;
}

template <class T> void expect_read_off(const Losses<T> &all, u32 r) {
    const T *row = all.logits.in() + size_t(r) * all.classes;
    const u32 label = all.labels[r];
    double other = -INFINITY;
    u32 above = 0;
    for (u32 c = 0; c < all.classes; ++c) {
        if (c != label && row[c] > other) other = row[c];
        above += row[c] > row[label];
    }
    guard::expect_equal<double>("margin", {all.margins[r]}, {double(row[label]) - other});
    guard::expect_equal<u32>("rank", {all.ranks[r]}, {above});
    guard::expect_equal<u32>("right", {all.right[r]}, {greatest(row, all.classes) == label});
}

template <class T> void expect(const Losses<T> &all) {
    for (u32 r = 0; r < all.rows; ++r) {
        const T *row = all.logits.in() + size_t(r) * all.classes;
        const u32 label = all.labels[r];
        expect_read_off(all, r);
        const long double total = log_sum_exp(row, all.classes);
        const long double size = std::fabs(total) + std::fabs((long double)row[label]);
        const long double places = std::isfinite(size) ? 1e-15L * size + 1e-14L : 0;
        guard::expect_close("loss", r, all.losses[r], total - row[label], places);
        for (u32 c = 0; c < all.classes; ++c) {
            const long double want = (std::exp(row[c] - total) - (c == label)) * SHARE;
            const long double rounding = std::is_same_v<T, float> ? 6.1e-8L * std::fabs(want) + 1e-45L : 0;
            const long double places_of_e = 1e-15L + 2e-16L * (std::isfinite(total) ? std::fabs(total) : 0);
            guard::expect_close("slope", c, all.slopes[size_t(r) * all.classes + c], want, rounding + places_of_e);
        }
    }
}

template <class T> void usual(u32 classes, double spread, const std::vector<unsigned> &threads) {
    const u32 rows = classes > 10000 ? 2 : 5;
    std::vector<T> z = numbers<T>(size_t(rows) * classes, classes);
    for (T &x : z) x = T(double(x) * spread);
    std::vector<u32> labels;
    for (u32 r = 0; r < rows; ++r) labels.push_back(r == 0 ? classes - 1 : u32((r * 2654435761u) % classes));
    // One whose label is the greatest, and one with the greatest twice.
    z[classes + labels[1]] = T(3 * spread);
    z[classes - 1] = z[0] = T(2.5 * spread);
    Losses<T> all(classes, z, labels);
    for (unsigned n : threads) {
        all.run(n);
        expect(all);
        all.run_alone(n);
    }
}

template <class T> void special(u32 classes) {
    const std::vector<u32> places = {0, classes / 2, classes - 1};
    const T odd[] = {T(NAN), T(INFINITY), T(-INFINITY), T(1e30), T(-1e30)};
    std::vector<T> z;
    std::vector<u32> labels;
    for (u32 at : places)
        for (T x : odd)
            for (u32 label : places) {
                std::vector<T> row = numbers<T>(classes, at + 7);
                row[at] = x;
                z.insert(z.end(), row.begin(), row.end());
                labels.push_back(label);
            }
    for (T x : {T(NAN), T(INFINITY), T(-INFINITY), T(0), T(-0.0), T(5)}) {
        z.insert(z.end(), classes, x);
        labels.push_back(classes - 1);
    }
    Losses<T> all(classes, z, labels);
    for (unsigned threads : {32, 256}) {
        all.run(threads);
        expect(all);
    }
}

template <class T> void no_such_label() {
    Losses<T> all(33, numbers<T>(66, 4), {33, 0xffffffffu});
    all.run(64);
    for (u32 r = 0; r < 2; ++r)
        if (all.losses[r] == all.losses[r] || all.right[r] || all.ranks[r]) guard::failed("a label that no class has");
    guard::compared(6);
}

template <class T> void all() {
    for (u32 classes : {1, 2, 5, 31, 32, 33, 255, 257, 1000}) {
        for (double spread : {1.0, 30.0, 800.0}) usual<T>(classes, spread, {32, 64, 256});
        special<T>(classes);
    }
    usual<T>(250002, 5.0, {256});
    no_such_label<T>();
}

} // namespace

void check_outputs() {
    all<float>();
    all<double>();
    guard::proved("losses, margins, ranks, right answers and slopes follow long double");
}
