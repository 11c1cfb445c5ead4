//! The rules of `exams.toml`: what is scored, what is not, and which lists are errors.
//!
//! The net here knows the answer, so that every score is known beforehand.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use kernels::{Affine, Dims, Grid, Volume};
use models::evaluate::{EvaluateError, Exam, ExamScore, evaluate, read_exams, summarise};
use models::nifti::encode_labels;
use pipeline::card::{Class, Normalisation};
use pipeline::{ModelCard, Net, NetError, Nets, Structure, TensorMut, TensorRef};
use std::path::{Path, PathBuf};
use std::process::Command;

const COLUMNS: usize = 40;
const ROWS: usize = 130;
const SLICES: usize = 7;
/// Rows from one body to the next.
const PITCH: usize = 26;

/// A folder of its own for each test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("sagitta-evaluate-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn exams(&self, text: &str) -> Vec<Exam> {
        std::fs::write(self.0.join("exams.toml"), text).unwrap();
        read_exams(&self.0).unwrap()
    }

    fn mask(&self, name: &str, mask: &Volume<u16>) {
        std::fs::write(self.0.join(name), encode_labels(mask).unwrap()).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left-overs in the system's temporary folder harm nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// (P, I, R), a millimetre in plane, moved by `shift` millimetres to the left.
fn grid(shift: f64) -> Grid {
    let axes = [[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-4.0, 0.0, 0.0]];
    Grid {
        dims: Dims::new([COLUMNS, ROWS, SLICES]).unwrap(),
        affine: Affine::new(axes, [shift, 0.0, 0.0]).unwrap(),
    }
}

/// Number, from 1, of the block of 24 x 20 mm a voxel lies in, top to bottom; 0 between them.
fn block(offset: usize) -> u16 {
    let [i, j, k] = grid(0.0).dims.index(offset);
    let inside = (8..32).contains(&i) && j % PITCH < 20 && (1..6).contains(&k);
    if inside { (j / PITCH) as u16 + 1 } else { 0 }
}

fn volume(grid: Grid, value: impl Fn(usize) -> u16) -> Volume<u16> {
    Volume::new(grid, (0..grid.dims.voxels()).map(value).collect()).unwrap()
}

/// Calls blocks 1 to 4 body and block 5 sacrum.
struct Blocks {
    card: ModelCard,
    slice: usize,
}

impl Blocks {
    fn new() -> Blocks {
        let normalisation =
            Normalisation { low_percentile: 0.5, high_percentile: 99.5, foreground: 0.05 };
        let card = ModelCard {
            name: "blocks".into(),
            version: "1".into(),
            weights_sha256: String::new(),
            context: 2,
            multiple_of: 1,
            in_plane_mm: 1.0,
            slice_pitch_mm: [2.0, 4.6],
            normalisation,
            mirror_slices: false,
            classes: vec![
                Class::Background,
                Class::Single(Structure::VertebralBody),
                Class::Single(Structure::Sacrum),
            ],
        };
        Blocks { card, slice: 0 }
    }
}

/// The blocks' net, and the classical stage to tell them apart.
fn nets() -> Nets {
    Nets { semantic: Box::new(Blocks::new()), instance: None }
}

impl Net for Blocks {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn engine(&self) -> String {
        "blocks".into()
    }

    fn run(&mut self, _: TensorRef<'_>, output: TensorMut<'_>) -> Result<(), NetError> {
        let plane = ROWS * COLUMNS;
        output.values.fill(0.0);
        for item in output.values.chunks_exact_mut(3 * plane) {
            for at in 0..plane {
                let class = [0, 1, 1, 1, 1, 2][usize::from(block(self.slice * plane + at))];
                item[class * plane + at] = 9.0;
            }
            self.slice += 1;
        }
        Ok(())
    }
}

const EXAM: &str = r#"
[[exam]]
id = "one"
image = "image.nii.gz"
contrast = "T2w"
primary = true
body = "body.nii.gz"
"#;

/// Scores the exam `EXAM` and the lines `more`, with `body` as its annotation.
fn score(name: &str, more: &str, body: &Volume<u16>) -> Result<ExamScore, EvaluateError> {
    let folder = Folder::new(name);
    folder.mask("image.nii.gz", &volume(grid(0.0), |n| (n % 97) as u16));
    folder.mask("body.nii.gz", body);
    let exams = folder.exams(&format!("{EXAM}{more}"));
    evaluate(&folder.0, &exams[0], &mut nets())
}

#[test]
fn bodies_that_are_not_annotated_count_only_between_those_that_are() {
    let inner = volume(grid(0.0), |n| if [2, 3].contains(&block(n)) { block(n) } else { 0 });
    let scored = score("inner", "", &inner).unwrap();
    assert_eq!(scored.vertebrae, 4);
    assert_eq!((scored.body_count, scored.found()), (Some([2, 2]), Some([2, 2])));
    assert_eq!(scored.body_mean(), Some(1.0));
    assert_eq!(summarise(&[scored]).count_exact_fraction, Some(1.0));
    // Block 2 lies between 1 and 3 and is predicted: one too many.
    let gap = volume(grid(0.0), |n| if [1, 3].contains(&block(n)) { block(n) } else { 0 });
    let scored = score("gap", "", &gap).unwrap();
    assert_eq!(scored.body_count, Some([3, 2]));
    assert_eq!(summarise(&[scored]).count_exact_fraction, Some(0.0));
}

#[test]
fn s1_is_scored_as_sacrum_and_not_as_body() {
    let scored = score("s1", "s1 = [5]", &volume(grid(0.0), block)).unwrap();
    assert_eq!((scored.body_count, scored.sacrum_found), (Some([4, 4]), Some(true)));
    // Block 4, called body, is said to be S1.
    let upper = volume(grid(0.0), |n| block(n) % 5);
    let scored = score("no-s1", "s1 = [4]", &upper).unwrap();
    assert_eq!((scored.found(), scored.sacrum_found), (Some([3, 3]), Some(false)));
}

#[test]
fn only_primary_exams_enter_the_summary() {
    let scored = score("primary", "", &volume(grid(0.0), |n| block(n) % 5)).unwrap();
    let other = ExamScore { primary: false, ..scored.clone() };
    assert_eq!(summarise(&[scored]).body_dice_mean, Some(1.0));
    let summary = serde_json::to_value(summarise(&[other])).unwrap();
    let keys = [
        "body_dice_mean",
        "body_dice_worst",
        "body_dice_t1_stir",
        "found_fraction",
        "count_exact_fraction",
        "disc_dice_mean",
        "cord_dice_mean",
    ];
    for key in keys {
        assert!(summary.get(key).is_some_and(serde_json::Value::is_null), "{key}: {summary}");
    }
    assert_eq!(summary.as_object().unwrap().len(), keys.len());
}

#[test]
fn a_mask_on_another_grid_is_an_error() {
    let moved = score("grid", "", &volume(grid(0.5), block));
    let Err(EvaluateError::Grid { exam, mask }) = moved else { panic!("{moved:?}") };
    assert_eq!((exam.as_str(), mask.as_path()), ("one", Path::new("body.nii.gz")));
}

#[test]
fn an_exam_without_image_or_mask_is_an_error() {
    let folder = Folder::new("missing");
    let exams = folder.exams(EXAM);
    let failed = || evaluate(&folder.0, &exams[0], &mut nets()).unwrap_err().to_string();
    assert!(failed().contains("exam one") && failed().contains("image.nii.gz"), "{}", failed());
    folder.mask("image.nii.gz", &volume(grid(0.0), |n| (n % 97) as u16));
    assert!(failed().contains("exam one") && failed().contains("body.nii.gz"), "{}", failed());
}

#[test]
fn a_list_that_is_empty_absent_or_not_understood_is_an_error() {
    let folder = Folder::new("list");
    let failed = || read_exams(&folder.0).unwrap_err().to_string();
    assert!(failed().contains("exams.toml"), "{}", failed());
    let unknown = format!("{EXAM}bodies = \"x\"");
    for (text, reason) in [("exam = []", "no exam"), ("", "exam"), (&unknown, "bodies")] {
        std::fs::write(folder.0.join("exams.toml"), text).unwrap();
        assert!(failed().contains(reason), "{}", failed());
    }
}

/// Zero exams must not look like a passed evaluation, nor an exam without its image.
#[test]
fn the_program_fails_when_nothing_can_be_scored() {
    let folder = Folder::new("program");
    let json = folder.0.join("out.json");
    folder.exams(EXAM);
    for (only, reason) in [("", "image.nii.gz"), ("two", "two")] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_evaluate"));
        program.arg("--data").arg(&folder.0).arg("--json").arg(&json).args(["--only", only]);
        let output = program.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(reason), "{text}");
        assert!(!json.exists());
    }
}
