//! The messages of a job: its life and its numbers.

use super::engine::{Engine, Passed};
use super::lesions::LesionCounts;
use super::{MessageError, Name, Receipt, Version};
use crate::decode::selection::Selection;
use crate::error::Move;
use crate::identity::{JobId, hexadecimal};
use crate::objects;
use pipeline::{Flag, ModelCard, Numbering, RefusalCode, Segmentation, Stage, Structure};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

/// A part of the way of a series through the device, in the order in which they happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStage {
    /// Last instance to the decision that the series is complete.
    Complete,
    /// Instances to one checked volume.
    Volume,
    Prepare,
    Semantic,
    Clean,
    Vertebrae,
    Join,
    Restore,
    Measure,
    /// Looking for lesions, where the site wants it.
    Lesions,
    /// Building and storing the outputs.
    Outputs,
    /// First object sent to last object acknowledged.
    Deliver,
}

impl JobStage {
    /// The word in messages and tables.
    pub fn name(self) -> &'static str {
        match self {
            JobStage::Complete => "complete",
            JobStage::Volume => "volume",
            JobStage::Prepare => "prepare",
            JobStage::Semantic => "semantic",
            JobStage::Clean => "clean",
            JobStage::Vertebrae => "vertebrae",
            JobStage::Join => "join",
            JobStage::Restore => "restore",
            JobStage::Measure => "measure",
            JobStage::Lesions => "lesions",
            JobStage::Outputs => "outputs",
            JobStage::Deliver => "deliver",
        }
    }

    pub const ALL: [JobStage; 12] = [
        JobStage::Complete,
        JobStage::Volume,
        JobStage::Prepare,
        JobStage::Semantic,
        JobStage::Clean,
        JobStage::Vertebrae,
        JobStage::Join,
        JobStage::Restore,
        JobStage::Measure,
        JobStage::Lesions,
        JobStage::Outputs,
        JobStage::Deliver,
    ];
}

impl From<Stage> for JobStage {
    fn from(stage: Stage) -> JobStage {
        match stage {
            Stage::Prepare => JobStage::Prepare,
            Stage::Semantic => JobStage::Semantic,
            Stage::Clean => JobStage::Clean,
            Stage::Vertebrae => JobStage::Vertebrae,
            Stage::Join => JobStage::Join,
            Stage::Restore => JobStage::Restore,
            Stage::Measure => JobStage::Measure,
        }
    }
}

/// Milliseconds per stage that has ended, in order; on the wire an object `{"semantic": 812.4}`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Timings(Vec<(JobStage, f64)>);

impl Timings {
    /// Adds a stage; tenths of a millisecond are kept.
    pub fn add(&mut self, stage: JobStage, time: std::time::Duration) {
        let ms = time.as_secs_f64() * 1e3;
        match self.0.iter_mut().find(|(known, _)| *known == stage) {
            // Run again on another engine: both runs took their time.
            Some((_, sum)) => *sum = rounded(*sum + ms, 1),
            None => self.0.push((stage, rounded(ms, 1))),
        }
    }

    pub fn stages(&self) -> &[(JobStage, f64)] {
        &self.0
    }

    pub fn total_ms(&self) -> f64 {
        rounded(self.0.iter().map(|(_, ms)| ms).sum(), 1)
    }
}

impl Serialize for Timings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// Why a series counts as complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Completion {
    /// As many instances as the header announced, without a gap.
    CountKnown,
    /// The association ended in order and there is no gap.
    AssociationRelease,
    /// Nothing came for a while and there is no gap.
    Silence,
    /// The scanner ended the series on a connection that waits for its result.
    SeriesEnd,
}

impl Completion {
    /// The reason in words.
    pub fn name(self) -> &'static str {
        match self {
            Completion::CountKnown => "as many as announced",
            Completion::AssociationRelease => "the association was released",
            Completion::Silence => "nothing more came",
            Completion::SeriesEnd => "the scanner ended it",
        }
    }
}

/// What kept us from finishing a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// The engine or the model.
    Engine,
    /// The job took longer than its deadline.
    Deadline,
    /// An output could not be written.
    Storage,
    /// No destination took any object, for good.
    Delivery,
    /// A command said so.
    Cancelled,
    /// The self-test failed: no result of this machine can be believed.
    SelfTest,
    /// A panic or another fault of ours.
    Internal,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum JobState {
    Receiving,
    Complete {
        reason: Completion,
    },
    Running {
        stage: JobStage,
    },
    /// Results are on their way to the destinations.
    Sending,
    /// Somebody has the results, or nobody was to have them. Where a destination took only a part or nothing, the
    /// [receipts](super::Receipt) of the status say so.
    Done,
    /// The series is not for us.
    Refused {
        code: RefusalCode,
    },
    /// We could not.
    Failed {
        code: FailureCode,
        #[serde(rename = "move")]
        whose: Move,
    },
    /// Instances are missing; `expect` is null where the series does not tell its size.
    Incomplete {
        have: u32,
        expect: Option<u32>,
    },
}

/// Payload of `jobs/{job}/status`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobStatus {
    pub job: JobId,
    /// 1, and one more for each new result of the same series.
    pub generation: u32,
    #[serde(flatten)]
    pub state: JobState,
    /// Instances received so far.
    pub instances: u32,
    /// Since the first instance came.
    pub elapsed_ms: u64,
    pub stages_ms: Timings,
    /// From the end of the run on: the engine that did not make the result although it should have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Passed>,
    /// Of every destination, where one of them did not take all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<Receipt>,
}

/// The model of a result, as its card names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelTag {
    name: Name,
    version: Version,
    weights_sha256: [u8; 32],
}

impl ModelTag {
    pub fn from_card(card: &ModelCard) -> Result<ModelTag, MessageError> {
        let digits = card.weights_sha256.as_bytes();
        let mut weights_sha256 = [0; 32];
        if digits.len() != 64 {
            return Err(MessageError::Digest);
        }
        for (byte, pair) in weights_sha256.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16).ok_or(MessageError::Digest);
            *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        Ok(ModelTag {
            name: Name::checked(&card.name, "model card's name")?,
            version: Version::parse(&card.version, "model card's version")?,
            weights_sha256,
        })
    }
}

/// What was made of a series: in reports, with the path of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// Semantic mask, NIfTI.
    SegSpine,
    /// Instance mask, NIfTI.
    SegVert,
    /// Centres of the vertebral bodies, JSON.
    Centroids,
    /// The picture of the whole result, PNG.
    Overlay,
    /// Derived MR label series, a folder.
    MrDerived,
    /// RGB secondary capture with the overlay burned in, a folder.
    ScRgb,
    /// DICOM SEG of the semantic mask.
    SegSemantic,
    /// DICOM SEG of the instance mask.
    SegInstances,
    /// DICOM structured report of the measurements.
    SrMeasurements,
    /// DICOM presentation state with outlines and levels.
    Gsps,
    /// DICOM SEG of the semantic mask as label map, where a destination asks for it.
    SegLabelmap,
    /// DICOM SEG of the lesions, where the site has them looked for.
    SegLesions,
}

impl From<objects::OutputKind> for OutputKind {
    fn from(kind: objects::OutputKind) -> OutputKind {
        match kind {
            objects::OutputKind::DerivedMr => OutputKind::MrDerived,
            objects::OutputKind::SecondaryCapture => OutputKind::ScRgb,
            objects::OutputKind::SemanticSegmentation => OutputKind::SegSemantic,
            objects::OutputKind::InstanceSegmentation => OutputKind::SegInstances,
            objects::OutputKind::Measurements => OutputKind::SrMeasurements,
            objects::OutputKind::PresentationState => OutputKind::Gsps,
            objects::OutputKind::Labelmap => OutputKind::SegLabelmap,
            objects::OutputKind::Lesions => OutputKind::SegLesions,
        }
    }
}

/// Something a reader of the result must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ResultFlag {
    LevelUnverified,
    LandmarksDisagree,
    DiscCountMismatch,
    BodyTooLarge,
    LaterallyTruncated,
    RowInterrupted,
    VertebraeDisputed,
}

impl From<Flag> for ResultFlag {
    fn from(flag: Flag) -> ResultFlag {
        match flag {
            Flag::LevelUnverified => ResultFlag::LevelUnverified,
            Flag::LandmarksDisagree => ResultFlag::LandmarksDisagree,
            Flag::DiscCountMismatch => ResultFlag::DiscCountMismatch,
            Flag::BodyTooLarge => ResultFlag::BodyTooLarge,
            Flag::LaterallyTruncated => ResultFlag::LaterallyTruncated,
            Flag::RowInterrupted => ResultFlag::RowInterrupted,
            Flag::VertebraeDisputed => ResultFlag::VertebraeDisputed,
        }
    }
}

/// One vertebra of a result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VertebraEntry {
    /// SPINEPS' number; a level only where `level` is given.
    pub id: u8,
    /// `L4`; null where no landmark fixes the numbers.
    level: Option<String>,
    pub body_ml: f64,
    pub truncated: bool,
}

/// Millilitres per structure in the volume; on the wire an object `{"disc": 61.2}`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VolumesMl(Vec<(Structure, f64)>);

impl Serialize for VolumesMl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// Payload of `jobs/{job}/result`: the numbers of a finished job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobResult {
    pub job: JobId,
    pub generation: u32,
    pub model: ModelTag,
    pub engine: Engine,
    /// Top to bottom, without the sacrum.
    vertebrae: Vec<VertebraEntry>,
    sacrum: bool,
    numbering: Numbering,
    /// The job whose levels these are, where another series of the study names them.
    pub levels_from: Option<JobId>,
    flags: Vec<ResultFlag>,
    volumes_ml: VolumesMl,
    /// Mean probability of the winning class over the labelled voxels, 0..1; 0 where nothing was labelled.
    confidence: f64,
    pub stages_ms: Timings,
    pub outputs: Vec<OutputKind>,
    /// What the series was taken as. The site's words in it are not published.
    pub selection: Option<Selection>,
    /// The job whose image of the same acquisition is less corrected.
    pub replaces: Option<JobId>,
    /// As in [`JobStatus`].
    pub fallback: Option<Passed>,
    /// `None` where nobody looked.
    pub lesions: Option<LesionCounts>,
}

impl JobResult {
    pub fn new(
        job: JobId,
        generation: u32,
        segmentation: &Segmentation,
        model: ModelTag,
        engine: Engine,
    ) -> JobResult {
        let known = segmentation.numbering.is_verified();
        let entry = |v: &pipeline::Vertebra| VertebraEntry {
            id: v.id.value(),
            level: known.then(|| v.id.name()),
            body_ml: rounded(v.body_ml, 2),
            truncated: v.truncated,
        };
        JobResult {
            job,
            generation,
            model,
            engine,
            vertebrae: segmentation.vertebrae.iter().map(entry).collect(),
            sacrum: segmentation.sacrum,
            numbering: segmentation.numbering,
            levels_from: None,
            flags: segmentation.flags.iter().copied().map(ResultFlag::from).collect(),
            volumes_ml: volumes_ml(segmentation),
            confidence: rounded(f64::from(segmentation.confidence), 4),
            stages_ms: Timings::default(),
            outputs: Vec::new(),
            selection: None,
            replaces: None,
            fallback: None,
            lesions: segmentation.tumours.as_ref().map(LesionCounts::of),
        }
    }

    pub fn vertebrae(&self) -> &[VertebraEntry] {
        &self.vertebrae
    }
}

impl Serialize for JobResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("job", &self.job)?;
        map.serialize_entry("generation", &self.generation)?;
        map.serialize_entry("vertebrae_count", &self.vertebrae.len())?;
        map.serialize_entry("vertebrae", &self.vertebrae)?;
        map.serialize_entry("sacrum", &self.sacrum)?;
        map.serialize_entry("numbering", &self.numbering)?;
        map.serialize_entry("levels_from", &self.levels_from)?;
        map.serialize_entry("flags", &self.flags)?;
        map.serialize_entry("volumes_ml", &self.volumes_ml)?;
        map.serialize_entry("confidence", &self.confidence)?;
        map.serialize_entry("engine", &self.engine.kind)?;
        map.serialize_entry("precision", &self.engine.precision)?;
        map.serialize_entry("model", &self.model.name)?;
        map.serialize_entry("model_version", &self.model.version)?;
        map.serialize_entry("weights_sha256", &hexadecimal(&self.model.weights_sha256))?;
        map.serialize_entry("software", &Version::software())?;
        map.serialize_entry("stages_ms", &self.stages_ms)?;
        map.serialize_entry("total_ms", &self.stages_ms.total_ms())?;
        map.serialize_entry("outputs", &self.outputs)?;
        if let Some(Selection { class, confidence, reasons, .. }) = &self.selection {
            map.serialize_entry("class", class)?;
            map.serialize_entry("class_confidence", confidence)?;
            map.serialize_entry("class_reasons", reasons)?;
        }
        if let Some(replaces) = &self.replaces {
            map.serialize_entry("replaces", replaces)?;
        }
        if let Some(fallback) = &self.fallback {
            map.serialize_entry("fallback", fallback)?;
        }
        if let Some(lesions) = &self.lesions {
            map.serialize_entry("lesions", lesions)?;
        }
        map.end()
    }
}

/// Volume per structure that is there, by its value in the mask.
fn volumes_ml(segmentation: &Segmentation) -> VolumesMl {
    let mut counts = [0u64; 256];
    for &value in segmentation.semantic.voxels() {
        counts[usize::from(value)] += 1;
    }
    let [a, b, c] = segmentation.semantic.grid().affine.axes();
    let voxel_mm3 = kernels::volume::dot(kernels::volume::cross(a, b), c).abs();
    let present = Structure::ALL.into_iter().filter(|s| counts[usize::from(s.value())] > 0);
    let volume = |s: Structure| counts[usize::from(s.value())] as f64 * voxel_mm3 / 1000.0;
    VolumesMl(present.map(|s| (s, rounded(volume(s), 2))).collect())
}

/// `value` to so many decimals; 0 for a value that is not a number, because JSON has no word for it.
pub(super) fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    if value.is_finite() { (value * scale).round() / scale } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_ran_twice_has_one_entry_with_both_times() {
        let mut timings = Timings::default();
        for (stage, ms) in
            [(JobStage::Prepare, 3), (JobStage::Semantic, 40), (JobStage::Prepare, 4)]
        {
            timings.add(stage, std::time::Duration::from_millis(ms));
        }
        assert_eq!(timings.stages(), [(JobStage::Prepare, 7.0), (JobStage::Semantic, 40.0)]);
    }

    #[test]
    fn numbers_that_json_cannot_write_become_zero() {
        assert_eq!(rounded(f64::NAN, 2), 0.0);
        assert_eq!(rounded(1.23456, 2), 1.23);
    }
}
