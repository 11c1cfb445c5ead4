// Masks and labels grown and shrunk by an element of 3 x 3 x 3 voxels, and masks by a disc in their slices.
//
// Bit n of `element` admits the n-th of the 27 voxels around one, itself among them. Beyond the volume lies nothing.
// Comparisons only: equal to the reference to the bit.
#include "sagitta.cuh"

// The value of a neighbour, 0 beyond the volume.
__device__ inline u8 neighbour(const u8* map, Index at, int bit, int ni, int nj, int nk) {
    int i = at.i + bit % 3 - 1, j = at.j + bit / 3 % 3 - 1, k = at.k + bit / 9 - 1;
    bool inside = i >= 0 && i < ni && j >= 0 && j < nj && k >= 0 && k < nk;
    return inside ? map[(k * nj + j) * ni + i] : 0;
}

KERNEL dilate_element(const u8* __restrict__ mask, u8* __restrict__ result, int ni, int nj, int nk,
                      int element) {
    FOR_EACH(n, ni * nj * nk) {
        Index at = index_of(n, ni, nj);
        bool any = false;
        for (int bit = 0; bit < 27 && !any; ++bit)
            any = (element >> bit & 1) && neighbour(mask, at, bit, ni, nj, nk);
        result[n] = any;
    }
}

KERNEL erode_element(const u8* __restrict__ mask, u8* __restrict__ result, int ni, int nj, int nk,
                     int element) {
    FOR_EACH(n, ni * nj * nk) {
        Index at = index_of(n, ni, nj);
        bool all = true;
        for (int bit = 0; bit < 27 && all; ++bit)
            all = !(element >> bit & 1) || neighbour(mask, at, bit, ni, nj, nk);
        result[n] = all;
    }
}

// Each empty voxel inside takes the least label of its element.
KERNEL grow_labels(const u8* __restrict__ labels, const u8* __restrict__ inside,
                   u8* __restrict__ result, int ni, int nj, int nk, int element) {
    FOR_EACH(n, ni * nj * nk) {
        u8 label = labels[n];
        if (label == 0 && inside[n]) {
            Index at = index_of(n, ni, nj);
            int least = 256;
            for (int bit = 0; bit < 27; ++bit) {
                int there = element >> bit & 1 ? neighbour(labels, at, bit, ni, nj, nk) : 0;
                if (there) least = min(least, there);
            }
            label = least < 256 ? (u8)least : 0;
        }
        result[n] = label;
    }
}

// reach: for each row away how many columns to each side the disc covers.
KERNEL dilate_disc(const u8* __restrict__ mask, const int* __restrict__ reach,
                   u8* __restrict__ result, int ni, int nj, int nk, int rows_away) {
    FOR_EACH(n, ni * nj * nk) {
        Index at = index_of(n, ni, nj);
        bool any = false;
        for (int away = 1 - rows_away; away < rows_away && !any; ++away) {
            int j = at.j + away, wide = reach[away < 0 ? -away : away];
            if (j < 0 || j >= nj) continue;
            const u8* row = mask + (at.k * nj + j) * ni;
            for (int i = max(at.i - wide, 0); i <= min(at.i + wide, ni - 1) && !any; ++i)
                any = row[i] != 0;
        }
        result[n] = any;
    }
}
