// Background that a structure encloses: open space that the edge of the slice or volume does not reach.
//
// Open space is everything but the structure; full, starts and parents are those of its runs, as components.cu leaves them.
// Bytes of 0 and 1: equal to the reference to the bit.
#include "sagitta.cuh"

// parents: -1 at the root of every component with a voxel at an edge along one of the first `axes` axes. Threads that write
// the same number write the same value, and none has to see what another wrote.
KERNEL reach_from_edges(const u32* __restrict__ full, const u32* __restrict__ starts,
                        volatile int* parents, int ni, int nj, int nk, int axes) {
    FOR_EACH(w, words_of(ni) * nj * nk) {
        Word word = word_at(w, ni, words_of(ni));
        int j = word.row % nj, k = word.row / nj;
        bool edge = j == 0 || j == nj - 1 || (axes == 3 && (k == 0 || k == nk - 1));
        // Runs in the midst of a row end at an edge along i only where they hold the first or the last voxel.
        u32 own = full[w], ends = edge ? starts[w] : 0;
        if (word.column == 0) ends |= own & 1;
        if (word.column + BITS >= ni) ends |= own & 1u << (word.count - 1);
        while (ends) {
            int root = parents[word.first + last_bit(starts[w], next_bit(ends))];
            if (root >= 0) parents[root] = -1;
        }
    }
}

KERNEL find_holes(const u8* __restrict__ map, const u32* __restrict__ full,
                  const u32* __restrict__ starts, const int* __restrict__ parents,
                  u8* __restrict__ holes, int ni, int nj, int nk) {
    int words = words_of(ni) * nj * nk;
    for (int start = blockIdx.x * THREADS; start < words; start += gridDim.x * THREADS) {
        int w = start + threadIdx.x;
        Word word = {0, 0, 0, 0};
        u32 closed = 0;
        if (w < words) {
            word = word_at(w, ni, words_of(ni));
            u32 own = full[w], begins = starts[w];
            for (u32 bits = begins; bits;) {
                int bit = next_bit(bits), root = parents[word.first + bit];
                if (root < 0 || parents[root] < 0) continue;
                u32 behind = bits ? low_bits(__ffs(bits) - 1) : WHOLE_WARP;
                closed |= own & behind & WHOLE_WARP << bit;
            }
            if (closed) closed &= ~other_than(labels_at(map, word.first, ni * nj * nk), 0);
        }
        spread(holes, ni, word.first, word.count, closed);
    }
}
