//! Stored samples.

use kernels::cuda::stored::Frames;
use kernels::stored::{Frame, Rescale, Samples, Width};
use kernels::{reference, stored};

use crate::backends::{on_each, over_wide_grids};

/// Slope and intercept: none, as scanners write them, and what rounds in double precision.
const RESCALES: [Rescale; 3] = [
    Rescale { slope: 1.0, intercept: 0.0 },
    Rescale { slope: 0.1, intercept: -0.7 },
    Rescale { slope: 3.141_592_653_589_793e-3, intercept: 1024.5 },
];

#[test]
fn stored_samples() {
    over_wide_grids(|random, grid, case| {
        let [columns, rows, slices] = grid.dims.counts();
        let layouts = random.values(slices, |r| {
            let width = [Width::One, Width::Two][r.below(2) as usize];
            let most = 8 * width.bytes() as u64;
            // Every number of bits, and often all.
            let bits = if r.below(2) == 0 { most } else { 1 + r.below(most) };
            let samples = Samples::new(width, bits as u32, r.below(2) == 0).unwrap();
            (samples, RESCALES[r.below(3) as usize])
        });
        let bytes: Vec<Vec<u8>> = layouts
            .iter()
            .map(|(samples, _)| {
                let bytes = columns * rows * samples.width().bytes();
                random.values(bytes, |r| [0, 255, r.below(256) as u8][r.below(3) as usize])
            })
            .collect();
        let frames: Vec<Frame> = layouts
            .iter()
            .zip(&bytes)
            .map(|(&(samples, rescale), bytes)| Frame { bytes, samples, rescale })
            .collect();
        let of_all = |of: fn(&Frame) -> Vec<f32>| frames.iter().flat_map(of).collect::<Vec<_>>();
        let want = of_all(reference::stored::intensities);
        assert_eq!(of_all(stored::intensities), want, "{case}");
        on_each(|on, place| {
            let volume = Frames::upload(on, &frames).unwrap().stack(on).unwrap();
            assert_eq!(volume.download(on).unwrap(), want, "{case} {place}");
        });
    });
}

#[test]
fn impossible_samples_and_unequal_frames_are_refused() {
    assert_eq!(Samples::new(Width::One, 9, false), None);
    assert_eq!(Samples::new(Width::Two, 0, true), None);
    let samples = Samples::new(Width::One, 8, false).unwrap();
    let frame = |bytes| Frame { bytes, samples, rescale: RESCALES[0] };
    on_each(|on, place| {
        let frames = [frame(&[1, 2, 3][..]), frame(&[1, 2][..])];
        assert!(Frames::upload(on, &frames).is_err(), "{place}");
        assert!(Frames::upload(on, &[]).unwrap().stack(on).unwrap().is_empty(), "{place}");
    });
}
