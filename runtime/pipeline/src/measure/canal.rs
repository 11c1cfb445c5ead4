//! The dural sac and the cord across the canal, at every disc and every mid-body.
//!
//! The sac is cut by the rows of the image and the area brought to the plane perpendicular to the centreline by the cosine
//! between them: exact for a tube that keeps its size over the cut.

use crate::labels::Structure;
use crate::measure::geometry::unit;
use crate::measure::value::{Measured, Millimetres, Reading, Reason, SquareMillimetres};
use kernels::Volume;
use kernels::volume::{dot, norm, sub};
use serde::Serialize;

/// Rows within this distance along the canal are averaged.
const BAND_MM: f64 = 1.5;
/// The direction of the centreline is taken over this length to either side: less than half a body.
const TANGENT_MM: f64 = 8.0;
/// The row nearest to a level may be this far from it: more is beyond the end of the sac.
const NEAR_MM: f64 = 2.0;
/// Fewer voxels in a row are no cross section: a sac of 20 mm2 has five of 1 x 4 mm.
const MIN_VOXELS: u32 = 4;
/// Below this a cosine says that the rows do not cross the canal but run along it.
const MIN_COSINE: f64 = 0.4;
/// So many voxels make a cross section as sure as it gets.
const ENOUGH_VOXELS: f64 = 20.0;

/// The canal at one level.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CanalMeasures {
    /// Dural sac with cord, perpendicular to its centreline.
    pub sac_area_mm2: Measured<SquareMillimetres>,
    /// Front to back of the sac in the slice through its middle, perpendicular to its centreline.
    pub sac_depth_mm: Measured<Millimetres>,
    /// Cord alone, perpendicular to the centreline.
    pub cord_area_mm2: Measured<SquareMillimetres>,
}

/// One row of the image: the sac in it.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    sac: u32,
    cord: u32,
    /// Sums of columns and slices.
    sums: [f64; 2],
    /// Middle in LPS millimetres, where there is a sac.
    centre: Option<[f64; 3]>,
    /// Voxels of the sac in the longest of the slices next to its middle.
    longest: u32,
    /// Reaches an edge of the field.
    cut: bool,
}

/// The canal from head to foot, on a (P, I, R) grid.
#[derive(Debug)]
pub(crate) struct Canal {
    rows: Vec<Row>,
    spacing: [f64; 3],
    /// Unit vector down the rows.
    down: [f64; 3],
    /// Unit vector along the columns to the back.
    back: [f64; 3],
}

impl Canal {
    pub(crate) fn new(semantic: &Volume<u8>) -> Canal {
        let affine = semantic.grid().affine;
        let [columns, count, slices] = semantic.dims().counts();
        let mut rows = vec![Row::default(); count];
        let mut lengths = vec![0u32; count * slices];
        for (line, voxels) in semantic.voxels().chunks_exact(columns).enumerate() {
            let (j, k) = (line % count, line / count);
            let row = &mut rows[j];
            for (i, &value) in voxels.iter().enumerate() {
                let cord = value == Structure::SpinalCord.value();
                if cord || value == Structure::SpinalCanal.value() {
                    row.sac += 1;
                    row.cord += u32::from(cord);
                    row.sums[0] += i as f64;
                    row.sums[1] += k as f64;
                    row.cut |= i == 0 || i + 1 == columns || k == 0 || k + 1 == slices;
                    lengths[line] += 1;
                }
            }
        }
        for (j, row) in rows.iter_mut().enumerate().filter(|(_, row)| row.sac >= MIN_VOXELS) {
            let middle = row.sums.map(|sum| sum / f64::from(row.sac));
            row.centre = Some(affine.world([middle[0], j as f64, middle[1]]));
            let near =
                [middle[1].floor(), middle[1].ceil()].map(|k| lengths[k as usize * count + j]);
            row.longest = near[0].max(near[1]);
        }
        let [back, down, _] = affine.axes();
        let unit_of = |axis| unit(axis).unwrap_or([0.0; 3]);
        Canal { rows, spacing: affine.spacing(), down: unit_of(down), back: unit_of(back) }
    }

    /// The canal where the plane through `point` with normal `up` crosses it.
    pub(crate) fn across(&self, level: Result<([f64; 3], [f64; 3]), Reason>) -> CanalMeasures {
        let cut = level.and_then(|(point, up)| self.cut(point, up));
        let of = |value: fn(&Cut) -> Result<f64, Reason>| {
            cut.as_ref()
                .map_err(|reason| *reason)
                .and_then(|cut| Ok(Reading::new(value(cut)?, cut.confidence)))
        };
        CanalMeasures {
            sac_area_mm2: of(|cut| Ok(cut.sac_area)).into(),
            sac_depth_mm: of(|cut| Ok(cut.depth)).into(),
            cord_area_mm2: of(|cut| cut.cord_area.ok_or(Reason::NoCord)).into(),
        }
    }

    fn cut(&self, point: [f64; 3], up: [f64; 3]) -> Result<Cut, Reason> {
        let off = |row: &Row| row.centre.map(|centre| dot(sub(centre, point), up).abs());
        let distances = self.rows.iter().enumerate().filter_map(|(j, row)| Some((j, off(row)?)));
        let (middle, distance) =
            distances.min_by(|a, b| a.1.total_cmp(&b.1)).ok_or(Reason::NoCanal)?;
        if distance > NEAR_MM.max(self.spacing[1]) {
            return Err(Reason::NoCanal);
        }
        let tangent = self.tangent(middle).ok_or(Reason::NoCanal)?;
        let along = dot(tangent, self.down).abs();
        let in_slice = along.hypot(dot(tangent, self.back));
        if along < MIN_COSINE {
            return Err(Reason::Undefined);
        }
        let reach = (BAND_MM * along / self.spacing[1]) as usize;
        let end = (middle + reach + 1).min(self.rows.len());
        let near: Vec<&Row> = self.rows[middle.saturating_sub(reach)..end]
            .iter()
            .filter(|row| row.centre.is_some())
            .collect();
        if near.iter().any(|row| row.cut) {
            return Err(Reason::CutByField);
        }
        let mean = |of: fn(&Row) -> u32| {
            near.iter().map(|row| f64::from(of(row))).sum::<f64>() / near.len() as f64
        };
        let voxel_area = self.spacing[0] * self.spacing[2] * along;
        let cord = mean(|row| row.cord);
        Ok(Cut {
            sac_area: mean(|row| row.sac) * voxel_area,
            depth: mean(|row| row.longest) * self.spacing[0] * along / in_slice,
            cord_area: (cord > 0.0).then_some(cord * voxel_area),
            confidence: (mean(|row| row.sac) / ENOUGH_VOXELS).min(1.0),
        })
    }

    /// The direction of the centreline around row `middle`.
    fn tangent(&self, middle: usize) -> Option<[f64; 3]> {
        let centre = self.rows[middle].centre?;
        let within = |row: &&Row| row.centre.is_some_and(|at| norm(sub(at, centre)) <= TANGENT_MM);
        let first = self.rows[..=middle].iter().find(within)?;
        let last = self.rows[middle..].iter().rfind(within)?;
        unit(sub(last.centre?, first.centre?))
    }
}

/// One cross section.
struct Cut {
    sac_area: f64,
    depth: f64,
    cord_area: Option<f64>,
    confidence: f64,
}
