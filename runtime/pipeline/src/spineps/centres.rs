//! A centre for every vertebral body of a semantic mask: where the cutouts of the instance net go.

use super::Rules;
use super::ended::Ended;
use super::pieces::{painted, scanned};
use super::split;
use crate::labels::Structure;
use kernels::components::{self, Bounds, Components, Connectivity, crop, paste};
use kernels::morphology::{Element, erode};
use kernels::volume::add;
use kernels::{Grid, Volume};
use std::ops::Range;

/// Bodies whose dense core is a class of its own, and that class (nets for CT).
pub const DENSE_BODY: u8 = 50;
/// The dens of C2 (nets for CT).
pub const DENS: u8 = 51;
/// What is left of a body once it has been worn down, at least: 100 voxels of the nets' grid, mm³.
const MIN_CORE_MM3: f64 = 100.0 * 0.928_125;
/// Bodies are worn down by this, so that thin bridges between them break: 2 voxels in plane.
const WEAR_MM: f64 = 1.5;
/// SPINEPS wears by voxels, whatever their size.
const WEAR_VOXELS: usize = 2;
/// Grids finer than [`WEAR_MM`] by more than this are none of ours.
const MAX_STEPS: usize = 16;
/// Two of a kind whose heights differ by less are one: 10 voxels of the nets' grid.
const SAME_HEIGHT_MM: f64 = 7.5;
/// How far up and down the list SPINEPS looks for bodies to compare with, and how many more than one it needs.
const NEIGHBOURS: usize = 5;
const MIN_NEIGHBOURS: usize = 3;
/// A body this many times as large as the mean of the others is two.
const TWICE: f64 = 1.5;
/// A body this many times as high as its neighbours is two: neighbours differ by a tenth, wedged or tilted ones by a third.
const TWICE_AS_HIGH: f64 = 1.5;
/// Two bodies joined are not lower, once worn: 13 mm each in the neck and the disc between them. Keeps crumbs, with which
/// everything is high, from having one body cut and cut again.
const MIN_JOINED_MM: f64 = 25.0;
/// What is lower, once worn, is no whole body and none to compare with: those of the neck have 11 mm and more.
const MIN_BODY_MM: f64 = 8.0;
/// Bodies above and below to compare the height with. Three on each side outvote a second joined pair beside the first.
const COMPARED: usize = 3;

/// One connected piece of bodies or discs.
#[derive(Debug, Clone, Copy)]
struct Piece {
    /// Its number among the pieces of its structure.
    number: usize,
    /// Along (P, I, R), voxels of the whole mask.
    centre: [f64; 3],
    voxels: usize,
    /// First and last row.
    rows: [usize; 2],
    disc: bool,
}

/// Centres of all bodies from the lowest to the highest, voxels of `labels`; before them those of a dens.
pub fn centres(labels: &Volume<u8>, rules: Rules) -> Result<Vec<[f64; 3]>, Ended> {
    let body = Structure::VertebralBody.value();
    if !labels.voxels().contains(&body) {
        return Err(Ended::NoBody);
    }
    let dense = labels.voxels().contains(&DENSE_BODY);
    let mut bodies = if dense {
        Bodies::of(labels, DENSE_BODY, |mask| mask)
    } else {
        Bodies::of(labels, body, |mask| cores(mask, rules))
    }
    .ok_or(Ended::NoCentre)?;
    match rules {
        Rules::Spineps213 => split_by_alternation(&mut bodies, &discs(labels)),
        Rules::Sagitta => split_by_height(&mut bodies),
    }
    let mut found: Vec<[f64; 3]> = bodies.pieces.iter().map(|body| body.centre).collect();
    found.sort_by(|a, b| a[1].total_cmp(&b[1]));
    if dense {
        let dens = Bodies::of(labels, DENS, |mask| mask);
        found.extend(dens.iter().flat_map(|dens| &dens.pieces).map(|piece| piece.centre));
    }
    found.reverse();
    Ok(found)
}

/// Bodies worn down, without what is then too small.
fn cores(mut mask: Volume<u8>, rules: Rules) -> Volume<u8> {
    let spacing = mask.grid().affine.spacing();
    let steps = match rules {
        Rules::Spineps213 => [WEAR_VOXELS; 3],
        Rules::Sagitta => spacing.map(|mm| (WEAR_MM / mm).round() as usize),
    };
    let most = steps.into_iter().max().unwrap_or(0).min(MAX_STEPS);
    for step in 0..most {
        let along = steps.map(|steps| step < steps);
        mask = erode(&mask, Element { connectivity: Connectivity::Edges18, along });
    }
    let least = MIN_CORE_MM3 / spacing.iter().product::<f64>();
    let found = components::label(&mask, Connectivity::Faces6);
    found.erase(&mut mask, |part| (part.voxels as f64) < least.round());
    mask
}

/// The pieces of one structure, in their box.
struct Bodies {
    grid: Grid,
    /// Where in the memory of the box the voxels of each number lie.
    places: Vec<Vec<Range<usize>>>,
    /// Where the box lies in the whole mask, and the grid of that.
    bounds: Bounds,
    whole: Grid,
    pieces: Vec<Piece>,
}

impl Bodies {
    /// The pieces of `value` after `shaped` in SPINEPS' order; `None` where there is none.
    fn of(
        labels: &Volume<u8>,
        value: u8,
        shaped: impl Fn(Volume<u8>) -> Volume<u8>,
    ) -> Option<Bodies> {
        let bounds = Bounds::of(labels, |v| v == value)?;
        let mask = shaped(crop(labels, bounds).map(|v| u8::from(v == value)));
        let found = components::label(&mask, Connectivity::Corners26);
        let pieces = pieces(&found, bounds.min, false);
        let places = (0..found.parts.len()).map(|n| found.runs_of(n).collect()).collect();
        let (grid, whole) = (*mask.grid(), *labels.grid());
        (!pieces.is_empty()).then_some(Bodies { grid, places, bounds, whole, pieces })
    }

    /// The voxels of one piece, in the box.
    fn mask(&self, number: usize) -> Volume<u8> {
        painted(self.grid, self.places[number].iter().cloned())
    }

    /// Makes two pieces of one: its voxels that are 2 in `halves` (of the box, 1 for the others) get a number of their own, at
    /// the end of the list. Does nothing where one half is empty.
    fn divide(&mut self, number: usize, halves: &Volume<u8>) -> bool {
        let half = |value: u8, number: usize| {
            let mask = halves.map(|v| u8::from(v == value));
            let found = components::label(&mask, Connectivity::Corners26);
            let piece = measured(&found, self.bounds.min, number)?;
            Some((piece, found.runs().map(|(_, range)| range).collect()))
        };
        let (upper, lower) = (half(1, number), half(2, self.places.len()));
        let (Some((upper, above)), Some((lower, below))) = (upper, lower) else { return false };
        self.places[number] = above;
        self.places.push(below);
        for piece in self.pieces.iter_mut().filter(|piece| piece.number == number) {
            *piece = upper;
        }
        self.pieces.push(lower);
        true
    }
}

/// All components in SPINEPS' order; `origin` is where their box lies in the whole mask.
fn pieces(found: &Components, origin: [usize; 3], disc: bool) -> Vec<Piece> {
    let start = origin.map(|v| v as f64);
    let piece = |n: usize| {
        let part = &found.parts[n];
        Piece {
            number: n,
            centre: add(part.centroid(), start),
            voxels: part.voxels,
            rows: [part.min[1] + origin[1], part.max[1] + origin[1]],
            disc,
        }
    };
    scanned(found).into_iter().map(piece).collect()
}

/// All components as one piece; `None` where there is none.
fn measured(found: &Components, origin: [usize; 3], number: usize) -> Option<Piece> {
    let all = pieces(found, origin, false);
    let voxels: usize = all.iter().map(|piece| piece.voxels).sum();
    let sum =
        |axis: usize| all.iter().map(|piece| piece.centre[axis] * piece.voxels as f64).sum::<f64>();
    let rows = [all.iter().map(|p| p.rows[0]).min()?, all.iter().map(|p| p.rows[1]).max()?];
    let centre = [0, 1, 2].map(|axis| sum(axis) / voxels as f64);
    Some(Piece { number, centre, voxels, rows, disc: false })
}

/// Discs with their endplates.
fn discs(labels: &Volume<u8>) -> Vec<Piece> {
    let wanted = [Structure::Disc.value(), Structure::Endplate.value()];
    let Some(bounds) = Bounds::of(labels, |v| wanted.contains(&v)) else { return Vec::new() };
    let mask = crop(labels, bounds).map(|v| u8::from(wanted.contains(&v)));
    pieces(&components::label(&mask, Connectivity::Corners26), bounds.min, true)
}

/// SPINEPS' rule: going down the spine, bodies and discs take turns. Where two of a kind follow each other at different
/// heights, the largest body around is cut in two if it is far larger than the others. Bodies joined where no disc was seen
/// keep their turn and are not found, nor is any body among fewer than five.
fn split_by_alternation(bodies: &mut Bodies, discs: &[Piece]) {
    if discs.is_empty() {
        return;
    }
    let same_height = SAME_HEIGHT_MM / bodies.whole.affine.spacing()[1];
    let mut list: Vec<Piece> = discs.iter().chain(&bodies.pieces).copied().collect();
    list.sort_by(|a, b| a.centre[1].total_cmp(&b.centre[1]));
    let mut at = 0;
    while at + 1 < list.len() {
        let (this, next) = (list[at], list[at + 1]);
        if this.disc != next.disc {
            at += 1;
        } else if (next.centre[1] - this.centre[1]).abs() < same_height {
            list.remove(at);
        } else {
            if let Some(joined) = far_largest(&list, at) {
                split_by_plane(bodies, joined);
            }
            at += 1;
        }
    }
}

/// Cuts a body by the plane between the parts into which it falls. The plane runs through the whole mask.
fn split_by_plane(bodies: &mut Bodies, number: usize) {
    let mut body = Volume::filled(bodies.whole, 0);
    paste(&mut body, &bodies.mask(number), bodies.bounds);
    if let Some(split) = split::split(&body) {
        bodies.divide(number, &crop(&split.halves, bodies.bounds));
    }
}

/// The number of the largest body around place `at` of the list, itself left out, if it is far larger than the others.
fn far_largest(list: &[Piece], at: usize) -> Option<usize> {
    let around = list[at.saturating_sub(NEIGHBOURS)..(at + NEIGHBOURS + 1).min(list.len())].iter();
    let start = at.saturating_sub(NEIGHBOURS);
    let others = around.enumerate().filter(|&(n, piece)| start + n != at && !piece.disc);
    let bodies: Vec<&Piece> = others.map(|(_, piece)| piece).collect();
    if bodies.len() <= MIN_NEIGHBOURS {
        return None;
    }
    let largest = bodies.iter().map(|piece| piece.voxels).max()?;
    let first = bodies.iter().find(|piece| piece.voxels == largest)?;
    let sum: usize = bodies.iter().map(|piece| piece.voxels).sum();
    let mean = (sum - largest) as f64 / (bodies.len() - 1) as f64;
    (largest as f64 / mean > TWICE).then_some(first.number)
}

/// Our rule: a body far higher than its neighbours is two, disc or no disc between them, and however few they are. Volume
/// says less: from the neck to the loins bodies grow sevenfold, but in height only by half. A body that was cut is looked at
/// again, since it may have been three.
fn split_by_height(bodies: &mut Bodies) {
    let row_mm = bodies.whole.affine.spacing()[1];
    loop {
        let mut order = bodies.pieces.clone();
        order.sort_by(|a, b| a.centre[1].total_cmp(&b.centre[1]));
        let heights: Vec<f64> =
            order.iter().map(|piece| (piece.rows[1] - piece.rows[0] + 1) as f64 * row_mm).collect();
        let Some(high) = (0..order.len()).find(|&n| is_high(&heights, n)) else { return };
        let number = order[high].number;
        let halves = split::at_waist(&bodies.mask(number));
        if !halves.is_some_and(|halves| bodies.divide(number, &halves)) {
            return;
        }
    }
}

/// Whether a body is far higher than those above and below it.
fn is_high(heights: &[f64], n: usize) -> bool {
    let around = n.saturating_sub(COMPARED)..(n + COMPARED + 1).min(heights.len());
    let others = around.filter(|&other| other != n).map(|other| heights[other]);
    let mut others: Vec<f64> = others.filter(|&height| height >= MIN_BODY_MM).collect();
    others.sort_by(f64::total_cmp);
    // Of an even number the lower middle: a cut too many costs a cutout, a cut too few may cost a vertebra.
    let middle = others.get(others.len().saturating_sub(1) / 2);
    heights[n] >= MIN_JOINED_MM && middle.is_some_and(|middle| heights[n] > TWICE_AS_HIGH * middle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::{Affine, Dims};

    /// Bodies of so many rows, five rows apart, on the grid of the nets.
    fn spine(rows: &[usize]) -> Volume<u8> {
        let axes = [[0.0, 0.75, 0.0], [0.0, 0.0, -0.75], [-1.65, 0.0, 0.0]];
        let filled: Vec<u8> =
            rows.iter().flat_map(|&n| [vec![0; 5], vec![49; n]]).flatten().collect();
        let dims = Dims::new([30, filled.len() + 5, 12]).unwrap();
        let grid = Grid { dims, affine: Affine::new(axes, [0.0; 3]).unwrap() };
        let voxel = |n: usize| filled.get(dims.index(n)[1]).copied().unwrap_or(0);
        Volume::new(grid, (0..dims.voxels()).map(voxel).collect()).unwrap()
    }

    fn count(rows: &[usize]) -> usize {
        centres(&spine(rows), Rules::Sagitta).unwrap().len()
    }

    #[test]
    fn joined_bodies_are_counted_and_crumbs_change_nothing() {
        assert_eq!(count(&[30, 30, 66, 32]), 5);
        assert_eq!(count(&[30, 66]), 3);
        assert_eq!(count(&[8, 30, 32, 34, 8, 9, 30]), 7);
        // Nothing tells a single body from two.
        assert_eq!(count(&[66]), 1);
    }

    #[test]
    fn what_is_worn_away_has_no_centre() {
        assert_eq!(centres(&spine(&[2, 3]), Rules::Sagitta), Err(Ended::NoCentre));
        assert_eq!(centres(&spine(&[]), Rules::Sagitta), Err(Ended::NoBody));
    }
}
