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

// Masks as bits: a word holds 32 neighbours along i, the first of them at a multiple of 32 of its row.
const int BITS = 32;

// The word `w` of a volume whose rows are of `row_words`: its row, the column and offset of its first voxel, and its voxels.
struct Word {
    int row, column, first, count;
};

__device__ inline int words_of(int count) { return (count + BITS - 1) / BITS; }

__device__ inline Word word_at(int w, int ni, int row_words) {
    int row = w / row_words, column = (w - row * row_words) * BITS;
    Word word = {row, column, row * ni + column, min(BITS, ni - column)};
    return word;
}

// The lowest `count` bits, 1 to 32.
__device__ inline u32 low_bits(int count) { return WHOLE_WARP >> (BITS - count); }

// Takes the lowest bit out of `bits`, which has one.
__device__ inline int next_bit(u32& bits) {
    int bit = __ffs(bits) - 1;
    bits &= bits - 1;
    return bit;
}

// The last bit at or before `bit` that is set; one must be.
__device__ inline int last_bit(u32 bits, int bit) { return 31 - __clz(bits & (2u << bit) - 1); }

// 64 bits of a row from column `at` on, which may lie before it; 0 beyond both its ends.
__device__ inline u64 window(const u32* row, int row_words, int at) {
    int w = at >> 5, shift = at & 31;
    u64 low = w >= 0 && w < row_words ? row[w] : 0;
    u64 middle = w + 1 >= 0 && w + 1 < row_words ? row[w + 1] : 0;
    u64 high = w + 2 >= 0 && w + 2 < row_words ? row[w + 2] : 0;
    u64 both = low | middle << 32;
    return shift == 0 ? both : both >> shift | high << (64 - shift);
}

// 32 labels, four to a number.
struct Labels {
    u32 four[BITS / 4];
};

// The labels `at` to `at + 31` of a map of `n`; 0 beyond its end. Read by 16 at a time where they lie so, by 4 elsewhere.
__device__ inline Labels labels_at(const u8* map, int at, int n) {
    Labels labels;
    if (at % 16 == 0 && at + BITS <= n) {
        const uint4* from = reinterpret_cast<const uint4*>(map + at);
        uint4 a = from[0], b = from[1];
        labels = {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}};
    } else if (at + BITS + 4 <= n) {
        const u32* from = reinterpret_cast<const u32*>(map + at / 4 * 4);
        u32 low = from[0];
#pragma unroll
        for (int n = 0; n < BITS / 4; ++n) {
            u32 high = from[n + 1];
            labels.four[n] = (u32)(((u64)high << 32 | low) >> at % 4 * 8);
            low = high;
        }
    } else {
        for (int n = 0; n < BITS / 4; ++n) labels.four[n] = 0;
#pragma unroll
        for (int b = 0; b < BITS; ++b)
            if (at + b < n) labels.four[b / 4] |= (u32)map[at + b] << b % 4 * 8;
    }
    return labels;
}

// Of each of four bytes, which are 0 or 1, one bit.
__device__ inline u32 gathered(u32 bytes) { return bytes * 0x10204080u >> 28; }

// For each of four bytes one bit: whether it is not 0.
__device__ inline u32 not_zero(u32 bytes) {
    u32 high = ((bytes & 0x7f7f7f7fu) + 0x7f7f7f7fu) | bytes;
    return gathered(high >> 7 & 0x01010101u);
}

// Which of the labels are not `value`.
__device__ inline u32 other_than(const Labels& labels, u32 value) {
    u32 bits = 0;
#pragma unroll
    for (int n = 0; n < BITS / 4; ++n)
        bits |= not_zero(labels.four[n] ^ value * 0x01010101u) << 4 * n;
    return bits;
}

// Which of the labels are not that before; the first is none.
__device__ inline u32 changes(const Labels& labels) {
    u32 bits = 0, before = 0;
#pragma unroll
    for (int n = 0; n < BITS / 4; ++n) {
        bits |= not_zero(labels.four[n] ^ (labels.four[n] << 8 | before >> 24)) << 4 * n;
        before = labels.four[n];
    }
    return bits | 1;
}

// Writes them to `at`, a multiple of 32.
__device__ inline void put_labels(u8* map, int at, int n, const Labels& labels) {
    if (at + BITS <= n) {
        uint4* to = reinterpret_cast<uint4*>(map + at);
        to[0] = {labels.four[0], labels.four[1], labels.four[2], labels.four[3]};
        to[1] = {labels.four[4], labels.four[5], labels.four[6], labels.four[7]};
    } else {
#pragma unroll
        for (int b = 0; b < BITS; ++b)
            if (at + b < n) map[at + b] = (u8)(labels.four[b / 4] >> b % 4 * 8);
    }
}

// Of each of four bits a byte.
__device__ inline u32 scattered(u32 bits) { return (bits & 15) * 0x00204081u & 0x01010101u; }

// Writes the bits of each lane's word as bytes of 0 and 1. Every thread of the warp must come here; one without a word has
// count 0.
__device__ inline void spread(u8* map, int ni, int first, int count, u32 bits) {
    if (ni % BITS == 0) {
        // Every word is whole and lies where 16 bytes may be written at once.
        if (count == 0) return;
        uint4* to = reinterpret_cast<uint4*>(map + first);
        to[0] = {scattered(bits), scattered(bits >> 4), scattered(bits >> 8), scattered(bits >> 12)};
        bits >>= 16;
        to[1] = {scattered(bits), scattered(bits >> 4), scattered(bits >> 8), scattered(bits >> 12)};
        return;
    }
    int lane = threadIdx.x % WARP;
    for (int other = 0; other < WARP; ++other) {
        int at = __shfl_sync(WHOLE_WARP, first, other), voxels = __shfl_sync(WHOLE_WARP, count, other);
        u32 word = __shfl_sync(WHOLE_WARP, bits, other);
        if (lane < voxels) map[at + lane] = word >> lane & 1;
    }
}
