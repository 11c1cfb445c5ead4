//! The stages in the order in which they run.

use crate::labels::{Structure, VertebraId};
use crate::measure::Measurements;
use crate::net::{NetError, Nets};
use crate::numbering::Neighbour;
use crate::refusal::{Refusal, RefusalCode};
use crate::result::{Flag, LikelyLevels, Masks, Numbering, Segmentation, Stage, Support, Vertebra};
use crate::semantic::ClassMap;
use crate::series::Series;
use crate::{clean, instances, join, measure, prepare, restore, vertebrae};
use kernels::Volume;
use thiserror::Error;

/// Why there is no segmentation.
#[derive(Debug, Error)]
pub enum SegmentError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Net(#[from] NetError),
}

/// Segments one series. `neighbours` are what is known of other series of the study in its frame of reference; `begin` is
/// called as each stage begins.
///
/// # Errors
/// As [`delineate`].
pub fn segment(
    series: &Series,
    neighbours: &[Neighbour],
    nets: &mut Nets,
    begin: &mut dyn FnMut(Stage),
) -> Result<Segmentation, SegmentError> {
    let delineated = delineate(series, neighbours, nets, begin)?;
    begin(Stage::Measure);
    Ok(delineated.measured())
}

/// A result before anything was measured: all that an overlay shows is known, and a viewer need not wait for the numbers.
#[derive(Debug)]
pub struct Delineated {
    semantic: Volume<u8>,
    instances: Volume<u16>,
    ids: Vec<VertebraId>,
    /// One for each of `ids`; none where the classical stage alone told the vertebrae apart.
    support: Vec<Support>,
    numbering: Numbering,
    likely: Vec<LikelyLevels>,
    /// Discs found, and those one expects between the bodies.
    discs: usize,
    /// What the stages found wrong.
    doubts: Vec<Flag>,
    confidence: f32,
    /// The axis of the source grid that runs from slice to slice.
    slice_axis: usize,
}

/// What [`Delineated::measure`] gives.
#[derive(Debug)]
pub struct Measured {
    vertebrae: Vec<Vertebra>,
    flags: Vec<Flag>,
    measures: Measurements,
}

/// Finds all structures of one series and names them: [`segment`] without its last stage.
///
/// # Errors
/// [`SegmentError::Refused`] when the volume has no contrast or no vertebra is found; [`SegmentError::Net`] when the
/// engine fails.
pub fn delineate(
    series: &Series,
    neighbours: &[Neighbour],
    nets: &mut Nets,
    begin: &mut dyn FnMut(Stage),
) -> Result<Delineated, SegmentError> {
    begin(Stage::Prepare);
    let prepared = prepare::prepare(&series.volume, nets.semantic.card())?;
    begin(Stage::Semantic);
    let ClassMap { classes, confidence } = nets.classify(&prepared)?;
    let card = nets.semantic.card();
    begin(Stage::Clean);
    let no_spine = || {
        let text = "no vertebra was found in the volume";
        Refusal::new(RefusalCode::NoSpine, text).on_grid(series.volume.grid())
    };
    let classes = clean::clean(&classes, card).ok_or_else(no_spine)?;
    begin(Stage::Vertebrae);
    let bodies = vertebrae::find_bodies(&classes, card);
    let found = match nets.instance.as_deref_mut() {
        Some(instance) => instances::separate(&classes, &bodies, card, instance)?,
        None => instances::by_height(&classes, bodies, card),
    };
    if found.bodies.centres.is_empty() {
        return Err(no_spine().into());
    }
    begin(Stage::Join);
    let joined = join::join(classes, &found, neighbours, card);
    begin(Stage::Restore);
    let (semantic, instances) = restore::restore(&joined, &prepared);
    let disagree = joined.landmarks_disagree.then_some(Flag::LandmarksDisagree);
    let disputed = found.disputed.then_some(Flag::VertebraeDisputed);
    Ok(Delineated {
        semantic,
        instances,
        ids: joined.ids,
        support: found.support,
        numbering: joined.numbering,
        likely: found.levels.likely(),
        discs: joined.discs,
        doubts: disagree.into_iter().chain(disputed).collect(),
        confidence,
        slice_axis: series.slice_axis,
    })
}

impl Delineated {
    pub fn masks(&self) -> Masks<'_> {
        let Delineated { semantic, instances, numbering, .. } = self;
        Masks { semantic, instances, numbering: *numbering }
    }

    /// Measures the finished masks.
    pub fn measure(&self) -> Measured {
        let Delineated { semantic, instances, numbering, .. } = self;
        let vertebrae = measure::vertebrae(semantic, instances, &self.ids, &self.support);
        let mut flags =
            measure::flags(&vertebrae, self.discs, *numbering, semantic, self.slice_axis);
        flags.extend(&self.doubts);
        let known = (flags.as_slice(), self.confidence);
        let measures = measure::measurements(semantic, instances, &vertebrae, *numbering, known);
        Measured { vertebrae, flags, measures }
    }

    /// The result; `measured` is what [`Delineated::measure`] gave.
    pub fn with(self, measured: Measured) -> Segmentation {
        let Measured { vertebrae, flags, measures } = measured;
        Segmentation {
            sacrum: self.semantic.voxels().contains(&Structure::Sacrum.value()),
            semantic: self.semantic,
            instances: self.instances,
            vertebrae,
            numbering: self.numbering,
            likely: self.likely,
            flags,
            confidence: self.confidence,
            measures,
            tumours: None,
        }
    }

    /// The whole result, one step after the other.
    pub fn measured(self) -> Segmentation {
        let measured = self.measure();
        self.with(measured)
    }
}
