// The threads of an emulated block: each has a stack of its own and gives way where it waits.
//
// A stack is made once (makecontext) and switched by _setjmp and _longjmp, which ask nothing of the kernel of the system. A
// thread that ends leaves its stack to the next, so threads that never wait share one.
#pragma once
#include <functional>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulation {

// Frames under the address sanitizer are several times larger than ours.
const size_t STACK_BYTES = 128 * 1024;

enum Waits { FRESH, READY, AT_WARP, AT_BLOCK, DONE };

struct Fiber {
    jmp_buf place;
    ucontext_t start;
    unsigned char* stack;
    bool started;
};

struct Thread {
    Waits waits;
    uint3 index;
    Fiber* fiber;
};

struct State {
    uint3 thread, block, block_size, grid_size;
    unsigned char* dynamic = nullptr;
    unsigned order = 0;
    const char* fault = nullptr;
    std::function<void()> kernel;
    std::vector<Thread> threads;
    std::vector<Fiber*> idle;
    Thread* current = nullptr;
    jmp_buf scheduler;
    // What the lanes of each warp show each other.
    uint64_t shown[32][32];
    // The factors that each lane of each warp brings to a product of matrices.
    float factors[32][32][12];
    // The same of whole numbers, as the words they come in.
    unsigned bytes[32][32][6];
    // Bounds of the scheduler's own stack, for the address sanitizer.
    const void* scheduler_stack = nullptr;
    size_t scheduler_stack_bytes = 0;

    ~State() {
        for (Fiber* fiber : idle) {
            free(fiber->stack);
            delete fiber;
        }
    }
};

// Stacks are good for the thread of the system on which they were made.
inline thread_local State state;

inline void leaving(void** save, const void* stack, size_t bytes) {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(save, stack, bytes);
#else
    (void)save, (void)stack, (void)bytes;
#endif
}

inline void arrived(void* save, const void** stack, size_t* bytes) {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(save, stack, bytes);
#else
    (void)save, (void)stack, (void)bytes;
#endif
}

// Back to the scheduler; returns when this thread may go on.
inline void give_way(Waits waits) {
    state.current->waits = waits;
    Fiber* fiber = state.current->fiber;
    void* save = nullptr;
    leaving(&save, state.scheduler_stack, state.scheduler_stack_bytes);
    if (_setjmp(fiber->place) == 0) _longjmp(state.scheduler, 1);
    arrived(save, nullptr, nullptr);
}

inline void fiber_main() {
    arrived(nullptr, &state.scheduler_stack, &state.scheduler_stack_bytes);
    while (true) {
        state.kernel();
        give_way(DONE);
    }
}

// Runs `thread` until it waits or ends.
inline void resume(Thread& thread) {
    if (!thread.fiber) {
        if (state.idle.empty()) {
            Fiber* fiber = new Fiber();
            fiber->stack = static_cast<unsigned char*>(malloc(STACK_BYTES));
            state.idle.push_back(fiber);
        }
        thread.fiber = state.idle.back();
        state.idle.pop_back();
    }
    Fiber* fiber = thread.fiber;
    void* save = nullptr;
    leaving(&save, fiber->stack, STACK_BYTES);
    if (_setjmp(state.scheduler) == 0) {
        if (fiber->started) _longjmp(fiber->place, 1);
        fiber->started = true;
        getcontext(&fiber->start);
        fiber->start.uc_stack.ss_sp = fiber->stack;
        fiber->start.uc_stack.ss_size = STACK_BYTES;
        fiber->start.uc_link = nullptr;
        makecontext(&fiber->start, fiber_main, 0);
        setcontext(&fiber->start);
    }
    arrived(save, nullptr, nullptr);
    // A thread in the midst of a launch that failed keeps its stack for ever.
    if (thread.waits == DONE) {
        state.idle.push_back(thread.fiber);
        thread.fiber = nullptr;
    }
}

}  // namespace emulation
