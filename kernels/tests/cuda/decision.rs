//! Class maps and their certainty.

use kernels::cuda::decision::Layout;
use kernels::cuda::{self, Array};
use kernels::decision::{Certainty, Scores};
use kernels::{decision, reference};

use crate::backends::{on_each, over_wide_grids};

#[test]
fn classes_and_certainty() {
    over_wide_grids(|random, grid, case| {
        let [columns, rows, items] = grid.dims.counts();
        let (passes, classes) = (1 + random.below(2) as usize, 2 + random.below(6) as usize);
        let padded = [columns + random.below(5) as usize, rows + random.below(3) as usize];
        let of_slice = passes * classes * padded[0] * padded[1];
        // Many ties.
        let values = random.values(items * of_slice, |r| r.below(7) as f32 - 3.0);
        let decided = |decide: fn(&Scores, [usize; 2], &mut [u8]) -> Certainty| {
            let mut map = vec![9; grid.dims.voxels()];
            let mut certainty = Certainty::default();
            let slices = values.chunks_exact(of_slice).zip(map.chunks_exact_mut(columns * rows));
            for (values, out) in slices {
                let scores = Scores { values, passes, classes, padded };
                certainty.add(decide(&scores, [columns, rows], out));
            }
            (map, certainty)
        };
        let (want, sure) = decided(reference::decision::decide);
        // A sum of up to 8 exponentials, each within 2 units of the last place, then a division: 16 * 2^-23 relative.
        let close = |got: Certainty, case: &str| {
            assert_eq!(got.voxels, sure.voxels, "{case}");
            assert!((got.sum - sure.sum).abs() <= sure.sum * 2e-6, "{case}: {got:?} {sure:?}");
        };
        let (fast, certainty) = decided(decision::decide);
        assert_eq!(fast, want, "{case}");
        close(certainty, case);
        on_each(|on, place| {
            let case = format!("{case} {place}");
            let scores = Array::of(on, &values).unwrap();
            let layout = Layout { items, passes, classes, padded, kept: [columns, rows] };
            let decided = cuda::decision::decide(on, &scores, &layout).unwrap();
            assert_eq!(decided.map.download(on).unwrap(), want, "{case}");
            close(decided.certainty(on).unwrap(), &case);
        });
    });
}
