//! Distances to the background, and discs.

use kernels::cuda::{self, Array};
use kernels::{distance, morphology, reference};

use crate::backends::{on_each, over_grids};
use crate::random::{Random, grids};

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

/// Rows of several words; zeros, and voxels of the mask, farther apart than a word and than what a disc covers at once.
#[test]
fn far_zeros_and_wide_discs() {
    let mut random = Random(3);
    for grid in grids(&mut random, &[[150, 9, 2], [128, 5, 3], [40, 30, 1]]) {
        let share = if grid.dims.counts()[1] < 9 { 0.05 } else { 0.005 };
        let mask = random.volume(grid, |r| u8::from(r.unit() > share));
        let seeds = mask.map(|value| 1 - value);
        let squares = distance::squared_mm_in_plane(&mask);
        let discs = [7.0, 45.0].map(|mm| (mm, reference::morphology::dilate_in_plane(&seeds, mm)));
        on_each(|on, place| {
            let voxels = Array::of(on, mask.voxels()).unwrap();
            let got = cuda::distance::squared_mm_in_plane(on, &voxels, &grid).unwrap();
            for (got, want) in got.download(on).unwrap().iter().zip(squares.voxels()) {
                let rounding = want * f32::EPSILON;
                assert!(got == want || (got - want).abs() <= rounding, "{place}: {got} != {want}");
            }
            let voxels = Array::of(on, seeds.voxels()).unwrap();
            for (mm, disc) in &discs {
                let got = cuda::morphology::dilate_in_plane(on, &voxels, &grid, *mm).unwrap();
                assert_eq!(got.download(on).unwrap(), disc.voxels(), "{place} {mm} mm");
            }
        });
    }
}
