// Buffers with guarded ends, and launches that are repeated in every order.
//
// A launch must leave the guards and its inputs (pointers to const) as they were, and give the same bits in each order.
//
// Owns: memory of tests, and the count of what failed. May not touch: what a kernel computes.
#pragma once
#include "launch.h"
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <type_traits>
#include <vector>

namespace guard {

/// Memory between two guards; of interest by address.
class Zone {
  public:
    explicit Zone(size_t bytes);
    ~Zone();
    Zone(const Zone &) = delete;
    Zone &operator=(const Zone &) = delete;

    unsigned char *data() const { return memory_ + FRONT; }
    size_t bytes() const { return bytes_; }
    bool guards_hold() const;

  private:
    static constexpr size_t FRONT = 512;
    unsigned char *memory_;
    size_t bytes_, all_;
};

template <class T> class Buffer {
  public:
    explicit Buffer(size_t n) : zone_(n * sizeof(T)), n_(n) { std::memset(zone_.data(), 0, zone_.bytes()); }
    explicit Buffer(const std::vector<T> &from) : Buffer(from.size()) { set(from); }

    void set(const std::vector<T> &from) {
        if (!from.empty()) std::memcpy(zone_.data(), from.data(), zone_.bytes());
    }
    T *out() { return reinterpret_cast<T *>(zone_.data()); }
    const T *in() const { return reinterpret_cast<const T *>(zone_.data()); }
    T operator[](size_t i) const { return in()[i]; }
    size_t size() const { return n_; }
    std::vector<T> copy() const { return std::vector<T>(in(), in() + n_); }

  private:
    Zone zone_;
    size_t n_;
};

/// Says what failed, and counts it.
void failed(const char *format, ...) __attribute__((format(printf, 1, 2)));
size_t failures();
/// Counts numbers that were compared.
void compared(size_t n);
/// Prints one line for what has been compared since the last one.
void proved(const char *what);
/// Names of the table that no test has run.
std::vector<const char *> never_run();

void run_all(const cuda_host::Kernel &kernel, unsigned blocks, unsigned threads, void **arguments,
             const std::vector<size_t> &sizes, const std::vector<const void *> &inputs);
const cuda_host::Kernel &named(const char *name);

template <class A> void note_input(std::vector<const void *> &inputs, A a) {
    if constexpr (std::is_pointer_v<A>)
        if constexpr (std::is_const_v<std::remove_pointer_t<A>>) inputs.push_back(a);
}

template <class... A> void run(const cuda_host::Kernel &kernel, unsigned blocks, unsigned threads, A... a) {
    void *arguments[] = {&a...};
    std::vector<const void *> inputs;
    (note_input(inputs, a), ...);
    run_all(kernel, blocks, threads, arguments, {sizeof(A)...}, inputs);
}

template <class T> bool same_bits(T a, T b) { return std::memcmp(&a, &b, sizeof a) == 0; }

/// All bits of all numbers; what is not a number is one whatever its bits.
template <class T> void expect_equal(const char *what, const std::vector<T> &found, const std::vector<T> &want) {
    compared(found.size());
    if (found.size() != want.size()) return failed("%s: %zu numbers, expected %zu", what, found.size(), want.size());
    for (size_t i = 0; i < found.size(); ++i) {
        if (same_bits(found[i], want[i]) || (found[i] != found[i] && want[i] != want[i])) continue;
        return failed("%s [%zu]: %.17g, expected %.17g", what, i, double(found[i]), double(want[i]));
    }
}

/// Within `tolerance`; what is not finite must be the same.
void expect_close(const char *what, size_t i, double found, long double want, long double tolerance);

} // namespace guard
