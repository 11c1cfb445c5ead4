//! Connected components of label maps, bounding boxes and crops.
//!
//! Runs along `i` are joined by union-find: work grows with the number of runs, not of voxels.

mod runs;
mod words;

use crate::{Affine, Dims, Grid, Volume};
use runs::Runs;
use std::ops::Range;

/// Which neighbours connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connectivity {
    /// Sharing a face: 6 neighbours.
    Faces6,
    /// Sharing a face or an edge: 18 neighbours.
    Edges18,
    /// Sharing a face, an edge or a corner: 26 neighbours.
    Corners26,
}

impl Connectivity {
    /// Whether a neighbour that differs along `axes` axes (1 to 3) is connected.
    pub fn admits(self, axes: usize) -> bool {
        axes <= match self {
            Connectivity::Faces6 => 1,
            Connectivity::Edges18 => 2,
            Connectivity::Corners26 => 3,
        }
    }
}

/// One connected component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// The value its voxels have in the label map.
    pub value: u8,
    pub voxels: usize,
    /// Smallest and largest index along each axis, both inside.
    pub min: [usize; 3],
    pub max: [usize; 3],
    /// Sums of the voxel indices.
    pub sum: [u64; 3],
}

impl Component {
    /// Centre of mass as a fractional index.
    pub fn centroid(&self) -> [f64; 3] {
        self.sum.map(|sum| sum as f64 / self.voxels as f64)
    }

    /// Takes the voxels of another one of the same value.
    fn join(&mut self, other: &Component) {
        self.voxels += other.voxels;
        for axis in 0..3 {
            self.min[axis] = self.min[axis].min(other.min[axis]);
            self.max[axis] = self.max[axis].max(other.max[axis]);
            self.sum[axis] += other.sum[axis];
        }
    }
}

/// The components of a label map.
#[derive(Debug, Clone, PartialEq)]
pub struct Components {
    /// Component number of each voxel, 0 for the background.
    pub labels: Volume<u32>,
    /// `parts[n - 1]` is component `n`.
    pub parts: Vec<Component>,
}

/// The components of a label map as runs of voxels, without a volume of their numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Pieces {
    /// `parts[n - 1]` is component `n`.
    pub parts: Vec<Component>,
    runs: Runs,
}

impl Pieces {
    /// Where in memory the voxels lie that follow each other in a row and belong together, with the number of their
    /// component, in memory order.
    pub fn runs(&self) -> impl Iterator<Item = (u32, Range<usize>)> {
        (0..self.runs.count()).map(|n| (self.runs.parents[n], self.runs.range(n)))
    }
}

/// Numbers the connected components of a label map from 1 in memory order of their first voxel. Voxels
/// connect when they are neighbours and equal; 0 is background. A mask is a label map of 0 and 1.
pub fn label(map: &Volume<u8>, connectivity: Connectivity) -> Components {
    let pieces = pieces(map, connectivity);
    let mut labels = Volume::filled(*map.grid(), 0u32);
    for (number, range) in pieces.runs() {
        fill(labels.voxels_mut(), range, number);
    }
    Components { labels, parts: pieces.parts }
}

/// What each value of a label map occupies, connected or not, in ascending order; 0 is background.
pub fn occupied(map: &Volume<u8>) -> Vec<Component> {
    let mut wholes: Vec<Option<Component>> = vec![None; 256];
    for part in pieces(map, Connectivity::Faces6).parts {
        match &mut wholes[usize::from(part.value)] {
            Some(whole) => whole.join(&part),
            none => *none = Some(part),
        }
    }
    wholes.into_iter().flatten().collect()
}

/// Voxels filled at once: most runs of a structure's edge or of noise are shorter.
const STEP: usize = 8;

/// Fills a range behind which all is background, in whole steps: a loop over single voxels is foreseen wrongly for every
/// short run. What the last step wrote past the range is made background again.
fn fill(labels: &mut [u32], range: Range<usize>, number: u32) {
    let Some(tail) = labels.get_mut(range.start..range.end + STEP) else {
        return labels[range].fill(number);
    };
    let count = range.len();
    for steps in tail.chunks_exact_mut(STEP).take(count.div_ceil(STEP)) {
        steps.fill(number);
    }
    tail[count..].fill(0);
}

/// The components of [`label`] without the volume of numbers: for callers that want the parts, or go over their voxels.
pub fn pieces(map: &Volume<u8>, connectivity: Connectivity) -> Pieces {
    let [ni, nj, _] = map.dims().counts();
    let mut runs = Runs::of(map, connectivity);
    let mut numbers = std::mem::take(&mut runs.parents);
    let mut parts: Vec<Component> = Vec::new();
    for (row, of_row) in runs.by_row().enumerate() {
        for n in of_row {
            let range = runs.range(n);
            let index = [range.start - row * ni, row % nj, row / nj];
            // A parent comes before its run, so it has its number already.
            let number = if numbers[n] as usize == n {
                let value = map.voxels()[range.start];
                parts.push(Component { value, voxels: 0, min: index, max: index, sum: [0; 3] });
                parts.len() as u32
            } else {
                numbers[numbers[n] as usize]
            };
            numbers[n] = number;
            add_run(&mut parts[number as usize - 1], index, index[0] + range.len());
        }
    }
    runs.parents = numbers;
    Pieces { parts, runs }
}

fn add_run(part: &mut Component, [first, j, k]: [usize; 3], end: usize) {
    let count = end - first;
    part.voxels += count;
    part.min = [part.min[0].min(first), part.min[1].min(j), part.min[2].min(k)];
    part.max = [part.max[0].max(end - 1), part.max[1].max(j), part.max[2].max(k)];
    part.sum[0] += ((first + end - 1) * count / 2) as u64;
    part.sum[1] += (j * count) as u64;
    part.sum[2] += (k * count) as u64;
}

/// A box of voxels: smallest and largest index along each axis, both inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub min: [usize; 3],
    pub max: [usize; 3],
}

impl Bounds {
    /// The smallest box around the voxels for which `inside` holds; `None` where there is none.
    pub fn of<T: Copy>(volume: &Volume<T>, inside: impl Fn(T) -> bool) -> Option<Bounds> {
        let [ni, nj, _] = volume.dims().counts();
        let mut bounds: Option<Bounds> = None;
        for (row, values) in volume.voxels().chunks_exact(ni).enumerate() {
            let Some(first) = values.iter().position(|&v| inside(v)) else { continue };
            let last = values.iter().rposition(|&v| inside(v)).unwrap_or(first);
            let (j, k) = (row % nj, row / nj);
            let known = bounds.unwrap_or(Bounds { min: [first, j, k], max: [last, j, k] });
            bounds = Some(Bounds {
                min: [known.min[0].min(first), known.min[1].min(j), known.min[2]],
                max: [known.max[0].max(last), known.max[1].max(j), k],
            });
        }
        bounds
    }

    /// The box with `margin` more voxels on each side, within `dims`.
    pub fn grown(self, margin: usize, dims: Dims) -> Bounds {
        let counts = dims.counts();
        Bounds {
            min: self.min.map(|v| v.saturating_sub(margin)),
            max: std::array::from_fn(|axis| (self.max[axis] + margin).min(counts[axis] - 1)),
        }
    }
}

/// The voxels inside `bounds`, at their old place in the world. `bounds` must lie within the volume.
pub fn crop<T: Copy>(volume: &Volume<T>, bounds: Bounds) -> Volume<T> {
    let Bounds { min, max } = bounds;
    let affine = volume.grid().affine;
    let origin = affine.world(min.map(|v| v as f64));
    let counts = std::array::from_fn(|axis| max[axis] + 1 - min[axis]);
    let grid = Grid {
        dims: Dims::new(counts).expect("a box within a volume is not larger than it"),
        affine: Affine::new(affine.axes(), origin).expect("the axes were checked before"),
    };
    let mut voxels = Vec::with_capacity(grid.dims.voxels());
    for k in min[2]..=max[2] {
        for j in min[1]..=max[1] {
            let row = volume.dims().offset([min[0], j, k]);
            voxels.extend_from_slice(&volume.voxels()[row..row + counts[0]]);
        }
    }
    Volume::new(grid, voxels).expect("rows of the box")
}

/// Writes `part`, the crop of `volume` at `bounds`, back to its place.
pub fn paste<T: Copy>(volume: &mut Volume<T>, part: &Volume<T>, bounds: Bounds) {
    let [ni, nj, _] = part.dims().counts();
    let dims = volume.dims();
    for (row, values) in part.voxels().chunks_exact(ni).enumerate() {
        let at = [bounds.min[0], bounds.min[1] + row % nj, bounds.min[2] + row / nj];
        let start = dims.offset(at);
        volume.voxels_mut()[start..start + ni].copy_from_slice(values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(counts: [usize; 3], voxels: Vec<u8>) -> Volume<u8> {
        let axes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let affine = Affine::new(axes, [0.0; 3]).unwrap();
        Volume::new(Grid { dims: Dims::new(counts).unwrap(), affine }, voxels).unwrap()
    }

    #[test]
    fn corners_connect_only_when_admitted() {
        let diagonal = volume([2, 2, 2], vec![1, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(label(&diagonal, Connectivity::Faces6).parts.len(), 2);
        let joined = label(&diagonal, Connectivity::Corners26);
        let expected = Component { value: 1, voxels: 2, min: [0; 3], max: [1; 3], sum: [1, 1, 1] };
        assert_eq!(joined.parts, [expected]);
        assert_eq!(joined.parts[0].centroid(), [0.5; 3]);
    }

    #[test]
    fn different_values_do_not_connect() {
        let parts = label(&volume([4, 1, 1], vec![1, 2, 2, 1]), Connectivity::Corners26);
        assert_eq!(parts.labels.voxels(), [1, 2, 2, 3]);
        assert_eq!(parts.parts.iter().map(|p| p.value).collect::<Vec<_>>(), [1, 2, 1]);
    }

    #[test]
    fn crop_and_paste_return_to_the_same_place() {
        let whole = volume([3, 3, 2], (0..18).collect());
        let bounds = Bounds::of(&whole, |v| v == 4 || v == 17).unwrap();
        assert_eq!(bounds, Bounds { min: [1, 1, 0], max: [2, 2, 1] });
        let part = crop(&whole, bounds);
        assert_eq!(part.voxels(), [4, 5, 7, 8, 13, 14, 16, 17]);
        assert_eq!(part.grid().affine.origin(), [1.0, 1.0, 0.0]);
        let mut copy = Volume::filled(*whole.grid(), 0);
        paste(&mut copy, &part, bounds);
        assert_eq!(crop(&copy, bounds), part);
        assert_eq!(Bounds::of(&whole, |v| v > 17), None);
        assert_eq!(bounds.grown(5, whole.dims()), Bounds { min: [0; 3], max: [2, 2, 1] });
    }
}
