//! What is annotated in an exam: `exams.toml`, the masks it names, and the instances they hold.

use super::EvaluateError;
use super::matching::Scope;
use crate::nifti;
use kernels::{Grid, Volume};
use pipeline::{Structure, VertebraId};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// SPINEPS' inner part of the body, which our nets do not part from the rest.
const INNER_BODY: u16 = 50;

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

/// Annotated instances, and where others would be annotated too.
#[derive(Debug, Clone)]
pub struct Annotated {
    pub labels: Volume<u16>,
    pub scope: Scope,
}

/// The annotation of one exam, on its image's grid; `None` where there is none.
#[derive(Debug, Clone)]
pub struct Truth {
    /// Vertebral bodies, without S1.
    pub bodies: Option<Annotated>,
    pub discs: Option<Annotated>,
    /// Whole vertebrae by [`VertebraId`], without the sacrum.
    pub vertebrae: Option<Annotated>,
    /// Body of S1.
    pub s1: Option<Volume<u8>>,
    pub cord: Option<Volume<u8>>,
    /// [`Structure`] values.
    pub structures: Option<Volume<u8>>,
}

impl Truth {
    /// Reads the masks of `exam`, all of which must lie on `grid`.
    pub(super) fn read(folder: &Path, exam: &Exam, grid: &Grid) -> Result<Truth, EvaluateError> {
        let read = |path: &Option<PathBuf>| {
            path.as_ref().map(|path| read_mask(folder, exam, path, grid)).transpose()
        };
        let full = read(&exam.full)?;
        let levels = read(&exam.full_vertebrae)?;
        let bodies = read(&exam.body)?;
        let is_s1 = |value: u16| exam.s1.contains(&value);
        let s1 = bodies.as_ref().filter(|_| !exam.s1.is_empty());
        let inside = |volume: Volume<u16>| volume.map(|v| u8::from(v != 0));
        let between = |labels| Annotated { labels, scope: Scope::Between };
        let of_full = |structure, offset| {
            let labels = instances(full.as_ref()?, levels.as_ref()?, structure, offset);
            Some(Annotated { labels, scope: Scope::Everywhere })
        };
        Ok(Truth {
            s1: s1.map(|mask| mask.map(|v| u8::from(is_s1(v)))),
            bodies: bodies
                .map(|mask| between(mask.map(|v| if is_s1(v) { 0 } else { v })))
                .or_else(|| of_full(Structure::VertebralBody, 0)),
            discs: read(&exam.disc)?
                .map(between)
                .or_else(|| of_full(Structure::Disc, VertebraId::DISC_OFFSET)),
            vertebrae: levels.as_ref().map(|mask| Annotated {
                labels: mask.map(|v| if is_vertebra(v) { v } else { 0 }),
                scope: Scope::Everywhere,
            }),
            cord: read(&exam.cord)?.map(inside),
            structures: full.map(|mask| mask.map(structure_value)),
        })
    }
}

/// Whether a value of an instance mask is a vertebra's, and neither the sacrum's nor that of a disc or an endplate.
pub(super) fn is_vertebra(value: u16) -> bool {
    (1..VertebraId::DISC_OFFSET).contains(&value) && value != u16::from(VertebraId::SACRUM.value())
}

/// The value of our semantic mask for one of SPINEPS'; 0 for what we do not know.
fn structure_value(value: u16) -> u8 {
    let value = if value == INNER_BODY { Structure::VertebralBody.value().into() } else { value };
    u8::try_from(value).ok().and_then(Structure::from_value).map_or(0, Structure::value)
}

/// The instances of one structure by the id of their vertebra.
fn instances(
    full: &Volume<u16>,
    levels: &Volume<u16>,
    structure: Structure,
    offset: u16,
) -> Volume<u16> {
    let mut labels = levels.clone();
    for (label, &value) in labels.voxels_mut().iter_mut().zip(full.voxels()) {
        let inside = structure_value(value) == structure.value();
        *label = if inside { label.saturating_sub(offset) } else { 0 };
    }
    labels
}

/// A mask, which must lie on the image's own grid: a resampled truth is no truth.
fn read_mask(
    folder: &Path,
    exam: &Exam,
    mask: &Path,
    image: &Grid,
) -> Result<Volume<u16>, EvaluateError> {
    /// Two affines that differ by less than this anywhere are one: NIfTI stores single precision.
    const TOLERANCE_MM: f64 = 1e-2;
    let labels = nifti::read_labels(&folder.join(mask))
        .map_err(|source| EvaluateError::Nifti { exam: exam.id.clone(), source })?;
    let grid = labels.grid();
    let [ni, nj, nk] = image.dims.counts().map(|n| n as f64);
    // An affine is known by four points; corners along each axis show every change of step and origin.
    let corners = [[0.0; 3], [ni, 0.0, 0.0], [0.0, nj, 0.0], [0.0, 0.0, nk]];
    let same_place = corners.iter().all(|&corner| {
        let (p, q) = (image.affine.world(corner), grid.affine.world(corner));
        p.iter().zip(q).all(|(p, q)| (p - q).abs() <= TOLERANCE_MM)
    });
    if image.dims != grid.dims || !same_place {
        return Err(EvaluateError::Grid { exam: exam.id.clone(), mask: mask.to_owned() });
    }
    Ok(labels)
}
