//! Cutouts: the class map around one body on a grid of fixed size and spacing, as the instance net sees it.
//!
//! A cutout is sampled by nearest neighbour along each axis on its own, so voxels of the mask and of the cutout name each
//! other by three small tables. Training cuts with this module too (crate `models`, `cutouts`).

use crate::card::{Class, InstanceCard, ModelCard, Window};
use kernels::answers::{self, Around};
use kernels::one_hot::{self, Channels, Shown};
use kernels::{Grid, Volume};

/// Where a cutout lies on the grid of a class map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cutout {
    /// For each column, row and slice of the cutout the voxel of the map it shows; `None` outside the map.
    shown: Shown,
    /// For each voxel of the map along each axis the column, row or slice nearest to it; `None` outside the cutout.
    nearest: Shown,
}

impl Cutout {
    /// The cutout of `window` with `centre` (voxels of `grid`) at its centre.
    pub fn new(window: &Window, grid: &Grid, centre: [f64; 3]) -> Cutout {
        let spacing = grid.affine.spacing();
        let nearest = |position: f64, count: usize| {
            let rounded = position.round();
            (rounded >= 0.0 && rounded < count as f64).then_some(rounded as usize)
        };
        let axes = [0, 1, 2].map(|axis| {
            let (ours, theirs) = (window.counts[axis], grid.dims.counts()[axis]);
            let step = window.spacing_mm[axis] / spacing[axis];
            let middle = window.centre()[axis];
            let shown =
                (0..ours).map(|n| nearest(centre[axis] + (n as f64 - middle) * step, theirs));
            let back =
                (0..theirs).map(|n| nearest(middle + (n as f64 - centre[axis]) / step, ours));
            (shown.collect(), back.collect())
        });
        let [(a, x), (b, y), (c, z)] = axes;
        Cutout { shown: [a, b, c], nearest: [x, y, z] }
    }

    /// The values of `volume` in the cutout, columns fastest; `outside` beyond the volume.
    pub fn sample<T: Copy>(&self, volume: &Volume<T>, outside: T) -> Vec<T> {
        let [columns, rows, slices] = &self.shown;
        let mut values = Vec::with_capacity(columns.len() * rows.len() * slices.len());
        for k in slices {
            for j in rows {
                let (Some(j), Some(k)) = (j, k) else {
                    values.extend(columns.iter().map(|_| outside));
                    continue;
                };
                let start = volume.dims().offset([0, *j, *k]);
                let row = &volume.voxels()[start..start + volume.dims().counts()[0]];
                values.extend(columns.iter().map(|i| i.map_or(outside, |i| row[i])));
            }
        }
        values
    }

    /// What the net sees of `classes`: `[channels, slices, rows, columns]`, 1 where the group of a channel is.
    pub fn encode(&self, classes: &Volume<u8>, channels: &Channels, input: &mut [f32]) {
        one_hot::encode(classes, &self.shown, channels, input);
    }

    /// For each column, row and slice of the cutout the voxel of the map it shows.
    pub fn shown(&self) -> &Shown {
        &self.shown
    }

    /// For each voxel of the map along each axis the column, row or slice of the cutout nearest to it.
    pub fn nearest(&self) -> &Shown {
        &self.nearest
    }
}

/// The group, from 0, in which the instance net sees a class of the semantic net; `None` if it does not see it.
fn group(class: u8, semantic: &ModelCard, card: &InstanceCard) -> Option<usize> {
    let structure = match *semantic.classes.get(usize::from(class))? {
        Class::Background => return None,
        Class::Single(structure) | Class::Paired(structure, _) => structure,
    };
    card.groups.iter().position(|group| group.contains(&structure))
}

/// The class map in the instance net's groups: 0 what it does not see, else the number of the group from 1.
pub fn groups(classes: &Volume<u8>, semantic: &ModelCard, card: &InstanceCard) -> Volume<u8> {
    let number = |class: u8| group(class, semantic, card).map_or(0, |group| group as u8 + 1);
    let table: [u8; 256] = std::array::from_fn(|class| number(class as u8));
    classes.map(|class| table[usize::from(class)])
}

/// The channel of the instance net's input in which each class of the semantic net is shown.
pub fn channels(semantic: &ModelCard, card: &InstanceCard) -> Channels {
    Channels::new(card.groups.len(), |class| group(class, semantic, card))
}

/// Half the rows and columns around the centre over which level logits are averaged: the middle of a body.
const LEVEL_REACH: usize = 4;

/// How the output of the net lies in one cutout.
pub fn answers(card: &InstanceCard) -> answers::Layout {
    let (counts, more) = (card.window.counts, card.levels.len());
    answers::Layout { counts, classes: InstanceCard::OUTPUTS, more }
}

/// The middle of the body, where a level's logits are averaged.
pub fn middle(window: &Window) -> Around {
    let [columns, rows, _] = window.counts;
    let around = |centre: usize, count: usize| {
        centre.saturating_sub(LEVEL_REACH)..(centre + LEVEL_REACH).min(count)
    };
    Around { columns: around(window.columns_before, columns), rows: around(rows / 2, rows) }
}

/// The probability of each level by the means of their logits in the middle of a cutout.
pub fn probabilities(logits: &[f64]) -> Vec<f64> {
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let shares: Vec<f64> = logits.iter().map(|logit| (logit - highest).exp()).collect();
    let sum: f64 = shares.iter().sum();
    shares.into_iter().map(|share| share / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::{Affine, Dims};

    fn grid(counts: [usize; 3], mm: [f64; 3]) -> Grid {
        let axes = [[mm[0], 0.0, 0.0], [0.0, mm[1], 0.0], [0.0, 0.0, mm[2]]];
        Grid { dims: Dims::new(counts).unwrap(), affine: Affine::new(axes, [0.0; 3]).unwrap() }
    }

    const WINDOW: Window =
        Window { counts: [4, 6, 2], spacing_mm: [2.0, 2.0, 4.0], columns_before: 1 };

    #[test]
    fn a_cutout_shows_what_lies_around_its_centre_and_nothing_beyond_the_map() {
        let grid = grid([8, 8, 3], [1.0, 1.0, 4.0]);
        let map = Volume::new(grid, (0..grid.dims.voxels()).map(|n| n as u16).collect()).unwrap();
        let values = Cutout::new(&WINDOW, &grid, [3.0, 4.0, 0.5]).sample(&map, 999);
        assert_eq!(values.len(), 48);
        // Column 1 and row 2.5 are the centre: columns 1, 3, 5, 7 and rows -1, 1, 3, 5, 7, 9 of slices 0 and 1.
        let row = |j: usize, k: usize| [1, 3, 5, 7].map(|i| grid.dims.offset([i, j, k]) as u16);
        assert_eq!(values[..4], [999; 4]);
        assert_eq!(values[4..8], row(1, 0));
        assert_eq!(values[24 + 16..24 + 20], row(7, 1));
        assert_eq!(values[44..], [999; 4]);
    }

    #[test]
    fn every_sample_is_the_nearest_of_the_voxel_it_shows() {
        let grid = grid([30, 30, 9], [0.8, 1.1, 3.3]);
        let cutout = Cutout::new(&WINDOW, &grid, [14.2, 15.9, 4.4]);
        let offsets = Volume::new(grid, (0..grid.dims.voxels()).collect()).unwrap();
        let nearest = |axis: usize, at: usize| cutout.nearest()[axis][at];
        let [columns, rows, _] = WINDOW.counts;
        for (sample, &offset) in cutout.sample(&offsets, 0).iter().enumerate() {
            let index = grid.dims.index(offset);
            let of = [sample % columns, sample / columns % rows, sample / (columns * rows)];
            assert_eq!([0, 1, 2].map(|axis| nearest(axis, index[axis])), of.map(Some));
        }
        assert_eq!(nearest(0, 0), None);
    }

    #[test]
    fn levels_are_told_by_the_mean_around_the_centre() {
        // Eight planes of classes and slices, then two levels; rows 0 to 6 and columns 0 to 3 are around the centre.
        let mut logits = vec![5.0; 10 * 24];
        logits[8 * 24..9 * 24].fill(1.0);
        logits[9 * 24..].fill(1.0);
        logits[9 * 24] += 24.0 * 3f32.ln();
        let layout = answers::Layout { counts: WINDOW.counts, classes: 4, more: 2 };
        let found = probabilities(&answers::means(&logits, &layout, &middle(&WINDOW)));
        assert!((found[0] - 0.25).abs() < 1e-6 && (found[1] - 0.75).abs() < 1e-6, "{found:?}");
        assert!(probabilities(&[]).is_empty());
    }

    #[test]
    fn a_cutout_is_encoded_as_it_is_sampled() {
        let grid = grid([8, 8, 3], [1.0, 1.0, 4.0]);
        let voxels = (0..grid.dims.voxels()).map(|n| (n % 5) as u8).collect();
        let map = Volume::new(grid, voxels).unwrap();
        let cutout = Cutout::new(&WINDOW, &grid, [3.0, 4.0, 0.5]);
        let channels = Channels::new(3, |class| usize::from(class).checked_sub(1));
        let mut input = vec![9.0; 3 * 48];
        cutout.encode(&map, &channels, &mut input);
        let groups = cutout.sample(&map, 0);
        for (n, &value) in input.iter().enumerate() {
            let shown = usize::from(groups[n % 48]) == n / 48 + 1;
            assert_eq!(value, if shown { 1.0 } else { 0.0 });
        }
    }
}
