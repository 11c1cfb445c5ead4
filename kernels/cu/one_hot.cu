// Label map -> one channel for each kind of label, in the windows that a net sees.
//
// map: [nk, nj, ni]. shown: for each window the voxel of the map of each column, then row, then slice; -1 beyond the map, where
// label 0 lies. voxels: of all windows. channel_of: the channel of each of 256 labels, 255 for none. tensor: [windows, channels, slices, rows, columns].
// Equal to the reference to the bit.
#include "sagitta.cuh"

KERNEL encode_windows(const u8* __restrict__ map, const int* __restrict__ shown,
                      const u8* __restrict__ channel_of, float* __restrict__ tensor, int ni, int nj,
                      int voxels, int channels, int columns, int rows, int slices) {
    int volume = columns * rows * slices, tables = columns + rows + slices;
    FOR_EACH(n, voxels) {
        int window = n / volume, voxel = n - window * volume;
        Index at = index_of(voxel, columns, rows);
        const int* table = shown + window * tables;
        int i = table[at.i], j = table[columns + at.j], k = table[columns + rows + at.k];
        bool inside = i >= 0 && j >= 0 && k >= 0;
        int channel = channel_of[inside ? map[(k * nj + j) * ni + i] : 0];
        float* to = tensor + (size_t)window * channels * volume + voxel;
        for (int c = 0; c < channels; ++c) to[(size_t)c * volume] = c == channel ? 1.0f : 0.0f;
    }
}
