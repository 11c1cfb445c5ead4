// Slices -> pictures: grey under a window, labels tinted and outlined over it.
//
// image, labels, numbers: [slices, rows, columns]. colours: for each of 256 labels that of an even number and that of an odd one,
// red in the lowest byte. shares: for each label that over the image, that within the stripes of a hatching, that along an
// outline; below 0 the label is not drawn, or not outlined; a fourth for nothing, so that they are read at once. picture:
// [slices, rows, columns, 3]. Equal to the reference to the bit.
#include "sagitta.cuh"

// One stripe in so many pixels along a row, half of them wide.
const int HATCH_PIXELS = 8;
// Pixels of a thread, next to each other: their labels are one word, their colours three.
const int QUAD = 4, WORDS = 3;
// The largest number below a half: a cast of `x + ALMOST_HALF` is `round(x)` for every x from 0 to 255, as tried for all.
const float ALMOST_HALF = 0.49999997f;

// A grey, as a number without fraction.
__device__ inline float grey(float value, float low, float range) {
    float level = (value - low) / range * 255.0f;
    // Values that are not numbers are black.
    if (!(level > 0.0f)) return 0.0f;
    return truncf((level < 255.0f ? level : 255.0f) + ALMOST_HALF);
}

// What stands at four neighbouring pixels: intensities, and a label above its number.
struct Quad {
    float values[QUAD];
    u32 kinds[QUAD];
};

struct Slices {
    const float* image;
    const u8* labels;
    const unsigned short* numbers;
    int columns, rows, voxels;

    __device__ u32 kind(int n) const { return (u32)labels[n] << 16 | numbers[n]; }

    // Beyond the end stands nothing.
    __device__ Quad quad(int n) const {
        Quad quad = {};
        if (n + QUAD > voxels) {
            for (int p = 0; n + p < voxels; ++p) {
                quad.values[p] = image[n + p];
                quad.kinds[p] = kind(n + p);
            }
            return quad;
        }
        uint4 values = *reinterpret_cast<const uint4*>(image + n);
        uint2 below = *reinterpret_cast<const uint2*>(numbers + n);
        u32 above = *reinterpret_cast<const u32*>(labels + n);
        u32 bits[QUAD] = {values.x, values.y, values.z, values.w}, pairs[2] = {below.x, below.y};
        for (int p = 0; p < QUAD; ++p) {
            quad.values[p] = __uint_as_float(bits[p]);
            quad.kinds[p] = (above >> 8 * p & 255) << 16 | (pairs[p / 2] >> p % 2 * 16 & 0xffff);
        }
        return quad;
    }

    // Whether another kind lies beside pixel `p` of the quad at `n`.
    __device__ bool edge(const Quad& quad, int n, int p, Index at) const {
        u32 mine = quad.kinds[p];
        return (at.i > 0 && (p > 0 ? quad.kinds[p - 1] : kind(n - 1)) != mine) ||
               (at.i + 1 < columns && (p < QUAD - 1 ? quad.kinds[p + 1] : kind(n + QUAD)) != mine) ||
               (at.j > 0 && kind(n + p - columns) != mine) ||
               (at.j + 1 < rows && kind(n + p + columns) != mine);
    }
};

// The colour over a grey, each channel in its byte.
__device__ inline u32 mixed(float under, u32 colour, float share) {
    float left = under * (1.0f - share);
    u32 pixel = 0;
    for (int c = 0; c < 3; ++c) {
        float over = (float)(colour >> 8 * c & 255) * share;
        pixel |= (u32)(left + over + ALMOST_HALF) << 8 * c;
    }
    return pixel;
}

// Words of a warp to its part of an array of bytes that ends at `bytes`.
__device__ inline void write_words(u8* to, const u32* words, int count, size_t first, size_t bytes) {
    for (int n = threadIdx.x % WARP; n < count; n += WARP) {
        size_t at = first + 4 * n;
        if (at + 4 <= bytes) *reinterpret_cast<u32*>(to + at) = words[n];
        else
            for (int b = 0; at + b < bytes; ++b) to[at + b] = (u8)(words[n] >> 8 * b);
    }
}

KERNEL draw_slices(const float* __restrict__ image, const u8* __restrict__ labels,
                   const unsigned short* __restrict__ numbers, const u32* __restrict__ colours,
                   const uint4* __restrict__ shares, u8* __restrict__ picture, int columns,
                   int rows, int slices, float low, float range) {
    __shared__ u32 room[THREADS * WORDS];
    Slices shown = {image, labels, numbers, columns, rows, columns * rows * slices};
    int thread = blockIdx.x * THREADS + threadIdx.x, n = QUAD * thread;
    Quad quad = shown.quad(n);
    Index at = index_of(n, columns, rows);
    u32 pixels[QUAD];
    for (int p = 0; p < QUAD; ++p) {
        float under = grey(quad.values[p], low, range);
        u32 label = quad.kinds[p] >> 16;
        uint4 of_label = shares[label];
        float share = __uint_as_float(of_label.x), outline = __uint_as_float(of_label.z);
        pixels[p] = (u32)under * 0x10101u;
        if (share >= 0.0f && n + p < shown.voxels) {
            if ((at.i + at.j) % HATCH_PIXELS < HATCH_PIXELS / 2) share = __uint_as_float(of_label.y);
            if (outline >= 0.0f && shown.edge(quad, n, p, at)) share = outline;
            pixels[p] = mixed(under, colours[label * 2 + (quad.kinds[p] & 1)], share);
        }
        at.i += 1;
        if (at.i == columns) at = {0, at.j + 1 == rows ? 0 : at.j + 1, at.k};
    }
    u32* words = room + threadIdx.x / WARP * WARP * WORDS;
    u32* mine = words + threadIdx.x % WARP * WORDS;
    mine[0] = pixels[0] | pixels[1] << 24;
    mine[1] = pixels[1] >> 8 | pixels[2] << 16;
    mine[2] = pixels[2] >> 16 | pixels[3] << 8;
    __syncwarp();
    size_t first = (size_t)(thread - threadIdx.x % WARP) * QUAD * 3;
    write_words(picture, words, WARP * WORDS, first, (size_t)shown.voxels * 3);
}
