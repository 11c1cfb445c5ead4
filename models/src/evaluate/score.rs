//! The scores of one exam: the service's result against the annotation.
//!
//! An exam without a result (refused, or the net failed) is scored as one in which nothing was predicted: to leave it out
//! would reward a net for refusing what is difficult.

use super::agreement::Agreement;
use super::matching::Instances;
use super::spread::Spread;
use super::truth::{Exam, Truth, is_vertebra};
use kernels::components::{Connectivity, label};
use kernels::{Grid, Volume};
use pipeline::{Flag, Numbering, Refusal, SegmentError, Segmentation, Structure, VertebraId};
use std::collections::BTreeMap;

/// S1 counts as sacrum found when this share of its body is called sacrum.
const SACRUM_FOUND: f64 = 0.5;

/// What became of an exam.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Segmented {
        /// How many vertebrae, without the sacrum.
        vertebrae: usize,
        numbering: Numbering,
        flags: Vec<Flag>,
        /// Share of the labelled voxels outside the largest 26-connected component of all labels.
        off_spine: f64,
    },
    Refused(Refusal),
    /// The engine failed: our move.
    Failed(String),
}

/// The scores of one exam; `None` where nothing is annotated.
#[derive(Debug, Clone)]
pub struct ExamScore {
    pub id: String,
    pub contrast: String,
    /// Enters the summary.
    pub primary: bool,
    /// Time of `segment`.
    pub seconds: f64,
    pub outcome: Outcome,
    pub bodies: Option<Instances>,
    pub discs: Option<Instances>,
    /// Whole vertebrae, without their endplates.
    pub vertebrae: Option<Instances>,
    /// Found vertebrae whose level is the annotated one, of how many; `None` too when the numbers are no levels.
    pub levels: Option<[usize; 2]>,
    /// Whether the annotated S1 is called sacrum.
    pub sacrum_found: Option<bool>,
    /// By name; those that are annotated.
    pub structures: BTreeMap<&'static str, Agreement>,
}

/// Names of structures that are scored besides those of [`Structure::ALL`]: pairs without their sides, and the canal
/// with what lies in it, since annotators end the cord where they like.
const JOINED: [(&str, [Structure; 2]); 4] = [
    ("Transverse process", [Structure::TransverseProcessLeft, Structure::TransverseProcessRight]),
    (
        "Superior articular process",
        [Structure::SuperiorArticularLeft, Structure::SuperiorArticularRight],
    ),
    (
        "Inferior articular process",
        [Structure::InferiorArticularLeft, Structure::InferiorArticularRight],
    ),
    ("Spinal canal with cord", [Structure::SpinalCanal, Structure::SpinalCord]),
];

impl ExamScore {
    /// Agreement of the cord, by a mask of its own or a full one.
    pub fn cord(&self) -> Option<Agreement> {
        self.structures.get(Structure::SpinalCord.name()).copied()
    }

    /// The engine failed, which is no fault of the exam's.
    pub fn failed(&self) -> bool {
        matches!(self.outcome, Outcome::Failed(_))
    }

    /// The instances by kind, those that are annotated.
    pub fn instances(&self) -> impl Iterator<Item = (&'static str, &Instances)> {
        let kinds = [("body", &self.bodies), ("disc", &self.discs), ("vertebra", &self.vertebrae)];
        kinds.into_iter().filter_map(|(kind, instances)| Some((kind, instances.as_ref()?)))
    }

    /// One value for the exam by the name of its measure: what is averaged over exams.
    pub fn figures(&self) -> BTreeMap<String, f64> {
        let mut figures = BTreeMap::new();
        for (kind, instances) in self.instances() {
            let matches = || instances.matches.values().map(|m| m.agreement);
            let spreads = [
                ("dice", Spread::of(matches().map(|a| a.dice))),
                ("assd_mm", Spread::of_distances(matches().filter_map(|a| a.assd_mm))),
                ("nsd_1mm", Spread::of(matches().map(|a| a.nsd))),
            ];
            for (measure, spread) in spreads {
                let Some(Spread { mean, median, worst, .. }) = spread else { continue };
                for (which, value) in [("mean", mean), ("median", median), ("worst", worst)] {
                    figures.insert(format!("{kind}_{measure}_{which}"), value);
                }
            }
            let panoptic = instances.panoptic;
            figures.insert(format!("{kind}_rq"), panoptic.recognition);
            figures.insert(format!("{kind}_pq"), panoptic.quality);
            figures.extend(panoptic.segmentation.map(|sq| (format!("{kind}_sq"), sq)));
        }
        for (name, agreement) in &self.structures {
            let key = name.to_lowercase().replace(' ', "_");
            figures.insert(format!("{key}_dice"), agreement.dice);
            figures.extend(agreement.assd_mm.map(|assd| (format!("{key}_assd_mm"), assd)));
            figures.insert(format!("{key}_nsd_1mm"), agreement.nsd);
        }
        if let Outcome::Segmented { off_spine, .. } = self.outcome {
            figures.insert("off_spine_fraction".to_owned(), off_spine);
        }
        figures
    }
}

/// The two masks of a result; empty where there is none.
struct Masks {
    semantic: Volume<u8>,
    instances: Volume<u16>,
}

impl Masks {
    fn of(result: Option<&Segmentation>, grid: Grid) -> Masks {
        match result {
            Some(result) => {
                Masks { semantic: result.semantic.clone(), instances: result.instances.clone() }
            }
            None => Masks { semantic: Volume::filled(grid, 0), instances: Volume::filled(grid, 0) },
        }
    }

    /// Instance labels, less `offset`, where the semantic mask has `structure`.
    fn instances_of(&self, structure: Structure, offset: u16) -> Volume<u16> {
        let mut labels = self.instances.clone();
        for (label, &value) in labels.voxels_mut().iter_mut().zip(self.semantic.voxels()) {
            *label = if value == structure.value() { label.saturating_sub(offset) } else { 0 };
        }
        labels
    }
}

/// Scores the result of `segment` on an exam, which took `seconds`.
pub(super) fn score(
    exam: &Exam,
    result: &Result<Segmentation, SegmentError>,
    truth: &Truth,
    grid: Grid,
    seconds: f64,
) -> ExamScore {
    let masks = Masks::of(result.as_ref().ok(), grid);
    let compare = |predicted: &dyn Fn() -> Volume<u16>, truth: &Option<super::Annotated>| {
        let annotated = truth.as_ref()?;
        Instances::compare(&predicted(), &annotated.labels, annotated.scope)
    };
    let vertebrae =
        compare(&|| masks.instances.map(|v| if is_vertebra(v) { v } else { 0 }), &truth.vertebrae);
    ExamScore {
        id: exam.id.clone(),
        contrast: exam.contrast.clone(),
        primary: exam.primary,
        seconds,
        outcome: outcome(result),
        bodies: compare(&|| masks.instances_of(Structure::VertebralBody, 0), &truth.bodies),
        discs: compare(
            &|| masks.instances_of(Structure::Disc, VertebraId::DISC_OFFSET),
            &truth.discs,
        ),
        levels: vertebrae.as_ref().and_then(|v| levels(result.as_ref().ok()?, v)),
        vertebrae,
        sacrum_found: truth.s1.as_ref().map(|s1| sacrum_found(&masks.semantic, s1)),
        structures: structures(&masks.semantic, truth),
    }
}

fn outcome(result: &Result<Segmentation, SegmentError>) -> Outcome {
    match result {
        Ok(result) => Outcome::Segmented {
            vertebrae: result.vertebrae.len(),
            numbering: result.numbering,
            flags: result.flags.clone(),
            off_spine: off_spine(&result.semantic),
        },
        Err(SegmentError::Refused(refusal)) => Outcome::Refused(refusal.clone()),
        Err(SegmentError::Net(error)) => Outcome::Failed(error.to_string()),
    }
}

/// Share of the labelled voxels outside the largest component of all labels together.
fn off_spine(semantic: &Volume<u8>) -> f64 {
    let parts = label(&semantic.map(|v| u8::from(v != 0)), Connectivity::Corners26).parts;
    let largest = parts.iter().map(|part| part.voxels).max().unwrap_or(0);
    let all: usize = parts.iter().map(|part| part.voxels).sum();
    (all - largest) as f64 / all.max(1) as f64
}

/// Found vertebrae with the annotated id, of how many found; `None` where ids are not levels.
fn levels(result: &Segmentation, vertebrae: &Instances) -> Option<[usize; 2]> {
    if !result.numbering.is_verified() {
        return None;
    }
    let found = || vertebrae.matches.iter().filter(|(_, m)| m.is_found());
    let correct = found().filter(|&(&level, m)| m.partner == Some(level)).count();
    Some([correct, found().count()])
}

fn sacrum_found(semantic: &Volume<u8>, s1: &Volume<u8>) -> bool {
    let pairs = || s1.voxels().iter().zip(semantic.voxels()).filter(|&(&s1, _)| s1 != 0);
    let sacral = pairs().filter(|&(_, &value)| value == Structure::Sacrum.value()).count();
    sacral as f64 >= SACRUM_FOUND * pairs().count() as f64
}

/// Agreement of every structure annotated.
fn structures(semantic: &Volume<u8>, truth: &Truth) -> BTreeMap<&'static str, Agreement> {
    let mut agreements = BTreeMap::new();
    if let Some(full) = &truth.structures {
        let singles = Structure::ALL.map(|structure| (structure.name(), [structure; 2]));
        for (name, structures) in singles.into_iter().chain(JOINED) {
            let one_of = |v: u8| u8::from(structures.iter().any(|s| s.value() == v));
            let annotated = full.map(one_of);
            if annotated.voxels().contains(&1) {
                agreements.insert(name, Agreement::of(&semantic.map(one_of), &annotated));
            }
        }
    }
    if let Some(cord) = &truth.cord {
        let predicted = semantic.map(|v| u8::from(v == Structure::SpinalCord.value()));
        agreements.insert(Structure::SpinalCord.name(), Agreement::of(&predicted, cord));
    }
    agreements
}
