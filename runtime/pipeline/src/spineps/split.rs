//! One body that is two: worn down until it falls apart, then cut by a plane between the parts (SPINEPS' way); or cut where
//! it is narrowest.

use super::pieces::{painted, scanned};
use kernels::components::{self, Bounds, Components, Connectivity, crop, paste};
use kernels::morphology::{Element, dilate, erode};
use kernels::volume::{dot, sub};
use kernels::{Dims, Grid, Volume};

/// Voxels by which a body is worn down at most before it is taken for one.
const MAX_WEAR: usize = 10;

const NEIGHBOURS: Element = Element { connectivity: Connectivity::Corners26, along: [true; 3] };

/// The parts of a body before they are grown back, and the body cut in two.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    pub first: Volume<u8>,
    pub second: Volume<u8>,
    /// 1 above the plane and on it, 2 below; 0 outside the body.
    pub halves: Volume<u8>,
}

/// Cuts the body (all voxels that are not 0) in two; `None` where it cannot be.
pub fn split(body: &Volume<u8>) -> Option<Split> {
    let bounds = Bounds::of(body, |v| v != 0)?;
    let (first, second) = parts(&crop(body, bounds))?;
    let place = |part: &Volume<u8>| {
        let mut whole = Volume::filled(*body.grid(), 0);
        paste(&mut whole, part, bounds);
        whole
    };
    let (first, second) = (place(&first), place(&second));
    let halves = halves(body, &Plane::between(&first, &second)?, bounds);
    Some(Split { first, second, halves })
}

/// The body cut across its narrowest row, 1 above it and 2 below: that of the middle half, since bodies taper at their ends;
/// of equal ones that nearest to the middle. `None` where the body has fewer than two rows.
pub fn at_waist(body: &Volume<u8>) -> Option<Volume<u8>> {
    let Bounds { min, max } = Bounds::of(body, |v| v != 0)?;
    let [ni, nj, _] = body.dims().counts();
    let mut areas = vec![0usize; nj];
    for (row, values) in body.voxels().chunks_exact(ni).enumerate() {
        areas[row % nj] += values.iter().filter(|&&v| v != 0).count();
    }
    let (height, middle) = (max[1] - min[1] + 1, (min[1] + max[1]) / 2);
    let rows = min[1] + height / 4..=max[1] - height / 4;
    let waist =
        rows.min_by_key(|&row| (areas[row], row.abs_diff(middle)))?.min(max[1].checked_sub(1)?);
    let half = |row: usize| if row <= waist { 1 } else { 2 };
    let voxels = body.voxels().iter().enumerate();
    let halves =
        voxels.map(|(offset, &v)| if v == 0 { 0 } else { half(offset / ni % nj) }).collect();
    (height > 1).then(|| Volume::new(*body.grid(), halves).ok())?
}

/// The two parts into which a body falls. One that vanishes in one piece has no waist to be cut at: SPINEPS means to halve
/// it, but its mask of true and false cannot hold the two halves, so it gives up too.
fn parts(body: &Volume<u8>) -> Option<(Volume<u8>, Volume<u8>)> {
    let mut worn = body.clone();
    for _ in 0..=MAX_WEAR {
        worn = erode(&worn, NEIGHBOURS);
        let found = components::label(&worn, Connectivity::Corners26);
        match found.parts.len() {
            0 => return None,
            1 => {}
            _ => return Some(two_largest(&found, worn.grid())),
        }
    }
    None
}

/// The two largest components, the larger first; of two and no more the first in SPINEPS' order first.
fn two_largest(found: &Components, grid: &Grid) -> (Volume<u8>, Volume<u8>) {
    let mut order = scanned(found);
    if order.len() > 2 {
        order.sort_by_key(|&n| std::cmp::Reverse(found.parts[n].voxels));
    }
    let part = |n: usize| painted(*grid, found.runs_of(n));
    (part(order[0]), part(order[1]))
}

/// A plane as the height over the two axes that it is nearest to.
struct Plane {
    normal: [f64; 3],
    /// `-(point . normal)` of a point of the plane.
    shift: f64,
    /// The axis nearest to the normal.
    axis: usize,
    dims: Dims,
}

impl Plane {
    /// The plane through the middle of where two growing parts meet, square to the line between their centres.
    fn between(first: &Volume<u8>, second: &Volume<u8>) -> Option<Plane> {
        let normal = sub(centre(first)?, centre(second)?);
        let point = meeting(first, second)?;
        let size = normal.map(f64::abs);
        let longest = size.into_iter().fold(0.0, f64::max);
        let axis = size.iter().position(|&s| s == longest)?;
        let plane = Plane { normal, shift: -dot(point, normal), axis, dims: first.dims() };
        (longest > 0.0).then_some(plane)
    }

    /// The index of the plane along its axis over a voxel; planes that leave the volume run along its face.
    fn at(&self, index: [usize; 3]) -> usize {
        let [a, b] = [[1, 2], [0, 2], [0, 1]][self.axis];
        let (x, y) = (index[a] as f64, index[b] as f64);
        let height =
            (-self.normal[a] * x - self.normal[b] * y - self.shift) / self.normal[self.axis];
        height.clamp(0.0, (self.dims.counts()[self.axis] - 1) as f64) as usize
    }

    fn holds(&self, index: [usize; 3]) -> bool {
        self.at(index) == index[self.axis]
    }
}

fn centre(mask: &Volume<u8>) -> Option<[f64; 3]> {
    let found = components::label(mask, Connectivity::Corners26);
    let voxels: usize = found.parts.iter().map(|part| part.voxels).sum();
    let sum = |axis: usize| found.parts.iter().map(|part| part.sum[axis]).sum::<u64>() as f64;
    (voxels > 0).then(|| [0, 1, 2].map(|axis| sum(axis) / voxels as f64))
}

/// The centre of what two parts share once they have grown into each other: both by a voxel, then in turn.
fn meeting(first: &Volume<u8>, second: &Volume<u8>) -> Option<[f64; 3]> {
    let (mut first, mut second) = (dilate(first, NEIGHBOURS), dilate(second, NEIGHBOURS));
    let longest = first.dims().counts().into_iter().max().unwrap_or(0);
    for turn in 0..2 * longest {
        let both = first.voxels().iter().zip(second.voxels()).map(|(&a, &b)| a & b).collect();
        if let Some(point) = centre(&Volume::new(*first.grid(), both).ok()?) {
            return Some(point);
        }
        let grown = if turn % 2 == 0 { &mut first } else { &mut second };
        *grown = dilate(grown, NEIGHBOURS);
    }
    None
}

/// The body above and below a plane. Looking up from the lowest row, a column is below until it meets the plane; a column
/// that never meets it is below for all its length.
fn halves(body: &Volume<u8>, plane: &Plane, bounds: Bounds) -> Volume<u8> {
    let mut halves = Volume::filled(*body.grid(), 0);
    let dims = body.dims();
    for k in bounds.min[2]..=bounds.max[2] {
        for i in bounds.min[0]..=bounds.max[0] {
            let mut above = false;
            for j in (bounds.min[1]..dims.counts()[1]).rev() {
                above |= plane.holds([i, j, k]);
                if body.at([i, j, k]) != 0 {
                    halves.voxels_mut()[dims.offset([i, j, k])] = if above { 1 } else { 2 };
                }
            }
        }
    }
    halves
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::Affine;

    /// A column whose rows have so many voxels.
    fn column(rows: &[usize]) -> Volume<u8> {
        let axes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let dims = Dims::new([9, rows.len(), 1]).unwrap();
        let grid = Grid { dims, affine: Affine::new(axes, [0.0; 3]).unwrap() };
        let voxels = (0..9 * rows.len()).map(|n| u8::from(n % 9 < rows[n / 9])).collect();
        Volume::new(grid, voxels).unwrap()
    }

    /// How many voxels lie above the cut and below.
    fn cut(rows: &[usize]) -> Option<[usize; 2]> {
        let halves = at_waist(&column(rows))?;
        Some([1, 2].map(|half| halves.voxels().iter().filter(|&&v| v == half).count()))
    }

    #[test]
    fn a_body_is_cut_at_its_waist_and_one_without_in_the_middle() {
        assert_eq!(cut(&[1, 5, 5, 3, 5, 5, 5, 1]), Some([14, 16]));
        assert_eq!(cut(&[4, 4, 4, 4, 4]), Some([12, 8]));
        assert_eq!(cut(&[0, 4, 4]), Some([4, 4]));
        assert_eq!((cut(&[0, 4, 0]), cut(&[0, 0])), (None, None));
    }
}
