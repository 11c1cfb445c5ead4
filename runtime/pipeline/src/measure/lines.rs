//! Where measures were read: lines for viewers that draw them on the images.

use crate::labels::VertebraId;
use crate::measure::bodies::{PLACES, height, surfaces_at, walls};
use crate::measure::geometry::Slab;
use crate::measure::outline::Outline;
use crate::measure::value::Reason;
use crate::measure::{bodies, discs};
use serde::Serialize;

/// Which measure a line belongs to; the name of its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    AnteriorHeight,
    MiddleHeight,
    PosteriorHeight,
    /// Of the disc below.
    DiscHeight,
}

/// A measure as a line in the patient. Its length is the measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeasuredLine {
    pub vertebra: VertebraId,
    pub extent: Extent,
    /// Upper and lower end, LPS millimetres.
    pub ends_mm: [[f64; 3]; 2],
    /// It was read so far to the left and to the right of the line, millimetres.
    pub aside_mm: f64,
}

/// The lines of one vertebra's body and of the disc below it; none of what could not be measured.
pub(crate) fn lines(
    vertebra: VertebraId,
    (body, body_slab): (&Outline, Result<Slab, Reason>),
    (disc, disc_slab): (&Outline, Result<Slab, Reason>),
) -> Vec<MeasuredLine> {
    let extents = [Extent::AnteriorHeight, Extent::MiddleHeight, Extent::PosteriorHeight];
    let mut made = Vec::new();
    if let Ok(slab) = body_slab {
        let walls = walls(body, &slab, 0.0, bodies::WALL_BAND * height(&slab));
        let read = |place| surfaces_at(body, &slab, walls?, bodies::around(place));
        for (extent, place) in extents.into_iter().zip(PLACES) {
            made.extend(line(vertebra, extent, &slab, walls, place, read(place)));
        }
    }
    if let Ok(slab) = disc_slab {
        let walls = discs::walls(disc, &slab);
        let read = || surfaces_at(disc, &slab, walls?, discs::WITHIN);
        made.extend(line(vertebra, Extent::DiscHeight, &slab, walls, 0.5, read()));
    }
    made
}

fn line(
    vertebra: VertebraId,
    extent: Extent,
    slab: &Slab,
    walls: Result<bodies::Walls, Reason>,
    place: f64,
    surfaces: Result<bodies::Surfaces, Reason>,
) -> Option<MeasuredLine> {
    let (walls, surfaces) = (walls.ok()?, surfaces.ok()?);
    let back = walls.front + place * walls.depth();
    let ends = [surfaces.top, surfaces.bottom].map(|up| slab.frame.world([back, up, 0.0]));
    Some(MeasuredLine { vertebra, extent, ends_mm: ends, aside_mm: slab.third })
}
