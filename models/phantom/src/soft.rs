//! Everything around the spine: the trunk with its layers, the organs in it, neck and head; air outside.
//!
//! Nothing here has a label. It is drawn first, the spine replaces it. What looks like the spine to a network (long
//! bright layers, round bones, fluid in front of the column) is drawn on purpose: a network learns from it what the
//! spine is not.

use crate::Region;
use crate::canvas::{Canvas, Row};
use crate::field::Field;
use crate::random::Random;
use crate::spine::{Frame, L5, Spine, Vertebra};
use crate::tissue::{Tissue, Voxel};
use crate::trunk::Trunk;
use crate::{head, organs, trunk};
use std::ops::Range;

/// Noise fields that give tissues their borders.
pub(crate) struct Fields<'a> {
    pub(crate) roughness: &'a Field,
    /// Fat streaks run along the muscles.
    pub(crate) streaks: &'a Field,
}

/// Which organ a voxel belongs to ([`crate::Anatomy::part`]): each has a signal of its own. Below 16.
pub(crate) mod organ {
    pub(crate) const LIVER: u8 = 1;
    pub(crate) const KIDNEY: u8 = 2;
    pub(crate) const HEART: u8 = 3;
    pub(crate) const UTERUS: u8 = 4;
    pub(crate) const BRAINSTEM: u8 = 5;
    pub(crate) const CEREBELLUM: u8 = 6;
    pub(crate) const TONGUE: u8 = 7;
    /// Bowel loops and long layers share the numbers from here to 15.
    pub(crate) const BOWEL: u8 = 8;
    pub(crate) const LAST: u8 = 15;
}

/// Draws the trunk (and neck and head) that the spine of `region` lies in.
pub(crate) fn draw(
    canvas: &mut Canvas,
    random: &mut Random,
    spine: &Spine,
    region: Region,
    fields: &Fields<'_>,
) {
    let trunk = Trunk::new(random, spine);
    trunk::draw(canvas, random, spine, &trunk, fields);
    organs::draw(canvas, random, spine, &trunk, fields.roughness);
    if matches!(region, Region::Cervical | Region::Whole) {
        head::draw(canvas, random, spine, fields.roughness);
    }
}

/// Unevenness of bowel and of smooth walls, as a change of the squared radius.
pub(crate) const UNEVEN: f64 = 0.3;
pub(crate) const SMOOTH: f64 = 0.06;

/// A round organ: its frame, its `radii` (back, up, left), and how uneven its surface is.
pub(crate) struct Blob<'a> {
    pub(crate) frame: Frame,
    pub(crate) radii: [f64; 3],
    pub(crate) roughness: &'a Field,
    pub(crate) unevenness: f64,
}

impl Blob<'_> {
    /// Calls `fill` with the shell (0 is the core), the place and the voxel, where it `takes` the voxel. The shells end
    /// at `limits`, squared shares of the radii.
    pub(crate) fn draw(
        &self,
        canvas: &mut Canvas,
        limits: &[f64],
        takes: impl Fn(&Voxel) -> bool,
        mut fill: impl FnMut(usize, [f64; 3], &mut Voxel),
    ) {
        let uneven = |point: [f64; 3]| self.unevenness * self.roughness.at(point);
        canvas.shells(&self.frame, self.radii, limits, uneven, |shell, point, voxel| {
            if takes(voxel) {
                fill(shell, point, voxel);
            }
        });
    }
}

/// The part of a row that a tube of elliptic section crosses: `middle` is x and y of its axis, `half` its half sizes.
pub(crate) fn chord(row: &Row<'_>, middle: [f64; 2], half: [f64; 2]) -> Range<usize> {
    let aside = (row.x_near(middle[1]) - middle[0]) / half[0];
    let share = 1.0 - aside * aside;
    if share <= 0.0 {
        return 0..0;
    }
    let reach = half[1] * share.sqrt();
    let first = row.column_at(middle[1] - reach);
    first..row.column_at(middle[1] + reach).max(first)
}

/// The vertebra at `level`, a fraction; the nearest one beyond the ends of the free spine.
pub(crate) fn nearest(spine: &Spine, level: f64) -> &Vertebra {
    spine.nearest(level.max(L5 as f64))
}

/// Whether a voxel is inside the patient.
pub(crate) fn inside(voxel: &Voxel) -> bool {
    voxel.tissue != Tissue::Air
}

/// Fills voxels inside the patient.
pub(crate) fn cover(voxels: &mut [Voxel], tissue: Tissue, part: u8) {
    for voxel in voxels {
        if inside(voxel) {
            voxel.fill(tissue, part);
        }
    }
}
