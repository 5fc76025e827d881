// The scheduler of `fibers.h`: stacks, turns, barriers and shuffles.
//
// Owns: all state of the running block. May not touch: kernels' memory but the shared one, which it poisons.
#include "fibers.h"
#include "cuda_host.h"
#include <cstdlib>
#include <numeric>
#include <sys/mman.h>
#include <utility>
#include <vector>
#ifdef CUDA_HOST_SANITIZED
#include <sanitizer/asan_interface.h>
#endif
#ifndef ASAN_UNPOISON_MEMORY_REGION
#define ASAN_UNPOISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#endif

extern "C" {
extern char __start_cuda_host_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_cuda_host_shared[] __attribute__((weak, visibility("hidden")));
}

// -- changing stacks --------------------------------------------------------------------------------------------------

#if defined(__x86_64__) && defined(__linux__)
typedef void *Stack;
extern "C" void cuda_host_change(Stack *from, Stack to);
// What a called function keeps, and the stack itself.
asm(".text\n.globl cuda_host_change\n.hidden cuda_host_change\n.type cuda_host_change,@function\ncuda_host_change:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n"
    ".size cuda_host_change,.-cuda_host_change\n");
static void change(Stack &from, Stack &to) { cuda_host_change(&from, to); }
static void prepare(Stack &stack, char *memory, size_t bytes, void (*entry)()) {
    void **top = reinterpret_cast<void **>(memory + bytes) - 2;
    // A function begins eight bytes below a multiple of sixteen.
    *top = reinterpret_cast<void *>(entry);
    stack = top - 6;
}
#else
#include <ucontext.h>
typedef ucontext_t Stack;
static void change(Stack &from, Stack &to) { swapcontext(&from, &to); }
static void prepare(Stack &stack, char *memory, size_t bytes, void (*entry)()) {
    getcontext(&stack);
    stack.uc_stack.ss_sp = memory;
    stack.uc_stack.ss_size = bytes;
    stack.uc_link = nullptr;
    makecontext(&stack, entry, 0);
}
#endif

namespace cuda_host {

Where here;

namespace {

constexpr size_t STACK = 64 * 1024;
constexpr unsigned MOST = 1024;

struct Fiber {
    Stack stack;
    unsigned number;
    bool done;
    /// It goes on when this is no longer `seen`.
    const uint64_t *waits_for;
    uint64_t seen;
};

/// Lanes that meet, by the lowest of them. What they bring alternates between two places, so that one may run ahead.
struct Group {
    unsigned mask, arrived;
    uint64_t rounds;
    Line at;
    uint64_t brought[2][32];
};

struct Warp {
    unsigned exist, ended;
    Group groups[32];
};

struct State {
    Stack scheduler;
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    std::vector<unsigned> turns;
    char *stacks = nullptr;
    Fiber *running = nullptr;
    unsigned ended = 0, at_barrier = 0;
    uint64_t barriers = 0, random = 0;
    Line barrier_at = {"", 0};
    std::string error;
    Body body = nullptr;
    void *context = nullptr;
};
State state;

unsigned random_below(unsigned n) {
    state.random ^= state.random << 13;
    state.random ^= state.random >> 7;
    state.random ^= state.random << 17;
    return unsigned((state.random >> 20) % n);
}

void shuffle_turns(std::vector<unsigned> &turns) {
    for (size_t i = turns.size(); i > 1; --i) std::swap(turns[i - 1], turns[random_below(unsigned(i))]);
}

void set_turns(std::vector<unsigned> &turns, unsigned n, Order order) {
    turns.resize(n);
    std::iota(turns.begin(), turns.end(), 0u);
    if (order.kind == Order::REVERSE)
        for (unsigned i = 0; i < n; ++i) turns[i] = n - 1 - i;
    if (order.kind == Order::SHUFFLED) shuffle_turns(turns);
}

void back_to_scheduler() { change(state.running->stack, state.scheduler); }

void wait(const uint64_t *on, uint64_t seen) {
    state.running->waits_for = on;
    state.running->seen = seen;
    back_to_scheduler();
}

bool same(Line a, Line b) { return a.line == b.line && std::strcmp(a.file, b.file) == 0; }

/// A thread that ends may not leave others waiting.
void end_of_thread() {
    const Fiber &me = *state.running;
    Warp &warp = state.warps[me.number / 32];
    const unsigned bit = 1u << me.number % 32;
    for (const Group &group : warp.groups)
        if (group.arrived && (group.mask & bit)) fail(group.at, "a thread ended that a shuffle waits for");
    if (state.at_barrier) fail(state.barrier_at, "a thread ended that a barrier waits for");
    warp.ended |= bit;
    ++state.ended;
}

void entry() {
    state.body(state.context);
    end_of_thread();
    state.running->done = true;
    back_to_scheduler();
}

void begin_block(unsigned block, unsigned threads) {
    here.block.x = block;
    if (__start_cuda_host_shared)
        std::memset(__start_cuda_host_shared, 0xff, size_t(__stop_cuda_host_shared - __start_cuda_host_shared));
    state.ended = state.at_barrier = 0;
    for (unsigned i = 0; i < threads; ++i) {
        state.fibers[i] = {Stack{}, i, false, nullptr, 0};
        prepare(state.fibers[i].stack, state.stacks + i * STACK, STACK, entry);
    }
    for (unsigned w = 0; w < state.warps.size(); ++w) {
        const unsigned lanes = threads - 32 * w;
        state.warps[w].exist = lanes < 32 ? (1u << lanes) - 1 : ~0u;
        state.warps[w].ended = 0;
        for (Group &group : state.warps[w].groups) group.arrived = 0;
    }
}

/// One turn for each of these threads that can go on; false when there is none.
bool round_of_turns(const unsigned *begin, const unsigned *end) {
    bool any = false;
    for (const unsigned *next = begin; next != end; ++next) {
        const unsigned i = *next;
        Fiber &fiber = state.fibers[i];
        if (fiber.done || (fiber.waits_for && *fiber.waits_for == fiber.seen)) continue;
        fiber.waits_for = nullptr;
        state.running = &fiber;
        here.thread.x = i;
        change(state.scheduler, fiber.stack);
        if (!state.error.empty()) return false;
        any = true;
    }
    return any;
}

/// Each warp as far as it comes by itself before the next one: a warp that runs ahead meets what others have not read.
bool warp_by_warp() {
    bool any = false;
    const unsigned *const all = state.turns.data(), *const end = all + state.turns.size();
    for (const unsigned *warp = all; warp < end; warp += 32)
        while (round_of_turns(warp, end - warp < 32 ? end : warp + 32)) any = true;
    return any && state.error.empty();
}

/// All threads in turn, in an order that changes.
bool mixed() {
    shuffle_turns(state.turns);
    return round_of_turns(state.turns.data(), state.turns.data() + state.turns.size());
}

void run_block(unsigned block, unsigned threads, Order order) {
    begin_block(block, threads);
    while (state.ended < threads) {
        if (order.kind == Order::SHUFFLED ? mixed() : warp_by_warp()) continue;
        if (state.error.empty()) state.error = "threads wait for ever in block " + std::to_string(block);
        return;
    }
}

bool make_room(unsigned threads) {
    if (!state.stacks) {
        void *const at = mmap(nullptr, MOST * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) return false;
        state.stacks = static_cast<char *>(at);
    }
    state.fibers.resize(threads);
    state.warps.resize((threads + 31) / 32);
    return true;
}

} // namespace

unsigned lane() { return state.running->number % 32; }

void fail(Line at, const char *why) {
    if (state.error.empty())
        state.error = std::string(why) + " at " + at.file + ":" + std::to_string(at.line) + ", block " +
                      std::to_string(here.block.x) + ", thread " + std::to_string(state.running->number);
    // No thread gets a turn after an error. That this never returns must not be seen, or a sanitizer would look for the
    // end of the stack that it knows.
    back_to_scheduler();
}

void barrier(Line at) {
    if (state.ended) fail(at, "a barrier after some threads ended");
    if (state.at_barrier && !same(at, state.barrier_at)) fail(at, "a barrier while others wait at another one");
    state.barrier_at = at;
    if (++state.at_barrier < state.fibers.size()) return wait(&state.barriers, state.barriers);
    state.at_barrier = 0;
    ++state.barriers;
}

uint64_t exchange(Line at, unsigned mask, uint64_t bits, unsigned from) {
    const unsigned me = lane();
    Warp &warp = state.warps[state.running->number / 32];
    if (!(mask >> me & 1)) fail(at, "a shuffle whose mask leaves its own lane out");
    if (mask & ~warp.exist) fail(at, "a shuffle that names lanes which the block lacks");
    if (mask & warp.ended) fail(at, "a shuffle that names lanes which ended");
    if (from >= 32 || !(mask >> from & 1)) fail(at, "a shuffle that reads a lane which its mask leaves out");
    Group &group = warp.groups[__builtin_ctz(mask)];
    if (group.arrived && (group.mask != mask || !same(group.at, at))) fail(at, "lanes of one warp at two shuffles");
    group.mask = mask, group.at = at;
    const uint64_t round = group.rounds;
    group.brought[round & 1][me] = bits;
    group.arrived |= 1u << me;
    if (group.arrived == mask) {
        group.arrived = 0;
        ++group.rounds;
    } else {
        wait(&group.rounds, round);
    }
    return group.brought[round & 1][from];
}

Order Order::of_environment() {
    const char *const text = std::getenv("CUDA_HOST_ORDER");
    if (!text || !*text || std::strcmp(text, "forward") == 0) return {};
    if (std::strcmp(text, "reverse") == 0) return {REVERSE, 0};
    return {SHUFFLED, std::strtoull(text, nullptr, 0)};
}

std::string launch(unsigned blocks, unsigned threads, Order order, Body body, void *context) {
    if (blocks == 0 || threads == 0 || threads > MOST) return "a grid or block of an impossible size";
    if (!make_room(threads)) return "no memory for stacks";
    state.error.clear();
    state.body = body, state.context = context;
    state.random = order.seed * 0x9e3779b97f4a7c15ull + 0x2545f4914f6cdd1dull;
    here.threads = {threads, 1, 1}, here.blocks = {blocks, 1, 1};
    std::vector<unsigned> of_blocks;
    set_turns(of_blocks, blocks, order);
    set_turns(state.turns, threads, order);
    for (const unsigned block : of_blocks) {
        run_block(block, threads, order);
        if (state.error.empty()) continue;
        // Frames of threads that never returned.
        ASAN_UNPOISON_MEMORY_REGION(state.stacks, MOST * STACK);
        break;
    }
    return state.error;
}

} // namespace cuda_host
