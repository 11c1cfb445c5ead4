//! The evaluation's measures against SciPy, which reaches the same definitions another way: on made-up instances, and on
//! what the shipped net makes of real exams.
//!
//! Needs `SAGITTA_PYTHON`, a Python with the packages of `tests/requirements.txt`, and the reference data; `tests/run`
//! provides both.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::process::Command;
use std::time::Duration;

use kernels::{Affine, Dims, Grid, Volume};
use models::engine::{EngineChoice, load};
use models::evaluate::{
    Agreement, Annotated, Evaluated, Instances, Outcome, Scope, evaluate, read_exams,
};
use models::nifti::encode_labels;
use pipeline::{Structure, VertebraId};
use serde_json::Value;
use tests::{TempDir, python, root, run, shared};

/// Both sides sum the same distances in double precision, in another order and from coordinates computed another way.
const TOLERANCE: f64 = 1e-6;
/// Seconds of work on an idle machine; a busy one has taken ten times as long.
const LIMIT: Duration = Duration::from_secs(300);

/// Two label volumes to compare, and what they are.
struct Case {
    what: String,
    predicted: Volume<u16>,
    truth: Annotated,
}

/// What SciPy says of each case.
fn oracle(cases: &[Case]) -> Vec<Value> {
    let folder = TempDir::new().unwrap();
    let mut command = Command::new(python().unwrap());
    command.arg(root().join("tests/peers/mask_agreement.py"));
    for (n, Case { predicted, truth, .. }) in cases.iter().enumerate() {
        for (name, labels) in [("predicted", predicted), ("annotated", &truth.labels)] {
            let path = folder.join(format!("{n}-{name}.nii.gz"));
            std::fs::write(&path, encode_labels(labels).unwrap()).unwrap();
            command.arg(path);
        }
        command.arg(if truth.scope == Scope::Everywhere { "everywhere" } else { "between" });
    }
    let done = run(&mut command, LIMIT).unwrap().success().unwrap();
    let said: Vec<Value> = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(said.len(), cases.len(), "an answer for each case");
    said
}

fn same(got: Option<f64>, want: &Value, what: &str) {
    match (got, want.as_f64()) {
        (Some(got), Some(want)) => {
            assert!((got - want).abs() <= TOLERANCE, "{what}: {got}, SciPy {want}")
        }
        (got, want) => assert_eq!(got, want, "{what}"),
    }
}

fn same_agreement(got: Agreement, want: &Value, what: &str) {
    same(Some(got.dice), &want["dice"], &format!("{what}, Dice"));
    same(got.assd_mm, &want["assd_mm"], &format!("{what}, ASSD"));
    same(Some(got.nsd), &want["nsd"], &format!("{what}, NSD"));
}

/// Compares everything the evaluation says about a case with SciPy; returns the instances.
fn same_instances(case: &Case, want: &Value) -> Instances {
    let Case { what, predicted, truth } = case;
    let got = Instances::compare(predicted, &truth.labels, truth.scope).expect(what);
    assert_eq!(got.matches.len(), want["matches"].as_object().unwrap().len(), "{what}");
    for (id, matched) in &got.matches {
        let (want, what) = (&want["matches"][id.to_string()], format!("{what}, instance {id}"));
        assert_eq!(matched.partner.map(u64::from), want["partner"].as_u64(), "{what}");
        same_agreement(matched.agreement, want, &what);
    }
    let counts = [got.predicted, got.spurious].map(|n| n as u64);
    assert_eq!(
        counts.map(Value::from),
        ["predicted", "spurious"].map(|key| want[key].clone()),
        "{what}"
    );
    same(Some(got.panoptic.recognition), &want["rq"], &format!("{what}, RQ"));
    same(got.panoptic.segmentation, &want["sq"], &format!("{what}, SQ"));
    same(Some(got.panoptic.quality), &want["pq"], &format!("{what}, PQ"));
    let inside = |volume: &Volume<u16>| volume.map(|v| u8::from(v != 0));
    let whole = Agreement::of(&inside(predicted), &inside(&truth.labels));
    same_agreement(whole, &want["whole"], &format!("{what}, all instances"));
    got
}

/// SplitMix64 (Steele, Lea and Flood 2014), as numbers from 0 to 1.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) as f64 / u64::MAX as f64
    }
}

/// A centre and three radii in millimetres.
#[derive(Clone, Copy)]
struct Ellipsoid([f64; 3], [f64; 3]);

/// Ellipsoids as labels `first`, `first + 1`, ..., later ones over earlier ones; cut by the edge of the grid.
fn draw(grid: Grid, ellipsoids: &[Ellipsoid], first: u16) -> Volume<u16> {
    let spacing = grid.affine.spacing();
    let label = |offset: usize| {
        let at: [f64; 3] = std::array::from_fn(|a| grid.dims.index(offset)[a] as f64 * spacing[a]);
        let inside = |Ellipsoid(centre, radii): &Ellipsoid| {
            (0..3).map(|a| ((at[a] - centre[a]) / radii[a]).powi(2)).sum::<f64>() <= 1.0
        };
        ellipsoids.iter().rposition(inside).map_or(0, |n| n as u16 + first)
    };
    Volume::new(grid, (0..grid.dims.voxels()).map(label).collect()).unwrap()
}

#[test]
fn made_up_instances_score_as_scipy_says() {
    // Sagittal, thick slices; steps that single precision holds, since NIfTI does.
    let axes = [[0.0, 0.75, 0.0], [0.0, 0.0, -0.6875], [-3.5, 0.0, 0.0]];
    let affine = Affine::new(axes, [12.0, -40.5, 7.25]).unwrap();
    let grid = Grid { dims: Dims::new([40, 90, 9]).unwrap(), affine };
    let mut cases = Vec::new();
    for seed in 0..6 {
        let mut random = Random(seed);
        let mut between = |low: f64, high: f64| low + (high - low) * random.unit();
        let mut truth = Vec::new();
        let mut predicted = Vec::new();
        for n in 0..5 {
            let centre = [between(2.0, 28.0), 6.0 + 12.0 * f64::from(n), between(4.0, 24.0)];
            let radii = [between(3.0, 9.0), between(3.0, 7.0), between(4.0, 12.0)];
            truth.push(Ellipsoid(centre, radii));
            if between(0.0, 1.0) < 0.8 {
                let moved = centre.map(|c| c + between(-2.5, 2.5));
                predicted.push(Ellipsoid(moved, radii.map(|r| r * between(0.8, 1.2))));
            }
        }
        predicted.push(Ellipsoid([between(2.0, 28.0), between(5.0, 60.0), 10.0], [2.0, 2.5, 4.0]));
        for scope in [Scope::Everywhere, Scope::Between] {
            cases.push(Case {
                what: format!("seed {seed}, {scope:?}"),
                predicted: draw(grid, &predicted, 30),
                truth: Annotated { labels: draw(grid, &truth[1..4], 1), scope },
            });
        }
    }
    let (mut missed, mut spurious, mut hits) = (0, 0, 0);
    for (case, want) in cases.iter().zip(oracle(&cases)) {
        let scored = same_instances(case, &want);
        missed += scored.annotated() - scored.found();
        spurious += scored.spurious;
        hits += usize::from(scored.panoptic.segmentation.is_some());
    }
    assert!(missed > 0 && spurious > 0 && hits > 0, "{missed} {spurious} {hits}: too easy");
}

/// The predicted labels of one structure by vertebra, made here from the result's masks.
fn predicted(exam: &Evaluated, structure: Structure, offset: u16) -> Volume<u16> {
    let result = exam.result.as_ref().unwrap();
    let pairs = result.semantic.voxels().iter().zip(result.instances.voxels());
    let values = pairs.map(|(&s, &i)| if s == structure.value() { i - offset } else { 0 });
    Volume::new(*result.semantic.grid(), values.collect()).unwrap()
}

/// What the shipped net makes of four small exams: the report's instances, structures and share off the spine.
#[test]
fn real_exams_score_as_scipy_says() {
    let folder = shared().unwrap().join("data/nifti");
    let exams = read_exams(&folder).unwrap();
    let (mut net, _) = load(EngineChoice::Auto, kernels::threads::available()).unwrap();
    let mut compared = 0;
    for id in ["zukic_10_DzZ_T1", "menezes_46", "sct_t2", "tptbox_mr"] {
        let exam = exams.iter().find(|exam| exam.id == id).expect(id);
        let scored = evaluate(&folder, exam, &mut net).unwrap();
        compared += same_kinds(&scored, id) + same_structures(&scored, id);
    }
    assert!(compared > 15, "{compared} comparisons");
}

/// Compares the instances in the report; returns of how many kinds.
fn same_kinds(exam: &Evaluated, id: &str) -> usize {
    let (truth, score) = (&exam.truth, &exam.score);
    let kinds = [
        (Structure::VertebralBody, 0, &truth.bodies, &score.bodies),
        (Structure::Disc, VertebraId::DISC_OFFSET, &truth.discs, &score.discs),
    ];
    let annotated = kinds.into_iter().filter_map(|(structure, offset, truth, score)| {
        let case = Case {
            what: format!("{id}, {structure:?}"),
            predicted: predicted(exam, structure, offset),
            truth: truth.clone()?,
        };
        Some((case, score.as_ref().expect("what is annotated is scored")))
    });
    let (cases, scores): (Vec<Case>, Vec<&Instances>) = annotated.unzip();
    for ((case, want), score) in cases.iter().zip(oracle(&cases)).zip(scores) {
        assert_eq!(&same_instances(case, &want), score, "{}: what the report says", case.what);
    }
    cases.len()
}

/// Compares the structures in the report, and the share off the spine; returns how many.
fn same_structures(exam: &Evaluated, id: &str) -> usize {
    let semantic = exam.result.as_ref().unwrap().semantic.map(u16::from);
    let only =
        |volume: &Volume<u16>, value: u8| volume.map(|v| if v == u16::from(value) { v } else { 0 });
    let case = |what: &str, predicted, labels| Case {
        what: format!("{id}, {what}"),
        predicted,
        truth: Annotated { labels, scope: Scope::Everywhere },
    };
    let mut cases = vec![case("off the spine", semantic.clone(), semantic.clone())];
    let mut scores = Vec::new();
    for structure in Structure::ALL {
        let Some(&score) = exam.score.structures.get(structure.name()) else { continue };
        let truth = match (&exam.truth.structures, &exam.truth.cord) {
            (Some(full), _) => only(&full.map(u16::from), structure.value()),
            (None, Some(cord)) => cord.map(u16::from),
            (None, None) => panic!("{id}: {structure:?} is scored without a truth"),
        };
        cases.push(case(structure.name(), only(&semantic, structure.value()), truth));
        scores.push(score);
    }
    let wants = oracle(&cases);
    let Outcome::Segmented { off_spine, .. } = exam.score.outcome else {
        panic!("{id}: no result")
    };
    same(Some(off_spine), &wants[0]["off_largest"], &cases[0].what);
    for ((case, want), score) in cases[1..].iter().zip(&wants[1..]).zip(scores) {
        same_agreement(score, &want["whole"], &case.what);
    }
    cases.len()
}
