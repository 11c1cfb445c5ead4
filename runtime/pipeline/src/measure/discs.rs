//! Heights of the discs and how far they stand out behind.

use crate::measure::alignment::Corner;
use crate::measure::bodies::{self, PLACES, Walls, between, height, height_at};
use crate::measure::geometry::Slab;
use crate::measure::outline::Outline;
use crate::measure::value::{Measured, Millimetres, Ratio, Reading, Reason, quotient};
use kernels::volume::{dot, sub};
use serde::Serialize;

/// The mean height leaves out the rim, as a share of the depth at either end.
const RIM: f64 = 0.1;
/// The shares of the depth that the mean height is read between.
pub(crate) const WITHIN: [f64; 2] = [RIM, 1.0 - RIM];
/// Front and back of a disc are read within this share of its height around its middle.
const WALL_BAND: f64 = 0.3;
/// The bulge is this quantile of the disc's back: the furthest point but for single voxels.
const FURTHEST: f64 = 0.9;
/// So many points of the back make a bulge as sure as it gets.
const ENOUGH_POINTS: f64 = 10.0;

/// What is measured of the disc below a vertebra, in its midsagittal third.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DiscMeasures {
    /// Mean distance of its two endplates (their middle) along the disc's own axis, without the outer tenths of the depth.
    pub height_mm: Measured<Millimetres>,
    /// The same an eighth of the depth behind the front.
    pub anterior_height_mm: Measured<Millimetres>,
    /// The same an eighth of the depth before the back.
    pub posterior_height_mm: Measured<Millimetres>,
    /// Front to back at the middle of its height.
    pub depth_mm: Measured<Millimetres>,
    /// Farfan index: (anterior + posterior height) by depth (Farfan et al., J Bone Joint Surg 1972).
    pub height_index: Measured<Ratio>,
    /// How far the disc reaches behind the line from the lower posterior corner of the body above to the upper one of the
    /// body below; negative where it stays in front.
    pub bulge_mm: Measured<Millimetres>,
}

/// One disc; `corners` are the posterior corners of the bodies above and below.
pub(crate) fn disc(
    outline: &Outline,
    slab: Result<Slab, Reason>,
    corners: [Result<Corner, Reason>; 2],
) -> DiscMeasures {
    let slab = if outline.voxels == 0 { Err(Reason::NoDisc) } else { slab };
    let walls = slab.and_then(|slab| walls(outline, &slab));
    let at = |place: f64| -> Result<Reading, Reason> { height_at(outline, &slab?, walls?, place) };
    let mean = || between(outline, &slab?, walls?, WITHIN);
    let (anterior, posterior) = (at(PLACES[0]), at(PLACES[2]));
    let depth = walls.map(|walls| Reading::new(walls.depth(), walls.confidence));
    let both = || -> Result<Reading, Reason> {
        let (anterior, posterior) = (anterior?, posterior?);
        Ok(anterior.with(posterior, anterior.value + posterior.value))
    };
    DiscMeasures {
        height_mm: mean().into(),
        anterior_height_mm: anterior.into(),
        posterior_height_mm: posterior.into(),
        depth_mm: depth.into(),
        height_index: quotient(both(), depth).into(),
        bulge_mm: bulge(outline, slab, corners).into(),
    }
}

/// Front and back of a disc at the middle of its height.
pub(crate) fn walls(outline: &Outline, slab: &Slab) -> Result<Walls, Reason> {
    let middle = slab.frame.local(slab.top.point)[1] - height(slab) / 2.0;
    bodies::walls(outline, slab, middle, (WALL_BAND * height(slab)).max(1.0))
}

fn bulge(
    outline: &Outline,
    slab: Result<Slab, Reason>,
    [upper, lower]: [Result<Corner, Reason>; 2],
) -> Result<Reading, Reason> {
    let (slab, upper, lower) = (slab?, upper?, lower?);
    let [from, to] = [lower.point, upper.point].map(|point| slab.frame.local(point));
    if to[1] - from[1] <= 0.0 {
        return Err(Reason::Undefined);
    }
    let beyond = |point: &[f64; 3]| {
        let d = sub(*point, slab.frame.centre);
        let [u, v, w] = [slab.frame.back, slab.frame.up, slab.frame.left].map(|axis| dot(d, axis));
        let share = ((v - from[1]) / (to[1] - from[1])).clamp(0.0, 1.0);
        let line = from[0] + share * (to[0] - from[0]);
        (w.abs() <= slab.third).then_some(u - line)
    };
    let mut distances: Vec<f64> = outline.backs.iter().filter_map(beyond).collect();
    distances.sort_by(f64::total_cmp);
    let last = distances.len().checked_sub(1).ok_or(Reason::TooFewVoxels)?;
    let furthest = distances[(FURTHEST * last as f64).round() as usize];
    let enough = (distances.len() as f64 / ENOUGH_POINTS).min(1.0);
    let confidence = enough * upper.confidence.min(lower.confidence);
    Ok(Reading::new(furthest, confidence))
}
