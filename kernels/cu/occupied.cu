// What each label of a map occupies: its voxels, the box around them, the sums of their indices.
//
// Label n counts as row n - 1; 0 is background. counts start as 0, least as large numbers, most as -1, sums as 0.
// Integers, so the order of additions is nobody's business: equal to the reference to the bit.
#include "sagitta.cuh"

// Runs are cut where their place along i is a multiple of this, so that a run over a whole row is shared by many threads.
const int LONGEST = 32;

template <class T>
__device__ inline void add_runs(const T* labels, int* counts, int* least, int* most, u64* sums,
                                int ni, int nj, int nk) {
    FOR_EACH(n, ni * nj * nk) {
        T label = labels[n];
        if (label == 0) continue;
        Index at = index_of(n, ni, nj);
        bool first = at.i % LONGEST == 0 || labels[n - 1] != label;
        if (!first) continue;
        int last = at.i;
        while ((last + 1) % LONGEST != 0 && last + 1 < ni && labels[n + last + 1 - at.i] == label)
            ++last;
        int count = last - at.i + 1, row = (int)label - 1;
        atomicAdd(&counts[row], count);
        int low[3] = {at.i, at.j, at.k}, high[3] = {last, at.j, at.k};
        u64 sum[3] = {(u64)(at.i + last) * count / 2, (u64)at.j * count, (u64)at.k * count};
        for (int axis = 0; axis < 3; ++axis) {
            atomicMin(&least[row * 3 + axis], low[axis]);
            atomicMax(&most[row * 3 + axis], high[axis]);
            atomicAdd(&sums[row * 3 + axis], sum[axis]);
        }
    }
}

// Bytes are few: each block adds up its own rows first, since all threads of a device would wait at those of a large label.
KERNEL occupied_by_bytes(const u8* __restrict__ labels, int* __restrict__ counts,
                         int* __restrict__ least, int* __restrict__ most, u64* __restrict__ sums,
                         int ni, int nj, int nk) {
    const int ROWS = 255;
    __shared__ int counts_here[ROWS], least_here[3 * ROWS], most_here[3 * ROWS];
    __shared__ u64 sums_here[3 * ROWS];
    for (int n = threadIdx.x; n < 3 * ROWS; n += THREADS) {
        if (n < ROWS) counts_here[n] = 0;
        least_here[n] = 0x7f7f7f7f;
        most_here[n] = -1;
        sums_here[n] = 0;
    }
    __syncthreads();
    add_runs(labels, counts_here, least_here, most_here, sums_here, ni, nj, nk);
    __syncthreads();
    for (int n = threadIdx.x; n < 3 * ROWS; n += THREADS) {
        if (counts_here[n / 3] == 0) continue;
        if (n % 3 == 0) atomicAdd(&counts[n / 3], counts_here[n / 3]);
        atomicMin(&least[n], least_here[n]);
        atomicMax(&most[n], most_here[n]);
        atomicAdd(&sums[n], sums_here[n]);
    }
}

KERNEL occupied_by_numbers(const u32* __restrict__ labels, int* __restrict__ counts,
                           int* __restrict__ least, int* __restrict__ most,
                           u64* __restrict__ sums, int ni, int nj, int nk) {
    add_runs(labels, counts, least, most, sums, ni, nj, nk);
}
