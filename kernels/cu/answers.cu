// What a net says in the windows that it saw -> what it says of voxels of the map, and the means of its last planes.
//
// scores: for each window `planes` planes of [rows, columns]; the first are [classes, slices, rows, columns].
// Equal to the reference to the bit.
#include "sagitta.cuh"

// offsets: of the voxels that are asked for, in the map. nearest: for each window the column, row and slice of the window that
// is nearest to each column, row and slice of the map; -1 beyond the window, where class 0 is said. said: [windows, voxels], the
// class with the largest score, of equal ones the lowest.
KERNEL answer(const float* __restrict__ scores, const int* __restrict__ offsets,
              const int* __restrict__ nearest, u8* __restrict__ said, int voxels, int ni, int nj,
              int nk, int columns, int rows, int slices, int classes, int planes) {
    int window = blockIdx.y, volume = columns * rows * slices;
    const int* table = nearest + window * (ni + nj + nk);
    const float* of_window = scores + (size_t)window * planes * (columns * rows);
    FOR_EACH(voxel, voxels) {
        Index index = index_of(offsets[voxel], ni, nj);
        int i = table[index.i], j = table[ni + index.j], k = table[ni + nj + index.k], best = 0;
        if (i >= 0 && j >= 0 && k >= 0) {
            const float* at = of_window + (k * rows + j) * columns + i;
            float top = *at;
            for (int c = 1; c < classes; ++c) {
                float score = at[(size_t)c * volume];
                if (score > top) {
                    top = score;
                    best = c;
                }
            }
        }
        said[(size_t)window * voxels + voxel] = (u8)best;
    }
}

// means: [windows, wanted] of the planes from `first` on, over rows `top` to `bottom` and columns `left` to `right`, the ends left
// out; summed row by row in double precision.
KERNEL plane_means(const float* __restrict__ scores, double* __restrict__ means, int windows,
                   int planes, int first, int wanted, int columns, int rows, int top, int bottom,
                   int left, int right) {
    FOR_EACH(n, windows * wanted) {
        int window = n / wanted, plane = first + n % wanted;
        const float* of_plane = scores + ((size_t)window * planes + plane) * (columns * rows);
        double sum = 0.0;
        for (int j = top; j < bottom; ++j)
            for (int i = left; i < right; ++i) sum += (double)of_plane[j * columns + i];
        means[n] = sum / (double)((bottom - top) * (right - left));
    }
}
