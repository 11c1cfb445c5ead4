//! What windows say of the voxels of a map, and of themselves.

use kernels::answers::{Around, Layout, means, said};
use kernels::cuda::answers::Scores;
use kernels::cuda::{self, Array, DeviceError};
use kernels::one_hot::Shown;
use kernels::reference;

use crate::backends::{on_each, over_grids};
use crate::random::Random;

#[test]
fn the_strongest_class_of_voxels_and_the_means_of_planes() {
    over_grids(|random, grid, case| {
        let windows = 1 + random.below(3) as usize;
        let counts = [0; 3].map(|_| 1 + random.below(9) as usize);
        let layout = Layout {
            counts,
            classes: 2 + random.below(3) as usize,
            more: random.below(4) as usize,
        };
        // Many ties.
        let of_window = layout.planes() * layout.plane();
        let scores = random.values(windows * of_window, |r| r.below(5) as f32 / 3.0 - 0.5);
        let nearest: Vec<Shown> = random.values(windows, |r| {
            [0, 1, 2].map(|axis| {
                let place = |r: &mut Random| {
                    (r.below(4) != 0).then(|| r.below(counts[axis] as u64) as usize)
                };
                r.values(grid.dims.counts()[axis], place)
            })
        });
        let offsets: Vec<usize> =
            (0..grid.dims.voxels()).filter(|_| random.below(3) != 0).collect();
        let voxels: Vec<[usize; 3]> = offsets.iter().map(|&at| grid.dims.index(at)).collect();
        let part = |random: &mut Random, count: usize| {
            let start = random.below(count as u64) as usize;
            start..start + 1 + random.below((count - start) as u64) as usize
        };
        let around = Around { columns: part(random, counts[0]), rows: part(random, counts[1]) };

        let each = || scores.chunks_exact(of_window).zip(&nearest);
        let want: Vec<u8> = each()
            .flat_map(|(scores, near)| reference::answers::said(scores, &layout, near, &voxels))
            .collect();
        let fast = each().flat_map(|(s, near)| said(s, &layout, near, voxels.iter().copied()));
        assert_eq!(fast.collect::<Vec<u8>>(), want, "{case}");
        let levels: Vec<f64> = each()
            .flat_map(|(scores, _)| reference::answers::means(scores, &layout, &around))
            .collect();
        let fast = each().flat_map(|(scores, _)| means(scores, &layout, &around));
        assert_eq!(fast.collect::<Vec<f64>>(), levels, "{case}");

        let offsets: Vec<i32> = offsets.iter().map(|&at| at as i32).collect();
        on_each(|on, place| {
            let values = Array::of(on, &scores).unwrap();
            let scores = Scores { values: &values, layout, windows };
            let asked = Array::of(on, &offsets).unwrap();
            let got = cuda::answers::said(on, &scores, &nearest, grid.dims, &asked).unwrap();
            assert_eq!(got.download(on).unwrap(), want, "{case} {place}");
            let got = cuda::answers::means(on, &scores, &around).unwrap();
            assert_eq!(got.download(on).unwrap(), levels, "{case} {place}");
        });
    });
}

#[test]
fn what_does_not_fit_the_scores_is_refused() {
    on_each(|on, place| {
        let layout = Layout { counts: [2, 2, 1], classes: 2, more: 1 };
        let refused = |windows: usize, columns: std::ops::Range<usize>| {
            let values = Array::<f32>::filled(on, 12, 0).unwrap();
            let scores = Scores { values: &values, layout, windows };
            cuda::answers::means(on, &scores, &Around { columns, rows: 0..2 })
        };
        for (windows, columns) in [(2, 0..2), (1, 0..3), (1, 1..1)] {
            let error = refused(windows, columns.clone()).unwrap_err();
            assert!(matches!(error, DeviceError::Refused { .. }), "{place} {columns:?}: {error}");
        }
        assert!(refused(1, 0..2).is_ok());
    });
}
