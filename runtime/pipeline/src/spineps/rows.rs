//! Passing over the empty part of a volume quickly: most of a sagittal field of view is no spine.

use kernels::Volume;
use kernels::components::Bounds;

/// Voxels looked at together: a few vector registers.
const BLOCK: usize = 32;

/// The voxels of each row that are not 0, in blocks: places in memory and values. Blocks without one are left out.
pub fn blocks<T: Copy + Into<u16>>(volume: &Volume<T>) -> impl Iterator<Item = (usize, &[T])> {
    let ni = volume.dims().counts()[0];
    volume.voxels().chunks_exact(ni).enumerate().flat_map(move |(row, values)| {
        let blocks = values.chunks(BLOCK).enumerate();
        blocks
            .filter(|(_, block)| holds_any(block))
            .map(move |(n, block)| (row * ni + n * BLOCK, block))
    })
}

fn holds_any<T: Copy + Into<u16>>(block: &[T]) -> bool {
    block.iter().fold(0u16, |any, &v| any | v.into()) != 0
}

/// The box around the voxels for which `inside` (place in memory, value) holds; 0 is never asked.
pub fn bounds<T: Copy + Into<u16>>(
    volume: &Volume<T>,
    inside: impl Fn(usize, T) -> bool,
) -> Option<Bounds> {
    let [ni, nj, _] = volume.dims().counts();
    let mut bounds: Option<Bounds> = None;
    for (start, block) in blocks(volume) {
        let held = |n: &usize| block[*n].into() != 0 && inside(start + n, block[*n]);
        let Some(first) = (0..block.len()).find(held) else { continue };
        let last = start % ni + (0..block.len()).rfind(held).unwrap_or(first);
        let (first, j, k) = (start % ni + first, start / ni % nj, start / ni / nj);
        let known = bounds.unwrap_or(Bounds { min: [first, j, k], max: [last, j, k] });
        bounds = Some(Bounds {
            min: [known.min[0].min(first), known.min[1].min(j), known.min[2]],
            max: [known.max[0].max(last), known.max[1].max(j), k],
        });
    }
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::{Affine, Dims, Grid};

    #[test]
    fn the_box_is_that_of_a_plain_search() {
        let axes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let affine = Affine::new(axes, [0.0; 3]).unwrap();
        for seed in 0..60usize {
            let counts = [1 + seed * 7 % 80, 1 + seed % 5, 1 + seed % 3];
            let grid = Grid { dims: Dims::new(counts).unwrap(), affine };
            let value = |n: usize| if (n * 31 + seed * 17) % 41 < 3 { 1 + n as u8 % 3 } else { 0 };
            let volume = Volume::new(grid, (0..grid.dims.voxels()).map(value).collect()).unwrap();
            for wanted in 1..4 {
                let plain = Bounds::of(&volume, |v| v == wanted);
                assert_eq!(bounds(&volume, |_, v| v == wanted), plain, "{seed}");
            }
        }
    }
}
