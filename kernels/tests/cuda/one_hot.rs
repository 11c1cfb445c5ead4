//! Label maps as the channels of a window.

use kernels::cuda::{self, Array};
use kernels::one_hot::{self, Channels, Shown, voxels};
use kernels::reference;

use crate::backends::{on_each, over_wide_grids};

#[test]
fn windows_of_a_label_map() {
    over_wide_grids(|random, grid, case| {
        let map = random.volume(grid, |r| [0, 0, 1, 2, 3, 41, 254, 255][r.below(8) as usize]);
        let most = grid.dims.counts().map(|n| (n as u64).max(12));
        let counts = most.map(|most| 1 + random.below(most) as usize);
        let windows: Vec<Shown> = random.values(1 + random.0 as usize % 3, |r| {
            [0, 1, 2].map(|axis| {
                let voxels = grid.dims.counts()[axis];
                let shown = |r: &mut crate::random::Random| {
                    (r.below(4) != 0).then(|| r.below(voxels as u64) as usize)
                };
                r.values(counts[axis], shown)
            })
        });
        // Sometimes the background has a channel, and one label names a channel that does not exist.
        let first = random.below(2) as u8;
        let of = |label: u8| match label {
            3 => Some(999),
            254 => None,
            _ => usize::from(label % 7).checked_sub(usize::from(first)),
        };
        let channels = Channels::new(1 + random.below(7) as usize, of);
        let encoded = |encode: fn(&_, &_, &_, &mut [f32])| {
            let of_window = |shown: &Shown| {
                let mut out = vec![f32::NAN; channels.count() * voxels(shown)];
                encode(&map, shown, &channels, &mut out);
                out
            };
            windows.iter().flat_map(of_window).collect::<Vec<f32>>()
        };
        let want = encoded(reference::one_hot::encode);
        assert_eq!(encoded(one_hot::encode), want, "{case}");
        on_each(|on, place| {
            let labels = Array::of(on, map.voxels()).unwrap();
            let tensor = cuda::one_hot::encode(on, &labels, grid.dims, &windows, &channels);
            assert_eq!(tensor.unwrap().download(on).unwrap(), want, "{case} {place}");
        });
    });
}
