//! C2 in two pieces: the upper two vertebrae, one of them small, touching and without a disc between, become one.

use crate::course::Course;
use crate::labels::Structure;
use crate::spineps::Rules;
use crate::spineps::centroids::masses;
use crate::spineps::pieces::Pieces;
use crate::spineps::rows;
use crate::spineps::values::{DENS, is_body};
use kernels::Volume;
use kernels::components::{Bounds, Connectivity};

/// The upper piece has less than this share of the lower one's voxels.
const SIZE_RATIO: f64 = 0.5;
/// They share more than this area: 20 faces of SPINEPS' voxels, 0.75 x 0.75 x 1.65 mm.
const CONTACT_VOXELS: f64 = 20.0;
const REFERENCE_VOXEL_MM3: f64 = 0.75 * 0.75 * 1.65;
/// A vertebra that reaches so many rows from the upper edge of the field is cut by it: the edge of a mask wavers.
const EDGE_ROWS: usize = 2;

/// Joins the upper piece to the lower.
///
/// SPINEPS asks this in every field of view, so a vertebra cut by its upper edge can be swallowed by the next. Ours leaves
/// alone what the edge cuts (`top_row` is the field's first row in this volume, if in it), what has a spinous process, and
/// what has no body: C1.
pub fn repair(
    vertebrae: &mut Volume<u8>,
    semantic: &Volume<u8>,
    course: &Course,
    top_row: Option<usize>,
    rules: Rules,
) {
    let Some((upper, lower)) = upper_two(vertebrae, semantic, course) else { return };
    let Some(around) = rows::bounds(vertebrae, |_, id| id == upper) else { return };
    if rules == Rules::Sagitta {
        let cut = top_row.is_some_and(|row| around.min[1] < row + EDGE_ROWS);
        let spinous = |value| value == Structure::SpinousProcess.value();
        let body = |value| is_body(value) || value == DENS;
        let has = |part: &dyn Fn(u8) -> bool| {
            let voxels = vertebrae.voxels().iter().zip(semantic.voxels());
            voxels.into_iter().any(|(&id, &value)| id == upper && part(value))
        };
        if cut || has(&spinous) || !has(&body) {
            return;
        }
    }
    if touch(vertebrae, upper, lower, around, rules) {
        vertebrae.voxels_mut().iter_mut().filter(|id| **id == upper).for_each(|id| *id = lower);
    }
}

/// The upper two things of the spine, if both are vertebrae and the upper is the smaller by far.
fn upper_two(vertebrae: &Volume<u8>, semantic: &Volume<u8>, course: &Course) -> Option<(u8, u8)> {
    let disc = Structure::Disc.value();
    if !semantic.voxels().contains(&disc) {
        return None;
    }
    let between = [disc, Structure::Endplate.value()];
    let between = |v: u8| u8::from(between.contains(&v));
    let discs = Pieces::of(semantic, between, Connectivity::Corners26)?;
    let mut things: Vec<(f64, u8)> =
        (0..discs.count()).map(|n| (course.place(discs.centroid(n)), 0)).collect();
    let bony = [Structure::VertebralBody.value(), Structure::VertebralArch.value()];
    let found = masses(vertebrae, |at, _| bony.contains(&semantic.voxels()[at]));
    things.extend(found.iter().map(|(&id, mass)| (course.place(mass.centroid()), id as u8)));
    things.sort_by(|a, b| a.0.total_cmp(&b.0));
    let [(_, upper), (_, lower), ..] = things[..] else { return None };
    let count = |id| vertebrae.voxels().iter().filter(|&&v| v == id).count() as f64;
    let both = upper != 0 && lower != 0;
    (both && count(upper) < SIZE_RATIO * count(lower)).then_some((upper, lower))
}

/// Whether the faces that two vertebrae share are enough. SPINEPS counts faces as if all were as large as the mean one.
fn touch(vertebrae: &Volume<u8>, upper: u8, lower: u8, around: Bounds, rules: Rules) -> bool {
    let spacing = vertebrae.grid().affine.spacing();
    let faces = shared_faces(vertebrae, upper, lower, around);
    let least_mm2 = CONTACT_VOXELS * REFERENCE_VOXEL_MM3.powf(2.0 / 3.0);
    let voxel_mm3: f64 = spacing.iter().product();
    match rules {
        Rules::Spineps213 => {
            let least = (least_mm2 / voxel_mm3.powf(2.0 / 3.0)).round_ties_even().max(1.0);
            faces.iter().sum::<usize>() as f64 > least
        }
        Rules::Sagitta => {
            let area = |axis: usize| faces[axis] as f64 * voxel_mm3 / spacing[axis];
            (0..3).map(area).sum::<f64>() > least_mm2
        }
    }
}

/// Faces between `upper` and `lower` across each axis; `around` is the box of `upper`.
fn shared_faces(vertebrae: &Volume<u8>, upper: u8, lower: u8, around: Bounds) -> [usize; 3] {
    let counts = vertebrae.dims().counts();
    let mut faces = [0; 3];
    let rows = (around.min[2]..=around.max[2])
        .flat_map(|k| (around.min[1]..=around.max[1]).map(move |j| (j, k)));
    for (j, k) in rows {
        for i in around.min[0]..=around.max[0] {
            if vertebrae.at([i, j, k]) != upper {
                continue;
            }
            for axis in 0..3 {
                let at = [i, j, k][axis];
                let beside = |to: usize| {
                    let mut there = [i, j, k];
                    there[axis] = to;
                    usize::from(vertebrae.at(there) == lower)
                };
                faces[axis] += if at > 0 { beside(at - 1) } else { 0 };
                faces[axis] += if at + 1 < counts[axis] { beside(at + 1) } else { 0 };
            }
        }
    }
    faces
}
