// Label map -> one channel for each kind of label, in the windows that a net sees.
//
// map: [nk, nj, ni]. shown: for each window the voxel of the map of each column, then row, then slice; -1 beyond the map, where
// label 0 lies. channel_of: the channel of each of 256 labels, 255 for none. tensor: [windows, channels, slices, rows, columns].
// Equal to the reference to the bit.
#include "sagitta.cuh"

// The slices of a part are those of all windows.
KERNEL encode_windows(const u8* __restrict__ map, const int* __restrict__ shown,
                      const u8* __restrict__ channel_of, float* __restrict__ tensor, int ni, int nj,
                      int channels, int columns, int rows, int slices) {
    Part part(columns, rows);
    int window = part.k / slices, slice = part.k - window * slices, volume = columns * rows * slices;
    const int* table = shown + window * (columns + rows + slices);
    int k = table[columns + rows + slice], channel[EACH];
    for (int e = 0; e < EACH; ++e) {
        int i = table[part.column(e)], j = table[columns + part.row(e)];
        bool inside = i >= 0 && j >= 0 && k >= 0;
        channel[e] = channel_of[inside ? map[(k * nj + j) * ni + i] : 0];
    }
    float* to = tensor + (size_t)window * channels * volume + slice * rows * columns;
    for (int c = 0; c < channels; ++c, to += volume)
        for (int e = 0; e < EACH; ++e)
            if (part.has(e))
                to[part.row(e) * columns + part.column(e)] = c == channel[e] ? 1.0f : 0.0f;
}
