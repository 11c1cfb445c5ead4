// Slices -> the input of a 2.5-D net.
//
// image: [slices, rows, columns]. stack: [slices + 1, padded rows, padded columns], the last slice outside of the series.
// places: for each channel of each item its slice of the stack. tensor: [items, channels, padded rows, padded columns].
// Equal to the reference to the bit, given the same scalings.
#include "sagitta.cuh"

// Mean of `stride` slices about each slice, and the least value of all as a key: `least` starts as the largest one. An even
// number takes half of its two outer slices. Beyond the series the outermost slice repeats.
KERNEL stack_slices(const float* __restrict__ image, float* __restrict__ stack, u32* least,
                    int columns, int rows, int slices, int padded_columns, int padded_rows,
                    int stride) {
    __shared__ u32 keys[WARP];
    Part part(columns, rows);
    int radius = stride / 2;
    float even = stride % 2 == 0 ? 2.0f : 1.0f, weight = 1.0f / (float)stride;
    float sums[EACH] = {};
    u32 key = 0xffffffffu;
    for (int step = -radius; step <= radius; ++step) {
        int slice = min(max(part.k + step, 0), slices - 1);
        const float* from = image + (size_t)slice * rows * columns;
        float share = step == -radius || step == radius ? weight / even : weight;
        float values[EACH];
        for (int e = 0; e < EACH; ++e) values[e] = from[part.row(e) * columns + part.column(e)];
        for (int e = 0; e < EACH; ++e) {
            sums[e] += share * values[e];
            if (step == 0) key = min(key, ordered(values[e]));
        }
    }
    float* to = stack + (size_t)part.k * padded_rows * padded_columns;
    for (int e = 0; e < EACH; ++e)
        if (part.has(e)) to[part.row(e) * padded_columns + part.column(e)] = sums[e];
    key = block_least(key, keys);
    // Most blocks see that they have nothing to tell; what they see may be old, but never below what is there.
    if (threadIdx.x == 0 && key < *(volatile u32*)least) atomicMin(least, key);
}

// Air, or the least value below it, beyond each slice, `beyond` values, and in the slice outside of the series.
KERNEL fill_beyond(float* __restrict__ stack, const u32* __restrict__ least, int columns, int rows,
                   int slices, int padded_columns, int padded_rows, int beyond) {
    // AIR of the processor's form, or less.
    float lowest = fminf(disordered(*least), 0.0f);
    int right = padded_columns - columns, beside = right * rows;
    size_t plane = (size_t)padded_columns * padded_rows;
    FOR_EACH(n, slices * beyond + (int)plane) {
        int outside = n - slices * beyond;
        if (outside >= 0) {
            stack[slices * plane + outside] = lowest;
            continue;
        }
        int slice = n / beyond, at = n - slice * beyond;
        int place = at < beside ? at / right * padded_columns + columns + at % right
                                : rows * padded_columns + at - beside;
        stack[slice * plane + place] = lowest;
    }
}

// The rows of a part are channels of all items. scalings: for each item low, high, mean, scale.
KERNEL gather_slabs(const float* __restrict__ stack, const int* __restrict__ places,
                    const uint4* __restrict__ scalings, float* __restrict__ tensor, int items,
                    int channels, int plane) {
    Part part(plane, items * channels);
    float values[EACH];
    for (int e = 0; e < EACH; ++e)
        values[e] = stack[(size_t)places[part.row(e)] * plane + part.column(e)];
    for (int e = 0; e < EACH; ++e) {
        uint4 scaling = scalings[part.row(e) / channels];
        float low = __uint_as_float(scaling.x), high = __uint_as_float(scaling.y);
        float value = values[e] < low ? low : values[e];
        value = value > high ? high : value;
        value = (value - __uint_as_float(scaling.z)) * __uint_as_float(scaling.w);
        if (part.has(e)) tensor[part.offset(e)] = value;
    }
}
