//! Pictures of slices.

use kernels::cuda::overlay::Layers;
use kernels::cuda::{self, Array};
use kernels::overlay::{self, Ink, Palette, Slice, Window};
use kernels::reference;

use crate::backends::{on_each, over_wide_grids};

#[test]
fn slices_with_labels() {
    over_wide_grids(|random, grid, case| {
        let [columns, _, slices] = grid.dims.counts();
        let image = random.volume(grid, |r| match r.below(20) {
            0 => f32::NAN,
            1 => f32::INFINITY,
            _ => r.below(4000) as f32 / 7.0 - 20.0,
        });
        // Large areas and single pixels.
        let kinds = 1 + random.below(4);
        let semantic = random.volume(grid, |r| [49, 0, 100, 26][r.below(kinds) as usize]);
        let instances = random.volume(grid, |r| 20 + (r.below(6) == 0) as u16 * 300);
        let share = random.unit() as f32;
        let palette = Palette::new(|label| {
            (label != 0).then(|| Ink {
                colours: [[label, 255, 0], [7, label / 2, 200]],
                share,
                striped: if label == 49 { share / 3.0 } else { share },
                outline: (label != 26).then_some(0.9),
            })
        });
        let window = [Window::centred(200.0, 350.3), Window::centred(5.0, 0.0)];
        let window = window[random.below(2) as usize];
        let drawn = |blend: fn(Slice, Window, &Palette) -> Vec<[u8; 3]>| {
            let slice = |k: usize| Slice {
                columns,
                pixels: image.slice(k),
                semantic: semantic.slice(k),
                instances: instances.slice(k),
            };
            (0..slices).flat_map(|k| blend(slice(k), window, &palette)).collect::<Vec<_>>()
        };
        let want = drawn(reference::overlay::blend);
        assert_eq!(drawn(overlay::blend), want, "{case}");
        on_each(|on, place| {
            let layers = Layers {
                image: &Array::of(on, image.voxels()).unwrap(),
                semantic: &Array::of(on, semantic.voxels()).unwrap(),
                instances: &Array::of(on, instances.voxels()).unwrap(),
            };
            let picture = cuda::overlay::blend(on, layers, grid.dims, window, &palette).unwrap();
            assert_eq!(picture.download(on).unwrap(), want.as_flattened(), "{case} {place}");
        });
    });
}
