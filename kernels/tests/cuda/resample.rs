//! Values of one grid on another.

use kernels::cuda::{self, Array};
use kernels::{Affine, Dims, Grid, reference, resample};

use crate::backends::{COUNTS, WIDE, on_each, over_wide_grids};
use crate::random::Random;

fn close(got: &[f32], want: &[f32], tolerance: f32, case: &str) {
    assert_eq!(got.len(), want.len(), "{case}");
    for (n, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= tolerance, "{case}: {n}: {got} != {want}");
    }
}

/// A grid with the axes of `grid` in other lengths, which begins elsewhere and goes beyond it.
fn other(random: &mut Random, grid: &Grid) -> Grid {
    let counts = match grid.dims.counts() {
        WIDE => [131, 37, 3],
        _ => COUNTS[random.below(COUNTS.len() as u64) as usize],
    };
    let dims = Dims::new(counts).unwrap();
    let start = [random.unit() - 0.5, random.unit() * 4.0, 0.0];
    let axes = grid.affine.axes().map(|axis| kernels::volume::scale(axis, 0.3 + random.unit()));
    Grid { dims, affine: Affine::new(axes, grid.affine.world(start)).unwrap() }
}

#[test]
fn in_plane() {
    over_wide_grids(|random, grid, case| {
        let image = random.volume(grid, |r| r.below(200) as f32 / 2.0);
        for spacing in [0.3, 1.0, 2.9] {
            let fast = resample::in_plane(&image, spacing);
            let want = reference::resample::in_plane(&image, spacing);
            // Values to 100; f32 weights and two nested sums round to a few 2^-24 each: 100 * 2 * 8 * 2^-24.
            close(fast.voxels(), want.voxels(), 1e-4, case);
            on_each(|on, place| {
                let values = Array::of(on, image.voxels()).unwrap();
                let got = cuda::resample::in_plane(on, &values, &grid, spacing).unwrap();
                assert_eq!(got.download(on).unwrap(), fast.voxels(), "{case} {spacing} {place}");
            });
        }
    });
}

#[test]
fn nearest() {
    over_wide_grids(|random, grid, case| {
        let target = other(random, &grid);
        let labels = random.volume(grid, |r| r.below(256) as u8);
        let image = labels.map(f32::from);
        let want = reference::resample::nearest(&labels, &target);
        assert_eq!(resample::nearest(&labels, &target), want, "{case}");
        on_each(|on, place| {
            let bytes = Array::of(on, labels.voxels()).unwrap();
            let bytes = cuda::resample::nearest(on, &bytes, &grid, &target).unwrap();
            assert_eq!(bytes.download(on).unwrap(), want.voxels(), "{case} {place}");
            let floats = Array::of(on, image.voxels()).unwrap();
            let floats = cuda::resample::nearest(on, &floats, &grid, &target).unwrap();
            let want = want.map(f32::from);
            assert_eq!(floats.download(on).unwrap(), want.voxels(), "{case} {place}");
        });
    });
}

#[test]
fn cubic() {
    over_wide_grids(|random, grid, case| {
        let target = other(random, &grid);
        let image = random.volume(grid, |r| r.below(200) as f32 / 2.0);
        let fast = resample::cubic(&image, &target);
        let want = reference::resample::cubic(&image, &target);
        // Values to 100; f32 sums over the filter's memory and three passes: 100 * 3 * 8 * 2^-24.
        close(fast.voxels(), want.voxels(), 2e-4, case);
        on_each(|on, place| {
            let values = Array::of(on, image.voxels()).unwrap();
            let got = cuda::resample::cubic(on, &values, &grid, &target).unwrap();
            assert_eq!(got.download(on).unwrap(), fast.voxels(), "{case} {place}");
        });
    });
}
