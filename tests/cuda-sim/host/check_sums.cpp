// Products, squares, sums and moments against sums in long double.
//
// Owns: these comparisons. May not touch: how noise is made.
#include "check.h"
#include <functional>

namespace {

/// A thread adds up to 64 products and a tree the rest: so much of the sum of magnitudes.
constexpr long double PLACES = 2e-14L;

struct Sum {
    long double sum = 0, size = 0;
    void add(long double x) { sum += x, size += std::fabs(x); }
};

template <class T> void expect_sums(const char *name, const Shapes &shapes, const guard::Buffer<double> &partial,
                                    const std::vector<T> &x, const std::vector<T> &y) {
    for (u32 p = 0; p < shapes.count(); ++p) {
        const Row &piece = shapes.pieces[p];
        Sum want;
        for (u64 at = piece.offset; at < piece.offset + piece.len; ++at) want.add((long double)x[at] * y[at]);
        guard::expect_close(name, p, partial[p], want.sum, PLACES * want.size);
    }
}

template <class T> void products(const Shapes &shapes) {
    guard::Buffer<Row> pieces(shapes.pieces);
    guard::Buffer<T> x(numbers<T>(shapes.total, 1)), y(numbers<T>(shapes.total, 2));
    guard::Buffer<double> partial(shapes.count());
    guard::run(kernel<T>("products"), shapes.count(), THREADS, pieces.in(), x.in(), y.in(), partial.out());
    expect_sums("products", shapes, partial, x.copy(), y.copy());
    for (u32 purpose = 0; purpose < 4; ++purpose) {
        const Draw draw = {12, 5, purpose};
        const std::vector<T> noise = noise_of<T>(shapes, draw);
        guard::run(kernel<T>("noise_squares"), shapes.count(), THREADS, pieces.in(), draw.seed, draw.index, purpose,
                   partial.out());
        expect_sums("noise_squares", shapes, partial, noise, noise);
        guard::run(kernel<T>("product_with_noise"), shapes.count(), THREADS, pieces.in(), x.in(), draw.seed, draw.index,
                   purpose, partial.out());
        expect_sums("product_with_noise", shapes, partial, x.copy(), noise);
    }
}

void join(unsigned threads) {
    const std::vector<u32> lengths = {0, 1, 31, 32, 33, 255, 256, 257, 1000, 20011};
    std::vector<u32> first = {0};
    for (u32 n : lengths) first.push_back(first.back() + n);
    guard::Buffer<u32> firsts(first);
    guard::Buffer<double> x(numbers<double>(first.back(), 3)), out(lengths.size()), one(1);
    guard::run(guard::named("clino_join"), unsigned(lengths.size()), threads, x.in(), firsts.in(), out.out());
    for (size_t s = 0; s < lengths.size(); ++s) {
        Sum want;
        for (u32 i = first[s]; i < first[s + 1]; ++i) want.add(x[i]);
        guard::expect_close("join", s, out[s], want.sum, 1e-13L * want.size);
        guard::Buffer<double> same(std::vector<double>(x.in() + first[s], x.in() + first[s + 1]));
        guard::run(guard::named("clino_sum"), 1, threads, same.in(), lengths[s], one.out());
        guard::expect_equal<double>("sum as join", {one[0]}, {out[s]});
    }
}

} // namespace

void check_sums() {
    const Shapes shapes = odd_shapes();
    products<float>(shapes);
    products<double>(shapes);
    for (unsigned threads : {32, 64, 96, 256}) join(threads);
    guard::proved("products, noise squares, products with noise, join and sum follow long double");
}
