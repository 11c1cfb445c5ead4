// Stored samples of the frames of a series -> one volume of intensities.
//
// bytes: the frames as they came, each at a multiple of four bytes. For each slice of the volume `starts` has the place of its
// first byte, `layouts` how its samples lie, `rescales` slope and intercept. volume: [slices, pixels of a slice]. Equal to the
// reference to the bit.
#include "sagitta.cuh"

// As the host writes it: bytes of a sample, bits of a 16-bit word above the value, whether there is a sign.
struct Layout {
    int bytes, spare, is_signed;
};

__device__ inline unsigned short sample(const u8* frame, int bytes, int pixel) {
    return bytes == 1 ? frame[pixel] : reinterpret_cast<const unsigned short*>(frame)[pixel];
}

__device__ inline double stored(unsigned short raw, const Layout& layout) {
    unsigned short shifted = (unsigned short)(raw << layout.spare);
    return layout.is_signed ? (double)((short)shifted >> layout.spare)
                            : (double)(shifted >> layout.spare);
}

// The rows of a part are slices.
KERNEL stack_stored(const u8* __restrict__ bytes, const u64* __restrict__ starts,
                    const int* __restrict__ layouts, const double* __restrict__ rescales,
                    float* __restrict__ volume, int pixels, int slices) {
    Part part(pixels, slices);
    unsigned short raw[EACH];
    for (int e = 0; e < EACH; ++e) {
        int slice = part.row(e);
        raw[e] = sample(bytes + starts[slice], layouts[3 * slice], part.column(e));
    }
    for (int e = 0; e < EACH; ++e) {
        int slice = part.row(e);
        Layout layout = {layouts[3 * slice], layouts[3 * slice + 1], layouts[3 * slice + 2]};
        double value = rescales[2 * slice] * stored(raw[e], layout) + rescales[2 * slice + 1];
        if (part.has(e)) volume[part.offset(e)] = (float)value;
    }
}
