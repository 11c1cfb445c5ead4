// Slices -> pictures: grey under a window, labels tinted and outlined over it.
//
// image, labels, numbers: [slices, rows, columns]. colours: for each of 256 labels that of an even number and that of an odd one:
// red, green, blue, and a fourth for nothing. shares: for each label that over the image, that within the stripes of a hatching,
// that along an outline, and a fourth for nothing; below 0 the label is not drawn, or not outlined. picture:
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

struct Slices {
    const float* image;
    const u8* labels;
    const unsigned short* numbers;
    int columns, rows, voxels;

    // Whether the quad at `n` is whole, and lies as words do.
    __device__ bool whole(int n) const { return n % QUAD == 0 && n >= 0 && n + QUAD <= voxels; }

    // A label above its number; beyond the ends as at the ends.
    __device__ u32 kind(int n) const {
        n = min(max(n, 0), voxels - 1);
        return (u32)labels[n] << 16 | numbers[n];
    }

    __device__ void kinds(int n, u32* kinds) const {
        if (!whole(n)) {
            for (int p = 0; p < QUAD; ++p) kinds[p] = kind(n + p);
            return;
        }
        u32 above = *reinterpret_cast<const u32*>(labels + n);
        uint2 below = *reinterpret_cast<const uint2*>(numbers + n);
        kinds[0] = (above & 255) << 16 | (below.x & 0xffff);
        kinds[1] = (above >> 8 & 255) << 16 | below.x >> 16;
        kinds[2] = (above >> 16 & 255) << 16 | (below.y & 0xffff);
        kinds[3] = above >> 24 << 16 | below.y >> 16;
    }

    __device__ void values(int n, float* values) const {
        if (!whole(n)) {
            for (int p = 0; p < QUAD; ++p) values[p] = image[min(n + p, voxels - 1)];
            return;
        }
        uint4 bits = *reinterpret_cast<const uint4*>(image + n);
        values[0] = __uint_as_float(bits.x);
        values[1] = __uint_as_float(bits.y);
        values[2] = __uint_as_float(bits.z);
        values[3] = __uint_as_float(bits.w);
    }

    // Whether another kind lies beside each pixel of the quad at `n`, whose kinds these are.
    __device__ void edges(int n, Index at, const u32* mine, bool* edges) const {
        u32 above[QUAD], below[QUAD], row[QUAD + 2] = {kind(n - 1), mine[0], mine[1], mine[2],
                                                       mine[3], kind(n + QUAD)};
        kinds(n - columns, above);
        kinds(n + columns, below);
        for (int p = 0; p < QUAD; ++p) {
            edges[p] = (at.i > 0 & row[p] != mine[p]) | (at.i + 1 < columns & row[p + 2] != mine[p]) |
                       (at.j > 0 & above[p] != mine[p]) | (at.j + 1 < rows & below[p] != mine[p]);
            next(at);
        }
    }

    __device__ void next(Index& at) const {
        at.i += 1;
        if (at.i < columns) return;
        at.i = 0;
        at.j = at.j + 1 < rows ? at.j + 1 : 0;
    }
};

// How a label is drawn: over the image, within a stripe, along an outline; below 0 not at all.
struct Shares {
    float plain, striped, outline;

    __device__ Shares(const uint4* shares, u32 label) {
        uint4 bits = shares[label];
        plain = __uint_as_float(bits.x);
        striped = __uint_as_float(bits.y);
        outline = __uint_as_float(bits.z);
    }
};

// The colour over a grey, each channel in its byte.
__device__ inline u32 mixed(float under, uint4 colour, float share) {
    float left = under * (1.0f - share);
    u32 red = (u32)(left + __uint_as_float(colour.x) * share + ALMOST_HALF);
    u32 green = (u32)(left + __uint_as_float(colour.y) * share + ALMOST_HALF);
    u32 blue = (u32)(left + __uint_as_float(colour.z) * share + ALMOST_HALF);
    return red | green << 8 | blue << 16;
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
                   const unsigned short* __restrict__ numbers, const uint4* __restrict__ colours,
                   const uint4* __restrict__ shares, u8* __restrict__ picture, int columns,
                   int rows, int slices, float low, float range) {
    __shared__ u32 room[THREADS * WORDS];
    Slices shown = {image, labels, numbers, columns, rows, columns * rows * slices};
    int thread = blockIdx.x * THREADS + threadIdx.x, n = QUAD * thread;
    float values[QUAD];
    u32 kinds[QUAD], pixels[QUAD];
    bool edges[QUAD] = {}, outlined = false;
    shown.values(n, values);
    shown.kinds(n, kinds);
    for (int p = 0; p < QUAD; ++p) outlined |= Shares(shares, kinds[p] >> 16).outline >= 0.0f;
    Index at = index_of(n, columns, rows);
    if (outlined) shown.edges(n, at, kinds, edges);
    for (int p = 0; p < QUAD; ++p) {
        Shares drawn(shares, kinds[p] >> 16);
        float under = grey(values[p], low, range), share = drawn.plain;
        if ((at.i + at.j) % HATCH_PIXELS < HATCH_PIXELS / 2) share = drawn.striped;
        if (edges[p] && drawn.outline >= 0.0f) share = drawn.outline;
        uint4 colour = colours[(kinds[p] >> 16) * 2 + (kinds[p] & 1)];
        pixels[p] = drawn.plain < 0.0f ? (u32)under * 0x10101u : mixed(under, colour, share);
        shown.next(at);
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
