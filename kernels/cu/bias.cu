// Divides an image by a smooth field: cubic B-splines over a lattice of control points, which give ln of the factor.
//
// lattice: [points along k, along j, along i]. For each voxel along an axis `first` has the first of the four control points that
// reach it, `weights` their splines. wide: [slices, points along j, columns]. image: [slices, rows, columns]. Sums run in the
// order of the processor's: equal to it to the bit.
#include "sagitta.cuh"

// Control points that reach one place, along one axis.
const int REACH = 4;

// The field along i and k, at the control points along j: the rows of a part.
KERNEL widen_field(const float* __restrict__ lattice, const int* __restrict__ first_i,
                   const float* __restrict__ weights_i, const int* __restrict__ first_k,
                   const float* __restrict__ weights_k, float* __restrict__ wide, int points_i,
                   int points_j, int columns) {
    Part part(columns, points_j);
#pragma unroll 1
    for (int e = 0; e < EACH; ++e) {
        int column = part.column(e), first = first_k[part.k] * points_j + part.row(e);
        const float* from = lattice + first * points_i + first_i[column];
        float sum = 0.0f;
        for (int i = 0; i < REACH; ++i) {
            float along_k = 0.0f;
            for (int k = 0; k < REACH; ++k)
                along_k += weights_k[REACH * part.k + k] * from[k * points_j * points_i + i];
            sum += weights_i[REACH * column + i] * along_k;
        }
        if (part.has(e)) wide[part.offset(e)] = sum;
    }
}

// e^x as `bias::powers` has it: the same bits on every machine.
__device__ inline float power_of_e(float x) {
    x = x < -80.0f ? -80.0f : x;
    x = x > 80.0f ? 80.0f : x;
    float rounded = x * 1.44269504f + 12582912.0f;
    float whole = rounded - 12582912.0f;
    float rest = (x - whole * 0.6933594f) - whole * -2.1219444e-4f;
    float curve = 1.0f / 720.0f;
    curve = curve * rest + 1.0f / 120.0f;
    curve = curve * rest + 1.0f / 24.0f;
    curve = curve * rest + 1.0f / 6.0f;
    curve = curve * rest + 0.5f;
    float power = __uint_as_float((__float_as_uint(rounded) + 127u) << 23);
    return power * (curve * rest * rest + rest + 1.0f);
}

KERNEL divide_by_field(const float* __restrict__ wide, const int* __restrict__ first_j,
                       const float* __restrict__ weights_j, float* __restrict__ image,
                       int points_j, int columns, int rows) {
    Part part(columns, rows);
    const float* slice = wide + (size_t)part.k * points_j * columns;
    float values[EACH];
    for (int e = 0; e < EACH; ++e) values[e] = image[part.offset(e)];
    for (int e = 0; e < EACH; ++e) {
        const float* from = slice + first_j[part.row(e)] * columns + part.column(e);
        const float* weights = weights_j + REACH * part.row(e);
        float log = 0.0f;
        for (int j = 0; j < REACH; ++j) log += weights[j] * from[j * columns];
        values[e] *= power_of_e(-log);
    }
    for (int e = 0; e < EACH; ++e)
        if (part.has(e)) image[part.offset(e)] = values[e];
}
