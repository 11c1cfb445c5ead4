//! The bias field of MR images, the slow change of brightness that coils leave, estimated and divided out: N4 (Tustison et
//! al., *N4ITK: improved N3 bias correction*, 2010) on a grid of cells a few millimetres wide.
//!
//! N4 looks for the smooth field whose removal makes the histogram of log intensities sharpest. Where SimpleITK reads every
//! fourth voxel, here every voxel counts in the mean of its cell, and background does not count at all: tissue becomes as even,
//! hundreds of times faster. Fields resemble N4's, as N4's do that of other samples of the image, and are not the same. Whether
//! an image should be corrected is the caller's business: our own nets gain nothing.

mod cells;
mod lattice;
mod powers;
mod sharpen;

pub(crate) use cells::{Cells, LEAST_SHARE, axes};
pub(crate) use sharpen::{BIN, BINS, CIRCLE, NOISE, WIDTH};

use crate::threads::parallel_chunks;
use crate::{Dims, Grid, Volume};
pub(crate) use lattice::REACH;
use lattice::{Fit, Rows, Values, flat, halved};
use sharpen::Sharpener;

/// Times that the lattice is made finer by half and fitted on, with the first: intervals of 100, 50, 25 and 12.5 mm, as
/// SPINEPS has them.
pub(crate) const LEVELS: usize = 4;
/// Fits on each level. SPINEPS gives N4 50; after 20 on cells, annotated vertebrae and discs are as even as after N4 in the mean
/// of 19 exams, though not in each (`tests/bench/run bias`); after 10 they are not.
pub(crate) const ROUNDS: usize = 20;

/// A smooth field over a grid: ln of the factor by which each voxel is too bright.
#[derive(Debug)]
pub struct Field {
    grid: Grid,
    lattice: Values,
    /// The splines at the voxels along each axis.
    at_voxels: [Rows; 3],
}

/// Divides the bias field out of `image`. The mean of ln intensity over what is not background stays. Values that are not
/// numbers, or not above 0, tell nothing about the field; an image without others stays as it is.
pub fn correct(image: &mut Volume<f32>, threads: usize) {
    if let Some(field) = Field::estimate(image, threads) {
        field.divide(image, threads);
    }
}

impl Field {
    /// The field of `image`; `None` where there is nothing but background.
    pub fn estimate(image: &Volume<f32>, threads: usize) -> Option<Field> {
        let axes = axes(image.grid());
        let cells = Cells::of(image, &axes, threads)?;
        let sharpener = Sharpener::new();
        let mut spans = axes.each_ref().map(|axis| axis.spans);
        let mut lattice = flat(spans);
        for level in 0..LEVELS {
            if level > 0 {
                lattice = halved(&lattice, spans);
                spans = spans.map(|n| 2 * n);
            }
            let fit = Fit::new(axes.each_ref().map(|axis| axis.at_cells(level)), &cells.weights);
            for _ in 0..ROUNDS {
                let residual = residual(&cells, &fit.at_cells(&lattice), &sharpener);
                lattice.add(&fit.lattice(&residual));
            }
            if level + 1 == LEVELS {
                lattice.lower(cells.mean(&fit.at_cells(&lattice)));
            }
        }
        let at_voxels = axes.each_ref().map(|axis| axis.at_voxels(LEVELS - 1));
        Some(Field { grid: *image.grid(), lattice, at_voxels })
    }

    /// The dims of its grid.
    pub(crate) fn dims(&self) -> Dims {
        self.grid.dims
    }

    /// The control points: how many along each axis, and their values, `i` fastest.
    pub(crate) fn lattice(&self) -> ([usize; 3], &[f32]) {
        (self.lattice.counts, &self.lattice.values)
    }

    /// For each voxel along `axis` the first of the four control points that reach it, and their splines.
    pub(crate) fn splines(&self, axis: usize) -> impl Iterator<Item = (usize, [f32; REACH])> {
        self.at_voxels[axis].taps()
    }

    /// Divides `image` by the field of its grid; on another grid nothing happens.
    pub fn divide(&self, image: &mut Volume<f32>, threads: usize) {
        if *image.grid() != self.grid {
            return;
        }
        let [ni, nj, _] = image.dims().counts();
        let [ci, cj, _] = self.lattice.counts;
        parallel_chunks(threads, image.voxels_mut(), ni * nj, |k, slice| {
            let controls = self.at_voxels[2].row(k, &self.lattice.values, ci * cj);
            let controls = Values { counts: [ci, cj, 1], values: controls };
            let wide = self.at_voxels[0].gather(&controls, 0);
            for (j, row) in slice.chunks_exact_mut(ni).enumerate() {
                let log = self.at_voxels[1].row(j, &wide.values, ni);
                row.iter_mut().zip(log).for_each(|(value, log)| *value *= powers::exp(-log));
            }
        });
    }
}

/// How much brighter than most likely each cell is when `field` has been taken out, ln; 0 in the background.
fn residual(cells: &Cells, field: &Values, sharpener: &Sharpener) -> Values {
    let left = cells.inside.iter().zip(&cells.logs).map(|(&cell, log)| log - field.values[cell]);
    let left: Vec<f32> = left.collect();
    let darkest = left.iter().copied().fold(f32::INFINITY, f32::min);
    // Brighter cells than the histogram has room for count as its brightest.
    let place = |log: f32| {
        let place = ((log - darkest) / BIN).min((BINS - 2) as f32);
        let bin = place as usize;
        (bin, place - bin as f32)
    };
    let mut histogram = [0.0; BINS];
    for (bin, part) in left.iter().map(|&log| place(log)) {
        histogram[bin] += 1.0 - part;
        histogram[bin + 1] += part;
    }
    let excess = sharpener.excess(&histogram);
    let mut residual = Values::zero(cells.weights.counts);
    for (&cell, (bin, part)) in cells.inside.iter().zip(left.iter().map(|&log| place(log))) {
        residual.values[cell] = BIN * (excess[bin] * (1.0 - part) + excess[bin + 1] * part);
    }
    residual
}

#[cfg(test)]
mod tests;
