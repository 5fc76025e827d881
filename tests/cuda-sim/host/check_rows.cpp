// Rows of matrices at any alignment: squares, joins and scales.
//
// Owns: these comparisons. May not touch: how noise is made.
#include "check.h"

namespace {

template <class T> void expect(const char *name, const RowTable &table, const guard::Buffer<double> &sums,
                               const std::vector<T> &x) {
    for (size_t r = 0; r < table.entries.size(); ++r) {
        const Row &row = table.entries[r];
        long double sum = 0;
        for (u64 at = row.offset; at < row.offset + row.len; ++at) sum += (long double)x[at] * x[at];
        // A warp takes a row: a lane up to 4 / 128 of it.
        guard::expect_close(name, r, sums[r], sum, (1e-15L + 1e-17L * row.len) * sum);
    }
}

/// out[row] = the sum of its entries, in order.
std::vector<double> joined(const RowTable &table, const guard::Buffer<double> &sums) {
    std::vector<double> rows;
    for (size_t r = 0; r + 1 < table.first.size(); ++r) {
        double sum = 0;
        for (u32 i = table.first[r]; i < table.first[r + 1]; ++i) sum += sums[i];
        rows.push_back(sum);
    }
    return rows;
}

template <class T> void rows(const Shapes &shapes, u32 most) {
    const RowTable table(shapes, most);
    const u32 count = u32(table.entries.size());
    const unsigned blocks = (count + 7) / 8;
    guard::Buffer<Row> entries(table.entries);
    guard::Buffer<T> x(numbers<T>(shapes.total, 1));
    guard::Buffer<double> sums(count), out(shapes.rows);
    guard::Buffer<u32> first(table.first);
    guard::run(kernel<T>("row_squares"), blocks, THREADS, entries.in(), count, x.in(), sums.out());
    expect("row_squares", table, sums, x.copy());
    guard::run(guard::named("clino_join_rows"), (shapes.rows + 255) / 256, THREADS, sums.in(), first.in(), shapes.rows,
               out.out());
    guard::expect_equal("join_rows", out.copy(), joined(table, sums));
    for (u32 purpose : {0u, 1u, 3u}) {
        const Draw draw = {31, 7, purpose};
        guard::run(kernel<T>("noise_row_squares"), blocks, THREADS, entries.in(), count, draw.seed, draw.index, purpose,
                   sums.out());
        expect("noise_row_squares", table, sums, noise_of<T>(shapes, draw));
    }
}

void row_scales(u32 n) {
    std::vector<double> weights = numbers<double>(n, 1), noise = numbers<double>(n, 2), want;
    for (u32 i = 0; i < n; ++i) {
        weights[i] = i % 11 ? std::fabs(weights[i]) : 0.0, noise[i] = i % 7 ? std::fabs(noise[i]) : 0.0;
        want.push_back(std::sqrt(weights[i]) / (std::sqrt(noise[i]) + 1e-10));
    }
    guard::Buffer<double> w(weights), k(noise), out(n);
    guard::run(guard::named("clino_row_scales"), (n + 255) / 256, THREADS, w.in(), k.in(), n, out.out());
    guard::expect_equal("row_scales", out.copy(), want);
}

} // namespace

void check_rows() {
    // Fewer rows of one element than elsewhere: a warp for each is slow here.
    const Shapes shapes = cut({{3, 1}, {31, 31}, {32, 2}, {33, 3}, {255, 5}, {1023, 33}, {1024, 1024}, {1025, 41},
                               {7, 0}, {16383, 127}, {35005, 7001}, {9000, 96}, {2, 2}, {16384, 16384}, {37, 1}});
    for (u32 most : {16384u, 1000u, 33u}) {
        rows<float>(shapes, most);
        rows<double>(shapes, most);
    }
    for (u32 n : {1, 255, 256, 257, 1000}) row_scales(n);
    guard::proved("squares of rows follow long double, joins and scales have the CPU's bits");
}
