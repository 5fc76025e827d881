// Points: perturb, displace, gather and plane, bit for bit against the CPU's formulas.
//
// Owns: these comparisons. May not touch: how noise is made.
#include "check.h"
#ifdef __F16C__
#include <immintrin.h>
#endif

namespace {

/// T of a metric.
template <class T> T unit_at(u32 mode, T a, T b, T w) {
    return mode == 1 ? a * std::fabs(w) + b : std::sqrt(a * w * w + b);
}

std::vector<double> terms_of(const Shapes &shapes) {
    std::vector<double> terms;
    for (u32 s = 0; s < shapes.tensors(); ++s) terms.insert(terms.end(), {0.25 + 0.1 * s, 1e-3 * (s + 1)});
    return terms;
}

std::vector<double> scales_of(const Shapes &shapes) {
    std::vector<double> scales;
    for (u32 s = 0; s < shapes.tensors(); ++s) scales.push_back(0.01 * (s + 1) * (s % 2 ? -1.0 : 1.0) + 1e-9);
    return scales;
}

/// w0 + T∘(scale * u).
template <class T> struct Shift {
    const Shapes &shapes;
    u32 mode;
    std::vector<double> scales, terms;

    explicit Shift(const Shapes &all, u32 form)
        : shapes(all), mode(form), scales(scales_of(all)), terms(terms_of(all)) {}

    std::vector<T> of(const std::vector<T> &w0, const std::vector<T> &u) const {
        std::vector<T> out(shapes.total, T(0));
        each_element(shapes, [&](u32 s, u32, size_t at) {
            const T scale = T(scales[s]), a = T(terms[2 * s]), b = T(terms[2 * s + 1]);
            out[at] = mode == 0 ? once(u[at], scale, w0[at])
                                : once(T(u[at] * scale), unit_at(mode, a, b, w0[at]), w0[at]);
        });
        return out;
    }
};

template <class T> void perturb(const Shapes &shapes, u32 mode, u32 purpose) {
    const Draw draw = {77, 3, purpose};
    const Shift<T> shift(shapes, mode);
    guard::Buffer<Row> pieces(shapes.pieces);
    guard::Buffer<T> w0(numbers<T>(shapes.total, 1));
    guard::Buffer<double> scales(shift.scales), terms(shift.terms);
    const std::vector<T> want = shift.of(w0.copy(), noise_of<T>(shapes, draw));
    Apart<T> out(shapes);
    guard::run(kernel<T>("perturb"), shapes.count(), THREADS, pieces.in(), w0.in(), out.at(), draw.seed, draw.index,
               draw.purpose, scales.in(), mode, mode ? terms.in() : nullptr);
    guard::expect_equal("perturb", out.flat(shapes), want);
}

template <class T> void displace(const Shapes &shapes, u32 mode) {
    const Shift<T> shift(shapes, mode);
    guard::Buffer<Row> pieces(shapes.pieces);
    guard::Buffer<T> w0(numbers<T>(shapes.total, 1)), u(numbers<T>(shapes.total, 2));
    guard::Buffer<double> scales(shift.scales), terms(shift.terms);
    Apart<T> out(shapes);
    const cuda_host::Kernel &form = kernel<T>("displace");
    guard::run(form, shapes.count(), THREADS, pieces.in(), w0.in(), out.at(), u.in(), scales.in(), mode,
               mode ? terms.in() : nullptr);
    guard::expect_equal("displace", out.flat(shapes), shift.of(w0.copy(), u.copy()));
    const double *const none = nullptr;
    const T *const nothing = nullptr;
    guard::run(form, shapes.count(), THREADS, pieces.in(), w0.in(), out.at(), nothing, none, mode, none);
    guard::Buffer<T> back(shapes.total);
    const T *const *const bases = const_cast<const T *const *>(out.at());
    guard::run(kernel<T>("gather"), shapes.count(), THREADS, pieces.in(), bases, back.out());
    std::vector<T> want(shapes.total, T(0));
    each_element(shapes, [&](u32, u32, size_t at) { want[at] = w0[at]; });
    guard::expect_equal("displace along nothing", out.flat(shapes), want);
    guard::expect_equal("gather", back.copy(), want);
}

unsigned short bf16(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return x == x ? (unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16) : (unsigned short)0x7fc0;
}

/// Points in 16 bits: those in f32, rounded; with numbers among them that only just fit, or are none.
void narrow(const Shapes &shapes, u32 mode, const char *name, unsigned short (*rounded)(float)) {
    const Draw draw = {78, 4, 0};
    const Shift<float> shift(shapes, mode);
    std::vector<float> numbers_ = numbers<float>(shapes.total, 1);
    const float odd[] = {65519.0f, 65520.0f, -1e30f, INFINITY, -INFINITY, NAN, 1e-7f, -3e-8f, 6.1e-5f, 3.4e38f, 1e-40f};
    for (size_t i = 0; i < numbers_.size(); i += 7) numbers_[i] = odd[i / 7 % 11];
    guard::Buffer<Row> pieces(shapes.pieces);
    guard::Buffer<float> w0(numbers_);
    guard::Buffer<double> scales(shift.scales), terms(shift.terms);
    const std::vector<float> wide = shift.of(numbers_, noise_of<float>(shapes, draw));
    Apart<unsigned short> out(shapes);
    guard::run(guard::named(name), shapes.count(), THREADS, pieces.in(), w0.in(), out.at(), draw.seed, draw.index,
               draw.purpose, scales.in(), mode, terms.in());
    std::vector<unsigned short> want(shapes.total, 0);
    each_element(shapes, [&](u32, u32, size_t at) { want[at] = rounded(wide[at]); });
    guard::expect_equal(name, out.flat(shapes), want);
}

#ifdef __F16C__
unsigned short f16(float x) { return x == x ? (unsigned short)_cvtss_sh(x, 0) : (unsigned short)0x7e00; }
#endif

/// u + coefficient * direction for matrices.
template <class T>
void add_axis(const Shapes &shapes, std::vector<T> &u, const Draw &draw, double coefficient,
              const std::vector<double> &rows) {
    const std::vector<T> noise = noise_of<T>(shapes, draw);
    each_element(shapes, [&](u32 s, u32 i, size_t at) {
        const Slot &slot = shapes.slots[s];
        if (!slot.columns) return;
        u[at] = once(noise[at], T(coefficient * rows[slot.row0 + i / slot.columns]), u[at]);
    });
}

template <class T> void plane(const Shapes &shapes, bool first, bool second) {
    guard::Buffer<Row> pieces(shapes.pieces);
    guard::Buffer<T> w0(numbers<T>(shapes.total, 1));
    guard::Buffer<double> rows_a(numbers<double>(shapes.rows, 8)), rows_b(numbers<double>(shapes.rows, 9));
    Apart<T> out(shapes);
    guard::run(kernel<T>("plane"), shapes.count(), THREADS, pieces.in(), w0.in(), out.at(), u64(5), u32(1), u32(2), 0.3,
               -1.7, first ? rows_a.in() : nullptr, second ? rows_b.in() : nullptr);
    std::vector<T> u(shapes.total, T(0)), want(shapes.total, T(0));
    if (first) add_axis(shapes, u, {5, 1, 3}, 0.3, rows_a.copy());
    if (second) add_axis(shapes, u, {5, 2, 3}, -1.7, rows_b.copy());
    each_element(shapes, [&](u32, u32, size_t at) { want[at] = u[at] + w0[at]; });
    guard::expect_equal("plane", out.flat(shapes), want);
}

template <class T> void add_direction(const Shapes &shapes) {
    guard::Buffer<Row> pieces(shapes.pieces);
    guard::Buffer<T> u(numbers<T>(shapes.total, 1));
    guard::Buffer<double> rows(numbers<double>(shapes.rows, 8));
    std::vector<T> want = u.copy();
    add_axis(shapes, want, {6, 4, 3}, 0.7, rows.copy());
    guard::run(kernel<T>("add_direction"), shapes.count(), THREADS, pieces.in(), u.out(), u64(6), u32(4), 0.7,
               rows.in());
    guard::expect_equal("add_direction", u.copy(), want);
}

template <class T> void all(const Shapes &shapes) {
    for (u32 mode = 0; mode < 3; ++mode) {
        for (u32 purpose = 0; purpose < 4; ++purpose) perturb<T>(shapes, mode, purpose);
        displace<T>(shapes, mode);
    }
    for (int axes = 0; axes < 4; ++axes) plane<T>(shapes, axes & 1, axes & 2);
    add_direction<T>(shapes);
}

} // namespace

void check_points() {
    const Shapes shapes = odd_shapes();
    all<float>(shapes);
    all<double>(shapes);
    guard::proved("perturb, displace, gather, plane and add_direction have the bits of the CPU's formulas");
    for (u32 mode = 0; mode < 3; ++mode) {
        narrow(shapes, mode, "clino_perturb_bf16", bf16);
#ifdef __F16C__
        narrow(shapes, mode, "clino_perturb_f16", f16);
#endif
    }
    guard::proved("perturb in 16 bits is that in f32, rounded");
}
