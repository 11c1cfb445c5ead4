//! What comes out of the pipeline, and the names of its stages.

use crate::labels::VertebraId;
use crate::measure::Measurements;
use crate::penn::{Tumours, Unseen};
use kernels::Volume;
use serde::Serialize;

/// A stage of [`crate::segment()`]; the caller's clock times them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Prepare,
    Semantic,
    Clean,
    Vertebrae,
    Join,
    Restore,
    Measure,
}

/// What the numbers of the vertebrae rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "&'static str")]
pub enum Numbering {
    /// The sacrum is in view: levels are counted upwards from L5. A transitional vertebra is not excluded.
    FromSacrum,
    /// C2 with its dens is in view: levels are counted downwards from it. A transitional vertebra is not excluded.
    FromC2,
    /// No landmark in view, but one in another series of the study, the neighbour of this number in the caller's list: the
    /// vertebrae that both show have the levels they have there.
    FromStudy { neighbour: usize },
    /// No landmark in view: ids only run from top to bottom, beginning at 2 as SPINEPS' do. Not levels.
    Unverified,
}

impl Numbering {
    /// Whether a landmark names the levels.
    pub fn is_verified(self) -> bool {
        match self {
            Numbering::FromSacrum | Numbering::FromC2 | Numbering::FromStudy { .. } => true,
            Numbering::Unverified => false,
        }
    }

    /// Whether the landmark is in view, so that other series may take their levels from this one.
    pub fn is_by_own_landmark(self) -> bool {
        matches!(self, Numbering::FromSacrum | Numbering::FromC2)
    }
}

impl From<Numbering> for &'static str {
    fn from(numbering: Numbering) -> &'static str {
        match numbering {
            Numbering::FromSacrum => "from_sacrum",
            Numbering::FromC2 => "from_c2",
            Numbering::FromStudy { .. } => "from_study",
            Numbering::Unverified => "unverified",
        }
    }
}

/// One vertebra of the result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Vertebra {
    pub id: VertebraId,
    /// Centre of mass of the body, voxels of the source grid `(i, j, k)`.
    pub body_centroid_index: [f64; 3],
    /// The same point in LPS millimetres.
    pub body_centroid_mm: [f64; 3],
    /// Volume of the body (structure 49) in millilitres.
    pub body_ml: f64,
    /// The body touches the edge of the field of view.
    pub truncated: bool,
    /// What the instance net's cutouts say of it; `None` where the classical stage alone told the vertebrae apart.
    pub support: Option<Support>,
}

/// How far the predictions of one vertebra agree: that of the cutout around it, and those of the cutouts above and below.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Support {
    /// Cutouts that saw its body, its own among them.
    pub votes: usize,
    /// Mean Dice of the body in its own cutout with what the others say; 0 with one vote.
    pub agreement: f64,
}

/// A run of levels that fits what the instance net takes the vertebrae for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LikelyLevels {
    /// Top to bottom, one a vertebra.
    pub levels: Vec<VertebraId>,
    /// How much less likely than the best run: difference of the log-likelihoods, 0 for the best itself.
    pub behind: f64,
}

/// Something a reader of the result must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// No landmark: the numbers are not levels.
    LevelUnverified,
    /// The count of discs does not fit the count of bodies.
    DiscCountMismatch,
    /// A body is more than twice the median of its neighbours: two may be merged.
    BodyTooLarge,
    /// The spine reaches the first or last slice: lateral parts may be missing.
    LaterallyTruncated,
    /// Counting from C2, from the sacrum and from another series of the study give different levels: a variant, a body that is
    /// missing or two, or a patient who moved.
    LandmarksDisagree,
    /// Two neighbouring bodies are so far apart that one between them may be missing, as where the signal fails: levels
    /// beyond the gap may be wrong.
    RowInterrupted,
    /// The instance net and the classical stage tell the vertebrae apart differently: in number, or in many voxels.
    VertebraeDisputed,
}

/// What is drawn of a result, on the source grid.
#[derive(Debug, Clone, Copy)]
pub struct Masks<'a> {
    /// [`crate::Structure`] values, 0 background.
    pub semantic: &'a Volume<u8>,
    /// [`VertebraId`] values, `100 + v` discs, `200 + v` endplates, 0 background.
    pub instances: &'a Volume<u16>,
    pub numbering: Numbering,
}

/// The result of one series, on its source grid.
#[derive(Debug, Clone)]
pub struct Segmentation {
    /// [`crate::Structure`] values, 0 background.
    pub semantic: Volume<u8>,
    /// [`VertebraId`] values, `100 + v` discs, `200 + v` endplates, 0 background.
    pub instances: Volume<u16>,
    /// Top to bottom, without the sacrum.
    pub vertebrae: Vec<Vertebra>,
    pub sacrum: bool,
    pub numbering: Numbering,
    /// The best run of levels and the one to mistake it for, by shapes and sizes alone; empty where no net tells levels.
    pub likely: Vec<LikelyLevels>,
    pub flags: Vec<Flag>,
    /// Mean softmax probability of the winning class over the labelled voxels, 0..1.
    pub confidence: f32,
    /// What was measured, vertebra by vertebra in the order of `vertebrae`.
    pub measures: Measurements,
    /// What [`crate::penn`] says, which the caller asks for; `None` where nobody did.
    pub tumours: Option<Result<Tumours, Unseen>>,
}

impl Segmentation {
    pub fn masks(&self) -> Masks<'_> {
        let Segmentation { semantic, instances, numbering, .. } = self;
        Masks { semantic, instances, numbering: *numbering }
    }
}
