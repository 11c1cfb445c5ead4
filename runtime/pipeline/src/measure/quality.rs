//! Doubts about a result: what one vertebra says against its neighbours, and a grade for the series.
//!
//! The sizes of vertebrae change smoothly along the spine. What leaves that line is a fracture, a variant, or an error of
//! the segmentation: a reader must look.

use crate::measure::VertebraMeasures;
use crate::measure::geometry::median;
use crate::measure::value::{Measured, Ratio, Reading, Reason};
use crate::result::{Flag, Support, Vertebra};
use kernels::volume::{norm, sub};
use serde::Serialize;

/// The smooth line at a vertebra is fitted to so many above and below it.
const WINDOW: usize = 3;
/// A line needs so many vertebrae besides the one it judges.
const MIN_OTHERS: usize = 3;
/// Smallest standard deviation of volumes and of spacings around their line, as a share: without it a very even spine would
/// make a doubt of nothing. With it, 95 of 100 vertebrae of ordinary phantoms stay below 2.3 and 2.0 deviations.
const LEAST_SPREAD: [f64; 2] = [0.05, 0.03];
/// A z-score beyond this is a doubt: one in two thousand of a normal distribution.
const DOUBTFUL_Z: f64 = 3.5;
/// Left and right processes may differ by this share of their sum: oblique slices share them unevenly (truth masks of
/// ordinary phantoms exceed it in one series of twelve).
const UNEVEN: f64 = 0.4;
/// Below this mean probability the net was at a loss: one voxel in four as good as guessed. Chosen, not fitted to exams.
const LOW_CONFIDENCE: f32 = 0.75;
/// Cutouts that agree less on a body leave in doubt which vertebra is whose: on exams without faults they agree by .97 or more.
const LOW_AGREEMENT: f64 = 0.9;
/// More doubtful vertebrae than this share make a series poor.
const MANY: f64 = 0.34;

/// Doubts about one vertebra.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VertebraQuality {
    /// How far the body's volume lies off the line through its neighbours', in robust standard deviations.
    pub volume_z: Measured<Ratio>,
    /// The same for the distance to the next body's centre.
    pub spacing_z: Measured<Ratio>,
    /// (left - right) by (left + right) of the volumes of the transverse and articular processes.
    pub asymmetry: Measured<Ratio>,
    pub truncated: bool,
    /// How far the instance net's cutouts agree on it; none where the classical stage alone told the vertebrae apart.
    pub support: Option<Support>,
}

/// What a radiologist's assistant may do with the series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// No doubt.
    Good,
    /// Single vertebrae or numbers need a look.
    Usable,
    /// Check all of it before use.
    Poor,
}

/// Why a series is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// No landmark names the levels.
    LevelUnverified,
    /// Counting from C2 and from the sacrum give different levels.
    LandmarksDisagree,
    /// Discs do not fit bodies in number.
    DiscCountMismatch,
    /// A body is far larger than its neighbours.
    BodyTooLarge,
    /// The spine reaches the first or last slice.
    LaterallyTruncated,
    /// A body may be missing between two others.
    RowInterrupted,
    /// Two ways of telling vertebrae apart disagree.
    VertebraeDisputed,
    /// The volume of a body leaves the line of its neighbours.
    VolumeOutlier,
    /// The distance of two bodies leaves the line of the others.
    SpacingOutlier,
    /// Left and right processes of a vertebra differ much.
    Asymmetric,
    /// Cutouts disagree on a vertebra.
    LowAgreement,
    /// The net's mean probability is low.
    LowConfidence,
    /// A third of the vertebrae or more is doubtful.
    ManyDoubtful,
    /// No body could be measured.
    NothingMeasurable,
}

/// The grade of a series and all reasons for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quality {
    pub grade: Grade,
    pub doubts: Vec<Doubt>,
}

/// Volumes of the processes of one vertebra, in voxels.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sides {
    pub(crate) left: usize,
    pub(crate) right: usize,
}

/// Doubts about every vertebra of the list, top to bottom.
pub(crate) fn vertebrae(vertebrae: &[Vertebra], sides: &[Sides]) -> Vec<VertebraQuality> {
    let whole = |v: &Vertebra| if v.truncated { Err(Reason::CutByField) } else { Ok(v.body_ml) };
    let volumes: Vec<_> = vertebrae.iter().map(whole).collect();
    let step = |n: usize| {
        let below = vertebrae.get(n + 1).ok_or(Reason::NeighbourMissing)?;
        whole(&vertebrae[n]).and(whole(below))?;
        Ok(norm(sub(vertebrae[n].body_centroid_mm, below.body_centroid_mm)))
    };
    let spacings: Vec<_> = (0..vertebrae.len()).map(step).collect();
    let (volumes, spacings) =
        (scores(&volumes, LEAST_SPREAD[0]), scores(&spacings, LEAST_SPREAD[1]));
    let each = vertebrae.iter().zip(sides).zip(volumes.into_iter().zip(spacings));
    each.map(|((vertebra, sides), (volume, spacing))| VertebraQuality {
        volume_z: volume.into(),
        spacing_z: spacing.into(),
        asymmetry: asymmetry(*sides).into(),
        truncated: vertebra.truncated,
        support: vertebra.support,
    })
    .collect()
}

fn asymmetry(sides: Sides) -> Result<Reading, Reason> {
    /// Fewer voxels of processes say nothing about sides.
    const LEAST: usize = 20;
    let (left, right) = (sides.left as f64, sides.right as f64);
    if sides.left + sides.right < LEAST {
        return Err(Reason::TooFewVoxels);
    }
    Ok(Reading::new((left - right) / (left + right), 1.0))
}

/// Each value's distance from the line through its neighbours' logarithms, by the robust spread of all those distances.
fn scores(values: &[Result<f64, Reason>], least: f64) -> Vec<Result<Reading, Reason>> {
    let log = |value: &f64| if *value > 0.0 { Ok(value.ln()) } else { Err(Reason::Undefined) };
    let logs: Vec<_> =
        values.iter().map(|value| value.as_ref().map_err(|r| *r).and_then(log)).collect();
    let off: Vec<Result<f64, Reason>> = (0..logs.len())
        .map(|n| {
            let own = logs[n]?;
            trend(&logs, n).map(|usual| own - usual).ok_or(Reason::NeighbourMissing)
        })
        .collect();
    let mut sizes: Vec<f64> = off.iter().flatten().map(|off| off.abs()).collect();
    let spread = median(&mut sizes).map_or(least, |mad| (1.4826 * mad).max(least));
    off.into_iter().map(|off| off.map(|off| Reading::new(off / spread, 1.0))).collect()
}

/// The value at `n` on the line through the others near it: median of slopes, then of heights (Theil and Sen).
fn trend(logs: &[Result<f64, Reason>], n: usize) -> Option<f64> {
    let near = n.saturating_sub(WINDOW)..(n + WINDOW + 1).min(logs.len());
    let others: Vec<(f64, f64)> = near
        .filter(|other| *other != n)
        .filter_map(|other| Some((other as f64 - n as f64, logs[other].ok()?)))
        .collect();
    if others.len() < MIN_OTHERS {
        return None;
    }
    let pairs = others
        .iter()
        .enumerate()
        .flat_map(|(at, a)| others[at + 1..].iter().map(move |b| (b.1 - a.1) / (b.0 - a.0)));
    let slope = median(&mut pairs.collect::<Vec<_>>())?;
    median(&mut others.iter().map(|(at, log)| log - slope * at).collect::<Vec<_>>())
}

/// The grade of a series from what is known of it.
pub(crate) fn series(measured: &[VertebraMeasures], flags: &[Flag], confidence: f32) -> Quality {
    let beyond = |z: &Measured<Ratio>, limit: f64| z.number().is_some_and(|z| z.abs() > limit);
    let doubtful = |of: &dyn Fn(&VertebraQuality) -> bool| {
        measured.iter().filter(|vertebra| of(&vertebra.quality)).count()
    };
    let volumes = doubtful(&|q| beyond(&q.volume_z, DOUBTFUL_Z));
    let spacings = doubtful(&|q| beyond(&q.spacing_z, DOUBTFUL_Z));
    let uneven = doubtful(&|q| beyond(&q.asymmetry, UNEVEN));
    let contradicted = doubtful(&|q| q.support.is_some_and(|s| s.agreement < LOW_AGREEMENT));
    let any = doubtful(&|q| beyond(&q.volume_z, DOUBTFUL_Z) || beyond(&q.spacing_z, DOUBTFUL_Z));
    let heights = measured.iter().filter(|v| v.body.middle_height_mm.number().is_some()).count();
    let mut doubts: Vec<Doubt> = flags.iter().map(|flag| of_flag(*flag)).collect();
    let found = [
        (volumes > 0, Doubt::VolumeOutlier),
        (spacings > 0, Doubt::SpacingOutlier),
        (uneven > 0, Doubt::Asymmetric),
        (contradicted > 0, Doubt::LowAgreement),
        (confidence < LOW_CONFIDENCE, Doubt::LowConfidence),
        (any as f64 > MANY * measured.len() as f64, Doubt::ManyDoubtful),
        (heights == 0, Doubt::NothingMeasurable),
    ];
    doubts.extend(found.iter().filter(|(holds, _)| *holds).map(|(_, doubt)| *doubt));
    let grade = doubts.iter().map(|doubt| worst(*doubt)).max().unwrap_or(Grade::Good);
    Quality { grade, doubts }
}

fn of_flag(flag: Flag) -> Doubt {
    match flag {
        Flag::LevelUnverified => Doubt::LevelUnverified,
        Flag::LandmarksDisagree => Doubt::LandmarksDisagree,
        Flag::DiscCountMismatch => Doubt::DiscCountMismatch,
        Flag::BodyTooLarge => Doubt::BodyTooLarge,
        Flag::LaterallyTruncated => Doubt::LaterallyTruncated,
        Flag::RowInterrupted => Doubt::RowInterrupted,
        Flag::VertebraeDisputed => Doubt::VertebraeDisputed,
    }
}

/// The best grade that a doubt leaves. Poor is what puts every number of the series in question.
fn worst(doubt: Doubt) -> Grade {
    match doubt {
        Doubt::BodyTooLarge
        | Doubt::RowInterrupted
        | Doubt::LowConfidence
        | Doubt::ManyDoubtful
        | Doubt::NothingMeasurable => Grade::Poor,
        Doubt::LevelUnverified
        | Doubt::LandmarksDisagree
        | Doubt::DiscCountMismatch
        | Doubt::LaterallyTruncated
        | Doubt::VertebraeDisputed
        | Doubt::VolumeOutlier
        | Doubt::SpacingOutlier
        | Doubt::Asymmetric
        | Doubt::LowAgreement => Grade::Usable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smooth_row_has_one_outlier_and_it_is_the_odd_one() {
        let mut values: Vec<_> = (0..12).map(|n| Ok(20.0 * 1.05f64.powi(n))).collect();
        values[4] = values[4].map(|v| 2.0 * v);
        values[7] = Err(Reason::CutByField);
        let scores = scores(&values, LEAST_SPREAD[0]);
        for (n, score) in scores.iter().enumerate() {
            match n {
                4 => assert!(score.unwrap().value > 10.0),
                7 => assert_eq!(*score, Err(Reason::CutByField)),
                _ => assert!(score.unwrap().value.abs() < 1.0, "{n}"),
            }
        }
    }
}
