// Memory of tests and repeated launches: see `guard.h`.
//
// Owns: the list of zones. May not touch: what a kernel computes.
#include "guard.h"
#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdlib>
#include <set>
#include <string>
#ifdef CUDA_HOST_SANITIZED
#include <sanitizer/asan_interface.h>
#endif

namespace guard {

namespace {
// Not a number in every precision, so that one that is read shows.
constexpr unsigned char PATTERN = 0xff;
constexpr size_t ALIGNED = 256;
constexpr size_t MOST_FAILURES = 20;

std::vector<Zone *> zones;
std::set<std::string> ran;
size_t failures_ = 0, compared_ = 0, launches = 0;

typedef std::vector<std::vector<unsigned char>> Contents;

Contents contents() {
    Contents all;
    for (const Zone *zone : zones) all.emplace_back(zone->data(), zone->data() + zone->bytes());
    return all;
}

void restore(const Contents &all) {
    for (size_t i = 0; i < all.size(); ++i)
        if (!all[i].empty()) std::memcpy(zones[i]->data(), all[i].data(), all[i].size());
}

bool is_input(const Zone *zone, const std::vector<const void *> &inputs) {
    return std::find(inputs.begin(), inputs.end(), zone->data()) != inputs.end();
}

void check_memory(const char *name, const Contents &before, const Contents &after,
                  const std::vector<const void *> &inputs) {
    for (size_t i = 0; i < zones.size(); ++i) {
        if (!zones[i]->guards_hold()) failed("%s: wrote beyond the end of a buffer", name);
        if (is_input(zones[i], inputs) && before[i] != after[i]) failed("%s: changed an input", name);
    }
}

} // namespace

Zone::Zone(size_t bytes) : bytes_(bytes), all_(2 * FRONT + (bytes + ALIGNED - 1) / ALIGNED * ALIGNED) {
    memory_ = static_cast<unsigned char *>(std::aligned_alloc(ALIGNED, all_));
    if (!memory_) std::abort();
    std::memset(memory_, PATTERN, all_);
#ifdef CUDA_HOST_SANITIZED
    __asan_poison_memory_region(memory_, FRONT);
    __asan_poison_memory_region(data() + bytes_, all_ - FRONT - bytes_);
#endif
    zones.push_back(this);
}

Zone::~Zone() {
#ifdef CUDA_HOST_SANITIZED
    __asan_unpoison_memory_region(memory_, all_);
#endif
    zones.erase(std::find(zones.begin(), zones.end(), this));
    std::free(memory_);
}

bool Zone::guards_hold() const {
#ifdef CUDA_HOST_SANITIZED
    return true;
#else
    const auto intact = [](unsigned char x) { return x == PATTERN; };
    return std::all_of(memory_, data(), intact) && std::all_of(data() + bytes_, memory_ + all_, intact);
#endif
}

void failed(const char *format, ...) {
    va_list rest;
    va_start(rest, format);
    std::printf("FAILED ");
    std::vprintf(format, rest);
    std::printf("\n");
    va_end(rest);
    if (++failures_ >= MOST_FAILURES) std::exit(1);
}

size_t failures() { return failures_; }

void compared(size_t n) { compared_ += n; }

void proved(const char *what) {
    static size_t before = 0;
    const bool good = failures_ == before;
    std::printf("%s %s: %zu numbers, %zu launches\n", good ? "ok" : "NOT", what, compared_, launches);
    std::fflush(stdout);
    before = failures_;
    compared_ = launches = 0;
}

std::vector<const char *> never_run() {
    std::vector<const char *> names;
    for (const cuda_host::Kernel *kernel = cuda_host::kernels(); kernel->name; ++kernel)
        if (!ran.count(kernel->name)) names.push_back(kernel->name);
    return names;
}

const cuda_host::Kernel &named(const char *name) {
    const cuda_host::Kernel *const kernel = cuda_host::find(name);
    if (kernel) return *kernel;
    failed("no kernel %s", name);
    std::exit(1);
}

void run_all(const cuda_host::Kernel &kernel, unsigned blocks, unsigned threads, void **arguments,
             const std::vector<size_t> &sizes, const std::vector<const void *> &inputs) {
    using cuda_host::Order;
    if (!std::equal(sizes.begin(), sizes.end(), kernel.sizes, kernel.sizes + kernel.count))
        return failed("%s: the test gives other arguments", kernel.name);
    ran.insert(kernel.name);
    const Contents before = contents();
    Contents first;
    for (const Order order : {Order{Order::FORWARD, 0}, Order{Order::REVERSE, 0}, Order{Order::SHUFFLED, 1}}) {
        restore(before);
        ++launches;
        const std::string error = cuda_host::launch(kernel, blocks, threads, order, arguments);
        if (!error.empty()) return failed("%s: %s", kernel.name, error.c_str());
        Contents after = contents();
        check_memory(kernel.name, before, after, inputs);
        if (order.kind == Order::FORWARD)
            first = std::move(after);
        else if (after != first)
            return failed("%s: depends on the order of threads or blocks", kernel.name);
    }
}

void expect_close(const char *what, size_t i, double found, long double want, long double tolerance) {
    compared(1);
    if (std::isnan(found) && std::isnan(want)) return;
    if (double(want) == found) return;
    if (std::fabs((long double)found - want) <= tolerance) return;
    failed("%s [%zu]: %.17g, expected %.17Lg to %.3Lg", what, i, found, want, tolerance);
}

} // namespace guard
