//! The rules of `exams.toml`: what is scored, what is not, and which lists are errors.
//!
//! The net here knows the answer, so that every score is known beforehand.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use kernels::{Affine, Dims, Grid, Volume};
use models::evaluate::sheet::Sheet;
use models::evaluate::{
    EvaluateError, Evaluated, Exam, ExamScore, Outcome, Table, evaluate, json, read_exams,
    summarise,
};
use models::nifti::encode_labels;
use pipeline::card::{Class, Normalisation};
use pipeline::{ModelCard, Net, NetError, Nets, SemanticStage, Structure, TensorMut, TensorRef};
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

/// What the net makes of blocks 1 to 4, which are bodies, and 5, which is sacrum.
#[derive(Clone, Copy)]
enum Skill {
    Knows,
    Blind,
    Broken,
}

struct Blocks {
    card: ModelCard,
    slice: usize,
    skill: Skill,
}

impl Blocks {
    fn new(skill: Skill) -> Blocks {
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
        Blocks { card, slice: 0, skill }
    }
}

/// The blocks' net, and the classical stage to tell them apart.
fn nets(skill: Skill) -> Nets {
    Nets::new(Box::new(Blocks::new(skill)), None)
}

impl Net for Blocks {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn engine(&self) -> String {
        "blocks".into()
    }

    fn run(&mut self, _: TensorRef<'_>, output: TensorMut<'_>) -> Result<(), NetError> {
        let classes = match self.skill {
            Skill::Knows => [0, 1, 1, 1, 1, 2],
            Skill::Blind => [0; 6],
            Skill::Broken => return Err(NetError::Engine("out of order".into())),
        };
        let plane = ROWS * COLUMNS;
        output.values.fill(0.0);
        for item in output.values.chunks_exact_mut(3 * plane) {
            for at in 0..plane {
                let class = classes[usize::from(block(self.slice * plane + at))];
                item[class * plane + at] = 9.0;
            }
            self.slice += 1;
        }
        Ok(())
    }
}

impl SemanticStage for Blocks {}

const EXAM: &str = r#"
[[exam]]
id = "one"
image = "image.nii.gz"
contrast = "T2w"
primary = true
body = "body.nii.gz"
"#;

/// Scores the exam `EXAM` and the lines `more`, with `body` as its annotation, by a net of some skill.
fn evaluated(
    name: &str,
    more: &str,
    body: &Volume<u16>,
    skill: Skill,
) -> Result<Evaluated, EvaluateError> {
    let folder = Folder::new(name);
    folder.mask("image.nii.gz", &volume(grid(0.0), |n| (n % 97) as u16));
    folder.mask("body.nii.gz", body);
    let exams = folder.exams(&format!("{EXAM}{more}"));
    evaluate(&folder.0, &exams[0], &mut nets(skill))
}

fn score(name: &str, more: &str, body: &Volume<u16>) -> ExamScore {
    evaluated(name, more, body, Skill::Knows).unwrap().score
}

/// The report of some exams, as scripts read it.
fn report(scores: &[ExamScore]) -> serde_json::Value {
    json::report("blocks", Blocks::new(Skill::Knows).card(), scores, &summarise(scores))
}

fn upper_blocks() -> Volume<u16> {
    volume(grid(0.0), |n| block(n) % 5)
}

#[test]
fn bodies_that_are_not_annotated_count_only_between_those_that_are() {
    let inner = volume(grid(0.0), |n| if [2, 3].contains(&block(n)) { block(n) } else { 0 });
    let scored = score("inner", "", &inner);
    assert!(matches!(scored.outcome, Outcome::Segmented { vertebrae: 4, .. }));
    let bodies = scored.bodies.as_ref().unwrap();
    assert_eq!(
        (bodies.predicted, bodies.annotated(), bodies.found(), bodies.spurious),
        (2, 2, 2, 0)
    );
    assert_eq!(bodies.panoptic.quality, 1.0);
    assert_eq!(scored.figures()["body_dice_mean"], 1.0);
    assert_eq!(report(&[scored])["summary"]["count_exact_fraction"], 1.0);
    // Block 2 lies between 1 and 3 and is predicted: one too many.
    let gap = volume(grid(0.0), |n| if [1, 3].contains(&block(n)) { block(n) } else { 0 });
    let scored = score("gap", "", &gap);
    let bodies = scored.bodies.as_ref().unwrap();
    assert_eq!(
        (bodies.predicted, bodies.annotated(), bodies.found(), bodies.spurious),
        (3, 2, 2, 1)
    );
    assert_eq!(bodies.panoptic.quality, 2.0 / 2.5);
    assert_eq!(report(&[scored])["summary"]["count_exact_fraction"], 0.0);
}

#[test]
fn s1_is_scored_as_sacrum_and_not_as_body() {
    let scored = score("s1", "s1 = [5]", &volume(grid(0.0), block));
    assert_eq!((scored.bodies.unwrap().found(), scored.sacrum_found), (4, Some(true)));
    // Block 4, called body, is said to be S1.
    let scored = score("no-s1", "s1 = [4]", &upper_blocks());
    let bodies = scored.bodies.unwrap();
    assert_eq!((bodies.found(), bodies.annotated(), scored.sacrum_found), (3, 3, Some(false)));
}

#[test]
fn a_full_mask_gives_structures_instances_and_levels() {
    let folder = Folder::new("full");
    let structure = [0, 49, 49, 49, 50, 26];
    folder.mask("image.nii.gz", &volume(grid(0.0), |n| (n % 97) as u16));
    folder.mask("full.nii.gz", &volume(grid(0.0), |n| structure[usize::from(block(n))]));
    let exam = "[[exam]]\nid = \"full\"\nimage = \"image.nii.gz\"\ncontrast = \"T2w\"\nprimary = true\n\
                full = \"full.nii.gz\"\nfull_vertebrae = \"levels.nii.gz\"\n";
    let exams = folder.exams(exam);
    // Counted from the sacrum, the blocks are L2 to L5; then the annotator calls each the level above.
    for (above, levels) in [(0, [4, 4]), (1, [0, 4])] {
        let level = |n| match block(n) {
            0 => 0,
            5 => 26,
            b => b + 20 - above,
        };
        folder.mask("levels.nii.gz", &volume(grid(0.0), level));
        let scored = evaluate(&folder.0, &exams[0], &mut nets(Skill::Knows)).unwrap().score;
        assert_eq!(scored.levels, Some(levels));
        assert_eq!(scored.bodies.unwrap().found(), 4);
        assert_eq!(scored.vertebrae.unwrap().annotated(), 4, "the sacrum is no vertebra");
        let dice = |name| scored.structures[name].dice;
        assert_eq!([dice("Vertebral body"), dice("Sacrum")], [1.0, 1.0]);
        assert_eq!(scored.structures.len(), 2, "nothing else is annotated");
    }
}

#[test]
fn only_primary_exams_enter_the_summary() {
    let scored = score("primary", "", &upper_blocks());
    let other = ExamScore { primary: false, ..scored.clone() };
    assert_eq!(report(&[scored])["summary"]["body_dice_mean"], 1.0);
    let report = report(&[other]);
    let summary = report["summary"].as_object().unwrap();
    let keys = [
        "body_dice_mean",
        "body_dice_worst",
        "body_dice_t1_stir",
        "found_fraction",
        "count_exact_fraction",
        "disc_dice_mean",
        "cord_dice_mean",
        "refused_fraction",
        "level_correct_fraction",
    ];
    for key in keys {
        assert!(summary.get(key).is_some_and(serde_json::Value::is_null), "{key}: {summary:?}");
    }
    assert_eq!(summary["over_exams"], serde_json::json!({}));
    assert_eq!(report["exams"][0]["body_dice"]["1"], 1.0, "but it is shown");
}

#[test]
fn a_refused_exam_is_a_row_in_which_everything_is_missed() {
    let refused = evaluated("refused", "", &upper_blocks(), Skill::Blind).unwrap();
    assert!(refused.result.is_none());
    let Outcome::Refused(refusal) = &refused.score.outcome else { panic!("{:?}", refused.score) };
    assert!(refusal.text.contains("no vertebra"), "{refusal}");
    let good = score("not-refused", "", &upper_blocks());
    let report = report(&[good, refused.score]);
    let summary = &report["summary"];
    assert_eq!(report["exams"][1]["outcome"], "refused");
    assert_eq!(report["exams"][1]["reason"]["code"], "no_spine");
    assert_eq!([&summary["refused_fraction"], &summary["failed_fraction"]], [0.5, 0.0]);
    assert_eq!([&summary["body_dice_mean"], &summary["found_fraction"]], [0.5, 0.5]);
    assert_eq!([&summary["body_dice_worst"], &summary["count_exact_fraction"]], [0.0, 0.5]);
    // A missed body has no distance, so that the mean is that of the other exam.
    let assd = &summary["over_exams"]["body_assd_mm_mean"];
    assert_eq!([&assd["mean"], &assd["exams"]], [0.0, 1.0]);
}

#[test]
fn a_net_that_fails_is_a_row_too() {
    let failed = evaluated("failed", "", &upper_blocks(), Skill::Broken).unwrap().score;
    assert!(failed.failed() && Table::new([].into_iter()).row(&failed).contains("out of order"));
    assert_eq!(report(&[failed])["summary"]["failed_fraction"], 1.0);
}

#[test]
fn a_row_shows_what_is_annotated_and_nothing_else() {
    let gap = volume(grid(0.0), |n| if [1, 3].contains(&block(n)) { block(n) } else { 0 });
    let scored = ExamScore { seconds: 1.26, ..score("row", "", &gap) };
    let table = Table::new(["one"].into_iter());
    // The five blocks do not touch: four of them are off the largest.
    let row = table.row(&scored);
    let words: Vec<&str> = row.split_whitespace().collect();
    let expected =
        "one T2w 1.000 1.000 0.00 1.000 0.800 2/2 1 3/2 - - - - 80.00 1.3 s disc_count_mismatch";
    assert_eq!(words.join(" "), expected, "{row}");
    let end = table.head().lines().last().unwrap().find("Dice").unwrap() + "Dice".len();
    assert!(row[..end].ends_with(" 1.000"), "below its title:\n{}\n{row}", table.head());
    let foot = table.foot(std::slice::from_ref(&scored), &summarise(std::slice::from_ref(&scored)));
    assert!(foot.contains("2 of 2 found, 0 missed, 1 where none is annotated"), "{foot}");
}

#[test]
fn the_sheet_shows_each_exam_in_its_true_proportions() {
    let folder = Folder::new("sheet");
    let exam = evaluated("sheet-exam", "", &upper_blocks(), Skill::Knows).unwrap();
    let mut sheet = Sheet::new(&folder.0.join("new")).unwrap();
    sheet.add(&exam).unwrap();
    let card = Blocks::new(Skill::Knows).card;
    let page = sheet.finish(&card, &summarise(&[exam.score])).unwrap();
    let page = std::fs::read_to_string(page).unwrap();
    // Seven slices of 4 mm: too few for steps of 10 mm, so neighbours are shown.
    let captions = ["8 mm left", "4 mm left", "middle", "4 mm right", "8 mm right"];
    let places = captions.map(|c| page.find(&format!("<figcaption>{c}")).expect(c));
    assert!(places.is_sorted() && page.matches("<img").count() == 5, "{places:?}");
    for words in ["one", "blocks 1", "Vertebral body", "body 4, L5", "1.000"] {
        assert!(page.contains(words), "{words}");
    }
    let file = std::fs::File::open(folder.0.join("new/one-2.png")).unwrap();
    let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    // The whole field of 40 x 130 mm.
    let ratio = f64::from(info.width) / f64::from(info.height);
    assert!((ratio - 40.0 / 130.0).abs() < 0.01, "{} x {}", info.width, info.height);
    let pixels: Vec<&[u8]> = bytes.chunks_exact(3).collect();
    assert!(pixels.contains(&[255, 30, 60].as_slice()), "the truth is outlined");
    assert!(pixels.iter().any(|p| p[1] > p[0] && p[1] > p[2]), "the sacrum is green");
}

#[test]
fn a_mask_on_another_grid_is_an_error() {
    let moved = evaluated("grid", "", &volume(grid(0.5), block), Skill::Knows);
    let Err(EvaluateError::Grid { exam, mask }) = moved else { panic!("{moved:?}") };
    assert_eq!((exam.as_str(), mask.as_path()), ("one", Path::new("body.nii.gz")));
}

#[test]
fn an_exam_without_image_or_mask_is_an_error() {
    let folder = Folder::new("missing");
    let exams = folder.exams(EXAM);
    let failed =
        || evaluate(&folder.0, &exams[0], &mut nets(Skill::Knows)).unwrap_err().to_string();
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

/// Runs the program on `folder` with `arguments`.
fn program(folder: &Folder, arguments: &[&str]) -> std::process::Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_evaluate"));
    program.arg("--data").arg(&folder.0).arg("--json").arg(folder.0.join("out.json"));
    program.args(arguments).output().unwrap()
}

/// Zero exams must not look like a passed evaluation, nor an exam without its image.
#[test]
fn the_program_fails_when_nothing_can_be_scored() {
    let folder = Folder::new("program");
    folder.exams(EXAM);
    for (only, reason) in [("", "image.nii.gz"), ("two", "two")] {
        let output = program(&folder, &["--only", only]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(reason), "{text}");
        assert!(!folder.0.join("out.json").exists());
    }
}

#[test]
fn the_program_scores_other_weights_and_is_silent_in_a_pipe() {
    let folder = Folder::new("weights");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights");
    for ending in ["toml", "onnx"] {
        let from = shipped.join("semantic").with_extension(ending);
        std::fs::copy(from, folder.0.join("step").with_extension(ending)).unwrap();
    }
    let card = folder.0.join("step.toml");
    let text = std::fs::read_to_string(&card).unwrap();
    std::fs::write(&card, text.replace("version = \"", "version = \"step-")).unwrap();
    // No spine in it: a row, not the end of the run.
    folder.mask("image.nii.gz", &volume(grid(0.0), |n| (n % 97) as u16));
    folder.mask("body.nii.gz", &upper_blocks());
    folder.exams(EXAM);
    let output = program(&folder, &["--weights", card.to_str().unwrap()]);
    let (out, errors) =
        [&output.stdout, &output.stderr].map(|t| String::from_utf8_lossy(t).into_owned()).into();
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    assert!(out.contains("refused: no_spine"), "{out}");
    let report = std::fs::read(folder.0.join("out.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    assert!(report["model"]["version"].as_str().unwrap().starts_with("step-"), "{report}");
    let wrong = program(&folder, &["--weights", folder.0.join("step.onnx").to_str().unwrap()]);
    let text = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(!wrong.status.success() && text.contains("names a card"), "{text}");
}
