// Convolution of channels-last maps of steps on tensor cores, 3x3 with a border of zeros and 1x1; the way from float16 maps
// into such a map and back; the maximum of squares of four.
//
// `conv::quantised` defines it: a step is 0 to 127 in a byte, a sum of products of steps and weights is exact, then comes one
// fused multiply-add. Results are those of the processor to the bit, float16 ones once rounded.
#include "convolution.cuh"

// The largest step.
const float MAX_STEP = 127.0f;

// What becomes of the sums: steps, or float16 as they are or behind a ReLU.
enum Gives { STEPS, VALUES, RECTIFIED };

// `value`, in steps, as a step; halves go to the even one, since 1.5 * 2^23 leaves a small number's nearest whole in the last
// bits. NaN becomes 0.
__device__ inline u32 rounded(float value) {
    float positive = value > 0.0f ? value : 0.0f;
    float cut = positive < MAX_STEP ? positive : MAX_STEP;
    return __float_as_uint(cut + 12582912.0f) & 0xff;
}

// Writes the results of a thread's four neighbouring outputs of a pixel; `at` counts fours.
__device__ inline void put(u32* out, size_t at, const float* values, int gives) {
    if (gives == STEPS) {
        u32 steps = 0;
        for (int n = 0; n < 4; ++n) steps |= rounded(values[n]) << 8 * n;
        out[at] = steps;
        return;
    }
    float kept[4];
    for (int n = 0; n < 4; ++n) kept[n] = gives == RECTIFIED && !(values[n] > 0.0f) ? 0.0f : values[n];
    uint2 both = {halves(kept[0], kept[1]), halves(kept[2], kept[3])};
    reinterpret_cast<uint2*>(out)[at] = both;
}

// Outputs of a block: PAIRS times 16, from blockIdx.y on.
template <int WINDOW, int PAIRS>
__device__ inline void convolve(uint2* tile, const Source& one, const Source& other,
                                const uint4* weights, const float* multipliers,
                                const float* offsets, u32* out, const Place& place, int outputs,
                                int gives) {
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, group = lane / 4, quarter = lane % 4;
    int sums[2][PAIRS][2][4] = {};
    sum_products<WINDOW>(tile, one, other, weights, place, sums);
    for (int pair = 0; pair < PAIRS; ++pair) {
        int output = (blockIdx.y * PAIRS + pair) * 16 + quarter * 4;
        for (int row = 0; row < 2; ++row)
            for (int half = 0; half < 2; ++half) {
                int at_row = place.top + 2 * warp + row, column = place.left + group + 8 * half;
                if (at_row >= place.rows || column >= place.columns) continue;
                size_t at = ((size_t)place.slice * place.rows + at_row) * place.columns + column;
                float values[4];
                for (int n = 0; n < 4; ++n) {
                    int sum = sums[row][pair][n / 2][n % 2 + 2 * half];
                    values[n] = fmaf((float)sum, multipliers[output + n], offsets[output + n]);
                }
                put(out, (at * outputs + output) / 4, values, gives);
            }
    }
}

// The second source has no channels where there is one only.
#define CONVOLUTION                                                                               \
    const uint4 *__restrict__ first, const uint4 *__restrict__ second,                            \
        const uint4 *__restrict__ weights, const float *__restrict__ multipliers,                 \
        const float *__restrict__ offsets, u32 *__restrict__ out, int rows, int columns,          \
        int first_channels, int second_channels, int first_doubled, int second_doubled,           \
        int outputs, int gives

#define CONVOLVE(WINDOW, PAIRS)                                                                   \
    DYNAMIC_SHARED(uint2, tile);                                                                  \
    Source one = {first, first_channels / PIECE_BYTES, first_doubled};                            \
    Source other = {second, second_channels / PIECE_BYTES, second_doubled};                       \
    convolve<WINDOW, PAIRS>(tile, one, other, weights, multipliers, offsets, out,                 \
                            place_of_block(rows, columns), outputs, gives)

KERNEL convolve_steps_3x3_16(CONVOLUTION) { CONVOLVE(3, 1); }
KERNEL convolve_steps_3x3_32(CONVOLUTION) { CONVOLVE(3, 2); }
KERNEL convolve_steps_1x1_16(CONVOLUTION) { CONVOLVE(1, 1); }
KERNEL convolve_steps_1x1_32(CONVOLUTION) { CONVOLVE(1, 2); }

// The larger of each of four bytes without their highest bit.
__device__ inline u32 larger(u32 a, u32 b) {
    // The highest bit of a byte stays where a is not smaller; then the whole byte is taken from a.
    u32 from_a = (((a | 0x80808080u) - b) >> 7 & 0x01010101u) * 0xff;
    return (a & from_a) | (b & ~from_a);
}

// The largest of each 2x2 pixels; an odd last row or column is left out. rows, columns: of `from`.
KERNEL pool_steps(const u32* __restrict__ from, u32* __restrict__ to, int slices, int rows,
                  int columns, int channels) {
    int fours = channels / 4, across = columns / 2, down = rows / 2;
    FOR_EACH(n, slices * down * across * fours) {
        int pixel = n / fours;
        Index at = index_of(pixel, across, down);
        size_t corner = ((size_t)at.k * rows + 2 * at.j) * columns + 2 * at.i;
        const u32* under = from + corner * fours + (n - pixel * fours);
        u32 upper = larger(under[0], under[fours]);
        under += (size_t)columns * fours;
        to[n] = larger(upper, larger(under[0], under[fours]));
    }
}

// Values divided by `scale` as steps, four at a time.
KERNEL quantise(const uint2* __restrict__ from, u32* __restrict__ to, int fours, float scale) {
    FOR_EACH(n, fours) {
        uint2 both = from[n];
        float values[4];
        unpacked(both.x, values[0], values[1]);
        unpacked(both.y, values[2], values[3]);
        u32 steps = 0;
        for (int i = 0; i < 4; ++i) steps |= rounded(values[i] / scale) << 8 * i;
        to[n] = steps;
    }
}

// Steps times `scale`, four at a time.
KERNEL dequantise(const u32* __restrict__ from, uint2* __restrict__ to, int fours, float scale) {
    FOR_EACH(n, fours) {
        u32 steps = from[n];
        float values[4];
        for (int i = 0; i < 4; ++i) values[i] = (float)(steps >> 8 * i & 0xff) * scale;
        uint2 both = {halves(values[0], values[1]), halves(values[2], values[3])};
        to[n] = both;
    }
}
