// That the check notices what is broken, and for the right reason: each control runs in a process of its own, which must
// not end well, and say why.
//
// Owns: what counts as noticed. May not touch: the faults.
#define CLINO_HOST
#include "cuda_host.h"
#include "check.h"
#include <cstdlib>
#include <sys/wait.h>
#include <unistd.h>

namespace {
#include "controls.cu"

using cuda_host::Kernel;

/// A fault, and words of what is said of it; with sanitizers, of what they say where they are first.
struct Control {
    Kernel kernel;
    const char *words, *sanitized;
};

const Control SOUND = {CUDA_HOST_KERNEL(sound), "", ""};
const Control BROKEN[] = {
    {CUDA_HOST_KERNEL(no_barrier_before_reading), "depends on the order", ""},
    {CUDA_HOST_KERNEL(no_barrier_between_rounds), "depends on the order", ""},
    {CUDA_HOST_KERNEL(no_barrier_before_the_next_sum), "depends on the order", ""},
    {CUDA_HOST_KERNEL(no_barrier_before_reuse), "depends on the order", ""},
    {CUDA_HOST_KERNEL(writes_one_too_many), "beyond the end", "AddressSanitizer: use-after-poison"},
    {CUDA_HOST_KERNEL(writes_one_before), "beyond the end", "AddressSanitizer: use-after-poison"},
    {CUDA_HOST_KERNEL(reads_one_too_many), "nan, expected", "AddressSanitizer: use-after-poison"},
    {CUDA_HOST_KERNEL(writes_an_input), "changed an input", ""},
    {CUDA_HOST_KERNEL(barriers_at_two_places), "others wait at another one", ""},
    {CUDA_HOST_KERNEL(a_barrier_for_some), "that a barrier waits for", ""},
    {CUDA_HOST_KERNEL(a_return_before_a_barrier), "that a barrier waits for", ""},
    {CUDA_HOST_KERNEL(two_write_one_cell), "depends on the order", ""},
    {CUDA_HOST_KERNEL(a_sum_by_whoever_comes), "depends on the order", ""},
    {CUDA_HOST_KERNEL(a_shuffle_without_all_lanes), "that a shuffle waits for", ""},
    {CUDA_HOST_KERNEL(a_shuffle_after_a_return), "that a shuffle waits for", ""},
    {CUDA_HOST_KERNEL(shuffles_at_two_places), "at two shuffles", ""},
    {CUDA_HOST_KERNEL(shared_memory_read_unwritten), "nan, expected", ""},
    {CUDA_HOST_KERNEL(again), "depends on the order", ""},
#ifdef CUDA_HOST_SANITIZED
    {CUDA_HOST_KERNEL(a_vector_at_an_odd_address), "misaligned address", ""},
    {CUDA_HOST_KERNEL(beyond_shared_memory), "out of bounds for type", ""},
#endif
};

/// Runs it and leaves; with status 0 when nothing was noticed.
[[noreturn]] void run_and_leave(const Kernel &kernel, int to) {
    dup2(to, STDOUT_FILENO);
    dup2(to, STDERR_FILENO);
    const size_t before = guard::failures();
    std::vector<float> numbers_;
    for (int i = 1; i <= 64; ++i) numbers_.push_back(float(i));
    guard::Buffer<float> x(numbers_), out(64);
    const bool twice = std::strcmp(kernel.name, "again") == 0;
    guard::run(kernel, twice ? 2 : 1, 64, x.in(), out.out(), 64u);
    guard::expect_equal(kernel.name, out.copy(), std::vector<float>(64, 2080.0f));
    std::fflush(stdout);
    std::_Exit(guard::failures() > before ? 1 : 0);
}

/// What it said, and whether it ended well.
std::string said(const Kernel &kernel, bool &well) {
    int ends[2];
    if (pipe(ends) != 0) guard::failed("no pipe");
    std::fflush(nullptr);
    const pid_t child = fork();
    if (child == 0) run_and_leave(kernel, ends[1]);
    close(ends[1]);
    std::string all;
    char some_[4096];
    for (ssize_t n; (n = read(ends[0], some_, sizeof some_)) > 0;) all.append(some_, size_t(n));
    close(ends[0]);
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) guard::failed("no process for %s", kernel.name);
    well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    return all;
}

void expect_noticed(const Control &control) {
    bool well = false;
    const std::string text = said(control.kernel, well);
    const auto has = [&](const char *words) { return *words && text.find(words) != std::string::npos; };
    if (!well && (has(control.words) || has(control.sanitized))) return;
    guard::failed("the broken kernel %s was not noticed, or not for its fault: %s", control.kernel.name, text.c_str());
}

} // namespace

void check_controls() {
    bool well = false;
    const std::string text = said(SOUND.kernel, well);
    if (!well) guard::failed("a sound kernel was taken for a broken one: %s", text.c_str());
    for (const Control &control : BROKEN) expect_noticed(control);
    guard::compared(1 + sizeof BROKEN / sizeof *BROKEN);
    guard::proved("every broken kernel was noticed for its fault, a sound one was not");
}
