//! The stages in the order in which they run.

use crate::labels::Structure;
use crate::net::{NetError, Nets};
use crate::numbering::Neighbour;
use crate::refusal::{Refusal, RefusalCode};
use crate::result::{Flag, Segmentation, Stage};
use crate::semantic::ClassMap;
use crate::series::Series;
use crate::{clean, instances, join, measure, prepare, restore, vertebrae};
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
/// [`SegmentError::Refused`] when the volume has no contrast or no vertebra is found; [`SegmentError::Net`] when the
/// engine fails.
pub fn segment(
    series: &Series,
    neighbours: &[Neighbour],
    nets: &mut Nets,
    begin: &mut dyn FnMut(Stage),
) -> Result<Segmentation, SegmentError> {
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
    begin(Stage::Measure);
    let vertebrae = measure::vertebrae(&semantic, &instances, &joined.ids, &found.support);
    let mut flags =
        measure::flags(&vertebrae, joined.discs, joined.numbering, &semantic, series.slice_axis);
    flags.extend(joined.landmarks_disagree.then_some(Flag::LandmarksDisagree));
    flags.extend(found.disputed.then_some(Flag::VertebraeDisputed));
    let sacrum = semantic.voxels().contains(&Structure::Sacrum.value());
    let numbering = joined.numbering;
    let known = (flags.as_slice(), confidence);
    let measures = measure::measurements(&semantic, &instances, &vertebrae, numbering, known);
    Ok(Segmentation {
        semantic,
        instances,
        vertebrae,
        sacrum,
        numbering,
        likely: found.levels.likely(),
        flags,
        confidence,
        measures,
        tumours: None,
    })
}
