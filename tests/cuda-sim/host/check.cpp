// Runs every kernel over odd shapes in three orders and holds it against plain references; exit status 0 when all hold.
//
// `--names` prints the table of kernels.
//
// Owns: the order of parts. May not touch: how a part compares.
#include "check.h"

extern "C" __attribute__((visibility("default"))) int cuda_host_launch(const char *, unsigned, unsigned, void **);

/// A stack that was left is reused: frames of one thread must not be kept apart from it.
extern "C" const char *__asan_default_options() { return "detect_stack_use_after_return=0:detect_leaks=0"; }

void check_launcher() {
    double x[3] = {1, 2, 4}, sum = 0;
    const double *from = x;
    double *to = &sum;
    u32 n = 3;
    void *arguments[] = {&from, &n, &to};
    if (cuda_host_launch("clino_none", 1, 32, arguments) != 1) guard::failed("a kernel that there is none of");
    if (cuda_host_launch("clino_sum", 1, 64, arguments) != 0 || sum != 7) guard::failed("clino_sum by name: %g", sum);
    guard::compared(3);
    std::printf("two refusals follow, as they should\n");
    std::fflush(stdout);
    if (cuda_host_launch("clino_sum", 1, 512, arguments) != 2) guard::failed("too many threads");
    if (cuda_host_launch("clino_sum", 1, 40, arguments) != 2) guard::failed("half a warp");
    guard::compared(2);
    guard::proved("launch by name");
}

int main(int argc, char **argv) {
    if (argc > 1 && std::string(argv[1]) == "--names") {
        for (const cuda_host::Kernel *kernel = cuda_host::kernels(); kernel->name; ++kernel) std::puts(kernel->name);
        return 0;
    }
    check_noise();
    check_points();
    check_vectors();
    check_sums();
    check_moments();
    check_rows();
    check_steps();
    check_outputs();
    for (const char *name : guard::never_run()) guard::failed("%s was never run", name);
    guard::proved("every kernel ran");
    check_launcher();
    check_controls();
    return guard::failures() ? 1 : 0;
}
