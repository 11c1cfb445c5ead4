// Slices -> the input of a 2.5-D net.
//
// image: [slices, rows, columns]. stack: [slices + 1, padded rows, padded columns], the last slice outside of the series.
// places: for each channel of each item its slice of the stack. tensor: [items, channels, padded rows, padded columns].
// Equal to the reference to the bit, given the same scalings.
#include "sagitta.cuh"

// The least value of all, as a key; `least` starts as the largest key.
KERNEL lowest_key(const float* __restrict__ image, u32* __restrict__ least, int n) {
    u32 key = 0xffffffffu;
    FOR_EACH(i, n) key = min(key, ordered(image[i]));
    for (int away = WARP / 2; away > 0; away /= 2)
        key = min(key, __shfl_down_sync(WHOLE_WARP, key, away));
    if (threadIdx.x % WARP == 0) atomicMin(least, key);
}

// Mean of `stride` slices about each slice; an even number takes half of its two outer ones. Beyond the series the
// outermost slice repeats, beyond the image lies its least value.
KERNEL stack_slices(const float* __restrict__ image, const u32* __restrict__ least,
                    float* __restrict__ stack, int columns, int rows, int slices,
                    int padded_columns, int padded_rows, int stride) {
    int radius = stride / 2;
    float even = stride % 2 == 0 ? 2.0f : 1.0f, weight = 1.0f / (float)stride;
    float lowest = disordered(*least);
    FOR_EACH(n, (slices + 1) * padded_rows * padded_columns) {
        Index at = index_of(n, padded_columns, padded_rows);
        if (at.k == slices || at.i >= columns || at.j >= rows) {
            stack[n] = lowest;
            continue;
        }
        float sum = 0.0f;
        for (int step = 0; step <= 2 * radius; ++step) {
            int slice = min(max(at.k + step - radius, 0), slices - 1);
            float share = step == 0 || step == 2 * radius ? weight / even : weight;
            sum += share * image[(slice * rows + at.j) * columns + at.i];
        }
        stack[n] = sum;
    }
}

// scalings: for each item low, high, mean, scale.
KERNEL gather_slabs(const float* __restrict__ stack, const int* __restrict__ places,
                    const float* __restrict__ scalings, float* __restrict__ tensor, int items,
                    int channels, int plane) {
    FOR_EACH(n, items * channels * plane) {
        int channel = n / plane;
        const float* scaling = scalings + channel / channels * 4;
        float value = stack[(size_t)places[channel] * plane + (n - channel * plane)];
        value = value < scaling[0] ? scaling[0] : value;
        value = value > scaling[1] ? scaling[1] : value;
        tensor[n] = (value - scaling[2]) * scaling[3];
    }
}
