// float16 and the products of matrices that a warp's tensor core computes, as `convolution.cuh` uses them.
#pragma once

namespace emulation {

inline float of_half(unsigned half) {
    unsigned sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31, fraction = half & 1023;
    if (exponent == 31) return __uint_as_float(sign | 0x7f800000u | fraction << 13);
    if (exponent) return __uint_as_float(sign | (exponent + 112) << 23 | fraction << 13);
    float small = (float)fraction * 5.9604644775390625e-8f;  // 2^-24
    return sign ? -small : small;
}

// To the nearest, ties to even.
inline unsigned to_half(float value) {
    unsigned bits = __float_as_uint(value), sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
    if (size > 0x7f800000u) return 0x7fffu;
    // 65520 and more.
    if (size >= 0x477ff000u) return sign | 0x7c00u;
    // Below 2^-14: a whole number of 2^-24.
    if (size < 0x38800000u) return sign | (unsigned)nearbyintf(fabsf(value) * 16777216.0f);
    return sign | (size + 0xfffu + (size >> 13 & 1) - 0x38000000u) >> 13;
}

inline unsigned halves(float low, float high) { return to_half(low) | to_half(high) << 16; }

inline void unpacked(unsigned both, float& low, float& high) {
    low = of_half(both & 0xffffu);
    high = of_half(both >> 16);
}

// mma.sync.m16n8k16.row.col.f32.f16.f16.f32. Lane 4g + t brings of the left matrix rows g and g + 8, of the right column g,
// and of both the places 2t, 2t + 1, 2t + 8, 2t + 9 of the sum; it has columns 2t and 2t + 1 of the results' rows g and g + 8.
inline void multiply_add(float* sums, const unsigned* a, unsigned b0, unsigned b1) {
    float(&factors)[32][12] = state.factors[state.thread.x / 32];
    unsigned lane = state.thread.x % 32, group = lane / 4, quarter = lane % 4;
    float* mine = factors[lane];
    const unsigned brought[6] = {a[0], a[1], a[2], a[3], b0, b1};
    for (int n = 0; n < 6; ++n) unpacked(brought[n], mine[2 * n], mine[2 * n + 1]);
    give_way(AT_WARP);
    for (unsigned k = 0; k < 16; ++k) {
        // Who brings place k, and as which of its numbers.
        unsigned owner = k % 8 / 2, part = k / 8, even = k % 2;
        const float* rows = factors[group * 4 + owner];
        float upper = rows[4 * part + even], lower = rows[4 * part + 2 + even];
        float left = factors[2 * quarter * 4 + owner][8 + 2 * part + even];
        float right = factors[(2 * quarter + 1) * 4 + owner][8 + 2 * part + even];
        sums[0] += upper * left;
        sums[1] += upper * right;
        sums[2] += lower * left;
        sums[3] += lower * right;
    }
    give_way(AT_WARP);
}

// mma.sync.m16n8k32.row.col.s32.u8.s8.s32. Lanes bring and have what they do above, but of the places of the sum 4t to 4t + 3
// and 4t + 16 to 4t + 19; sums go round at 32 bits.
inline void multiply_add(int* sums, const unsigned* a, unsigned b0, unsigned b1) {
    unsigned(&factors)[32][6] = state.bytes[state.thread.x / 32];
    unsigned lane = state.thread.x % 32, group = lane / 4, quarter = lane % 4;
    const unsigned brought[6] = {a[0], a[1], a[2], a[3], b0, b1};
    for (int n = 0; n < 6; ++n) factors[lane][n] = brought[n];
    give_way(AT_WARP);
    unsigned total[4];
    for (int n = 0; n < 4; ++n) total[n] = sums[n];
    for (unsigned k = 0; k < 32; ++k) {
        // Who brings place k, in which of its words, and where in it.
        unsigned owner = k % 16 / 4, part = k / 16, shift = k % 4 * 8;
        const unsigned* rows = factors[group * 4 + owner];
        int upper = rows[2 * part] >> shift & 0xff, lower = rows[2 * part + 1] >> shift & 0xff;
        int left = (signed char)(factors[2 * quarter * 4 + owner][4 + part] >> shift);
        int right = (signed char)(factors[(2 * quarter + 1) * 4 + owner][4 + part] >> shift);
        total[0] += upper * left;
        total[1] += upper * right;
        total[2] += lower * left;
        total[3] += lower * right;
    }
    for (int n = 0; n < 4; ++n) sums[n] = (int)total[n];
    give_way(AT_WARP);
}

}  // namespace emulation
