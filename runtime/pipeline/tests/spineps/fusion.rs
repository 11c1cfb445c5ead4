//! From the answers of the instance net to the mask of vertebrae, and the chain from the semantic net to there.

use super::case::{self, Archive, Tally};
use kernels::components::{Bounds, paste};
use kernels::{Grid, Volume};
use pipeline::spineps::Rules;
use pipeline::spineps::boxed::Boxed;
use pipeline::spineps::clean::{Extent, clean};
use pipeline::spineps::cutouts::{COUNTS, Cutout};
use pipeline::spineps::ended::Ended;
use pipeline::spineps::fusion::{Candidate, Fused, candidates, couples, fuse};
use pipeline::spineps::instances::{boxed, instances};
use serde_json::Value;

const AGREEMENT: f64 = 1e-12;

pub(super) struct Case {
    pub(super) name: String,
    pub(super) archive: Archive,
    pub(super) json: Value,
    /// The grid of the box in which the instance stage works, and its place.
    grid: Grid,
    place: Bounds,
}

pub(super) fn cases() -> Vec<Case> {
    let archives = case::archives(|a| a.has("semantic_clean") && a.has("merged_clean"));
    let cases = archives.into_iter().map(|(name, archive)| {
        let semantic = archive.labels("semantic_clean", archive.triple("zoom"));
        let Boxed { part, bounds: place, .. } = boxed(&semantic.into()).unwrap();
        let json = case::json(&name).unwrap();
        Case { json, name, grid: *part.grid(), place, archive }
    });
    cases.collect()
}

impl Case {
    /// The answer in cutout `n` where it shows the mask, first axis fastest, and the place of that part.
    pub(super) fn answer(&self, n: usize) -> (Bounds, Vec<u8>) {
        let bound =
            |axis: usize, end: usize| self.json["cuts"][n][1][axis][end].as_u64().unwrap() as usize;
        let place =
            Bounds { min: [0, 1, 2].map(|a| bound(a, 0)), max: [0, 1, 2].map(|a| bound(a, 1) - 1) };
        let volume = self.archive.labels(&format!("pred_{n:02}"), self.archive.triple("zoom"));
        (place, volume.into_voxels())
    }

    fn candidates(&self) -> Vec<Candidate> {
        let all = (0..self.json["cuts"].as_array().unwrap().len()).flat_map(|n| {
            let (place, classes) = self.answer(n);
            candidates(n, place, classes.chunks(place.max[0] + 1 - place.min[0]))
        });
        all.collect()
    }
}

/// Whether the couples are SPINEPS', in its order.
fn same(case: &Case, found: &[Candidate]) -> bool {
    let want = case.json["couples"].as_array().unwrap();
    let got = couples(found);
    let same = |(got, want): (&pipeline::spineps::fusion::Couple, &Value)| {
        let members: Vec<[u64; 2]> = (got.members.iter())
            .map(|&m| [found[m].cutout as u64, found[m].class as u64])
            .collect();
        let agreement = want[1].as_f64().unwrap();
        serde_json::json!(members) == want[0] && (got.agreement - agreement).abs() <= AGREEMENT
    };
    got.len() == want.len() && got.iter().zip(want).all(same)
}

#[test]
fn couples_and_fusion_are_spineps() {
    let [mut paired, mut merged, mut finished] = ["couples", "fusion", "vertebrae"].map(Tally::new);
    for case in cases() {
        let zoom = case.archive.triple("zoom");
        let found = case.candidates();
        paired.add(&case.name, same(&case, &found));
        let mut fused = fuse(case.grid, &found, &couples(&found)).unwrap();
        fused.drop_crumbs();
        let want = case.archive.ids("merged_clean", zoom);
        merged.compare(&case.name, &fused.ids, &want);
        let mut fused = Fused::of(want);
        fused.fill_holes();
        let whole = case.archive.ids("vert_modelres", zoom);
        let mut got = Volume::filled(*whole.grid(), 0);
        paste(&mut got, &fused.renumbered(), case.place);
        finished.compare(&case.name, &got, &whole);
    }
    [paired, merged, finished].into_iter().for_each(Tally::finish);
}

/// Writes `part` where the cutout shows the mask.
pub(super) fn spread(cutout: &Cutout, part: &[u8], answer: &mut [u8]) {
    let Bounds { min, max } = cutout.place;
    let [wide, high, _] = [0, 1, 2].map(|axis| max[axis] + 1 - min[axis]);
    answer.fill(0);
    for (n, row) in part.chunks_exact(wide).enumerate() {
        let [i, j, k] =
            [cutout.before[0], n % high + cutout.before[1], n / high + cutout.before[2]];
        let offset = i + COUNTS[0] * (j + COUNTS[1] * k);
        answer[offset..offset + wide].copy_from_slice(row);
    }
}

/// A net that sees nothing.
fn silent(_: &Cutout, _: &[u8], answer: &mut [u8]) -> Result<(), Ended> {
    answer.fill(0);
    Ok(())
}

#[test]
fn the_chain_from_semantic_net_to_vertebrae_is_spineps() {
    let mut chain = Tally::new("chain");
    for case in cases() {
        let zoom = case.archive.triple("zoom");
        let seen = case.archive.labels("seg_in", zoom);
        let cleaned = clean(&seen, Extent::Whole, Rules::Spineps213).unwrap();
        let mut next = 0;
        let predict = |cutout: &Cutout, _: &[u8], answer: &mut [u8]| {
            let (place, part) = case.answer(next);
            assert_eq!(cutout.place, place, "{}", case.name);
            next += 1;
            spread(cutout, &part, answer);
            Ok::<_, Ended>(())
        };
        let got = instances(&cleaned.labels, Rules::Spineps213, predict).unwrap();
        chain.compare(&case.name, &got.whole(), &case.archive.ids("vert_modelres", zoom));
    }
    chain.finish();
}

#[test]
fn a_run_without_a_body_or_a_vertebra_says_so() {
    let mut ended = Tally::new("ended");
    for (name, archive) in case::archives(|a| a.has("truth") && !a.has("merged_clean")) {
        let Some(json) = case::json(&name) else { continue };
        let labels = archive.labels("semantic_clean", archive.triple("zoom"));
        let got = instances(&labels.clone().into(), Rules::Spineps213, silent);
        ended.add(&name, json["errcode"] == "ErrCode.EMPTY" && got == Err(Ended::NoBody));
    }
    let Some(case) = cases().into_iter().next() else { return ended.finish() };
    let labels = case.archive.labels("semantic_clean", case.archive.triple("zoom"));
    assert_eq!(instances(&labels.clone().into(), Rules::Sagitta, silent), Err(Ended::NoVertebra));
    ended.finish();
}

#[test]
fn a_mask_of_many_bodies_is_refused_before_the_net_runs() {
    let grid = case::grid([120, 300, 40], [0.75, 0.75, 1.65]);
    // Cubes of 11 voxels, 4 apart.
    let label = |n: usize| u8::from(grid.dims.index(n).iter().all(|v| v % 15 < 11)) * 49;
    let cubes = Volume::new(grid, (0..grid.dims.voxels()).map(label).collect()).unwrap();
    for rules in [Rules::Spineps213, Rules::Sagitta] {
        let end = instances(
            &cubes.clone().into(),
            rules,
            |_: &Cutout, _: &[u8], _: &mut [u8]| -> Result<(), Ended> {
                panic!("the net must not run");
            },
        );
        assert!(matches!(end, Err(Ended::TooManyBodies(n)) if n >= 320), "{end:?}");
    }
}
