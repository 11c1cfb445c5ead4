//! The geometry of a series without its pixels: parallel, evenly spaced slices, and nothing twice?

use crate::ingest::header::Header;
use kernels::volume::{cross, dot};
use pipeline::series::{MIN_SAGITTAL_COSINE, MIN_SLICES};
use std::collections::BTreeMap;

/// Direction cosines agree within this; as in `pipeline::series`.
const ORIENTATION_TOLERANCE: f64 = 1e-3;
/// Slice steps agree within 5 % or 0.1 mm; as in `pipeline::series`.
const STEP_TOLERANCE: f64 = 0.05;
const STEP_TOLERANCE_MM: f64 = 0.1;

/// What must be equal in all slices of one stack.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Stack {
    echo: Option<i64>,
    temporal_position: Option<i64>,
    image_type: String,
}

/// The place of one image. `plane` is `None` when the header does not tell it.
#[derive(Debug, Clone)]
pub(super) struct Slice {
    stack: Stack,
    matrix: [Option<u16>; 2],
    frame_of_reference: String,
    plane: Option<Plane>,
}

#[derive(Debug, Clone, Copy)]
struct Plane {
    position: [f64; 3],
    orientation: [f64; 6],
    spacing: [f64; 2],
}

impl Slice {
    pub(super) fn of(header: &Header) -> Slice {
        let plane = match (header.position, header.orientation, header.spacing) {
            (Some(position), Some(orientation), Some(spacing)) => {
                Some(Plane { position, orientation, spacing })
            }
            _ => None,
        };
        Slice {
            stack: Stack {
                echo: header.echo,
                temporal_position: header.temporal_position,
                image_type: header.image_type.clone(),
            },
            matrix: [header.columns, header.rows],
            frame_of_reference: header.frame_of_reference.clone(),
            plane,
        }
    }
}

impl Slice {
    /// By its normal, as [`pipeline::series::plane`] judges; not where the header does not tell.
    pub(super) fn is_sagittal(&self) -> bool {
        self.plane.is_some_and(|Plane { orientation: [a, b, c, d, e, f], .. }| {
            cross([a, b, c], [d, e, f])[0].abs() >= MIN_SAGITTAL_COSINE
        })
    }
}

/// Whether the slices are whole stacks of one geometry: every stack (echo, time, image type) has the same number of
/// slices, at least [`MIN_SLICES`], evenly spaced.
pub(super) fn gapless(slices: &[Slice]) -> bool {
    let Some((first, Some(reference))) = slices.first().map(|slice| (slice, slice.plane)) else {
        return false;
    };
    let [a, b, c, d, e, f] = reference.orientation;
    let normal = cross([a, b, c], [d, e, f]);
    let mut stacks: BTreeMap<&Stack, Vec<f64>> = BTreeMap::new();
    for slice in slices {
        let Some(plane) = slice.plane else { return false };
        let alike = slice.matrix == first.matrix
            && slice.frame_of_reference == first.frame_of_reference
            && close(&plane.orientation, &reference.orientation)
            && close(&plane.spacing, &reference.spacing);
        if !alike {
            return false;
        }
        stacks.entry(&slice.stack).or_default().push(dot(plane.position, normal));
    }
    let count = stacks.values().next().map_or(0, Vec::len);
    count >= MIN_SLICES && stacks.values_mut().all(|at| at.len() == count && even(at))
}

fn close(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| (a - b).abs() <= ORIENTATION_TOLERANCE)
}

/// Whether positions along the normal are evenly spaced.
fn even(at: &mut [f64]) -> bool {
    at.sort_by(f64::total_cmp);
    let mut steps: Vec<f64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    steps.sort_by(f64::total_cmp);
    let typical = steps[steps.len() / 2];
    let tolerance = (STEP_TOLERANCE * typical).max(STEP_TOLERANCE_MM);
    steps.iter().all(|step| *step >= STEP_TOLERANCE_MM && (step - typical).abs() <= tolerance)
}
