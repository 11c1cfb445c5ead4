// The part of CUDA C++ that our kernels use, on the processor: one launch at a time, one block after the other.
//
// The threads of a block are fibers, switched at barriers.
// What a device would forgive by chance is found here: threads and blocks run in an order that the caller chooses, from
// order 2 on they also change places at every atomic, shared memory holds garbage at the start of every block, and a
// barrier that some threads do not reach ends the launch with a message.
#pragma once
#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <mutex>
#include <type_traits>
#include <utility>
#include <vector>

#define EMULATION
#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
// One section holds the shared memory of all kernels, so that all of it can be spoilt before a block.
#define __shared__ static __attribute__((section("emulated_shared")))
#define DYNAMIC_SHARED(T, name) T* name = reinterpret_cast<T*>(emulation::state.dynamic)

struct uint3 {
    unsigned x, y, z;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

extern "C" {
extern unsigned char __start_emulated_shared[] __attribute__((weak, visibility("hidden")));
extern unsigned char __stop_emulated_shared[] __attribute__((weak, visibility("hidden")));
}

#include "fibers.h"

namespace emulation {

// What a device's shared memory holds before a kernel writes to it, as far as anybody may rely on it.
const unsigned char GARBAGE = 0xA5;

__attribute__((no_sanitize("address"))) inline void spoil(unsigned char* from, unsigned char* to) {
    for (; from != to; ++from) *from = GARBAGE;
}

// Which of n comes as the i-th: 0 ascending, 1 descending, beyond that a seed.
inline unsigned placed(unsigned i, unsigned n) {
    if (state.order == 0) return i;
    if (state.order == 1) return n - 1 - i;
    unsigned step = (state.order * 2654435761u) | 1u;
    for (unsigned a = step, b = n; a != 1; a = step, b = n) {
        while (b) {
            unsigned rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1) break;
        step += 2;
    }
    return (unsigned)(((uint64_t)i * step + state.order) % n);
}

// Lets every thread that can go on do so, until all are done or wait.
inline void run_ready_threads(unsigned threads, unsigned& done) {
    for (unsigned k = 0; k < threads; ++k) {
        Thread& thread = state.threads[placed(k, threads)];
        if (thread.waits != FRESH && thread.waits != READY) continue;
        state.current = &thread;
        state.thread = thread.index;
        resume(thread);
        if (state.fault) return;
        if (thread.waits == DONE) ++done;
    }
}

// Opens the barriers of warps that are complete; whether there was one.
inline bool open_warps(unsigned threads) {
    bool opened = false;
    for (unsigned low = 0; low < threads; low += 32) {
        unsigned high = low + 32 < threads ? low + 32 : threads, waiting = 0, alive = 0;
        for (unsigned i = low; i < high; ++i) {
            waiting += state.threads[i].waits == AT_WARP;
            alive += state.threads[i].waits != DONE;
        }
        if (!waiting || waiting != alive) continue;
        opened = true;
        for (unsigned i = low; i < high; ++i)
            if (state.threads[i].waits == AT_WARP) state.threads[i].waits = READY;
    }
    return opened;
}

inline void run_block(unsigned threads) {
    state.threads.resize(threads);
    for (unsigned i = 0; i < threads; ++i) state.threads[i] = {FRESH, {i, 0, 0}, nullptr};
    unsigned done = 0;
    while (true) {
        run_ready_threads(threads, done);
        if (state.fault || done == threads) return;
        unsigned ready = 0, at_block = 0;
        for (unsigned i = 0; i < threads; ++i) {
            ready += state.threads[i].waits == READY;
            at_block += state.threads[i].waits == AT_BLOCK;
        }
        if (ready || open_warps(threads)) continue;
        if (at_block + done != threads) {
            state.fault = "some threads wait for their warp, others for their block";
        } else if (done) {
            state.fault = "__syncthreads is not reached by every thread of the block";
        }
        if (state.fault) return;
        for (unsigned i = 0; i < threads; ++i) state.threads[i].waits = READY;
    }
}

struct Shape {
    unsigned blocks[3], threads, shared_bytes, order;
};

// Runs `kernel` for every thread; null or what went wrong.
inline const char* run(const Shape& shape, std::function<void()> kernel) {
    if (!shape.threads || shape.threads > 1024) return "a block has 1 to 1024 threads";
    state.kernel = std::move(kernel);
    state.order = shape.order;
    state.fault = nullptr;
    state.block_size = {shape.threads, 1, 1};
    state.grid_size = {shape.blocks[0], shape.blocks[1], shape.blocks[2]};
    // Exactly as long as asked for, so that the address sanitizer sees its end.
    state.dynamic = static_cast<unsigned char*>(malloc(shape.shared_bytes));
    unsigned blocks = shape.blocks[0] * shape.blocks[1] * shape.blocks[2];
    for (unsigned i = 0; i < blocks && !state.fault; ++i) {
        unsigned at = placed(i, blocks), nx = shape.blocks[0], ny = shape.blocks[1];
        state.block = {at % nx, at / nx % ny, at / (nx * ny)};
        spoil(state.dynamic, state.dynamic + shape.shared_bytes);
        spoil(__start_emulated_shared, __stop_emulated_shared);
        run_block(shape.threads);
    }
    free(state.dynamic);
    return state.fault;
}

inline std::mutex one_at_a_time;

template <class... A, size_t... I>
void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_cv_t<A>*>(arguments[I])...);
}

// `sizes` are those of the caller's arguments: another list than the kernel's is refused, not run.
template <class... A>
const char* launch(void (*kernel)(A...), void** arguments, const size_t* sizes, unsigned count,
                   const Shape& shape) {
    std::lock_guard<std::mutex> lock(one_at_a_time);
    const size_t wanted[] = {sizeof(A)...};
    if (count != sizeof...(A)) return "another number of arguments than the kernel's";
    for (unsigned i = 0; i < count; ++i)
        if (sizes[i] != wanted[i]) return "an argument is not as long as its parameter";
    return run(shape, [=] { call(kernel, arguments, std::index_sequence_for<A...>{}); });
}

}  // namespace emulation

#include "device_functions.h"
#include "tensor_cores.h"

// A kernel by its name, with arguments as cuLaunchKernel takes them.
#define EMULATED(kernel)                                                                        \
    extern "C" __attribute__((visibility("default"))) const char* emulated_##kernel(            \
        void** arguments, const size_t* sizes, unsigned count, const emulation::Shape* shape) { \
        return emulation::launch(kernel, arguments, sizes, count, *shape);                      \
    }
