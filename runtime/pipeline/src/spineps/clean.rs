//! The semantic net's answer without crumbs, without what lies far from the spine, and without cavities.

use super::boxed::Boxed;
use super::centres::DENSE_BODY;
use super::ended::Ended;
use super::pieces::scanned;
use super::{Rules, rows};
use crate::labels::Structure;
use kernels::components::{self, Bounds, Component, Components, Connectivity, crop};
use kernels::threads::{available, parallel_map};
use kernels::{Volume, fill};
use std::cmp::Reverse;

/// Smallest component of one structure, mm³: 30 voxels of the nets' grid.
const MIN_COMPONENT_MM3: f64 = 30.0 * 0.928_125;
/// The structures whose crumbs go: of the others (cord, endplates, sacrum) small components are kept.
const CRUMBLING: std::ops::RangeInclusive<u8> = 41..=49;
/// What is solid and filled, in this order.
const SOLID: [Structure; 4] =
    [Structure::VertebralBody, Structure::SpinalCanal, Structure::Disc, Structure::SpinalCord];
/// The box around every component of the spine grows by this; boxes that touch then are of one spine.
const MARGIN_MM: f64 = 3.0;
/// How far structures may lie above or below canal and cord.
const BEYOND_CANAL_MM: f64 = 64.0;
/// A part that holds this much of bodies and of canal and cord is spine, however far from the rest: half the body and a
/// quarter of the canal of one cervical vertebra. A vessel or a bladder taken for spine has not both.
const MIN_BODY_MM3: f64 = 1000.0;
const MIN_CANAL_MM3: f64 = 500.0;

/// How much of the spine is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Extent {
    #[default]
    Whole,
    /// Only what lies at the height of the canal, and the sacrum (SPINEPS' `proc_remove_inferior_beyond_canal`).
    NearCanal,
}

/// A cleaned semantic mask.
#[derive(Debug, Clone, PartialEq)]
pub struct Cleaned {
    pub labels: Boxed<u8>,
    /// Parts of the spine beyond a gap without signal, kept although nothing joins them to the rest: to be told.
    pub beyond_gap: usize,
}

/// Cleans a semantic mask.
pub fn clean(labels: &Volume<u8>, extent: Extent, rules: Rules) -> Result<Cleaned, Ended> {
    let bounds = rows::bounds(labels, |_, _| true).ok_or(Ended::EmptyMask)?;
    // With a margin, so that the edge of the box is open space where the edge of the view is not.
    let bounds = bounds.grown(1, labels.dims());
    let mut part = crop(labels, bounds);
    let near_canal = |part: &mut Volume<u8>| {
        if extent == Extent::NearCanal {
            cut_beyond_canal(part);
        }
    };
    near_canal(&mut part);
    drop_crumbs(&mut part);
    near_canal(&mut part);
    let mut beyond_gap = keep_spine(&mut part, rules);
    if extent == Extent::NearCanal {
        near_canal(&mut part);
        beyond_gap = keep_spine(&mut part, rules);
    }
    fill_holes(&mut part);
    Ok(Cleaned { labels: Boxed { whole: *labels.grid(), bounds, part }, beyond_gap })
}

/// Erases everything but the sacrum that lies more than `BEYOND_CANAL_MM` above or below canal and cord.
pub fn cut_beyond_canal(labels: &mut Volume<u8>) {
    let canal = [Structure::SpinalCanal.value(), Structure::SpinalCord.value()];
    let Some(bounds) = Bounds::of(labels, |v| canal.contains(&v)) else { return };
    let margin = (BEYOND_CANAL_MM / labels.grid().affine.spacing()[1]) as usize;
    let [ni, nj, _] = labels.dims().counts();
    let kept = bounds.min[1].saturating_sub(margin)..=bounds.max[1].saturating_add(margin);
    for (row, values) in labels.voxels_mut().chunks_exact_mut(ni).enumerate() {
        if !kept.contains(&(row % nj)) {
            let beyond = values.iter_mut().filter(|v| **v != Structure::Sacrum.value());
            beyond.for_each(|v| *v = 0);
        }
    }
}

/// Erases components of single structures that are too small to be anything.
pub fn drop_crumbs(labels: &mut Volume<u8>) {
    let least = voxels(labels, MIN_COMPONENT_MM3);
    let found = components::label(labels, Connectivity::Faces6);
    let others = [Structure::SpinalCanal.value(), Structure::Disc.value()];
    let crumbles = |value: u8| CRUMBLING.contains(&value) || others.contains(&value);
    found.erase(labels, |part| part.voxels < least && crumbles(part.value));
}

/// How many voxels `mm3` are, at least one.
fn voxels<T: Copy>(volume: &Volume<T>, mm3: f64) -> usize {
    let voxel = volume.grid().affine.spacing().iter().product::<f64>();
    ((mm3 / voxel).round_ties_even() as usize).max(1)
}

/// Keeps the largest component of all structures together and what lies near it, or near what is kept already. Returns how
/// many parts beyond a gap are kept besides: none by SPINEPS' rules, which lose half a spine where the signal fails.
pub fn keep_spine(labels: &mut Volume<u8>, rules: Rules) -> usize {
    let found = components::label(&labels.map(|v| u8::from(v != 0)), Connectivity::Corners26);
    let Some(largest) = largest(&found) else { return 0 };
    let reach = reach(labels, rules);
    let mut kept = vec![false; found.parts.len()];
    kept[largest] = true;
    join_near(&found.parts, &mut kept, reach);
    let mut beyond_gap = 0;
    if rules == Rules::Sagitta {
        for next in 0..kept.len() {
            if !kept[next] && is_spine(labels, &found, next) {
                kept[next] = true;
                beyond_gap += 1;
                join_near(&found.parts, &mut kept, reach);
            }
        }
    }
    for (_, range) in found.runs().filter(|&(n, _)| !kept[n]) {
        labels.voxels_mut()[range].fill(0);
    }
    beyond_gap
}

/// The largest component; of equal ones the first in SPINEPS' order.
fn largest(found: &Components) -> Option<usize> {
    scanned(found).into_iter().min_by_key(|&n| Reverse(found.parts[n].voxels))
}

/// How many voxels may lie between the boxes of two components of one spine. SPINEPS counts voxels of the finest axis; along
/// the height it adds the margin a third time.
fn reach(labels: &Volume<u8>, rules: Rules) -> [usize; 3] {
    let spacing = labels.grid().affine.spacing();
    let finest = spacing.into_iter().fold(f64::INFINITY, f64::min);
    let (margin, more) =
        ((MARGIN_MM / finest) as usize, (MARGIN_MM / finest).round_ties_even() as usize);
    match rules {
        Rules::Spineps213 => [2 * margin, 2 * margin + more, 2 * margin],
        Rules::Sagitta => {
            let times = [2.0, 3.0, 2.0];
            [0, 1, 2].map(|axis| (times[axis] * MARGIN_MM / spacing[axis]) as usize)
        }
    }
}

/// Adds to `kept` every part whose box is near the box of one that is kept, until none is.
fn join_near(parts: &[Component], kept: &mut [bool], reach: [usize; 3]) {
    let near = |a: &Component, b: &Component| {
        let gap = |axis: usize| {
            (a.min[axis].max(b.min[axis])).saturating_sub(a.max[axis].min(b.max[axis]) + 1)
        };
        (0..3).all(|axis| gap(axis) <= reach[axis])
    };
    let mut open: Vec<usize> = (0..parts.len()).filter(|&n| kept[n]).collect();
    while let Some(from) = open.pop() {
        for n in 0..parts.len() {
            if !kept[n] && near(&parts[from], &parts[n]) {
                kept[n] = true;
                open.push(n);
            }
        }
    }
}

/// Whether a component holds bodies and canal, and enough of both.
fn is_spine(labels: &Volume<u8>, found: &Components, n: usize) -> bool {
    let (body, canal) = (voxels(labels, MIN_BODY_MM3), voxels(labels, MIN_CANAL_MM3));
    if found.parts[n].voxels < body + canal {
        return false;
    }
    let mut counts = [0usize; 256];
    for &label in found.runs_of(n).flat_map(|range| &labels.voxels()[range]) {
        counts[usize::from(label)] += 1;
    }
    let sum =
        |values: [u8; 2]| values.map(|value| counts[usize::from(value)]).iter().sum::<usize>();
    sum([Structure::VertebralBody.value(), DENSE_BODY]) >= body
        && sum([Structure::SpinalCanal.value(), Structure::SpinalCord.value()]) >= canal
}

/// Fills background enclosed by one solid structure; of several the first in order. What one encloses does not depend on how
/// another was filled.
pub fn fill_holes(labels: &mut Volume<u8>) {
    let solid = SOLID.map(Structure::value);
    let found = parallel_map(available(), &solid, |&value| fill::holes(labels, value));
    for (value, holes) in solid.into_iter().zip(found) {
        for offset in holes {
            let to = &mut labels.voxels_mut()[offset];
            *to = if *to == 0 { value } else { *to };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::{Affine, Dims, Grid};

    /// Slices of 6 mm with pixels of half a millimetre: SPINEPS' margin of 3 mm is 6 slices then.
    #[test]
    fn what_lies_centimetres_beside_the_spine_is_not_of_it_however_thick_the_slices() {
        let axes = [[0.0, 0.5, 0.0], [0.0, 0.0, -0.5], [-6.0, 0.0, 0.0]];
        let dims = Dims::new([8, 8, 9]).unwrap();
        let grid = Grid { dims, affine: Affine::new(axes, [0.0; 3]).unwrap() };
        let label = |n: usize| if n < 2 * dims.plane() { 49 } else { 26 };
        let inside = |n: usize| !(2..7).contains(&(n / dims.plane()));
        let voxels = (0..dims.voxels()).map(|n| if inside(n) { label(n) } else { 0 });
        let mut mask = Volume::new(grid, voxels.collect()).unwrap();
        mask.voxels_mut()[dims.voxels() - 1] = 0;
        let (mut old, mut new) = (mask.clone(), mask.clone());
        keep_spine(&mut old, Rules::Spineps213);
        keep_spine(&mut new, Rules::Sagitta);
        assert_eq!(old, mask);
        assert!(new.voxels().contains(&49) && !new.voxels().contains(&26));
    }
}
