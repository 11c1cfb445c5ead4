// Every slice filtered along its rows, then along its columns: the anti-aliased change of in-plane spacing.
//
// Each sample is the sum of a window of the source times its taps: firsts: where the window begins; starts: where its taps
// begin, and in one more place where they end. Sums run in the order of the window: equal to the fast version to the bit.
#include "sagitta.cuh"

// from: [rows, count]; to: [rows, samples].
KERNEL filter_rows(const float* __restrict__ from, const int* __restrict__ firsts,
                   const int* __restrict__ starts, const float* __restrict__ taps,
                   float* __restrict__ to, int rows, int count, int samples) {
    FOR_EACH(n, rows * samples) {
        int row = n / samples, sample = n - row * samples;
        const float* window = from + (size_t)row * count + firsts[sample];
        int start = starts[sample], end = starts[sample + 1];
        float sum = 0.0f;
        for (int tap = start; tap < end; ++tap) sum += window[tap - start] * taps[tap];
        to[n] = sum;
    }
}

// from: [slices, count, columns]; to: [slices, samples, columns].
KERNEL filter_columns(const float* __restrict__ from, const int* __restrict__ firsts,
                      const int* __restrict__ starts, const float* __restrict__ taps,
                      float* __restrict__ to, int slices, int columns, int count, int samples) {
    FOR_EACH(n, slices * samples * columns) {
        Index at = index_of(n, columns, samples);
        const float* window = from + ((size_t)at.k * count + firsts[at.j]) * columns + at.i;
        int start = starts[at.j], end = starts[at.j + 1];
        float sum = 0.0f;
        for (int tap = start; tap < end; ++tap) sum += window[(tap - start) * columns] * taps[tap];
        to[n] = sum;
    }
}
