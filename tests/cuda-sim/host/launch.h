// Kernels by name, with arguments as cuLaunchKernel takes them.
//
// Owns: the table of kernels. May not touch: their arguments' meaning.
#pragma once
#include "fibers.h"
#include <cstddef>
#include <utility>

namespace cuda_host {

/// The threads that every kernel's __launch_bounds__ allows.
constexpr unsigned MOST_THREADS = 256;

struct Kernel {
    const char *name;
    /// Runs it as the running thread.
    void (*call)(void **arguments);
    size_t count;
    /// Bytes of each argument.
    const size_t *sizes;
};

/// All kernels, and behind the last one a null name.
const Kernel *kernels();
/// Null when there is none of this name.
const Kernel *find(const char *name);
/// Answers with what was wrong; empty when nothing was.
std::string launch(const Kernel &kernel, unsigned blocks, unsigned threads, Order order, void **arguments);

/// How to call a function whose arguments are pointed at.
template <auto FUNCTION> struct Unpacked;
template <class... A, void (*FUNCTION)(A...)> struct Unpacked<FUNCTION> {
    static constexpr size_t COUNT = sizeof...(A);
    static constexpr size_t SIZES[] = {sizeof(A)...};

    static void call(void **arguments) { with(arguments, std::make_index_sequence<COUNT>{}); }
    template <size_t... I> static void with(void **arguments, std::index_sequence<I...>) {
        FUNCTION(*static_cast<A *>(arguments[I])...);
    }
};

} // namespace cuda_host

#define CUDA_HOST_KERNEL(name)                                                                                         \
    { #name, ::cuda_host::Unpacked<name>::call, ::cuda_host::Unpacked<name>::COUNT, ::cuda_host::Unpacked<name>::SIZES }
