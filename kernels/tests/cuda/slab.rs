//! Slabs of slices, and the statistics that normalise them.

use kernels::cuda::{self, Array};
use kernels::reference;
use kernels::slab::{Layout, Normalisation, Scaling, Stack};

use crate::backends::{on_each, over_wide_grids};

/// Largest value of the images.
const LARGEST: f32 = 50.0;

/// Values differ by a rounding of the mean and one of the scale: each 2^-24 of values to `LARGEST`, scaled; twice that.
fn close(got: &[f32], want: &[f32], scaling: &Scaling, case: &str) {
    let tolerance = 4.0 * LARGEST * scaling.scale / (1 << 24) as f32;
    assert_eq!(got.len(), want.len(), "{case}");
    for (n, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= tolerance, "{case}: {n}: {got} != {want}, {scaling:?}");
    }
}

#[test]
fn slabs_of_slices() {
    over_wide_grids(|random, grid, case| {
        let [columns, rows, slices] = grid.dims.counts();
        // Some images are flat, some have two values.
        let kinds = [1, 2, 5, 100][random.below(4) as usize];
        let image = random.volume(grid, |r| (r.below(kinds) as f32 - 10.0) / 2.0);
        let layout = Layout {
            stride: 1 + random.below(4) as usize,
            context: random.below(3) as usize,
            padded: [columns + random.below(4) as usize, rows + random.below(3) as usize],
        };
        let rule = Normalisation {
            low_percentile: [0.0, 0.5, 20.0][random.below(3) as usize],
            high_percentile: [99.5, 100.0, 80.0][random.below(3) as usize],
            foreground: [0.0, 0.1, 0.5][random.below(3) as usize],
        };
        let items = [(0, false), (slices / 2, true), (slices - 1, false)];
        let want: Vec<_> = items
            .iter()
            .map(|&item| reference::slab::gather(&image, &layout, item, &rule))
            .collect();
        let length = layout.channels() * layout.plane();
        let stack = Stack::new(&image, layout);
        for (&(k, mirrored), (want, scaling)) in items.iter().zip(&want) {
            let mut tensor = vec![f32::NAN; length];
            stack.gather(k, mirrored, &rule, &mut tensor);
            close(&tensor, want, scaling, case);
        }
        on_each(|on, place| {
            let voxels = Array::of(on, image.voxels()).unwrap();
            let stack = cuda::slab::Stack::new(on, &voxels, grid.dims, layout).unwrap();
            let tensor = stack.gather(on, &items, &rule).unwrap().download(on).unwrap();
            for (got, (want, scaling)) in tensor.chunks_exact(length).zip(&want) {
                close(got, want, scaling, &format!("{case} {place}"));
            }
        });
    });
}

/// More values than one block counts, in more than one bin of each digit.
#[test]
fn percentiles_of_a_large_slab() {
    let mut random = crate::random::Random(99);
    let axes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    let grid = kernels::Grid {
        dims: kernels::Dims::new([150, 131, 2]).unwrap(),
        affine: kernels::Affine::new(axes, [0.0; 3]).unwrap(),
    };
    let image = random.volume(grid, |r| (r.unit() * f64::from(LARGEST)) as f32);
    let layout = Layout { stride: 1, context: 1, padded: [152, 144] };
    let rule = Normalisation { low_percentile: 0.5, high_percentile: 99.5, foreground: 0.1 };
    let (want, scaling) = reference::slab::gather(&image, &layout, (1, false), &rule);
    on_each(|on, place| {
        let voxels = Array::of(on, image.voxels()).unwrap();
        let stack = cuda::slab::Stack::new(on, &voxels, grid.dims, layout).unwrap();
        let tensor = stack.gather(on, &[(1, false)], &rule).unwrap().download(on).unwrap();
        close(&tensor, &want, &scaling, place);
    });
}
