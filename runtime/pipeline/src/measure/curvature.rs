//! Angles of the spine between fitted endplates (Cobb's method), in the planes of the image.

use crate::labels::VertebraId;
use crate::measure::geometry::{Axes, Plane};
use crate::measure::value::{Degrees, Measured, Reading, Reason};
use crate::result::Numbering;
use kernels::volume::dot;
use serde::Serialize;

const T4: u8 = 11;
const T12: u8 = 19;
const L1: u8 = 20;
/// Fewer thoracic vertebrae of T4 to T12 are no kyphosis: half of them.
const LEAST_THORACIC: usize = 5;

/// The curves of the spine in view.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curvature {
    /// Upper endplate of L1 to upper endplate of S1, sagittal; positive is lordotic.
    pub lordosis_l1_s1_deg: Measured<Degrees>,
    /// Upper endplate of L1 to lower endplate of L5, sagittal; positive is lordotic.
    pub lordosis_l1_l5_deg: Measured<Degrees>,
    /// Upper endplate of T4, or of the highest thoracic vertebra in view below it, to the lower endplate of T12, or of the
    /// lowest in view; sagittal, positive is kyphotic. At least five vertebrae.
    pub kyphosis_deg: Measured<Degrees>,
    /// The vertebrae that the kyphosis was measured between.
    pub kyphosis_between: Option<[VertebraId; 2]>,
    /// Largest angle between any two endplates in view, coronal, never negative. Noise of single endplates adds to it: a
    /// straight spine shows a few degrees.
    pub coronal_cobb_deg: Measured<Degrees>,
}

/// Upper and lower endplate of a body.
pub(crate) type Endplates = Result<[Plane; 2], Reason>;

/// The angles of `bodies` from top to bottom, with the endplate of S1 where there is one.
pub(crate) fn curvature(
    ids: &[VertebraId],
    bodies: &[Endplates],
    sacral: Result<Plane, Reason>,
    axes: &Axes,
    numbering: Numbering,
) -> Curvature {
    let named = Named { ids, bodies, axes, numbering };
    let lordosis = |lower: Result<Plane, Reason>| named.sagittal(named.plate(L1, 0), lower);
    let kyphosis = named.kyphosis();
    Curvature {
        lordosis_l1_s1_deg: lordosis(named.verified().and(sacral)).into(),
        lordosis_l1_l5_deg: lordosis(named.plate(VertebraId::L5.value(), 1)).into(),
        kyphosis_between: kyphosis.as_ref().ok().map(|(_, between)| *between),
        kyphosis_deg: kyphosis.map(|(reading, _)| reading).into(),
        coronal_cobb_deg: coronal(bodies, sacral, axes).into(),
    }
}

struct Named<'a> {
    ids: &'a [VertebraId],
    bodies: &'a [Endplates],
    axes: &'a Axes,
    numbering: Numbering,
}

impl Named<'_> {
    fn verified(&self) -> Result<(), Reason> {
        if self.numbering.is_verified() { Ok(()) } else { Err(Reason::LevelUnverified) }
    }

    /// The upper (0) or lower (1) endplate of vertebra `id`.
    fn plate(&self, id: u8, side: usize) -> Result<Plane, Reason> {
        self.verified()?;
        let n = self.ids.iter().position(|other| other.value() == id);
        let plates = self.bodies[n.ok_or(Reason::LevelNotInView)?];
        plates.map(|plates| plates[side])
    }

    /// How much further back the normal of `upper` leans than that of `lower`, degrees.
    fn sagittal(
        &self,
        upper: Result<Plane, Reason>,
        lower: Result<Plane, Reason>,
    ) -> Result<Reading, Reason> {
        let (upper, lower) = (upper?, lower?);
        let lean = |plane: &Plane| angle(plane, self.axes.back, self.axes.up);
        let confidence = upper.agreement.min(lower.agreement);
        Ok(Reading::new(lean(&upper) - lean(&lower), confidence))
    }

    fn kyphosis(&self) -> Result<(Reading, [VertebraId; 2]), Reason> {
        self.verified()?;
        let thoracic = self.ids.iter().zip(self.bodies);
        let seen: Vec<(VertebraId, [Plane; 2])> = thoracic
            .filter(|(id, _)| (T4..=T12).contains(&id.value()))
            .filter_map(|(id, plates)| plates.as_ref().ok().map(|plates| (*id, *plates)))
            .collect();
        match (seen.first(), seen.last()) {
            (Some(first), Some(last)) if seen.len() >= LEAST_THORACIC => {
                let angle = self.sagittal(Ok(last.1[1]), Ok(first.1[0]))?;
                Ok((angle, [first.0, last.0]))
            }
            _ => Err(Reason::LevelNotInView),
        }
    }
}

/// The lean of a plane's normal towards `aside`, in the plane of `aside` and `up`, degrees.
fn angle(plane: &Plane, aside: [f64; 3], up: [f64; 3]) -> f64 {
    dot(plane.normal, aside).atan2(dot(plane.normal, up)).to_degrees()
}

fn coronal(
    bodies: &[Endplates],
    sacral: Result<Plane, Reason>,
    axes: &Axes,
) -> Result<Reading, Reason> {
    let plates = bodies.iter().flatten().flatten().copied().chain(sacral.ok());
    let (mut least, mut most, mut agreement, mut count) = (f64::MAX, f64::MIN, 1.0f64, 0);
    for plate in plates.filter(|plate| plate.sideways) {
        let lean = angle(&plate, axes.left, axes.up);
        (least, most, count) = (least.min(lean), most.max(lean), count + 1);
        agreement = agreement.min(plate.agreement);
    }
    if count < 2 {
        return Err(Reason::NoEndplates);
    }
    Ok(Reading::new(most - least, agreement))
}
