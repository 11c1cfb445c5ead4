// Convolution of channels-last float16 maps on tensor cores, 3x3 with a border of zeros and 1x1, with bias and ReLU; the
// maximum of squares of four; the way from planar floats into such a map and back.
//
// A map is [slices, rows, columns, channels], channels in multiples of 16. A convolution is a product of matrices that is
// never written out: rows are pixels, columns outputs, and the sum goes over sources, of each over 16 channels at a time, of
// those over the pixels under the window. Sums are float32 and begin with the bias; their order is that of the source text
// and, within one instruction, the device's own, so results are the same for every order of threads and every run, and
// differ between devices by rounding only. Weights lie as the instruction takes them (`cuda::convolution` packs them).
#include "convolution.cuh"

// Outputs of a block: PAIRS times 16, from blockIdx.y on.
template <int WINDOW, int PAIRS>
__device__ inline void convolve(uint2* tile, const Source& one, const Source& other,
                                const uint4* weights, const float* bias, uint2* out,
                                const Place& place, int outputs, int relu) {
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, group = lane / 4, quarter = lane % 4;
    int block = blockIdx.y * PAIRS;
    float sums[2][PAIRS][2][4];
    for (int pair = 0; pair < PAIRS; ++pair)
        for (int n = 0; n < 4; ++n) {
            float start = bias[(block + pair) * 16 + quarter * 4 + n];
            for (int row = 0; row < 2; ++row)
                sums[row][pair][n / 2][n % 2] = sums[row][pair][n / 2][n % 2 + 2] = start;
        }
    sum_products<WINDOW>(tile, one, other, weights, place, sums);
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
    Source one = {first, first_channels / 8, first_doubled};                                      \
    Source other = {second, second_channels / 8, second_doubled};                                 \
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
