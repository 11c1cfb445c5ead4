// Divides an image by a smooth field: cubic B-splines over a lattice of control points, which give ln of the factor.
//
// lattice: [points along k, along j, along i]. For each voxel along an axis `first` has the first of the four control points that
// reach it, `weights` their splines. wide: [slices, points along j, columns]. image: [slices, rows, columns]. Sums run in the
// order of the processor's: equal to it to the bit.
#include "sagitta.cuh"

// Control points that reach one place, along one axis.
const int REACH = 4;

// The splines of one place. Sums begin with 0, as the processor's.
struct Splines {
    float weights[REACH];

    __device__ Splines(const uint4* all, int at) {
        uint4 bits = all[at];
        weights[0] = __uint_as_float(bits.x);
        weights[1] = __uint_as_float(bits.y);
        weights[2] = __uint_as_float(bits.z);
        weights[3] = __uint_as_float(bits.w);
    }

    __device__ float sum(const float* points, int step) const {
        float sum = 0.0f;
        for (int n = 0; n < REACH; ++n) sum += weights[n] * points[n * step];
        return sum;
    }
};

// The field along i and k, at the control points along j: the rows of a part.
KERNEL widen_field(const float* __restrict__ lattice, const int* __restrict__ first_i,
                   const uint4* __restrict__ weights_i, const int* __restrict__ first_k,
                   const uint4* __restrict__ weights_k, float* __restrict__ wide, int points_i,
                   int points_j, int columns) {
    Part part(columns, points_j);
    Splines along_k(weights_k, part.k);
#pragma unroll 2
    for (int e = 0; e < EACH; ++e) {
        int column = part.column(e), first = first_k[part.k] * points_j + part.row(e);
        const float* from = lattice + first * points_i + first_i[column];
        float sums[REACH];
        for (int i = 0; i < REACH; ++i) sums[i] = along_k.sum(from + i, points_j * points_i);
        if (part.has(e)) wide[part.offset(e)] = Splines(weights_i, column).sum(sums, 1);
    }
}

// e^x as `bias::powers` has it: the same bits on every machine.
__device__ inline float power_of_e(float x) {
    x = fminf(fmaxf(x, -80.0f), 80.0f);
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

// Columns of a thread, and rows one after the other: mostly the same control points reach them. So many rows at once.
const int ACROSS = 2, DOWN = 8, AT_ONCE = 4;

KERNEL divide_by_field(const float* __restrict__ wide, const int* __restrict__ first_j,
                       const uint4* __restrict__ weights_j, float* __restrict__ image,
                       int points_j, int columns, int rows) {
    PartOf<ACROSS, DOWN> part(columns, rows);
    const float* slice = wide + (size_t)part.k * points_j * columns;
    float points[ACROSS][REACH];
    int shown = -1;
#pragma unroll 1
    for (int done = 0; done < ACROSS * DOWN; done += ACROSS * AT_ONCE) {
        float values[ACROSS * AT_ONCE];
        for (int e = 0; e < ACROSS * AT_ONCE; ++e) values[e] = image[part.offset(done + e)];
        for (int e = 0; e < ACROSS * AT_ONCE; ++e) {
            int row = part.row(done + e), first = first_j[row];
            if (first != shown) {
                shown = first;
                for (int q = 0; q < ACROSS; ++q)
                    for (int n = 0; n < REACH; ++n)
                        points[q][n] = slice[(first + n) * columns + part.column(q)];
            }
            values[e] *= power_of_e(-Splines(weights_j, row).sum(points[e % ACROSS], 1));
        }
        for (int e = 0; e < ACROSS * AT_ONCE; ++e)
            if (part.has(done + e)) image[part.offset(done + e)] = values[e];
    }
}
