// Masks and labels grown and shrunk by an element of 3 x 3 x 3 voxels, and masks by a disc in their slices.
//
// Bit n of `element` admits the n-th of the 27 voxels around one, itself among them. Beyond the volume lies nothing. Masks are
// packed first, so that a thread takes the 32 voxels of a word at once. Comparisons only: equal to the reference to the bit.
#include "sagitta.cuh"

// bits: of each word which voxels are not 0.
KERNEL pack_mask(const u8* __restrict__ mask, u32* __restrict__ bits, int ni, int nj, int nk) {
    FOR_EACH(w, words_of(ni) * nj * nk) {
        Word word = word_at(w, ni, words_of(ni));
        bits[w] = other_than(labels_at(mask, word.first, ni * nj * nk), 0) & low_bits(word.count);
    }
}

// Gathers from `start` what the elements of a word's voxels hold: gather(found, bits) for each of the 27 neighbours admitted.
template <class Gather>
__device__ inline u32 gathered_around(const u32* bits, Word word, int ni, int nj, int nk, int element,
                                      u32 start, Gather gather) {
    int row_words = words_of(ni), w = word.column / BITS;
#pragma unroll
    for (int n = 0; n < 27; n += 3) {
        if (!(element >> n & 7)) continue;
        int j = word.row % nj + n / 3 % 3 - 1, k = word.row / nj + n / 9 - 1;
        bool inside = j >= 0 && j < nj && k >= 0 && k < nk;
        const u32* row = bits + (size_t)(inside ? k * nj + j : 0) * row_words;
        u32 here = inside ? row[w] : 0;
        if (element >> (n + 1) & 1) start = gather(start, here);
        u32 left = inside && w > 0 ? row[w - 1] >> 31 : 0;
        if (element >> n & 1) start = gather(start, here << 1 | left);
        u32 right = inside && w + 1 < row_words ? row[w + 1] << 31 : 0;
        if (element >> (n + 2) & 1) start = gather(start, here >> 1 | right);
    }
    return start;
}

// Writes what `found` tells of each word as bytes.
template <class Found>
__device__ inline void write_words(u8* result, int ni, int nj, int nk, Found found) {
    int row_words = words_of(ni), words = row_words * nj * nk;
    for (int first = blockIdx.x * THREADS; first < words; first += gridDim.x * THREADS) {
        int w = first + threadIdx.x;
        Word word = {0, 0, 0, 0};
        u32 bits = 0;
        if (w < words) {
            word = word_at(w, ni, row_words);
            bits = found(word);
        }
        spread(result, ni, word.first, word.count, bits);
    }
}

KERNEL dilate_element(const u32* __restrict__ bits, u8* __restrict__ result, int ni, int nj, int nk,
                      int element) {
    write_words(result, ni, nj, nk, [=](Word word) {
        auto any = [](u32 found, u32 there) { return found | there; };
        return gathered_around(bits, word, ni, nj, nk, element, 0, any);
    });
}

KERNEL erode_element(const u32* __restrict__ bits, u8* __restrict__ result, int ni, int nj, int nk,
                     int element) {
    write_words(result, ni, nj, nk, [=](Word word) {
        auto all = [](u32 found, u32 there) { return found & there; };
        return gathered_around(bits, word, ni, nj, nk, element, WHOLE_WARP, all);
    });
}

// The value of a neighbour, 0 beyond the volume.
__device__ inline u8 neighbour(const u8* map, Index at, int bit, int ni, int nj, int nk) {
    int i = at.i + bit % 3 - 1, j = at.j + bit / 3 % 3 - 1, k = at.k + bit / 9 - 1;
    bool inside = i >= 0 && i < ni && j >= 0 && j < nj && k >= 0 && k < nk;
    return inside ? map[(k * nj + j) * ni + i] : 0;
}

// The least label of the element of a voxel; 0 of none.
__device__ inline u8 least_around(const u8* labels, Index at, int element, int ni, int nj, int nk) {
    u32 least = 256;
    for (int bit = 0; bit < 27; ++bit) {
        u32 there = element >> bit & 1 ? neighbour(labels, at, bit, ni, nj, nk) : 0;
        if (there) least = min(least, there);
    }
    return least < 256 ? (u8)least : 0;
}

// Each empty voxel inside takes the least label of its element. Words here are of the whole map, not of its rows.
KERNEL grow_labels(const u8* __restrict__ labels, const u8* __restrict__ inside,
                   u8* __restrict__ result, int ni, int nj, int nk, int element) {
    int n = ni * nj * nk;
    FOR_EACH(w, words_of(n)) {
        int first = w * BITS;
        Labels own = labels_at(labels, first, n);
        u32 open = ~other_than(own, 0) & other_than(labels_at(inside, first, n), 0);
        put_labels(result, first, n, own);
        while (open) {
            int at = first + next_bit(open);
            result[at] = least_around(labels, index_of(at, ni, nj), element, ni, nj, nk);
        }
    }
}

// Each bit of 64 joined with the `span` - 1 after it, of which there are at most 32.
__device__ inline u64 smeared(u64 bits, int span) {
    for (int have = 1; have < span;) {
        int more = min(have, span - have);
        bits |= bits >> more;
        have += more;
    }
    return bits;
}

// reach: for each row away how many columns to each side the disc covers.
KERNEL dilate_disc(const u32* __restrict__ bits, const int* __restrict__ reach,
                   u8* __restrict__ result, int ni, int nj, int nk, int rows_away) {
    int row_words = words_of(ni);
    write_words(result, ni, nj, nk, [=](Word word) {
        const u32* row = bits + (size_t)word.row * row_words;
        int j = word.row % nj;
        u32 any = 0;
        for (int away = 0; away < rows_away; ++away) {
            int wide = reach[away];
            for (int from = -wide; from <= wide; from += BITS + 1) {
                int at = word.column + from;
                u64 there = j >= away ? window(row - away * row_words, row_words, at) : 0;
                if (j + away < nj) there |= window(row + away * row_words, row_words, at);
                any |= (u32)smeared(there, min(BITS + 1, wide - from + 1));
            }
        }
        return any;
    });
}
