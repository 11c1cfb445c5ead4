//! Scores a net with the service's own pipeline on annotated exams.
//!
//! Selection by protocol and size is bypassed: an exam is scored whatever its field of view. The exams and what is
//! annotated in each stand in `exams.toml`; its header defines the rules.

mod score;

pub use score::{ExamScore, Summary, summarise};

use crate::nifti::{self, NiftiError};
use kernels::Volume;
use pipeline::{Nets, SegmentError, Series, segment};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Instant;
use thiserror::Error;

/// One annotated exam; paths are relative to the file that lists it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exam {
    pub id: String,
    pub image: PathBuf,
    pub contrast: String,
    /// Enters the summary.
    pub primary: bool,
    /// Instance mask of vertebral bodies, ids arbitrary.
    pub body: Option<PathBuf>,
    /// Ids in `body` that are S1: scored as sacrum found or not.
    #[serde(default)]
    pub s1: Vec<u16>,
    /// Instance mask of discs.
    pub disc: Option<PathBuf>,
    /// Binary mask of the cord.
    pub cord: Option<PathBuf>,
    /// SPINEPS structure ids.
    pub full: Option<PathBuf>,
    /// SPINEPS instance ids.
    pub full_vertebrae: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExamList {
    exam: Vec<Exam>,
}

/// Why exams could not be scored.
#[derive(Debug, Error)]
pub enum EvaluateError {
    #[error("cannot read the list of exams {path}: {reason}")]
    List { path: PathBuf, reason: String },
    #[error("exam {exam}: {source}")]
    Nifti { exam: String, source: NiftiError },
    #[error("exam {exam}: the mask {mask} is on another grid than the image")]
    Grid { exam: String, mask: PathBuf },
    #[error("exam {exam}: {source}")]
    Segment { exam: String, source: Box<SegmentError> },
}

/// Reads `exams.toml` in `folder`.
pub fn read_exams(folder: &Path) -> Result<Vec<Exam>, EvaluateError> {
    let path = folder.join("exams.toml");
    let failed = |reason: String| EvaluateError::List { path: path.clone(), reason };
    let text = std::fs::read_to_string(&path).map_err(|e| failed(e.to_string()))?;
    let list: ExamList = toml::from_str(&text).map_err(|e| failed(e.to_string()))?;
    if list.exam.is_empty() {
        return Err(failed("it lists no exam".to_owned()));
    }
    Ok(list.exam)
}

/// Segments `exam` and scores it.
pub fn evaluate(folder: &Path, exam: &Exam, nets: &mut Nets) -> Result<ExamScore, EvaluateError> {
    let image = nifti::read(&folder.join(&exam.image))
        .map_err(|source| EvaluateError::Nifti { exam: exam.id.clone(), source })?;
    let series = Series::from_volume(image);
    let start = Instant::now();
    let result = segment(&series, nets, &mut |_| {})
        .map_err(|e| EvaluateError::Segment { exam: exam.id.clone(), source: Box::new(e) })?;
    let seconds = start.elapsed().as_secs_f64();
    let read = |path: &Option<PathBuf>| {
        path.as_ref().map(|path| read_mask(folder, exam, path, &series.volume)).transpose()
    };
    let truth = score::Truth {
        bodies: read(&exam.body)?,
        s1: &exam.s1,
        discs: read(&exam.disc)?,
        cord: read(&exam.cord)?,
        structures: read(&exam.full)?,
        vertebrae: read(&exam.full_vertebrae)?,
    };
    Ok(score::score(exam, &result, &truth, seconds))
}

/// A mask, which must lie on the image's own grid: a resampled truth is no truth.
fn read_mask(
    folder: &Path,
    exam: &Exam,
    mask: &Path,
    image: &Volume<f32>,
) -> Result<Volume<u16>, EvaluateError> {
    /// Two affines that differ by less than this anywhere are one: NIfTI stores single precision.
    const TOLERANCE_MM: f64 = 1e-2;
    let labels = nifti::read_labels(&folder.join(mask))
        .map_err(|source| EvaluateError::Nifti { exam: exam.id.clone(), source })?;
    let (a, b) = (image.grid(), labels.grid());
    let far = a.dims.counts().map(|n| n as f64);
    let same_place = [[0.0; 3], far].iter().all(|&corner| {
        let (p, q) = (a.affine.world(corner), b.affine.world(corner));
        p.iter().zip(q).all(|(p, q)| (p - q).abs() <= TOLERANCE_MM)
    });
    if a.dims != b.dims || !same_place {
        return Err(EvaluateError::Grid { exam: exam.id.clone(), mask: mask.to_owned() });
    }
    Ok(labels)
}
