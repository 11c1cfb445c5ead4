//! Dividing a bias field out.

use kernels::bias::Field;
use kernels::cuda::{self, Array};
use kernels::{Dims, Grid, reference};

use crate::backends::{on_each, over_grids};

#[test]
fn fields_are_divided_out() {
    let mut changed: f32 = 0.0;
    over_grids(|random, grid, case| {
        // Long enough for the lattice to have several intervals; a wave of brightness along rows and columns.
        let [ni, nj, nk] = grid.dims.counts();
        let grid = Grid { dims: Dims::new([3 * ni, 5 * nj, nk]).unwrap(), ..grid };
        let mut at = 0;
        let image = random.volume(grid, |r| {
            let [i, j, _] = grid.dims.index(at);
            at += 1;
            let bias = 1.0 + 0.5 * (i as f64 / 9.0).sin() + 0.3 * (j as f64 / 15.0).cos();
            (bias * (90.0 + 20.0 * r.unit())) as f32
        });
        let Some(field) = Field::estimate(&image, 1) else { return };
        let mut want = image.clone();
        field.divide(&mut want, 1);
        let defined = reference::bias::correct(&image);
        for (want, defined) in want.voxels().iter().zip(defined.voxels()) {
            // As in `agree.rs`: what differs is the estimate.
            assert!((want - defined).abs() <= 1e-3 * defined, "{case}: {want} {defined}");
        }
        for (want, was) in want.voxels().iter().zip(image.voxels()) {
            changed = changed.max((want / was - 1.0).abs());
        }
        on_each(|on, place| {
            let mut voxels = Array::of(on, image.voxels()).unwrap();
            cuda::bias::divide(on, &mut voxels, grid.dims, &field).unwrap();
            assert_eq!(voxels.download(on).unwrap(), want.voxels(), "{case} {place}");
        });
    });
    assert!(changed > 0.1, "the fields are at most {changed}: too little to show anything");
}
