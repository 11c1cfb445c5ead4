// Slices -> pictures: grey under a window, labels tinted and outlined over it.
//
// image, labels, numbers: [slices, rows, columns]. colours: for each of 256 labels that of an even number and that of an odd one,
// three channels each. shares: for each label that over the image, that within the stripes of a hatching, that along an outline;
// below 0 the label is not drawn, or not outlined. picture: [slices, rows, columns, 3]. Equal to the reference to the bit.
#include "sagitta.cuh"

// One stripe in so many pixels along a row, half of them wide.
const int HATCH_PIXELS = 8;

__device__ inline u8 grey(float value, float low, float range) {
    float level = (value - low) / range * 255.0f;
    // Values that are not numbers are black.
    if (!(level > 0.0f)) return 0;
    return (u8)roundf(level < 255.0f ? level : 255.0f);
}

__device__ inline u8 mixed(u8 under, u8 over, float share) {
    return (u8)roundf((float)under * (1.0f - share) + (float)over * share);
}

KERNEL draw_slices(const float* __restrict__ image, const u8* __restrict__ labels,
                   const unsigned short* __restrict__ numbers, const u8* __restrict__ colours,
                   const float* __restrict__ shares, u8* __restrict__ picture, int columns,
                   int rows, int slices, float low, float range) {
    FOR_EACH(n, columns * rows * slices) {
        Index at = index_of(n, columns, rows);
        u8 label = labels[n], under = grey(image[n], low, range);
        unsigned short number = numbers[n];
        u8* to = picture + (size_t)n * 3;
        float share = shares[label * 3], outline = shares[label * 3 + 2];
        if (share < 0.0f) {
            to[0] = to[1] = to[2] = under;
            continue;
        }
        if ((at.i + at.j) % HATCH_PIXELS < HATCH_PIXELS / 2) share = shares[label * 3 + 1];
        if (outline >= 0.0f) {
            auto differs = [&](int m) { return labels[m] != label || numbers[m] != number; };
            bool edge = (at.i > 0 && differs(n - 1)) || (at.i + 1 < columns && differs(n + 1)) ||
                        (at.j > 0 && differs(n - columns)) ||
                        (at.j + 1 < rows && differs(n + columns));
            if (edge) share = outline;
        }
        const u8* colour = colours + label * 6 + number % 2 * 3;
        for (int c = 0; c < 3; ++c) to[c] = mixed(under, colour[c], share);
    }
}
