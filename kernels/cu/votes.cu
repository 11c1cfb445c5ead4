// What several answers say of the same voxels -> whose each voxel is.
//
// said: [answers, voxels], 0 or a class from 1 on. names: [answers, CLASSES]. weights: votes of each class. owners: for each voxel
// the name with most votes, of equal ones the lowest; NOBODY without votes. Equal to the reference to the bit.
#include "sagitta.cuh"

// What an answer may say besides nothing.
const int CLASSES = 3;
const int NOBODY = 65535;

struct Ballot {
    const u8* said;
    const unsigned short* names;
    const int* weights;
    int voxels, answers;

    // The class, from 0, that an answer says of a voxel; -1 for nothing.
    __device__ int class_at(int answer, int voxel) const {
        int class_of = said[(size_t)answer * voxels + voxel];
        return class_of <= CLASSES ? class_of - 1 : -1;
    }

    __device__ int votes(int name, int voxel) const {
        int sum = 0;
        for (int answer = 0; answer < answers; ++answer) {
            int class_of = class_at(answer, voxel);
            if (class_of >= 0 && names[answer * CLASSES + class_of] == name) sum += weights[class_of];
        }
        return sum;
    }
};

KERNEL elect(const u8* __restrict__ said, const unsigned short* __restrict__ names,
             const int* __restrict__ weights, unsigned short* __restrict__ owners, int voxels,
             int answers) {
    Ballot ballot = {said, names, weights, voxels, answers};
    FOR_EACH(voxel, voxels) {
        int best = NOBODY, most = 0;
        // Few answers show a voxel, and neighbours name the same: a name is counted when it is not the last one counted.
        int counted = NOBODY;
        for (int answer = 0; answer < answers; ++answer) {
            int class_of = ballot.class_at(answer, voxel);
            if (class_of < 0) continue;
            int name = names[answer * CLASSES + class_of];
            if (name == counted) continue;
            counted = name;
            int sum = ballot.votes(name, voxel);
            if (sum > most || (sum == most && sum > 0 && name < best)) {
                best = name;
                most = sum;
            }
        }
        owners[voxel] = (unsigned short)best;
    }
}
