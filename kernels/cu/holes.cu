// Background that a structure encloses: open space that the edge of the slice or volume does not reach.
//
// Open space is everything but the structure; its components are those of components.cu. Bytes of 0 and 1 throughout:
// equal to the reference to the bit.
#include "sagitta.cuh"

KERNEL open_space(const u8* __restrict__ map, u8* __restrict__ open, int value, int n) {
    FOR_EACH(i, n) open[i] = map[i] != value;
}

// reached: 1 at the root of every component with a voxel at an edge along one of the first `axes` axes; 0 before. Threads
// that write the same byte write the same value.
KERNEL reach_from_edges(const int* __restrict__ parents, u8* __restrict__ reached, int ni, int nj,
                        int nk, int axes) {
    FOR_EACH(n, ni * nj * nk) {
        if (parents[n] < 0) continue;
        Index at = index_of(n, ni, nj);
        bool edge = at.i == 0 || at.i == ni - 1 || at.j == 0 || at.j == nj - 1;
        edge = edge || (axes == 3 && (at.k == 0 || at.k == nk - 1));
        if (edge) reached[parents[n]] = 1;
    }
}

KERNEL find_holes(const u8* __restrict__ map, const int* __restrict__ parents,
                  const u8* __restrict__ reached, u8* __restrict__ holes, int n) {
    FOR_EACH(i, n) holes[i] = map[i] == 0 && parents[i] >= 0 && !reached[parents[i]];
}
