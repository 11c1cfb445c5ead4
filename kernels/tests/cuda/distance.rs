//! Distances to the background, and discs.

use kernels::cuda::{self, Array};
use kernels::{distance, morphology, reference};

use crate::backends::{on_each, over_grids};

#[test]
fn distances_and_discs() {
    over_grids(|random, grid, case| {
        let share = [0.0, 0.5, 0.9, 1.0][random.below(4) as usize];
        let mask = random.volume(grid, |r| u8::from(r.unit() < share));
        let flat = distance::squared_mm_in_plane(&mask);
        let solid = distance::squared_mm(&mask);
        // The same three squares in another order: a few units in the last place of 3000 mm².
        let wanted = reference::distance::squared_mm(&mask);
        for (got, want) in solid.voxels().iter().zip(wanted.voxels()) {
            assert!(got == want || (got - want).abs() <= 1e-11, "{case}: {got} != {want}");
        }
        let wanted = reference::distance::squared_mm_in_plane(&mask);
        for (got, want) in flat.voxels().iter().zip(wanted.voxels()) {
            // 2000 mm² * 2^-24.
            assert!(got == want || (got - want).abs() <= 2e-4, "{case}: {got} != {want}");
        }
        let disc = reference::morphology::dilate_in_plane(&mask, 1.1);
        assert_eq!(morphology::dilate_in_plane(&mask, 1.1), disc, "{case}");
        on_each(|on, place| {
            let case = format!("{case} {place}");
            let voxels = Array::of(on, mask.voxels()).unwrap();
            let got = cuda::distance::squared_mm_in_plane(on, &voxels, &grid).unwrap();
            // The fast version looks at a box around the mask only, so its parabolas may cross elsewhere by a rounding.
            for (got, want) in got.download(on).unwrap().iter().zip(flat.voxels()) {
                assert!(got == want || (got - want).abs() <= 2e-4, "{case}: {got} != {want}");
            }
            let got = cuda::distance::squared_mm(on, &voxels, &grid).unwrap();
            assert_eq!(got.download(on).unwrap(), solid.voxels(), "{case}");
            let got = cuda::morphology::dilate_in_plane(on, &voxels, &grid, 1.1).unwrap();
            assert_eq!(got.download(on).unwrap(), disc.voxels(), "{case}");
        });
    });
}
