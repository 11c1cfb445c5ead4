// Values of one grid on another with the same axes: for each voxel the one whose place is said for each axis.
//
// from: [slices, rows, columns]; to: [slices_to, rows_to, columns_to]; at_i, at_j, at_k: for each column, row and slice of
// `to` that of `from`. Copies only: equal to the bit.
#include "sagitta.cuh"

template <class T>
__device__ inline void take_places(const T* from, const int* at_i, const int* at_j, const int* at_k,
                                   T* to, int columns, int rows, int columns_to, int rows_to,
                                   int slices_to) {
    FOR_EACH(n, slices_to * rows_to * columns_to) {
        Index at = index_of(n, columns_to, rows_to);
        to[n] = from[((size_t)at_k[at.k] * rows + at_j[at.j]) * columns + at_i[at.i]];
    }
}

KERNEL nearest_bytes(const u8* __restrict__ from, const int* __restrict__ at_i,
                     const int* __restrict__ at_j, const int* __restrict__ at_k,
                     u8* __restrict__ to, int columns, int rows, int columns_to, int rows_to,
                     int slices_to) {
    take_places(from, at_i, at_j, at_k, to, columns, rows, columns_to, rows_to, slices_to);
}

KERNEL nearest_floats(const float* __restrict__ from, const int* __restrict__ at_i,
                      const int* __restrict__ at_j, const int* __restrict__ at_k,
                      float* __restrict__ to, int columns, int rows, int columns_to, int rows_to,
                      int slices_to) {
    take_places(from, at_i, at_j, at_k, to, columns, rows, columns_to, rows_to, slices_to);
}
