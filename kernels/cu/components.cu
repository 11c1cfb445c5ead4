// Connected components by union-find over voxels, numbered in memory order of their first voxel.
//
// parents: for each voxel one of its component, at last the first in memory; -1 for the background. A root is only ever
// joined to a smaller one, so whatever the order of threads, the root of a component is its least offset: equal to the
// reference to the bit. (Komura 2015; Playne and Hawick 2018.)
#include "sagitta.cuh"

KERNEL start_components(const u8* __restrict__ map, int* __restrict__ parents, int n) {
    FOR_EACH(i, n) parents[i] = map[i] ? i : -1;
}

// Another thread may change a parent at any time: each look must go to memory.
__device__ inline int root_of(const volatile int* parents, int at) {
    while (true) {
        int next = parents[at];
        if (next == at) return at;
        at = next;
    }
}

__device__ inline void unite(int* parents, int a, int b) {
    while (true) {
        a = root_of(parents, a);
        b = root_of(parents, b);
        if (a == b) return;
        if (a < b) {
            int other = a;
            a = b;
            b = other;
        }
        int old = atomicMin(&parents[a], b);
        if (old == a) return;
        // a was no root any more: what it is joined to has to be joined to b.
        a = old;
    }
}

// Joins equal neighbours. Bit n of `before` admits the n-th of the 13 neighbours before a voxel in memory.
KERNEL join_components(const u8* __restrict__ map, int* parents, int ni, int nj, int nk,
                       int before) {
    FOR_EACH(n, ni * nj * nk) {
        u8 value = map[n];
        if (value == 0) continue;
        Index at = index_of(n, ni, nj);
        for (int bit = 0; bit < 13; ++bit) {
            if (!(before >> bit & 1)) continue;
            int i = at.i + bit % 3 - 1, j = at.j + bit / 3 % 3 - 1, k = at.k + bit / 9 - 1;
            if (i < 0 || i >= ni || j < 0 || j >= nj || k < 0) continue;
            int other = (k * nj + j) * ni + i;
            if (map[other] == value) unite(parents, n, other);
        }
    }
}

KERNEL flatten_components(int* parents, int n) {
    FOR_EACH(i, n) if (parents[i] >= 0) parents[i] = root_of(parents, i);
}

// Voxels that one block numbers.
const int SHARE = 16 * THREADS;

// counts: roots of each block's share.
KERNEL count_roots(const int* __restrict__ parents, int* __restrict__ counts, int n) {
    __shared__ int room[WARP];
    int start = blockIdx.x * SHARE, count = 0;
    for (int i = start + threadIdx.x; i < min(start + SHARE, n); i += THREADS)
        count += parents[i] == i;
    count = block_sum(count, room);
    if (threadIdx.x == 0) counts[blockIdx.x] = count;
}

// Replaces each count by the sum of those before it; total: all. One block.
KERNEL scan_counts(int* __restrict__ counts, int* __restrict__ total, int blocks) {
    __shared__ int room[WARP];
    int below = 0;
    for (int start = 0; start < blocks; start += THREADS) {
        int at = start + threadIdx.x, sum = 0;
        int count = at < blocks ? counts[at] : 0;
        int before = block_scan(count, room, sum);
        if (at < blocks) counts[at] = below + before;
        below += sum;
    }
    if (threadIdx.x == 0) *total = below;
}

// numbers: of each root its number, from 1; values: that of each number in the map.
KERNEL number_roots(const u8* __restrict__ map, const int* __restrict__ parents,
                    const int* __restrict__ counts, u32* __restrict__ numbers,
                    u8* __restrict__ values, int n) {
    __shared__ int room[WARP];
    int start = blockIdx.x * SHARE, below = counts[blockIdx.x];
    for (int row = start; row < start + SHARE; row += THREADS) {
        int i = row + threadIdx.x, sum = 0;
        bool root = i < n && parents[i] == i;
        int before = block_scan(root, room, sum);
        if (root) {
            numbers[i] = below + before + 1;
            values[below + before] = map[i];
        }
        below += sum;
    }
}

// labels: of each voxel the number of its component, 0 for the background.
KERNEL label_components(const int* __restrict__ parents, const u32* __restrict__ numbers,
                        u32* __restrict__ labels, int n) {
    FOR_EACH(i, n) labels[i] = parents[i] < 0 ? 0 : numbers[parents[i]];
}
