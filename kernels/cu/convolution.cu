// Convolution of channels-last float16 maps on tensor cores, 3x3 with a border of zeros and 1x1, with bias and ReLU; the
// maximum of squares of four; the way from planar floats into such a map and back.
//
// A map is [slices, rows, columns, channels], channels in multiples of 16. A convolution is a product of matrices that is
// never written out: rows are pixels, columns outputs, and the sum goes over sources, of each over 16 channels at a time, of
// those over the pixels under the window. Sums are float32 and begin with the bias; their order is that of the source text
// and, within one instruction, the device's own, so results are the same for every order of threads and every run, and
// differ between devices by rounding only. Weights lie as the instruction takes them (`cuda::convolution` packs them).
#include "sagitta.cuh"

// Sums and what they are made of stay in registers: 128 for each thread, so that two blocks share a multiprocessor.
#undef KERNEL
#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS, 2)

// Rows and columns of the outputs of a block: a warp has two rows, an instruction the 16 pixels of one.
const int TILE = 16;
// Channels of a source that one instruction sums over.
const int STEP = 16;

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
#endif

// One source; `doubled` is 1 where it is read at twice its size.
struct Source {
    const uint4* map;
    int channels, doubled;
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

// Brings 16 channels from `first` on of the pixels under the block's windows to shared memory, zeros from beyond the map.
template <int WINDOW>
__device__ inline void stage(uint2* tile, const Source& source, const Place& place, int first) {
    const int SIDE = TILE + WINDOW - 1;
    int columns = place.columns >> source.doubled, rows = place.rows >> source.doubled;
    for (int n = threadIdx.x; n < SIDE * SIDE * 2; n += THREADS) {
        int pixel = n / 2, down = pixel / SIDE;
        int row = place.top + down - WINDOW / 2;
        int column = place.left + pixel - down * SIDE - WINDOW / 2;
        uint4 channels = {0, 0, 0, 0};
        if (row >= 0 && row < place.rows && column >= 0 && column < place.columns) {
            row >>= source.doubled;
            column >>= source.doubled;
            size_t at = ((size_t)place.slice * rows + row) * columns + column;
            channels = source.map[(at * source.channels + first) / 8 + n % 2];
        }
        uint2 low = {channels.x, channels.y}, high = {channels.z, channels.w};
        tile[2 * n] = low;
        tile[2 * n + 1] = high;
    }
}

// PAIRS: how many times 16 outputs a block has; blockIdx.y counts on from there.
//
// Which channel is which of an instruction's 16 is free as long as pixels and weights agree. Here a thread has four
// neighbours, of the channels as of the outputs, so that it reads and writes 8 bytes at once.
template <int WINDOW, int PAIRS>
__device__ inline void convolve(uint2* tile, const Source& one, const Source& other,
                                const uint4* weights, const float* bias, uint2* out,
                                const Place& place, int outputs, int relu) {
    const int SIDE = TILE + WINDOW - 1, TAPS = WINDOW * WINDOW;
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, group = lane / 4, quarter = lane % 4;
    int steps = (one.channels + other.channels) / STEP * TAPS;
    int block = blockIdx.y * PAIRS;
    float sums[2][PAIRS][2][4];
    for (int pair = 0; pair < PAIRS; ++pair)
        for (int n = 0; n < 4; ++n) {
            float start = bias[(block + pair) * 16 + quarter * 4 + n];
            for (int row = 0; row < 2; ++row)
                sums[row][pair][n / 2][n % 2] = sums[row][pair][n / 2][n % 2 + 2] = start;
        }
    const uint4* next = weights + (size_t)block * steps * WARP + lane;
#pragma unroll 1
    for (int number = 0; number < 2; ++number) {
        const Source source = number ? other : one;
#pragma unroll 1
        for (int first = 0; first < source.channels; first += STEP) {
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
    for (int row = 0; row < 2; ++row)
        for (int half = 0; half < 2; ++half) {
            int at_row = place.top + 2 * warp + row, column = place.left + group + 8 * half;
            if (at_row >= place.rows || column >= place.columns) continue;
            size_t at = ((size_t)place.slice * place.rows + at_row) * place.columns + column;
            for (int pair = 0; pair < PAIRS; ++pair) {
                float values[4];
                for (int n = 0; n < 4; ++n) {
                    float value = sums[row][pair][n / 2][n % 2 + 2 * half];
                    values[n] = relu && value < 0.0f ? 0.0f : value;
                }
                uint2 channels = {halves(values[0], values[1]), halves(values[2], values[3])};
                out[(at * outputs + (block + pair) * 16) / 4 + quarter] = channels;
            }
        }
}

// The second source has no channels where there is one only.
#define CONVOLUTION                                                                               \
    const uint4 *__restrict__ first, const uint4 *__restrict__ second,                            \
        const uint4 *__restrict__ weights, const float *__restrict__ bias, uint2 *__restrict__ out, \
        int rows, int columns, int first_channels, int second_channels, int first_doubled,        \
        int second_doubled, int outputs, int relu

#define CONVOLVE(WINDOW, PAIRS)                                                                   \
    DYNAMIC_SHARED(uint2, tile);                                                                  \
    Source one = {first, first_channels, first_doubled};                                          \
    Source other = {second, second_channels, second_doubled};                                     \
    convolve<WINDOW, PAIRS>(tile, one, other, weights, bias, out, place_of_block(rows, columns),  \
                            outputs, relu)

KERNEL convolve_3x3_16(CONVOLUTION) { CONVOLVE(3, 1); }
KERNEL convolve_3x3_32(CONVOLUTION) { CONVOLVE(3, 2); }
KERNEL convolve_1x1_16(CONVOLUTION) { CONVOLVE(1, 1); }
KERNEL convolve_1x1_32(CONVOLUTION) { CONVOLVE(1, 2); }

// The largest of each 2x2 pixels; an odd last row or column is left out. rows, columns: of `from`.
KERNEL pool_halves(const u32* __restrict__ from, u32* __restrict__ to, int slices, int rows,
                   int columns, int channels) {
    int pairs = channels / 2, across = columns / 2, down = rows / 2;
    FOR_EACH(n, slices * down * across * pairs) {
        int pixel = n / pairs;
        Index at = index_of(pixel, across, down);
        size_t corner = ((size_t)at.k * rows + 2 * at.j) * columns + 2 * at.i;
        float low = -INFINITY, high = -INFINITY;
        for (int tap = 0; tap < 4; ++tap) {
            size_t under = corner + (size_t)(tap / 2) * columns + tap % 2;
            float a, b;
            unpacked(from[under * pairs + (n - pixel * pairs)], a, b);
            low = a > low ? a : low;
            high = b > high ? b : high;
        }
        to[n] = halves(low, high);
    }
}

// planar: [slices, used, pixels]; map: [slices, pixels, channels], zero beyond the used ones.
KERNEL to_halves(const float* __restrict__ planar, u32* __restrict__ map, int slices, int pixels,
                 int used, int channels) {
    int pairs = channels / 2;
    FOR_EACH(n, slices * pixels * pairs) {
        int at = n / pairs, channel = 2 * (n - at * pairs), slice = at / pixels;
        const float* pixel = planar + (size_t)slice * used * pixels + (at - slice * pixels);
        float low = channel < used ? pixel[(size_t)channel * pixels] : 0.0f;
        float high = channel + 1 < used ? pixel[(size_t)(channel + 1) * pixels] : 0.0f;
        map[n] = halves(low, high);
    }
}

// The other way.
KERNEL to_planar(const u32* __restrict__ map, float* __restrict__ planar, int slices, int pixels,
                 int used, int channels) {
    FOR_EACH(n, slices * used * pixels) {
        int plane = n / pixels, slice = plane / used, channel = plane - slice * used;
        size_t at = (size_t)slice * pixels + (n - plane * pixels);
        float low, high;
        unpacked(map[(at * channels + channel) / 2], low, high);
        planar[n] = channel % 2 ? high : low;
    }
}
