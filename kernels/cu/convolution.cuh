// What the convolutions share, of float16 as of whole numbers: tiles of channels-last maps in shared memory, products of
// matrices on tensor cores. Both kinds of maps are taken by 32 bytes of a pixel at a time: 16 float16 or 32 bytes.
#pragma once
#include "sagitta.cuh"

// Sums and what they are made of stay in registers: 128 for each thread, so that two blocks share a multiprocessor.
#undef KERNEL
#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS, 2)

// Rows and columns of the outputs of a block: a warp has two rows, an instruction the 16 pixels of one.
const int TILE = 16;
// Bytes of a pixel that one instruction sums over, and those that a thread stages at once.
const int STEP_BYTES = 32, PIECE_BYTES = 16;

#ifdef EMULATION
using emulation::halves;
using emulation::multiply_add;
using emulation::unpacked;
#else
// Two numbers rounded to float16, the first in the low bits.
__device__ inline u32 halves(float low, float high) {
    u32 both;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

__device__ inline void unpacked(u32 both, float& low, float& high) {
    asm("{ .reg .f16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h; }"
        : "=f"(low), "=f"(high)
        : "r"(both));
}

// sums += a * b by the whole warp: 16 pixels by 16 channels, 16 channels by 8 outputs.
__device__ inline void multiply_add(float* sums, const u32* a, u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// The same of whole numbers, bytes without a sign by bytes with one: 16 pixels by 32 channels, 32 channels by 8 outputs.
__device__ inline void multiply_add(int* sums, const u32* a, u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
#endif

// One source; a pixel of it is so many `pieces`; `doubled` is 1 where it is read at twice its size.
struct Source {
    const uint4* map;
    int pieces, doubled;

    __device__ int steps() const { return (pieces + 1) / 2; }
};

// What a launch writes: slice, corner of the block's tile, size of the map.
struct Place {
    int slice, top, left, rows, columns;
};

__device__ inline Place place_of_block(int rows, int columns) {
    int across = (columns + TILE - 1) / TILE;
    int top = (int)blockIdx.x / across;
    Place place = {(int)blockIdx.z, top * TILE, ((int)blockIdx.x - top * across) * TILE, rows, columns};
    return place;
}

// Brings the pieces `first` and `first + 1` of the pixels under the block's windows to shared memory, zeros from beyond the
// map and from beyond the last piece.
template <int WINDOW>
__device__ inline void stage(uint2* tile, const Source& source, const Place& place, int first) {
    const int SIDE = TILE + WINDOW - 1;
    int columns = place.columns >> source.doubled, rows = place.rows >> source.doubled;
    for (int n = threadIdx.x; n < SIDE * SIDE * 2; n += THREADS) {
        int piece = first + n % 2, pixel = n / 2, down = pixel / SIDE;
        int row = place.top + down - WINDOW / 2;
        int column = place.left + pixel - down * SIDE - WINDOW / 2;
        uint4 channels = {0, 0, 0, 0};
        bool inside = row >= 0 && row < place.rows && column >= 0 && column < place.columns;
        if (inside && piece < source.pieces) {
            row >>= source.doubled;
            column >>= source.doubled;
            size_t at = ((size_t)place.slice * rows + row) * columns + column;
            channels = source.map[at * source.pieces + piece];
        }
        uint2 low = {channels.x, channels.y}, high = {channels.z, channels.w};
        tile[2 * n] = low;
        tile[2 * n + 1] = high;
    }
}

// The sums of a warp's pixels and outputs: [row][pair of outputs' eights][eight][four of the instruction].
//
// PAIRS: how many times 16 outputs a block has; blockIdx.y counts on from there. `sums` hold what they begin with.
//
// Which channel is which of an instruction's is free as long as pixels and weights agree. Here a thread has neighbours, of
// the channels as of the outputs (four), so that it reads and writes 8 bytes at once.
template <int WINDOW, int PAIRS, class Sum>
__device__ inline void sum_products(uint2* tile, const Source& one, const Source& other,
                                    const uint4* weights, const Place& place,
                                    Sum (&sums)[2][PAIRS][2][4]) {
    const int SIDE = TILE + WINDOW - 1, TAPS = WINDOW * WINDOW;
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, group = lane / 4, quarter = lane % 4;
    int steps = (one.steps() + other.steps()) * TAPS;
    const uint4* next = weights + (size_t)blockIdx.y * PAIRS * steps * WARP + lane;
#pragma unroll 1
    for (int number = 0; number < 2; ++number) {
        const Source source = number ? other : one;
#pragma unroll 1
        for (int first = 0; first < source.pieces; first += 2) {
            __syncthreads();
            stage<WINDOW>(tile, source, place, first);
            __syncthreads();
// All nine at once would hold more than the registers of two blocks.
#pragma unroll 3
            for (int tap = 0; tap < TAPS; ++tap, next += WARP) {
                uint4 b[PAIRS];
                for (int pair = 0; pair < PAIRS; ++pair) b[pair] = next[(size_t)pair * steps * WARP];
                for (int row = 0; row < 2; ++row) {
                    int pixel = (2 * warp + row + tap / WINDOW) * SIDE + tap % WINDOW + group;
                    uint2 upper = tile[pixel * 4 + quarter], lower = tile[(pixel + 8) * 4 + quarter];
                    u32 a[4] = {upper.x, lower.x, upper.y, lower.y};
                    for (int pair = 0; pair < PAIRS; ++pair) {
                        multiply_add(sums[row][pair][0], a, b[pair].x, b[pair].y);
                        multiply_add(sums[row][pair][1], a, b[pair].z, b[pair].w);
                    }
                }
            }
        }
    }
}
