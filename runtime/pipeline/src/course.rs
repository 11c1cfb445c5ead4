//! How far down the spine a point lies.
//!
//! SPINEPS asks its height. A spine that bends forward or lies level, as the sacrum does, is not in order of height: ours
//! asks the canal. Its centreline is found by walking through cord and canal from end to end, so it may turn anywhere.

use crate::spineps::rows;
use kernels::volume::{add, dot, norm, scale, sub};
use kernels::{Grid, Volume};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Cord and canal are walked through in cells of this size: finer than the canal is wide (15 mm).
const CELL_MM: f64 = 4.0;
/// The centreline has one point every so often: less than the height of a cervical vertebra.
const STRIDE_MM: f64 = 12.0;
/// A lone piece of canal shorter than this has no direction.
const MIN_POINTS: usize = 2;
/// Beyond its ends the line goes on straight, farther than any field of view reaches.
const BEYOND_MM: f64 = 1000.0;
/// Over so many points the direction at an end is taken: two vertebrae.
const END_POINTS: usize = 4;

/// The order of things along the spine.
#[derive(Debug, Clone)]
pub struct Course {
    spacing: [f64; 3],
    /// Points from top to bottom, millimetres along the grid's axes; none: height decides.
    line: Vec<[f64; 3]>,
}

/// Where something lies beside the spine, millimetres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aside {
    /// Behind the line.
    pub back: f64,
    pub right: f64,
}

impl Course {
    /// Down the rows of a (P, I, R) grid.
    pub fn by_height(grid: &Grid) -> Course {
        Course { spacing: grid.affine.spacing(), line: Vec::new() }
    }

    /// Along what has the values of `tube` (cord and canal) in `map`, a volume on a (P, I, R) grid; by height where nothing
    /// has.
    pub fn along(map: &Volume<u8>, tube: [u8; 2]) -> Course {
        Course { spacing: map.grid().affine.spacing(), line: centreline(map, tube) }
    }

    /// Where on the way down `index` lies. Only the order and distances of places mean something: millimetres along the
    /// canal, or rows.
    pub fn place(&self, index: [f64; 3]) -> f64 {
        self.foot(index).map_or(index[1], |foot| foot.place)
    }

    /// Where `index` lies beside the line; beside the grid's first column where height decides.
    pub fn aside(&self, index: [f64; 3]) -> Aside {
        let point: [f64; 3] = std::array::from_fn(|axis| index[axis] * self.spacing[axis]);
        let Some(Foot { at, down, .. }) = self.foot(index) else {
            return Aside { back: point[0], right: point[2] };
        };
        let away = sub(point, at);
        // To the back, perpendicular to the line in the sagittal plane.
        Aside { back: away[0] * down[1] - away[1] * down[0], right: away[2] }
    }

    /// The point of the line next to `index`; `None` where there is no line.
    fn foot(&self, index: [f64; 3]) -> Option<Foot> {
        let point = std::array::from_fn(|axis| index[axis] * self.spacing[axis]);
        let (mut nearest, mut found, mut walked) = (f64::INFINITY, None, 0.0);
        for ends in self.line.windows(2) {
            let along = sub(ends[1], ends[0]);
            let length = norm(along);
            let share = dot(sub(point, ends[0]), along) / (length * length);
            let share = share.clamp(0.0, 1.0);
            let at = add(ends[0], scale(along, share));
            let away = norm(sub(point, at));
            if away < nearest {
                nearest = away;
                let (place, down) = (walked + share * length, scale(along, 1.0 / length));
                found = Some(Foot { place, at, down });
            }
            walked += length;
        }
        found
    }
}

/// A point of the line.
struct Foot {
    place: f64,
    /// Millimetres along the grid's axes.
    at: [f64; 3],
    /// Unit vector along the line.
    down: [f64; 3],
}

/// A cell of cord and canal: where it lies in the coarse grid, and the centre of its voxels in millimetres.
struct Cell {
    index: [usize; 3],
    voxels: f64,
    centre: [f64; 3],
}

/// The centreline from top to bottom, with its ends far out; empty where there is none.
fn centreline(map: &Volume<u8>, tube: [u8; 2]) -> Vec<[f64; 3]> {
    let cells = cells(map, tube);
    let mut lines: Vec<Vec<[f64; 3]>> = pieces(&cells).iter().map(|p| walk(&cells, p)).collect();
    lines.retain(|line| line.len() >= MIN_POINTS);
    lines.sort_by(|a, b| a[0][1].total_cmp(&b[0][1]));
    let mut line = lines.concat();
    // Points that coincide have no direction.
    line.dedup_by(|b, a| norm(sub(*b, *a)) < 1e-6);
    let last = line.len().saturating_sub(1);
    if line.len() < MIN_POINTS {
        return Vec::new();
    }
    let beyond = |end: usize, inner: usize| {
        let out = sub(line[end], line[inner]);
        let length = norm(out).max(1e-6);
        add(line[end], scale(out, BEYOND_MM / length))
    };
    let top = beyond(0, (END_POINTS - 1).min(last));
    let bottom = beyond(last, (last + 1).saturating_sub(END_POINTS));
    line.insert(0, top);
    line.push(bottom);
    line
}

fn cells(map: &Volume<u8>, tube: [u8; 2]) -> Vec<Cell> {
    let (dims, spacing) = (map.dims(), map.grid().affine.spacing());
    let steps = spacing.map(|mm| (CELL_MM / mm).round().max(1.0) as usize);
    let counts: [usize; 3] = std::array::from_fn(|a| dims.counts()[a].div_ceil(steps[a]));
    let mut sums = vec![(0.0, [0.0; 3]); counts.iter().product()];
    for (first, block) in rows::blocks(map) {
        let [from, j, k] = dims.index(first);
        let start = counts[0] * (j / steps[1] + counts[1] * (k / steps[2]));
        for (n, _) in block.iter().enumerate().filter(|&(_, v)| tube.contains(v)) {
            let i = from + n;
            let (voxels, sum) = &mut sums[start + i / steps[0]];
            *voxels += 1.0;
            *sum = add(*sum, [i as f64, j as f64, k as f64]);
        }
    }
    let place = |n: usize| [n % counts[0], n / counts[0] % counts[1], n / (counts[0] * counts[1])];
    let filled = sums.into_iter().enumerate().filter(|(_, (voxels, _))| *voxels > 0.0);
    filled
        .map(|(n, (voxels, sum))| {
            let centre = std::array::from_fn(|axis| sum[axis] / voxels * spacing[axis]);
            Cell { index: place(n), voxels, centre }
        })
        .collect()
}

/// Cells that hang together, each piece with its cells.
fn pieces(cells: &[Cell]) -> Vec<Vec<usize>> {
    let mut free = vec![true; cells.len()];
    let mut pieces = Vec::new();
    for first in 0..cells.len() {
        if free[first] {
            let reached = distances(cells, first);
            let piece: Vec<usize> =
                (0..cells.len()).filter(|&cell| reached[cell] != u64::MAX).collect();
            piece.iter().for_each(|&cell| free[cell] = false);
            pieces.push(piece);
        }
    }
    pieces
}

/// From `start` through touching cells to each, micrometres; `u64::MAX` where no way leads.
fn distances(cells: &[Cell], start: usize) -> Vec<u64> {
    let mut best = vec![u64::MAX; cells.len()];
    let mut open = BinaryHeap::from([Reverse((0u64, start))]);
    best[start] = 0;
    while let Some(Reverse((far, at))) = open.pop() {
        if far > best[at] {
            continue;
        }
        for next in touching(cells, at) {
            let step = norm(sub(cells[next].centre, cells[at].centre)) * 1000.0;
            let total = far + step.round() as u64;
            if total < best[next] {
                best[next] = total;
                open.push(Reverse((total, next)));
            }
        }
    }
    best
}

/// Cells beside cell `at`, corners included. Cells are in memory order, so each row of neighbours is found by halving.
fn touching(cells: &[Cell], at: usize) -> impl Iterator<Item = usize> + '_ {
    let here = cells[at].index;
    let key = |index: [usize; 3]| [index[2], index[1], index[0]];
    (0..27usize).filter(|&n| n != 13).filter_map(move |n| {
        let step = [n % 3, n / 3 % 3, n / 9];
        let there: [usize; 3] = std::array::from_fn(|a| (here[a] + step[a]).wrapping_sub(1));
        cells.binary_search_by_key(&key(there), |cell| key(cell.index)).ok()
    })
}

/// The centreline of one piece from its upper end: means of the cells at equal ways from that end, smoothed.
fn walk(cells: &[Cell], piece: &[usize]) -> Vec<[f64; 3]> {
    let farthest = |from: usize| {
        let reached = distances(cells, from);
        let end = piece.iter().copied().max_by_key(|&cell| reached[cell]).unwrap_or(from);
        (end, reached)
    };
    // The cell farthest from any is an end; the one farthest from that is the other.
    let (one, _) = farthest(piece[0]);
    let (other, from_one) = farthest(one);
    let down = cells[one].centre[1] <= cells[other].centre[1];
    let reached = if down { from_one } else { distances(cells, other) };
    let mut sums: Vec<(f64, [f64; 3])> = Vec::new();
    for &cell in piece {
        let stride = (reached[cell] as f64 / (1000.0 * STRIDE_MM)) as usize;
        if sums.len() <= stride {
            sums.resize(stride + 1, (0.0, [0.0; 3]));
        }
        let (voxels, sum) = &mut sums[stride];
        *voxels += cells[cell].voxels;
        *sum = add(*sum, scale(cells[cell].centre, cells[cell].voxels));
    }
    let filled = sums.into_iter().filter(|(voxels, _)| *voxels > 0.0);
    smoothed(&filled.map(|(voxels, sum)| scale(sum, 1.0 / voxels)).collect::<Vec<_>>())
}

/// Each point drawn half-way to the middle of its neighbours; the ends stay.
fn smoothed(line: &[[f64; 3]]) -> Vec<[f64; 3]> {
    let mut smooth = line.to_vec();
    for n in 1..line.len().saturating_sub(1) {
        let around = scale(add(line[n - 1], line[n + 1]), 0.25);
        smooth[n] = add(scale(line[n], 0.5), around);
    }
    smooth
}
