// What several answers say of the same voxels -> whose each voxel is.
//
// said: [answers, voxels], 0 or a class from 1 on. names: [answers, CLASSES]. first, second, third: votes of each class. owners: for each voxel
// the name with most votes, of equal ones the lowest; NOBODY without votes. Equal to the reference to the bit.
#include "sagitta.cuh"

// What an answer may say besides nothing.
const int CLASSES = 3;
const int NOBODY = 65535;

// The answers that show a voxel are a set of bits.
const int MOST_ANSWERS = 64;
// Voxels of a thread.
const int FOUR = 4;

struct Ballot {
    const u8* said;
    const unsigned short* names;
    // Votes of each class.
    int first, second, third;
    int voxels;

    // Whom an answer names at a voxel, and its votes; NOBODY for nothing.
    __device__ int name_at(int answer, int voxel, int& votes) const {
        int class_of = said[(size_t)answer * voxels + voxel];
        bool counts = class_of >= 1 && class_of <= CLASSES;
        votes = !counts ? 0 : class_of == 1 ? first : class_of == 2 ? second : third;
        return counts ? names[answer * CLASSES + class_of - 1] : NOBODY;
    }

    // Whose a voxel is that the answers `shown` say something of.
    __device__ int owner(u64 shown, int voxel) const {
        int best = NOBODY, most = 0;
        while (shown) {
            // What names the first one as well is counted together with it.
            int sum = 0, name = name_at(__ffsll(shown) - 1, voxel, sum);
            shown &= shown - 1;
            for (u64 others = shown; others; others &= others - 1) {
                int votes, answer = __ffsll(others) - 1;
                if (name_at(answer, voxel, votes) != name) continue;
                sum += votes;
                shown &= ~(1ull << answer);
            }
            if (name != NOBODY && (sum > most || (sum == most && sum > 0 && name < best))) {
                best = name;
                most = sum;
            }
        }
        return best;
    }
};

// What an answer says of up to four neighbours from `at` on, the first in the lowest byte.
__device__ inline u32 four_at(const u8* said, size_t at, int count) {
    if (at % FOUR == 0 && count >= FOUR) return *reinterpret_cast<const u32*>(said + at);
    u32 four = 0;
    for (int v = 0; v < FOUR; ++v)
        if (v < count) four |= (u32)said[at + v] << 8 * v;
    return four;
}

KERNEL elect(const u8* __restrict__ said, const unsigned short* __restrict__ names,
             unsigned short* __restrict__ owners, int voxels, int answers, int first, int second,
             int third) {
    Ballot ballot = {said, names, first, second, third, voxels};
    FOR_EACH(group, (voxels + FOUR - 1) / FOUR) {
        int start = group * FOUR, count = min(FOUR, voxels - start);
        u64 shown[FOUR] = {0, 0, 0, 0};
#pragma unroll 4
        for (int answer = 0; answer < answers; ++answer) {
            u32 four = four_at(said, (size_t)answer * voxels + start, count);
#pragma unroll
            for (int v = 0; v < FOUR; ++v) shown[v] |= (u64)((four >> 8 * v & 255) != 0) << answer;
        }
#pragma unroll
        for (int v = 0; v < FOUR; ++v)
            if (v < count) owners[start + v] = (unsigned short)ballot.owner(shown[v], start + v);
    }
}
