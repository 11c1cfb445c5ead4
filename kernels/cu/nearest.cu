// Values of one grid on another with the same axes: for each voxel the one whose place is said for each axis.
//
// from: [slices, rows, columns]; to: [slices_to, rows_to, columns_to]; at_i, at_j, at_k: for each column, row and slice of
// `to` that of `from`. Copies only: equal to the bit.
#include "sagitta.cuh"

template <class T>
__device__ inline void take_places(const T* __restrict__ from, const int* __restrict__ at_i,
                                   const int* __restrict__ at_j, const int* __restrict__ at_k,
                                   T* __restrict__ to, int columns, int rows, int columns_to,
                                   int rows_to) {
    Part part(columns_to, rows_to);
    const T* slice = from + (size_t)at_k[part.k] * rows * columns;
    T values[EACH];
    for (int e = 0; e < EACH; ++e)
        values[e] = slice[at_j[part.row(e)] * columns + at_i[part.column(e)]];
    for (int e = 0; e < EACH; ++e)
        if (part.has(e)) to[part.offset(e)] = values[e];
}

KERNEL nearest_bytes(const u8* __restrict__ from, const int* __restrict__ at_i,
                     const int* __restrict__ at_j, const int* __restrict__ at_k,
                     u8* __restrict__ to, int columns, int rows, int columns_to, int rows_to) {
    take_places(from, at_i, at_j, at_k, to, columns, rows, columns_to, rows_to);
}

KERNEL nearest_floats(const float* __restrict__ from, const int* __restrict__ at_i,
                      const int* __restrict__ at_j, const int* __restrict__ at_k,
                      float* __restrict__ to, int columns, int rows, int columns_to, int rows_to) {
    take_places(from, at_i, at_j, at_k, to, columns, rows, columns_to, rows_to);
}
