// Every slice filtered along its rows, then along its columns: the anti-aliased change of in-plane spacing.
//
// from: [slices, rows, columns]; to: [slices, samples along columns, samples along rows]. Each sample is the sum of a window of
// the source times its taps: firsts: where the window begins; starts: where its taps begin, and in one more place where they
// end. Windows ascend. Sums run in the order of the window: equal to the fast version to the bit.
#include "sagitta.cuh"

// Samples that a block makes. What it filtered along rows stays in shared memory until it is filtered along columns.
const int TILE_COLUMNS = 64, TILE_ROWS = 32;
// Rows of the source filtered at once: those of a tile when slices shrink by up to 1.4.
const int CHUNK = 48;
const int GROUPS = THREADS / TILE_COLUMNS;

// The window of a sample and its taps.
struct Window {
    int first, count;
    const float* taps;

    __device__ Window(const int* firsts, const int* starts, const float* taps, int sample)
        : first(firsts[sample]), count(starts[sample + 1] - starts[sample]),
          taps(taps + starts[sample]) {}
};

// The rows from `row` to `end` filtered for one column of the tile: a thread takes every GROUPS-th.
__device__ inline void filter_rows(const float* slice, const Window& window, int row, int end,
                                   int columns, float (*narrow)[TILE_COLUMNS]) {
    int group = threadIdx.x / TILE_COLUMNS;
    float sums[CHUNK / GROUPS] = {};
    const float* begin = slice + (row + group) * columns + window.first;
#pragma unroll 1
    for (int tap = 0; tap < window.count; ++tap) {
        float weight = window.taps[tap];
        for (int n = 0; n < CHUNK / GROUPS; ++n)
            if (row + group + GROUPS * n < end) sums[n] += begin[n * GROUPS * columns] * weight;
        begin += 1;
    }
    for (int n = 0; n < CHUNK / GROUPS; ++n)
        narrow[group + GROUPS * n][threadIdx.x % TILE_COLUMNS] = sums[n];
}

KERNEL filter_slices(const float* __restrict__ from, const int* __restrict__ firsts_i,
                     const int* __restrict__ starts_i, const float* __restrict__ taps_i,
                     const int* __restrict__ firsts_j, const int* __restrict__ starts_j,
                     const float* __restrict__ taps_j, float* __restrict__ to, int columns,
                     int rows, int samples_i, int samples_j) {
    __shared__ float narrow[CHUNK][TILE_COLUMNS], sums[TILE_ROWS][TILE_COLUMNS];
    int lane = threadIdx.x % TILE_COLUMNS, group = threadIdx.x / TILE_COLUMNS;
    int i = blockIdx.x * TILE_COLUMNS + lane, top = blockIdx.y * TILE_ROWS;
    int high = min(TILE_ROWS, samples_j - top);
    Window along(firsts_i, starts_i, taps_i, min(i, samples_i - 1));
    Window lowest(firsts_j, starts_j, taps_j, top + high - 1);
    int begin = firsts_j[top], end = lowest.first + lowest.count;
    const float* slice = from + (size_t)blockIdx.z * rows * columns;
    float* to_tile = to + ((size_t)blockIdx.z * samples_j + top) * samples_i + i;
    for (int row = begin; row < end; row += CHUNK) {
        filter_rows(slice, along, row, end, columns, narrow);
        __syncthreads();
#pragma unroll 2
        for (int j = group; j < high; j += GROUPS) {
            Window window(firsts_j, starts_j, taps_j, top + j);
            int behind = window.first + window.count, last = min(behind, row + CHUNK);
            // A window that reaches into the next rows waits for them.
            float sum = window.first < row ? sums[j][lane] : 0.0f;
#pragma unroll 1
            for (int at = max(window.first, row); at < last; ++at)
                sum += narrow[at - row][lane] * window.taps[at - window.first];
            sums[j][lane] = sum;
            if (i < samples_i && last == behind && behind > row) to_tile[(size_t)j * samples_i] = sum;
        }
        __syncthreads();
    }
}
