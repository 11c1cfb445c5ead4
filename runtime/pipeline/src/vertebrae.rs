//! Vertebral bodies, one by one, top to bottom: the classical instance stage, and where the net begins to look.
//!
//! Bodies are the hills of the in-plane distance map of the body class. Hills too small to be a body are parts of a
//! neighbour, of the sacrum, or nothing. What is above what, the canal tells: a spine may bend until it lies level.

use crate::card::ModelCard;
use crate::course::{Aside, Course};
use crate::labels::Structure;
use crate::spine;
use kernels::components::Bounds;
use kernels::{Volume, basins, distance, fill};

/// Two hills are one body when the pass between them is at least this high against the lower one. A body with a
/// compressed waist stays whole; two bodies joined through a thin disc part.
const MERGE_RATIO: f32 = 0.75;
/// A hill with less than this share of the median body near it is a fragment.
const MIN_BODY_SHARE: f64 = 0.35;
/// Bodies are near one another within this distance along the spine: two or three each way. C3 is a tenth of L5, so a
/// whole spine has no one size; within this reach the largest is less than twice the smallest.
const NEAR_MM: f64 = 80.0;
/// At the upper or lower edge of the field a body is cut, and this share of the median is enough.
const MIN_CUT_BODY_SHARE: f64 = 0.05;
/// Smallest body of all: a C3 cut to a third. Below, a hill is not even counted for the median.
pub(crate) const MIN_BODY_ML: f64 = 0.6;
/// A body's centre lies within this distance, left-right and front-back, of where its neighbours' centres lie beside the
/// canal; scoliosis and listhesis stay below, a rib head or a hip does not.
const MAX_OFFSET_MM: [f64; 2] = [28.0, 22.0];
/// More bodies than C1 to L6 have is no spine.
pub(crate) const MAX_BODIES: usize = 24;
/// Hills looked at: four for each body, more than any spine's bodies fall into.
const MAX_CANDIDATES: usize = 4 * MAX_BODIES;

/// A sacrum begins below the disc under the lowest body, four tenths of a vertebra under its centre; the rest is room for
/// slip and for the tilt between L5 and S1.
const SACRUM_BELOW: f64 = 0.15;
/// A body's rear wall lies nearly half a vertebra behind its centre, and a tilted sacrum's rear edge rises beside it: only
/// the front and the middle are safely the body's.
const BODY_BEHIND: f64 = 0.3;

/// The bodies of a class map.
#[derive(Debug)]
pub struct Bodies {
    /// 1..=count from top to bottom, 0 elsewhere.
    pub labels: Volume<u16>,
    /// Where each body lies; `centres[label - 1]`, voxels of the working grid.
    pub centres: Vec<[f64; 3]>,
    /// Body voxels that belong to no body but to the sacrum, by offset.
    pub sacral: Vec<usize>,
    /// The order of things along the spine.
    pub course: Course,
}

/// One hill of the distance map.
#[derive(Debug, Clone)]
struct Hill {
    voxels: usize,
    sum: [f64; 3],
    /// First and last row.
    rows: [usize; 2],
    /// Contact with each other hill and with the sacrum (last entry), in voxel faces.
    contact: Vec<u32>,
}

impl Hill {
    fn centre(&self) -> [f64; 3] {
        self.sum.map(|s| s / self.voxels as f64)
    }
}

/// Finds the bodies of `classes`.
pub fn find_bodies(classes: &Volume<u8>, card: &ModelCard) -> Bodies {
    let class = card.class_of(Structure::VertebralBody).unwrap_or(0);
    let sacrum = card.class_of(Structure::Sacrum).unwrap_or(0);
    let mut mask = classes.map(|c| u8::from(c != 0 && c == class));
    for offset in fill::holes_in_slices(&mask, 1) {
        mask.voxels_mut()[offset] = 1;
    }
    let height = distance::squared_mm_in_plane(&mask).map(f32::sqrt);
    let (labels, count) = basins::split(&height, &mask, MERGE_RATIO);
    let hills = measure(&labels, count as usize, classes, sacrum);
    let course = course(classes, card);
    let accepted = accept(&hills, classes, &course);
    let owner = give_away(&hills, &accepted);

    let mut bodies = Bodies {
        labels: Volume::filled(*classes.grid(), 0),
        centres: accepted.iter().map(|&hill| hills[hill].centre()).collect(),
        sacral: Vec::new(),
        course,
    };
    for (offset, &label) in labels.voxels().iter().enumerate().filter(|(_, label)| **label != 0) {
        match owner[label as usize - 1] {
            Owner::Body(body) => bodies.labels.voxels_mut()[offset] = body,
            Owner::Sacrum => bodies.sacral.push(offset),
            Owner::Nobody => {}
        }
    }
    reclaim(&mut bodies, classes, sacrum);
    bodies
}

/// Along cord and canal.
fn course(classes: &Volume<u8>, card: &ModelCard) -> Course {
    let tube = [Structure::SpinalCord, Structure::SpinalCanal].map(|s| card.class_of(s));
    match tube {
        [Some(cord), Some(canal)] => Course::along(classes, [cord, canal]),
        _ => Course::by_height(classes.grid()),
    }
}

/// What is called sacrum within the lowest body, above where a sacrum can be, is that body: a steep or bright L5 is
/// easily taken for its neighbour in part.
fn reclaim(bodies: &mut Bodies, classes: &Volume<u8>, sacrum: u8) {
    let lowest = bodies.centres.len() as u16;
    let spacing = classes.grid().affine.spacing();
    let inside = Bounds::of(&bodies.labels, |label| label != 0 && label == lowest);
    let level = spine::levels(&bodies.centres, spacing).pop();
    let (Some(Bounds { min, max }), Some(level)) = (inside, level) else { return };
    for k in min[2]..=max[2] {
        for j in min[1]..=max[1] {
            for i in min[0]..=max[0] {
                let offset = classes.dims().offset([i, j, k]);
                let point = std::array::from_fn(|axis| [i, j, k][axis] as f64 * spacing[axis]);
                let [below, behind] = level.place(point);
                let sacral = sacrum != 0 && classes.voxels()[offset] == sacrum;
                if sacral && below < SACRUM_BELOW && behind < BODY_BEHIND {
                    bodies.labels.voxels_mut()[offset] = lowest;
                }
            }
        }
    }
}

/// Size, place and contacts of every hill.
fn measure(labels: &Volume<u32>, count: usize, classes: &Volume<u8>, sacrum: u8) -> Vec<Hill> {
    let dims = labels.dims();
    let [ni, nj, nk] = dims.counts();
    let empty =
        Hill { voxels: 0, sum: [0.0; 3], rows: [usize::MAX, 0], contact: vec![0; count + 1] };
    let mut hills = vec![empty; count];
    for (offset, &label) in labels.voxels().iter().enumerate().filter(|(_, label)| **label != 0) {
        let [i, j, k] = dims.index(offset);
        let hill = &mut hills[label as usize - 1];
        hill.voxels += 1;
        for (sum, at) in hill.sum.iter_mut().zip([i, j, k]) {
            *sum += at as f64;
        }
        hill.rows = [hill.rows[0].min(j), hill.rows[1].max(j)];
        for step in [[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [0, -1, 0], [0, 0, -1isize]] {
            let next: [usize; 3] =
                std::array::from_fn(|axis| [i, j, k][axis].wrapping_add_signed(step[axis]));
            if next[0] >= ni || next[1] >= nj || next[2] >= nk {
                continue;
            }
            let next = dims.offset(next);
            let other = labels.voxels()[next];
            if other != 0 && other != label {
                hill.contact[other as usize - 1] += 1;
            } else if sacrum != 0 && classes.voxels()[next] == sacrum {
                hill.contact[count] += 1;
            }
        }
    }
    hills
}

/// The hills that are bodies, top to bottom.
fn accept(hills: &[Hill], classes: &Volume<u8>, course: &Course) -> Vec<usize> {
    let spacing = classes.grid().affine.spacing();
    let voxel_ml = spacing.iter().product::<f64>() / 1000.0;
    let ml = |hill: &Hill| hill.voxels as f64 * voxel_ml;
    let last_row = classes.dims().counts()[1] - 1;
    let mut candidates: Vec<usize> =
        (0..hills.len()).filter(|&index| ml(&hills[index]) >= MIN_BODY_ML).collect();
    // No spine has so many; the largest are enough to find its bodies, and the work stays bounded.
    candidates.sort_by_key(|&index| std::cmp::Reverse(hills[index].voxels));
    candidates.truncate(MAX_CANDIDATES);
    let height = |index: usize| hills[index].centre()[1] * spacing[1];
    let typical = |index: usize| {
        let near = candidates.iter().filter(|&&c| (height(c) - height(index)).abs() <= NEAR_MM);
        let sizes: Vec<f64> = near.map(|&c| ml(&hills[c])).collect();
        let largest = sizes.iter().copied().fold(0.0, f64::max);
        // Fragments must not pull the median down.
        median(sizes.into_iter().filter(|&ml| ml >= largest / 4.0))
    };
    let share = |index: usize| ml(&hills[index]) / typical(index);
    let mut found: Vec<usize> =
        candidates.iter().copied().filter(|&index| share(index) >= MIN_BODY_SHARE).collect();
    // The largest piece at an edge is the body cut there; what lies beside it is of the same body.
    for edge in [0, last_row] {
        let cut = |&&index: &&usize| {
            hills[index].rows.contains(&edge)
                && (MIN_CUT_BODY_SHARE..MIN_BODY_SHARE).contains(&share(index))
        };
        found.extend(candidates.iter().find(cut));
    }
    let place = |hill: usize| course.place(hills[hill].centre());
    found.sort_by(|&a, &b| place(a).total_cmp(&place(b)));
    while let Some(outlier) = worst_outlier(&found, hills, course) {
        found.remove(outlier);
    }
    found.truncate(MAX_BODIES);
    found
}

/// The position in `found` of the body that lies farthest from where its neighbours lie beside the canal, if any lies too far.
fn worst_outlier(found: &[usize], hills: &[Hill], course: &Course) -> Option<usize> {
    if found.len() < 3 {
        return None;
    }
    let asides: Vec<Aside> = found.iter().map(|&hill| course.aside(hills[hill].centre())).collect();
    let excess = |position: usize| {
        let neighbours = position.saturating_sub(2)..(position + 3).min(found.len());
        let others: Vec<Aside> = neighbours.filter(|&n| n != position).map(|n| asides[n]).collect();
        let off = |part: fn(&Aside) -> f64| {
            (part(&asides[position]) - median(others.iter().map(part))).abs()
        };
        (off(|aside| aside.right) / MAX_OFFSET_MM[0])
            .max(off(|aside| aside.back) / MAX_OFFSET_MM[1])
    };
    (0..found.len())
        .map(|position| (position, excess(position)))
        .filter(|&(_, excess)| excess > 1.0)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(position, _)| position)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Owner {
    Body(u16),
    Sacrum,
    Nobody,
}

/// Every hill's owner: bodies own themselves, a fragment belongs to what it touches most.
fn give_away(hills: &[Hill], accepted: &[usize]) -> Vec<Owner> {
    let body = |hill: usize| accepted.iter().position(|&a| a == hill).map(|p| p as u16 + 1);
    (0..hills.len())
        .map(|index| {
            if let Some(own) = body(index) {
                return Owner::Body(own);
            }
            let contact = &hills[index].contact;
            let touched = (0..hills.len()).filter_map(|other| Some((contact[other], body(other)?)));
            let (most, neighbour) =
                touched.max_by_key(|&(n, b)| (n, u16::MAX - b)).unwrap_or((0, 0));
            match (most, contact[hills.len()]) {
                (0, 0) => Owner::Nobody,
                (faces, sacral) if sacral > faces => Owner::Sacrum,
                _ => Owner::Body(neighbour),
            }
        })
        .collect()
}

/// Median of `values`, 0 of none.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    match n {
        0 => 0.0,
        _ if n % 2 == 1 => sorted[n / 2],
        _ => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}
