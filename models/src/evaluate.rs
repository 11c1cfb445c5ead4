//! Scores a net with the service's own pipeline on annotated exams.
//!
//! Selection by protocol and size is bypassed: an exam is scored whatever its field of view. The exams and what is
//! annotated in each stand in `exams.toml`; its header defines the rules. In the order of the work:
//!
//! - `truth`: the list and the masks, which must lie on the image's own grid.
//! - `agreement`: Dice, ASSD and NSD of two masks; the definitions, and where they come from.
//! - `matching`: which predicted instance is which annotated one; found, missed, spurious; panoptic quality.
//! - `score`, `spread`, `summary`: one exam; mean, median and worst; the primary exams together.
//! - `json`, `table`, `sheet`: the report for scripts, for a terminal and for the eye.
//!
//! A refused exam is a row of the report, an exam without its image or a mask of another grid an error: then the list is
//! wrong, and no figure would mean what it says.

mod agreement;
pub mod json;
mod matching;
mod score;
pub mod sheet;
mod spread;
mod summary;
mod table;
mod truth;

pub use agreement::{Agreement, TOLERANCE_MM};
pub use matching::{FOUND_DICE, HIT_IOU, Instances, Match, Panoptic, Scope};
pub use score::{ExamScore, Outcome};
pub use spread::Spread;
pub use summary::{Spreads, Summary, summarise};
pub use table::Table;
pub use truth::{Annotated, Exam, Truth, read_exams};

use crate::nifti::{self, NiftiError};
use kernels::Volume;
use pipeline::{Nets, Segmentation, Series, segment};
use std::path::{Path, PathBuf};
use std::time::Instant;
use thiserror::Error;

/// Why exams could not be scored.
#[derive(Debug, Error)]
pub enum EvaluateError {
    #[error("cannot read the list of exams {path}: {reason}")]
    List { path: PathBuf, reason: String },
    #[error("exam {exam}: {source}")]
    Nifti { exam: String, source: NiftiError },
    #[error("exam {exam}: the mask {mask} is on another grid than the image")]
    Grid { exam: String, mask: PathBuf },
}

/// An exam with its scores and what they were made from.
#[derive(Debug)]
pub struct Evaluated {
    pub score: ExamScore,
    pub image: Volume<f32>,
    pub truth: Truth,
    /// `None` when the exam was refused or the net failed; `score` says which.
    pub result: Option<Segmentation>,
}

/// Segments `exam` and scores it.
///
/// # Errors
/// When its image or a mask cannot be read, or a mask lies on another grid.
pub fn evaluate(folder: &Path, exam: &Exam, nets: &mut Nets) -> Result<Evaluated, EvaluateError> {
    let image = nifti::read(&folder.join(&exam.image))
        .map_err(|source| EvaluateError::Nifti { exam: exam.id.clone(), source })?;
    let grid = *image.grid();
    let truth = Truth::read(folder, exam, &grid)?;
    let series = Series::from_volume(image);
    let start = Instant::now();
    let result = segment(&series, &[], nets, &mut |_| {});
    let seconds = start.elapsed().as_secs_f64();
    let score = score::score(exam, &result, &truth, grid, seconds);
    Ok(Evaluated { score, image: series.volume, truth, result: result.ok() })
}
