// Steps and projections bit for bit against the formulas of crates/engine/src/measure/shared/ascent.rs.
//
// Owns: these comparisons. May not touch: kernels.
#include "check.h"

namespace {

double over(double a, double b) { return b == 0.0 ? 0.0 : a / b; }
double pull(double norm, double radius) { return norm < radius ? 1.0 : over(radius, norm); }

double global_norm(const std::vector<double> &squares) {
    double sum = 0;
    for (double x : squares) sum += x;
    return std::sqrt(sum);
}

struct Case {
    std::vector<double> squares, radii, scales;

    Case(u32 n, int form) {
        for (u32 i = 0; i < n; ++i) {
            const double size = std::fabs(some(i, 1)) * std::pow(10.0, double(i % 5) - 2.0);
            squares.push_back(form == 1 && i % 2 == 0 ? 0.0 : size);
            // In a ball of no size nothing is left, not even what is zero.
            radii.push_back(form % 2 && i % 3 == 0 ? 0.0 : std::fabs(some(i, 2)) * (form == 2 ? 100.0 : 1.0));
            scales.push_back(some(i, 3));
        }
        if (form == 3) squares.assign(n, 0.0);
        if (form == 4) squares[n / 2] = NAN;
        if (form == 5) squares[n / 2] = INFINITY;
    }
};

void steps(const Case &one, u32 region, unsigned threads) {
    const u32 n = u32(one.squares.size());
    guard::Buffer<double> squares(one.squares), radii(one.radii), scales(n);
    guard::run(guard::named("clino_steps"), 1, threads, squares.in(), radii.in(), 0.7, region, n, scales.out());
    const double global = global_norm(one.squares);
    std::vector<double> want;
    for (u32 i = 0; i < n; ++i)
        want.push_back(over(0.7 * one.radii[i], region == 2 ? std::sqrt(one.squares[i]) : global));
    guard::expect_equal("steps", scales.copy(), want);
}

void project(const Case &one, u32 region, unsigned threads) {
    const u32 n = u32(one.squares.size());
    guard::Buffer<double> squares(one.squares), radii(one.radii), scales(one.scales), displacement(1);
    guard::run(guard::named("clino_project"), 1, threads, squares.in(), radii.in(), region, n, scales.out(),
               displacement.out());
    const double global = global_norm(one.squares);
    std::vector<double> want = one.scales;
    double left = 0;
    for (u32 i = 0; i < n; ++i) {
        const double factor = pull(region == 0 ? global : std::sqrt(one.squares[i]), one.radii[i]);
        want[i] *= factor;
        left += one.squares[i] * factor * factor;
    }
    guard::expect_equal("project", scales.copy(), want);
    guard::expect_equal<double>("displacement", {displacement[0]}, {std::sqrt(left)});
}

} // namespace

void check_steps() {
    for (u32 n : {1, 3, 31, 33, 255, 256, 257, 1000})
        for (int form = 0; form < 6; ++form)
            for (u32 region = 0; region < 3; ++region)
                for (unsigned threads : {32, 256}) {
                    steps(Case(n, form), region, threads);
                    project(Case(n, form), region, threads);
                }
    guard::proved("steps and project have the bits of the CPU's formulas in every region");
}
