// Divides an image by a smooth field: cubic B-splines over a lattice of control points, which give ln of the factor.
//
// lattice: [points along k, along j, along i]. For each voxel along an axis `first` has the first of the four control points that
// reach it, `weights` their splines. wide: [slices, points along j, columns]. image: [slices, rows, columns]. Sums run in the
// order of the processor's: equal to it to the bit.
#include "sagitta.cuh"

// Control points that reach one place, along one axis.
const int REACH = 4;

// The field along i and k, at the control points along j.
KERNEL widen_field(const float* __restrict__ lattice, const int* __restrict__ first_i,
                   const float* __restrict__ weights_i, const int* __restrict__ first_k,
                   const float* __restrict__ weights_k, float* __restrict__ wide, int points_i,
                   int points_j, int columns, int n) {
    FOR_EACH(at, n) {
        Index index = index_of(at, columns, points_j);
        float sum = 0.0f;
        for (int i = 0; i < REACH; ++i) {
            float along_k = 0.0f;
            for (int k = 0; k < REACH; ++k) {
                int slice = first_k[index.k] + k, point = first_i[index.i] + i;
                along_k += weights_k[REACH * index.k + k] *
                           lattice[(slice * points_j + index.j) * points_i + point];
            }
            sum += weights_i[REACH * index.i + i] * along_k;
        }
        wide[at] = sum;
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
                       int points_j, int columns, int rows, int n) {
    FOR_EACH(at, n) {
        Index index = index_of(at, columns, rows);
        float log = 0.0f;
        for (int j = 0; j < REACH; ++j) {
            int row = index.k * points_j + first_j[index.j] + j;
            log += weights_j[REACH * index.j + j] * wide[row * columns + index.i];
        }
        image[at] *= power_of_e(-log);
    }
}
