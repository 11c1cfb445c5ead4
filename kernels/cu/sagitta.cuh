// What the kernels share. Compiled for devices by NVRTC, which brings no headers, and for the processor by the emulation,
// which brings its own first.
//
// Neither compiler fuses a product with a sum (--fmad=false, -ffp-contract=off): + - * / and sqrt round as written, on
// every device and on the processor, and where one rounding is wanted the source says fmaf.
#pragma once

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#ifndef EMULATION
#define INFINITY __int_as_float(0x7f800000)
// Shared memory whose size the launch says.
#define DYNAMIC_SHARED(T, name)                                  \
    extern __shared__ __align__(16) unsigned char dynamic_shared[]; \
    T* name = reinterpret_cast<T*>(dynamic_shared)
#endif

// Threads of a block: as many as the host launches, so that the compiler may give each 255 registers.
#define THREADS 256

// A kernel, to be found by its name.
#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS)

// A loop over 0..n by all threads of the launch.
#define FOR_EACH(i, n) \
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += gridDim.x * blockDim.x)

// Threads of a warp.
const int WARP = 32;
const u32 WHOLE_WARP = 0xffffffffu;

// The values of one thread in a launch over rows, `[slices, rows, columns]` (`Call::rows`). A warp takes stretches of ACROSS
// columns a thread, in DOWN rows: each access is of neighbouring values, whatever the length of a row, and nothing is divided.
// Beyond the end of a row or slice a thread reads the last once more, and must not write.
template <int ACROSS, int DOWN>
struct PartOf {
    int i, j, k, columns, rows;

    __device__ PartOf(int columns, int rows)
        : i(blockIdx.x * (ACROSS * WARP) + threadIdx.x % WARP),
          j((blockIdx.y * (THREADS / WARP) + threadIdx.x / WARP) * DOWN), k(blockIdx.z),
          columns(columns), rows(rows) {}

    __device__ int column(int e) const { return min(i + e % ACROSS * WARP, columns - 1); }
    __device__ int row(int e) const { return min(j + e / ACROSS, rows - 1); }
    __device__ int offset(int e) const { return (k * rows + row(e)) * columns + column(e); }
    __device__ bool has(int e) const {
        return i + e % ACROSS * WARP < columns && j + e / ACROSS < rows;
    }
};

// Values of a thread that most kernels have under way at once: a memory that answers after a microsecond is kept busy by that
// many reads of each thread, not by one.
#define EACH 8
typedef PartOf<EACH / 2, 2> Part;

// Index along each axis of the voxel at `offset`; i fastest.
struct Index {
    int i, j, k;
};

__device__ inline Index index_of(int offset, int ni, int nj) {
    int row = offset / ni;
    Index index = {offset - row * ni, row % nj, row / nj};
    return index;
}

// Key whose unsigned order is the order of Rust's `f32::total_cmp`, and back.
__device__ inline u32 ordered(float value) {
    u32 bits = __float_as_uint(value);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

__device__ inline float disordered(u32 key) {
    return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}

// The sum over all threads of a block, for its first thread; always added in the same order. `room` is shared, one place a
// warp; every thread of the block must come here.
template <class T>
__device__ inline T block_sum(T value, T* room) {
    for (int away = WARP / 2; away > 0; away /= 2) value += __shfl_down_sync(WHOLE_WARP, value, away);
    if (threadIdx.x % WARP == 0) room[threadIdx.x / WARP] = value;
    __syncthreads();
    T sum = 0;
    if (threadIdx.x == 0)
        for (int warp = 0; warp * WARP < (int)blockDim.x; ++warp) sum += room[warp];
    return sum;
}

// The least over all threads of a block, for its first thread; as above.
__device__ inline u32 block_least(u32 value, u32* room) {
    for (int away = WARP / 2; away > 0; away /= 2)
        value = min(value, __shfl_down_sync(WHOLE_WARP, value, away));
    if (threadIdx.x % WARP == 0) room[threadIdx.x / WARP] = value;
    __syncthreads();
    if (threadIdx.x == 0)
        for (int warp = 0; warp * WARP < (int)blockDim.x; ++warp) value = min(value, room[warp]);
    return value;
}

// The sum over the threads of a block before this one; `total` is that over all of them. `room` is shared, one place a warp;
// every thread of the block must come here, and may come again.
__device__ inline int block_scan(int value, int* room, int& total) {
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, sum = value;
    for (int away = 1; away < WARP; away *= 2) {
        int before = __shfl_up_sync(WHOLE_WARP, sum, away);
        if (lane >= away) sum += before;
    }
    if (lane == WARP - 1) room[warp] = sum;
    __syncthreads();
    int below = 0;
    total = 0;
    for (int w = 0; w * WARP < (int)blockDim.x; ++w) {
        if (w < warp) below += room[w];
        total += room[w];
    }
    __syncthreads();
    return below + sum - value;
}
