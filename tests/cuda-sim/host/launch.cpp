// The library: all kernels of clino as a driver would find them.
//
// Owns: the table of names. May not touch: the kernels, which it includes as they are.
#define CLINO_HOST
#include "launch.h"
#include "cuda_host.h"
#include <cstdio>
#include <mutex>

namespace {
// Without a name, so that no inline function's shared memory is merged with that of another file.
#include "clino.cu"

#define BOTH(name) CUDA_HOST_KERNEL(clino_##name##_f32), CUDA_HOST_KERNEL(clino_##name##_f64)

const cuda_host::Kernel KERNELS[] = {
    BOTH(perturb),
    CUDA_HOST_KERNEL(clino_perturb_bf16),
    CUDA_HOST_KERNEL(clino_perturb_f16),
    BOTH(displace),
    BOTH(noise),
    BOTH(gather),
    BOTH(products),
    BOTH(noise_squares),
    BOTH(product_with_noise),
    BOTH(to_metric),
    BOTH(ascend),
    BOTH(combine),
    BOTH(climb_box),
    BOTH(plane),
    BOTH(add_direction),
    BOTH(moments),
    CUDA_HOST_KERNEL(clino_join),
    CUDA_HOST_KERNEL(clino_moments_join),
    CUDA_HOST_KERNEL(clino_sum),
    CUDA_HOST_KERNEL(clino_steps),
    CUDA_HOST_KERNEL(clino_project),
    BOTH(row_squares),
    BOTH(noise_row_squares),
    CUDA_HOST_KERNEL(clino_join_rows),
    CUDA_HOST_KERNEL(clino_row_scales),
    BOTH(cross_entropy),
    {nullptr, nullptr, 0, nullptr},
};

/// One launch at a time: there is one block's state.
std::mutex turn;
std::string last_error;

struct Call {
    const cuda_host::Kernel *kernel;
    void **arguments;
};

void run(void *context) {
    const Call &call = *static_cast<Call *>(context);
    call.kernel->call(call.arguments);
}

} // namespace

namespace cuda_host {

const Kernel *kernels() { return KERNELS; }

const Kernel *find(const char *name) {
    for (const Kernel *kernel = KERNELS; kernel->name; ++kernel)
        if (std::strcmp(kernel->name, name) == 0) return kernel;
    return nullptr;
}

std::string launch(const Kernel &kernel, unsigned blocks, unsigned threads, Order order, void **arguments) {
    if (threads > MOST_THREADS) return "more threads than __launch_bounds__";
    Call call = {&kernel, arguments};
    return launch(blocks, threads, order, run, &call);
}

} // namespace cuda_host

#define EXPORTED extern "C" __attribute__((visibility("default")))

/// 0: done; 1: no such kernel; 2: a check failed, which `cuda_host_error` and standard error name.
EXPORTED int cuda_host_launch(const char *kernel, unsigned grid_x, unsigned block_x, void **arguments) {
    const std::lock_guard<std::mutex> mine(turn);
    const cuda_host::Kernel *const found = cuda_host::find(kernel);
    if (!found) return 1;
    last_error = cuda_host::launch(*found, grid_x, block_x, cuda_host::Order::of_environment(), arguments);
    if (last_error.empty()) return 0;
    std::fprintf(stderr, "%s: %s\n", kernel, last_error.c_str());
    return 2;
}

/// What was wrong with the last launch; empty when nothing was.
EXPORTED const char *cuda_host_error() { return last_error.c_str(); }

/// Number of a kernel's arguments and the bytes of each, for a driver that copies them; 0 when there is no such kernel.
EXPORTED unsigned cuda_host_arguments(const char *kernel, const size_t **sizes) {
    const cuda_host::Kernel *const found = cuda_host::find(kernel);
    if (!found) return 0;
    *sizes = found->sizes;
    return unsigned(found->count);
}
