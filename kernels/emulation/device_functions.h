// Variables and functions that every CUDA kernel has, as our kernels use them.
#pragma once

#define threadIdx (emulation::state.thread)
#define blockIdx (emulation::state.block)
#define blockDim (emulation::state.block_size)
#define gridDim (emulation::state.grid_size)

inline void __syncthreads() { emulation::give_way(emulation::AT_BLOCK); }
inline void __syncwarp(unsigned = ~0u) { emulation::give_way(emulation::AT_WARP); }
// What a thread wrote is seen at once by all.
inline void __threadfence() {}

namespace emulation {

// `value` of another lane of the warp; its own where that lane is none.
template <class T>
T of_lane(T value, unsigned lane) {
    static_assert(sizeof(T) <= 8, "a lane shows 8 bytes at most");
    uint64_t(&shown)[32] = state.shown[state.thread.x / 32];
    memcpy(&shown[state.thread.x % 32], &value, sizeof value);
    give_way(AT_WARP);
    T result = value;
    bool alive = lane < 32 && state.thread.x / 32 * 32 + lane < state.block_size.x;
    if (alive) memcpy(&result, &shown[lane], sizeof result);
    give_way(AT_WARP);
    return result;
}

// Another thread may come before every atomic.
inline void interrupted() {
    if (state.order >= 2) give_way(READY);
}

template <class T, class F>
T exchanged(T* at, F next) {
    interrupted();
    T old = *at;
    *at = next(old);
    return old;
}

}  // namespace emulation

inline unsigned lane_of_thread() { return emulation::state.thread.x % 32; }

template <class T>
T __shfl_sync(unsigned, T value, unsigned lane) {
    return emulation::of_lane(value, lane & 31);
}
template <class T>
T __shfl_down_sync(unsigned, T value, unsigned by) {
    return emulation::of_lane(value, lane_of_thread() + by);
}
template <class T>
T __shfl_up_sync(unsigned, T value, unsigned by) {
    return emulation::of_lane(value, lane_of_thread() - by);
}
template <class T>
T __shfl_xor_sync(unsigned, T value, unsigned mask) {
    return emulation::of_lane(value, lane_of_thread() ^ mask);
}

// The second operand has the type of the first, as in CUDA's overloads.
template <class T>
T atomicAdd(T* at, std::common_type_t<T> value) {
    return emulation::exchanged(at, [=](T old) { return (T)(old + value); });
}
template <class T>
T atomicMin(T* at, std::common_type_t<T> value) {
    return emulation::exchanged(at, [=](T old) { return value < old ? value : old; });
}
template <class T>
T atomicMax(T* at, std::common_type_t<T> value) {
    return emulation::exchanged(at, [=](T old) { return value > old ? value : old; });
}
template <class T>
T atomicOr(T* at, std::common_type_t<T> value) {
    return emulation::exchanged(at, [=](T old) { return old | value; });
}
template <class T>
T atomicCAS(T* at, std::common_type_t<T> expected, std::common_type_t<T> value) {
    return emulation::exchanged(at, [=](T old) { return old == expected ? value : old; });
}

inline int __popc(unsigned value) { return __builtin_popcount(value); }
inline int __popcll(unsigned long long value) { return __builtin_popcountll(value); }
// From 1 on; 0 where no bit is set.
inline int __ffsll(unsigned long long value) { return __builtin_ffsll((long long)value); }
inline int __ffs(unsigned value) { return __builtin_ffs((int)value); }
inline int __clz(unsigned value) { return value ? __builtin_clz(value) : 32; }
inline int __clzll(unsigned long long value) { return value ? __builtin_clzll(value) : 64; }

inline unsigned __float_as_uint(float value) {
    unsigned bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}
inline float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// CUDA has these outside of any namespace.
template <class T>
T min(T a, std::common_type_t<T> b) {
    return b < a ? b : a;
}
template <class T>
T max(T a, std::common_type_t<T> b) {
    return a < b ? b : a;
}
