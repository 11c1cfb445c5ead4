//! How one body stands on the next: the corners of the posterior walls, and the slip between them.

use crate::measure::bodies::{Walls, walls};
use crate::measure::geometry::{Frame, Plane, Slab};
use crate::measure::outline::Outline;
use crate::measure::value::{Measured, Millimetres, Ratio, Reading, Reason, quotient};
use serde::Serialize;

/// The wall beside an endplate is read from 1 to 4 mm off it: past the lip, before the waist.
const WALL_BAND_MM: [f64; 2] = [1.0, 4.0];

/// Where the posterior wall meets an endplate, in the midsagittal third.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Corner {
    pub(crate) point: [f64; 3],
    /// Front to back along the endplate.
    pub(crate) depth: f64,
    pub(crate) confidence: f64,
}

/// An endplate of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Upper,
    Lower,
}

/// The posterior corner at one endplate of a body.
pub(crate) fn corner(outline: &Outline, slab: &Slab, side: Side) -> Result<Corner, Reason> {
    let (plane, inwards) = match side {
        Side::Upper => (slab.top, -1.0),
        Side::Lower => (slab.bottom, 1.0),
    };
    let beside = Slab { frame: Frame::new(plane.point, plane.normal, slab.frame.left)?, ..*slab };
    let [near, far] = WALL_BAND_MM;
    let middle = inwards * (near + far) / 2.0;
    let Walls { front, back, confidence } = walls(outline, &beside, middle, (far - near) / 2.0)?;
    Ok(Corner {
        point: beside.frame.world([back, 0.0, 0.0]),
        depth: back - front,
        confidence: confidence * plane.agreement,
    })
}

/// How the vertebra stands on the next one below.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alignment {
    /// Slip of the lower posterior corner of the upper body against the upper one of the lower body, along the endplate of
    /// the lower body: positive forwards (anterolisthesis), negative backwards (Wiltse and Winter, 1983).
    pub slip_mm: Measured<Millimetres>,
    /// The slip as percent of the depth of that endplate (Taillard, 1954).
    pub slip_percent: Measured<Ratio>,
}

/// The alignment of two neighbours from their corners and the upper endplate of the lower one.
pub(crate) fn alignment(
    upper: Result<Corner, Reason>,
    lower: Result<Corner, Reason>,
    endplate: Result<(Plane, [f64; 3]), Reason>,
) -> Alignment {
    let slip = || -> Result<Reading, Reason> {
        let (upper, lower, (plane, left)) = (upper?, lower?, endplate?);
        let frame = Frame::new(lower.point, plane.normal, left)?;
        let confidence = upper.confidence.min(lower.confidence);
        Ok(Reading::new(-frame.local(upper.point)[0], confidence))
    };
    let slip = slip();
    let depth = lower.map(|lower| Reading::new(lower.depth, lower.confidence));
    let share = quotient(slip, depth);
    Alignment {
        slip_mm: slip.into(),
        slip_percent: share.map(|share| Reading::new(100.0 * share.value, share.confidence)).into(),
    }
}
