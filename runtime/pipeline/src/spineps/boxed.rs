//! A volume that is empty outside a box: a spine fills a small part of its field of view, and what is not there costs
//! nothing to keep, to resample or to look through.

use super::rows;
use kernels::components::{Bounds, crop, paste};
use kernels::resample::nearest_places;
use kernels::{Affine, Dims, Grid, Volume};

/// The voxels of a box; all others are 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Boxed<T> {
    /// The grid of the whole volume.
    pub whole: Grid,
    pub bounds: Bounds,
    /// The voxels at `bounds`.
    pub part: Volume<T>,
}

impl<T: Copy> From<Volume<T>> for Boxed<T> {
    /// All voxels.
    fn from(volume: Volume<T>) -> Self {
        let bounds = Bounds { min: [0; 3], max: volume.dims().counts().map(|n| n - 1) };
        Boxed { whole: *volume.grid(), bounds, part: volume }
    }
}

impl<T: Copy + Default + Into<u16>> Boxed<T> {
    /// The smallest box around what is not 0, in the whole volume; `None` where all is 0.
    pub fn content(&self) -> Option<Bounds> {
        let Bounds { min, max } = rows::bounds(&self.part, |_, _| true)?;
        let place = |at: [usize; 3]| std::array::from_fn(|axis| at[axis] + self.bounds.min[axis]);
        Some(Bounds { min: place(min), max: place(max) })
    }

    /// The same volume by another box. What lies beyond that box is lost.
    pub fn at(&self, bounds: Bounds) -> Boxed<T> {
        let axes = [0, 1, 2];
        let min = axes.map(|axis| bounds.min[axis].max(self.bounds.min[axis]));
        let max = axes.map(|axis| bounds.max[axis].min(self.bounds.max[axis]));
        let within = |from: Bounds| {
            let place = |at: [usize; 3]| axes.map(|axis| at[axis] - from.min[axis]);
            Bounds { min: place(min), max: place(max) }
        };
        if min == bounds.min && max == bounds.max {
            let part = crop(&self.part, within(self.bounds));
            return Boxed { whole: self.whole, bounds, part };
        }
        let mut part = Volume::filled(place(&self.whole, bounds), T::default());
        if axes.iter().all(|&axis| min[axis] <= max[axis]) {
            paste(&mut part, &crop(&self.part, within(self.bounds)), within(bounds));
        }
        Boxed { whole: self.whole, bounds, part }
    }

    /// The volume on a grid with parallel axes by nearest voxel, as [`kernels::resample::nearest`] gives it.
    pub fn on(self, grid: &Grid) -> Boxed<T> {
        if *grid == self.whole {
            return self;
        }
        let places = nearest_places(&self.whole, grid);
        // Places ascend, so the voxels that show the box are neighbours.
        let shown: [Vec<usize>; 3] = std::array::from_fn(|axis| {
            let span = self.bounds.min[axis]..=self.bounds.max[axis];
            (0..places[axis].len()).filter(|&n| span.contains(&places[axis][n])).collect()
        });
        let ends = |n: &Vec<usize>| Some((*n.first()?, *n.last()?));
        let [Some(i), Some(j), Some(k)] = shown.each_ref().map(ends) else {
            return Boxed::nothing(*grid);
        };
        let bounds = Bounds { min: [i.0, j.0, k.0], max: [i.1, j.1, k.1] };
        let from: [Vec<usize>; 3] = std::array::from_fn(|axis| {
            shown[axis].iter().map(|&n| places[axis][n] - self.bounds.min[axis]).collect()
        });
        Boxed { whole: *grid, bounds, part: picked(&self.part, &from, place(grid, bounds)) }
    }

    fn nothing(whole: Grid) -> Boxed<T> {
        let bounds = Bounds { min: [0; 3], max: [0; 3] };
        Boxed { whole, bounds, part: Volume::filled(place(&whole, bounds), T::default()) }
    }

    /// All voxels.
    pub fn whole(&self) -> Volume<T> {
        let mut whole = Volume::filled(self.whole, T::default());
        paste(&mut whole, &self.part, self.bounds);
        whole
    }
}

/// The voxels at these columns, rows and slices.
fn picked<T: Copy>(
    part: &Volume<T>,
    [columns, rows, slices]: &[Vec<usize>; 3],
    grid: Grid,
) -> Volume<T> {
    let ni = part.dims().counts()[0];
    let mut voxels = Vec::with_capacity(grid.dims.voxels());
    for &k in slices {
        for &j in rows {
            let row = &part.voxels()[part.dims().offset([0, j, k])..][..ni];
            voxels.extend(columns.iter().map(|&i| row[i]));
        }
    }
    Volume::new(grid, voxels).expect("one value for each column, row and slice")
}

/// The grid of a box of a grid.
fn place(whole: &Grid, Bounds { min, max }: Bounds) -> Grid {
    let counts = [0, 1, 2].map(|axis| max[axis] + 1 - min[axis]);
    let origin = whole.affine.world(min.map(|v| v as f64));
    Grid {
        dims: Dims::new(counts).expect("a box within a grid is not larger than it"),
        affine: Affine::new(whole.affine.axes(), origin).expect("the axes were checked before"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::resample::nearest;

    fn grid(counts: [usize; 3], spacing: [f64; 3], start: f64) -> Grid {
        let axes = [[0.0, spacing[0], 0.0], [0.0, 0.0, -spacing[1]], [-spacing[2], 0.0, 0.0]];
        let affine = Affine::new(axes, [start; 3]).unwrap();
        Grid { dims: Dims::new(counts).unwrap(), affine }
    }

    #[test]
    fn a_box_is_resampled_as_the_whole() {
        for seed in 0..40usize {
            let from = grid([20 + seed % 7, 9, 6], [0.5, 0.75, 3.0], 0.0);
            let inside = |n: usize| {
                let [i, j, k] = from.dims.index(n);
                (3..9 + seed % 5).contains(&i) && (2..5).contains(&j) && k % 4 > 1
            };
            let value = |n: usize| if inside(n) { 1 + (n * 7 % 250) as u8 } else { 0 };
            let volume = Volume::new(from, (0..from.dims.voxels()).map(value).collect()).unwrap();
            let boxed = Boxed::from(volume.clone());
            let small = boxed.at(boxed.content().unwrap());
            assert_eq!(small.whole(), volume);
            let start = [0.0, -0.6, 40.0][seed % 3];
            let to = grid([31, 6 + seed % 9, 4], [0.4, 1.0 + seed as f64 / 16.0, 1.65], start);
            assert_eq!(small.clone().on(&to).whole(), nearest(&volume, &to), "{seed}");
            let wide = small.at(small.bounds.grown(1 + seed % 3, from.dims));
            assert_eq!((wide.whole(), wide.content()), (volume, small.content()));
        }
    }
}
