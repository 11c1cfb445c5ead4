//! Heights, depth, volume and compression of the vertebral bodies.
//!
//! Heights are those of vertebral morphometry (Genant et al., J Bone Miner Res 1993), averaged over the midsagittal third
//! instead of read on one image. Borders are the middle of the labelled endplates, of the body itself where none is labelled.

use crate::measure::geometry::{Slab, median, trimmed_mean};
use crate::measure::outline::Outline;
use crate::measure::value::{Measured, Millilitres, Millimetres, Ratio, Reading, Reason, quotient};
use serde::Serialize;

/// Where the anterior, middle and posterior height are read, as shares of the depth from the anterior wall: an eighth from
/// the walls, where lips and round corners end.
pub(crate) const PLACES: [f64; 3] = [0.125, 0.5, 0.875];
/// Half the length of such a place, as a share of the depth.
const REACH: f64 = 0.08;
/// Surface points further from the median of their place are holes and lips, mm.
pub(crate) const STRAY_MM: f64 = 2.5;
/// So many points on each surface make a height as sure as it gets: five columns in two slices.
const ENOUGH_POINTS: f64 = 10.0;
/// Walls are read this near the middle of the height, as a share of it.
pub(crate) const WALL_BAND: f64 = 0.3;
/// Borders of the semi-quantitative grades as shares of height lost (Genant et al., 1993).
const GRADES: [f64; 3] = [0.20, 0.25, 0.40];
/// So many bodies above, and below, are the reference of a compression: two, so that one broken neighbour does not set it.
const NEIGHBOURS: usize = 2;

/// Compression by height lost. Genant-like: his borders, but a computed loss where his grade is a reader's eye, and none of
/// his judgement of other deformities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Less than 20 %.
    None,
    /// 20 to 25 %.
    Mild,
    /// 25 to 40 %.
    Moderate,
    /// More than 40 %.
    Severe,
}

impl Compression {
    /// The grade of a share of height lost.
    pub fn of(loss: f64) -> Compression {
        match GRADES.iter().filter(|border| loss >= **border).count() {
            0 => Compression::None,
            1 => Compression::Mild,
            2 => Compression::Moderate,
            _ => Compression::Severe,
        }
    }
}

/// What is measured of one body.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BodyMeasures {
    /// Distance of the endplates along the body's own axis, an eighth of the depth behind the anterior wall.
    pub anterior_height_mm: Measured<Millimetres>,
    /// The same in the middle of the depth.
    pub middle_height_mm: Measured<Millimetres>,
    /// The same an eighth of the depth before the posterior wall.
    pub posterior_height_mm: Measured<Millimetres>,
    /// Anterior by posterior height: below 1 a wedge.
    pub wedge: Measured<Ratio>,
    /// Middle by posterior height: below 1 biconcave.
    pub biconcavity: Measured<Ratio>,
    /// Anterior to posterior wall at half the height, in the midsagittal third.
    pub depth_mm: Measured<Millimetres>,
    /// All voxels of the body, without endplates and arch.
    pub volume_ml: Measured<Millilitres>,
    /// Largest share of height lost: each height against the median of up to two bodies above and two below, and the
    /// anterior and middle height against the own posterior one. Negative where nothing is lost.
    pub height_loss: Measured<Ratio>,
    /// [`Compression::of`] the loss, where that is measurable.
    pub compression: Option<Compression>,
}

/// One body: what is measured on itself.
pub(crate) fn body(outline: &Outline, slab: Result<Slab, Reason>, voxel_ml: f64) -> BodyMeasures {
    let walls = slab.and_then(|slab| walls(outline, &slab, 0.0, WALL_BAND * height(&slab)));
    let at = |place: f64| -> Result<Reading, Reason> { height_at(outline, &slab?, walls?, place) };
    let [anterior, middle, posterior] = PLACES.map(at);
    BodyMeasures {
        anterior_height_mm: anterior.into(),
        middle_height_mm: middle.into(),
        posterior_height_mm: posterior.into(),
        wedge: quotient(anterior, posterior).into(),
        biconcavity: quotient(middle, posterior).into(),
        depth_mm: walls.map(|walls| Reading::new(walls.depth(), walls.confidence)).into(),
        volume_ml: volume(outline, voxel_ml).into(),
        height_loss: Measured::not(Reason::NeighbourMissing),
        compression: None,
    }
}

fn volume(outline: &Outline, voxel_ml: f64) -> Result<Reading, Reason> {
    if outline.cut || outline.cut_aside {
        return Err(Reason::CutByField);
    }
    if outline.voxels == 0 {
        return Err(Reason::TooFewVoxels);
    }
    Ok(Reading::new(outline.voxels as f64 * voxel_ml, 1.0))
}

/// Distance of the two planes on the axis.
pub(crate) fn height(slab: &Slab) -> f64 {
    slab.frame.local(slab.top.point)[1] - slab.frame.local(slab.bottom.point)[1]
}

/// Anterior and posterior wall: places on the frame's axis to the back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Walls {
    pub(crate) front: f64,
    pub(crate) back: f64,
    pub(crate) confidence: f64,
}

impl Walls {
    pub(crate) fn depth(&self) -> f64 {
        self.back - self.front
    }
}

/// The walls in the midsagittal third within `band` of height `middle`.
pub(crate) fn walls(
    outline: &Outline,
    slab: &Slab,
    middle: f64,
    band: f64,
) -> Result<Walls, Reason> {
    let wall = |points: &[[f64; 3]], sign: f64| {
        let local = points.iter().map(|point| slab.frame.local(*point));
        let near = local.filter(|p| {
            p[2].abs() <= slab.third
                && (p[1] - middle).abs() <= band
                && (0.0..=slab.reach).contains(&(sign * p[0]))
        });
        let mut places: Vec<f64> = near.map(|p| p[0]).collect();
        let count = places.len() as f64;
        trimmed_mean(&mut places, STRAY_MM).map(|place| (place, count)).ok_or(Reason::TooFewVoxels)
    };
    let (front, fronts) = wall(&outline.fronts, -1.0)?;
    let (back, backs) = wall(&outline.backs, 1.0)?;
    Ok(Walls { front, back, confidence: (fronts.min(backs) / ENOUGH_POINTS).min(1.0) })
}

/// The distance of the two surfaces at `place`, a share of the depth from the front.
pub(crate) fn height_at(
    outline: &Outline,
    slab: &Slab,
    walls: Walls,
    place: f64,
) -> Result<Reading, Reason> {
    between(outline, slab, walls, around(place))
}

/// The shares of the depth that a height at `place` is read between.
pub(crate) fn around(place: f64) -> [f64; 2] {
    [place - REACH, place + REACH]
}

/// The mean distance of the two surfaces in the midsagittal third, between two shares of the depth.
pub(crate) fn between(
    outline: &Outline,
    slab: &Slab,
    walls: Walls,
    shares: [f64; 2],
) -> Result<Reading, Reason> {
    let Surfaces { top, bottom, confidence } = surfaces_at(outline, slab, walls, shares)?;
    Ok(Reading::new(top - bottom, confidence))
}

/// The mean places of two surfaces on the frame's axis upwards.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surfaces {
    pub(crate) top: f64,
    pub(crate) bottom: f64,
    confidence: f64,
}

/// The two surfaces in the midsagittal third, between two shares of the depth.
pub(crate) fn surfaces_at(
    outline: &Outline,
    slab: &Slab,
    walls: Walls,
    shares: [f64; 2],
) -> Result<Surfaces, Reason> {
    let [from, to] = shares.map(|share| walls.front + share * walls.depth());
    let surface = |points: &[[f64; 3]]| {
        let local = points.iter().map(|point| slab.frame.local(*point));
        let near = local.filter(|p| (from..=to).contains(&p[0]) && p[2].abs() <= slab.third);
        let mut heights: Vec<f64> = near.map(|p| p[1]).collect();
        let count = heights.len() as f64;
        trimmed_mean(&mut heights, STRAY_MM).map(|v| (v, count)).ok_or(Reason::TooFewVoxels)
    };
    let (top, tops) = surface(&outline.tops)?;
    let (bottom, bottoms) = surface(&outline.bottoms)?;
    let enough = (tops.min(bottoms) / ENOUGH_POINTS).min(1.0);
    let agreement = slab.top.agreement.min(slab.bottom.agreement);
    if top <= bottom {
        return Err(Reason::NoEndplates);
    }
    Ok(Surfaces { top, bottom, confidence: enough * agreement })
}

/// Adds the height lost and its grade to every body of the list, which runs from top to bottom.
pub(crate) fn compare(bodies: &mut [BodyMeasures]) {
    let losses: Vec<_> = (0..bodies.len()).map(|n| loss(bodies, n)).collect();
    for (body, loss) in bodies.iter_mut().zip(losses) {
        body.height_loss = loss.into();
        body.compression = body.height_loss.number().map(Compression::of);
    }
}

fn loss(bodies: &[BodyMeasures], n: usize) -> Result<Reading, Reason> {
    let heights = |body: &BodyMeasures| -> Result<[Reading; 3], Reason> {
        let [a, m, p] = [body.anterior_height_mm, body.middle_height_mm, body.posterior_height_mm]
            .map(|height| height.reading());
        Ok([a?, m?, p?])
    };
    let own = heights(&bodies[n])?;
    let near = n.saturating_sub(NEIGHBOURS)..(n + NEIGHBOURS + 1).min(bodies.len());
    let others: Vec<[Reading; 3]> =
        near.filter(|other| *other != n).filter_map(|other| heights(&bodies[other]).ok()).collect();
    let mut lost = vec![1.0 - own[0].value / own[2].value, 1.0 - own[1].value / own[2].value];
    for (place, height) in own.iter().enumerate() {
        let mut usual: Vec<f64> = others.iter().map(|heights| heights[place].value).collect();
        let usual = median(&mut usual).ok_or(Reason::NeighbourMissing)?;
        lost.push(1.0 - height.value / usual);
    }
    let most = lost.into_iter().fold(f64::NEG_INFINITY, f64::max);
    let confidence = own.iter().map(|height| height.confidence).fold(1.0, f64::min);
    Ok(Reading::new(most, confidence * (others.len() as f64 / 2.0).min(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grades_have_genants_borders() {
        let grades = [-0.1, 0.19, 0.20, 0.26, 0.41].map(Compression::of);
        use Compression::{Mild, Moderate, None, Severe};
        assert_eq!(grades, [None, None, Mild, Moderate, Severe]);
    }
}
