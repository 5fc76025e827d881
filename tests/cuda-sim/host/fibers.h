// Grids on one processor: the threads of a block as fibers.
//
// Errors: a barrier that some threads do not reach or reach at another line; a shuffle whose mask names lanes that
// ended, are elsewhere or do not exist; a lane read that the mask does not name; threads that wait for ever. Shared
// memory is poisoned before each block. What depends on the order of threads or blocks, a race for one, shows when a
// launch is repeated in another order: its results differ.
//
// Owns: the order of blocks and threads. May not touch: which kernels there are.
#pragma once
#include <cstdint>
#include <string>

#if defined(__SANITIZE_ADDRESS__)
#define CUDA_HOST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CUDA_HOST_SANITIZED 1
#endif
#endif

namespace cuda_host {

/// In what order threads and blocks take turns: forward and in reverse each warp runs as far ahead as it can, in a
/// shuffle all threads go at one pace.
struct Order {
    enum Kind { FORWARD, REVERSE, SHUFFLED } kind = FORWARD;
    uint64_t seed = 0;

    /// Of CUDA_HOST_ORDER: forward, reverse, or the seed of a shuffle.
    static Order of_environment();
};

/// What a thread runs.
typedef void (*Body)(void *context);

/// Runs all blocks; answers with what was wrong, which is empty when nothing was.
std::string launch(unsigned blocks, unsigned threads, Order order, Body body, void *context);

} // namespace cuda_host
