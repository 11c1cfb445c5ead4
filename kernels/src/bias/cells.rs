//! The coarse grid that the field is estimated on: means of a few voxels each, and where they and the voxels lie among the
//! intervals of the lattice.

use super::lattice::{Rows, Values, splines};
use super::powers::ln;
use crate::threads::parallel_chunks;
use crate::{Grid, Volume};

/// Cells are about as long, mm; voxels that are longer are cells by themselves.
const CELL_MM: f64 = 8.0;
/// Length of an interval of the first lattice, mm: SPINEPS' spline distance.
const SPAN_MM: f64 = 100.0;
/// Cells along one axis at most, over a metre of them; more in a grid with wrong spacings only.
const MAX_CELLS: usize = 128;
/// Intervals of the first lattice along one axis at most: no table is longer.
const MAX_SPANS: usize = 16;
/// Cells darker than this share of the mean of all are background, most of it air. With it, tissue became less even.
pub(crate) const LEAST_SHARE: f32 = 0.25;

/// Voxels, cells and intervals along one axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    voxels: usize,
    /// Voxels of a cell; the last one may have fewer.
    pub(crate) step: usize,
    pub(crate) cells: usize,
    /// Intervals of the first lattice.
    pub(crate) spans: usize,
    /// Length of a voxel, and how far before voxel 0 the first interval begins; in intervals of the first lattice.
    voxel: f64,
    margin: f64,
}

/// The axes of a grid.
pub(crate) fn axes(grid: &Grid) -> [Axis; 3] {
    let (counts, spacing) = (grid.dims.counts(), grid.affine.spacing());
    std::array::from_fn(|axis| Axis::new(counts[axis], spacing[axis]))
}

impl Axis {
    /// The intervals stand over the middle of the voxels, as many as cover them all.
    fn new(voxels: usize, spacing_mm: f64) -> Axis {
        let wanted = (CELL_MM / spacing_mm).round() as usize;
        let step = wanted.clamp(voxels.div_ceil(MAX_CELLS), voxels);
        let length = (voxels - 1) as f64 * spacing_mm / SPAN_MM;
        let spans = (length.ceil() as usize).clamp(1, MAX_SPANS);
        let scale = (spans as f64 / length).min(1.0);
        let voxel = spacing_mm / SPAN_MM * scale;
        // A single voxel has no length, whatever its spacing.
        let voxel = if voxels == 1 { 0.0 } else { voxel };
        let margin = (spans as f64 - (voxels - 1) as f64 * voxel) / 2.0;
        Axis { voxels, step, cells: voxels.div_ceil(step), spans, voxel, margin }
    }

    /// First voxel of a cell, and the one after its last.
    fn range(&self, cell: usize) -> (usize, usize) {
        (cell * self.step, ((cell + 1) * self.step).min(self.voxels))
    }

    /// Where a voxel lies, in intervals of the lattice of `level`.
    pub(crate) fn place(&self, voxel: f64, level: usize) -> f64 {
        (self.margin + voxel * self.voxel) * (1 << level) as f64
    }

    /// The voxel, or the middle between two, at the middle of a cell.
    pub(crate) fn middle(&self, cell: usize) -> f64 {
        let (first, end) = self.range(cell);
        (first + end - 1) as f64 / 2.0
    }

    pub(super) fn at_cells(&self, level: usize) -> Rows {
        let places: Vec<f64> =
            (0..self.cells).map(|cell| self.place(self.middle(cell), level)).collect();
        splines(&places, self.spans << level)
    }

    pub(super) fn at_voxels(&self, level: usize) -> Rows {
        let places: Vec<f64> =
            (0..self.voxels).map(|voxel| self.place(voxel as f64, level)).collect();
        splines(&places, self.spans << level)
    }
}

/// The cells that are not background.
#[derive(Debug)]
pub(crate) struct Cells {
    /// Offsets of the cells in the coarse grid.
    pub(super) inside: Vec<usize>,
    /// ln of their means.
    pub(super) logs: Vec<f32>,
    /// 1 in them, 0 in the background.
    pub(super) weights: Values,
}

impl Cells {
    /// `None` where all is background.
    pub(super) fn of(image: &Volume<f32>, axes: &[Axis; 3], threads: usize) -> Option<Cells> {
        let means = means(image, axes, threads);
        let sum: f64 = means.values.iter().map(|&mean| f64::from(mean)).sum();
        let least = LEAST_SHARE * (sum / means.values.len() as f64) as f32;
        let is_inside = |mean: f32| mean > least && mean.is_normal();
        let inside: Vec<usize> =
            (0..means.values.len()).filter(|&cell| is_inside(means.values[cell])).collect();
        let logs = inside.iter().map(|&cell| ln(means.values[cell])).collect();
        let weights = means.values.iter().map(|&mean| f32::from(u8::from(is_inside(mean))));
        let weights = Values { counts: means.counts, values: weights.collect() };
        (!inside.is_empty()).then_some(Cells { inside, logs, weights })
    }

    /// Mean of a field over them.
    pub(super) fn mean(&self, field: &Values) -> f32 {
        let sum: f64 = self.inside.iter().map(|&cell| f64::from(field.values[cell])).sum();
        (sum / self.inside.len() as f64) as f32
    }
}

/// Mean of the values of each cell that are numbers above 0; 0 without any.
fn means(image: &Volume<f32>, axes: &[Axis; 3], threads: usize) -> Values {
    let mut means = Values::zero(axes.each_ref().map(|axis| axis.cells));
    let [i, j, k] = axes;
    let plane = i.cells * j.cells;
    parallel_chunks(threads, &mut means.values, plane, |layer, means| {
        let mut sums = vec![(0.0f32, 0u32); plane];
        let (first, end) = k.range(layer);
        for slice in first..end {
            for (row, voxels) in image.slice(slice).chunks_exact(i.voxels).enumerate() {
                let row = &mut sums[row / j.step * i.cells..][..i.cells];
                for ((sum, count), voxels) in row.iter_mut().zip(voxels.chunks(i.step)) {
                    for &value in voxels.iter().filter(|value| **value > 0.0 && value.is_finite()) {
                        *sum += value;
                        *count += 1;
                    }
                }
            }
        }
        for (mean, (sum, count)) in means.iter_mut().zip(sums) {
            *mean = sum / count.max(1) as f32;
        }
    });
    means
}
