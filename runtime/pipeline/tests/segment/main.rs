//! The whole pipeline with a net that knows the answer: whatever is lost here, post-processing lost.
//!
//! The truth is a phantom's. What a real net makes of real exams is `evaluate`'s to show.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod order;
mod truth_net;

use kernels::{Affine, AxisMap, Dims, Direction, Grid, Volume};
use phantom::{Phantom, Recipe, Region, generate};
use pipeline::{
    Flag, Neighbour, Nets, Numbering, RefusalCode, SegmentError, Segmentation, Series, Stage,
    Structure, VertebraId, segment,
};
use std::collections::{BTreeMap, BTreeSet};
use truth_net::{TruthNet, blank_series, card, working_grid};

/// In-plane size of the exams here: the working grid of the shipped nets.
const MM: f64 = 1.0;

/// The usual field of view of `region`, a millimetre a voxel.
fn exam(region: Region, seed: u64) -> Phantom {
    let usual = Recipe::of(region, seed);
    let voxels = |n: usize| (n as f64 * usual.in_plane_mm / MM).round() as usize;
    let (columns, rows) = (voxels(usual.columns), voxels(usual.rows));
    generate(&Recipe { columns, rows, in_plane_mm: MM, ..usual }).unwrap()
}

fn run(series: &Series, net: TruthNet) -> Result<Segmentation, SegmentError> {
    run_beside(series, &[], net)
}

fn run_beside(
    series: &Series,
    neighbours: &[Neighbour],
    net: TruthNet,
) -> Result<Segmentation, SegmentError> {
    let mut stages = Vec::new();
    let mut nets = Nets::new(Box::new(net), None);
    let result = segment(series, neighbours, &mut nets, &mut |stage| stages.push(stage));
    if result.is_ok() {
        assert_eq!(
            (stages[0], stages.last(), stages.len()),
            (Stage::Prepare, Some(&Stage::Measure), 7)
        );
    }
    result
}

fn segmented(phantom: &Phantom) -> Segmentation {
    let net = TruthNet::of_structures(card(MM), &phantom.semantic);
    run(&Series::from_volume(phantom.image.clone()), net).unwrap()
}

/// Arches and processes.
fn is_posterior(structure: u8) -> bool {
    Structure::from_value(structure)
        .is_some_and(|s| s.is_vertebra() && s != Structure::VertebralBody)
}

fn is_body(structure: u8) -> bool {
    structure == Structure::VertebralBody.value()
}

/// Truth and result of every voxel: structure and instance.
struct Compared {
    truth: Vec<(u8, u16)>,
    found: Vec<(u8, u16)>,
}

impl Compared {
    /// `result` with its ids moved by `shift`, against the phantom's.
    fn new(phantom: &Phantom, result: &Segmentation, shift: u16) -> Compared {
        let moved = |v: u16| if v == 0 || v == 26 { v } else { v + shift };
        let pairs = |s: &Volume<u8>, v: &Volume<u16>| -> Vec<(u8, u16)> {
            std::iter::zip(s.voxels().iter().copied(), v.voxels().iter().copied()).collect()
        };
        let found = pairs(&result.semantic, &result.instances.map(moved));
        Compared { truth: pairs(&phantom.semantic, &phantom.vertebrae), found }
    }

    fn dice(&self, wanted: impl Fn((u8, u16)) -> bool) -> f64 {
        let count = |list: &[(u8, u16)]| list.iter().filter(|&&v| wanted(v)).count();
        let both =
            std::iter::zip(&self.truth, &self.found).filter(|(t, f)| wanted(**t) && wanted(**f));
        2.0 * both.count() as f64 / (count(&self.truth) + count(&self.found)) as f64
    }

    /// Of the voxels whose truth is `wanted`, the share that is the same in the result.
    fn share_equal(&self, wanted: impl Fn((u8, u16)) -> bool) -> f64 {
        let pairs =
            || std::iter::zip(&self.truth, &self.found).filter(|(truth, _)| wanted(**truth));
        pairs().filter(|(truth, found)| truth == found).count() as f64 / pairs().count() as f64
    }

    /// Voxels of each value the truth's `wanted` structure has.
    fn sizes(&self, structure: Structure) -> BTreeMap<u16, usize> {
        let mut sizes = BTreeMap::new();
        for (_, v) in self.truth.iter().filter(|(s, _)| *s == structure.value()) {
            *sizes.entry(*v).or_default() += 1;
        }
        sizes
    }
}

/// A body that shows less than this is at the edge of the field of view and need not be found: the pipeline's own
/// smallest body, 0.6 ml, with room for its rounding.
const MIN_TRUE_BODY_ML: f64 = 0.8;

/// Checks one patient; returns the ids of its bodies and the result.
fn check(region: Region, seed: u64, shift: u16) -> (BTreeSet<u16>, Segmentation) {
    let phantom = exam(region, seed);
    let result = segmented(&phantom);
    let compared = Compared::new(&phantom, &result, shift);
    let voxel_ml = phantom.image.grid().affine.spacing().iter().product::<f64>() / 1000.0;
    let case = format!("{region:?} {seed}");
    let found: BTreeSet<u16> =
        result.vertebrae.iter().map(|v| u16::from(v.id.value()) + shift).collect();
    for (id, voxels) in compared.sizes(Structure::VertebralBody) {
        if voxels as f64 * voxel_ml < MIN_TRUE_BODY_ML {
            continue;
        }
        assert!(found.contains(&id), "{case}: {id} was not found in {found:?}");
        let dice = compared.dice(|(s, v)| is_body(s) && v == id);
        assert!(dice >= 0.97, "{case}: body {id} has Dice {dice}");
    }
    // A disc or endplate is the lower neighbour of a body: only those of bodies in view can be named.
    for (structure, base) in [
        (Structure::Disc, VertebraId::DISC_OFFSET),
        (Structure::Endplate, VertebraId::ENDPLATE_OFFSET),
    ] {
        for (id, _) in compared.sizes(structure) {
            if found.contains(&(id - base)) {
                let dice = compared.dice(|(s, v)| s == structure.value() && v == id);
                assert!(dice >= 0.97, "{case}: {structure:?} {id} has Dice {dice}");
            }
        }
    }
    let assigned = compared.share_equal(|(s, v)| is_posterior(s) && found.contains(&v));
    assert!(assigned >= 0.95, "{case}: {assigned} of arches and processes are on their vertebra");
    for structure in [Structure::SpinalCord, Structure::SpinalCanal, Structure::Sacrum] {
        let wanted = |(s, _): (u8, u16)| s == structure.value();
        let there = compared.truth.iter().any(|&v| wanted(v));
        assert!(!there || compared.share_equal(wanted) >= 0.97, "{case}: {structure:?}");
    }
    assert!(!result.flags.contains(&Flag::BodyTooLarge), "{case}: {:?}", result.flags);
    (found, result)
}

#[test]
fn lumbar_vertebrae_are_found_and_numbered_from_the_sacrum() {
    for seed in 1..=3 {
        let (found, result) = check(Region::Lumbar, seed, 0);
        assert_eq!(found.last(), Some(&u16::from(VertebraId::L5.value())));
        assert_eq!((result.numbering, result.sacrum), (Numbering::FromSacrum, true));
        assert!(result.confidence > 0.999, "{}", result.confidence);
    }
}

#[test]
fn whole_spines_are_found_from_small_to_large_bodies() {
    for seed in [1, 3] {
        let (found, _) = check(Region::Whole, seed, 0);
        assert!(found.len() >= 22, "{found:?}");
    }
}

/// Real nets call the front of a steep L5 sacrum: it was cut from the body, down to a Dice of 0.75.
#[test]
fn the_front_of_the_lowest_body_is_no_sacrum() {
    let phantom = exam(Region::Lumbar, 1);
    let result = segmented(&phantom);
    let lowest = result.vertebrae.last().unwrap().body_centroid_index;
    let l5 = u16::from(VertebraId::L5.value());
    let mut mistaken = phantom.semantic.clone();
    let mut upper = Vec::new();
    for (offset, value) in mistaken.voxels_mut().iter_mut().enumerate() {
        let [i, j, k] = phantom.semantic.dims().index(offset).map(|v| v as f64);
        let front = i < lowest[0] - 6.0 && (k - lowest[2]).abs() < 3.0;
        let of_body = is_body(*value) && phantom.vertebrae.voxels()[offset] == l5 && front;
        if of_body && j < lowest[1] {
            upper.push(offset);
        }
        // One piece with the true sacrum: everything before it, from the body's centre down.
        let bridge = (lowest[0] - 20.0..lowest[0] + 6.0).contains(&i)
            && (lowest[1]..lowest[1] + 30.0).contains(&j)
            && (k - lowest[2]).abs() < 3.0;
        if of_body || bridge {
            *value = Structure::Sacrum.value();
        }
    }
    let net = TruthNet::of_structures(card(MM), &mistaken);
    let result = run(&Series::from_volume(phantom.image.clone()), net).unwrap();
    let body = |&&offset: &&usize| {
        is_body(result.semantic.voxels()[offset]) && result.instances.voxels()[offset] == l5
    };
    let again = upper.iter().filter(body).count();
    assert!(
        upper.len() > 400 && again as f64 > 0.95 * upper.len() as f64,
        "{again} of {}",
        upper.len()
    );
}

/// No landmark is in view: the ids only run from top to bottom. Which truth the first one is differs by patient.
#[test]
fn without_a_landmark_levels_are_unverified() {
    for (region, seed, first) in [
        (Region::Thoracic, 1, 5),
        (Region::Thoracic, 4, 7),
        (Region::Cervical, 1, 2),
        (Region::Cervical, 4, 2),
    ] {
        let (_, result) = check(region, seed, first - 2);
        assert_eq!((result.numbering, result.sacrum), (Numbering::Unverified, false));
        assert!(result.flags.contains(&Flag::LevelUnverified));
    }
}

/// A net took brain for sacrum in a cervical field of view, and every level was named from it.
#[test]
fn a_sacrum_above_the_spine_is_no_landmark() {
    let mut phantom = exam(Region::Cervical, 1);
    let dims = phantom.semantic.dims();
    let [columns, _, slices] = dims.counts();
    for (at, value) in phantom.semantic.voxels_mut().iter_mut().enumerate() {
        let [i, j, k] = dims.index(at);
        let brain = j < 25 && i.abs_diff(columns / 2) < 60 && k.abs_diff(slices / 2) < 4;
        if *value == 0 && brain {
            *value = Structure::Sacrum.value();
        }
    }
    let result = segmented(&phantom);
    assert_eq!(result.numbering, Numbering::Unverified);
    assert!(!result.sacrum, "a sacrum was kept above the spine");
}

/// All 48 ways to store one volume: the labels stay where they are in the patient, to the voxel.
#[test]
fn the_order_of_the_axes_changes_nothing() {
    use Direction::{Anterior, Inferior, Left, Posterior, Right, Superior};
    let phantom = generate(&Recipe {
        columns: 90,
        rows: 90,
        slices: 9,
        in_plane_mm: 3.0,
        slice_mm: 8.0,
        ..Recipe::of(Region::Lumbar, 2)
    })
    .unwrap();
    let run_on = |volume: Volume<f32>| {
        let net = TruthNet::of_structures(card(3.0), &phantom.semantic);
        run(&Series::from_volume(volume), net).unwrap()
    };
    let plain = run_on(phantom.image.clone());
    let lines = [[Left, Right], [Posterior, Anterior], [Superior, Inferior]];
    let mut maps = 0;
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for flips in 0..8usize {
            let target = std::array::from_fn(|axis| lines[order[axis]][flips >> axis & 1]);
            let map = AxisMap::towards(&phantom.image.grid().affine, target);
            let result = run_on(phantom.image.reoriented(&map));
            assert_eq!(
                result.semantic.voxels(),
                plain.semantic.reoriented(&map).voxels(),
                "{target:?}"
            );
            assert_eq!(
                result.instances.voxels(),
                plain.instances.reoriented(&map).voxels(),
                "{target:?}"
            );
            for (a, b) in std::iter::zip(&result.vertebrae, &plain.vertebrae) {
                let apart = std::iter::zip(a.body_centroid_mm, b.body_centroid_mm)
                    .map(|(a, b)| (a - b).abs());
                assert!(
                    a.id == b.id && apart.fold(0.0, f64::max) < 1e-6,
                    "{target:?}: {a:?} {b:?}"
                );
            }
            maps += 1;
        }
    }
    assert_eq!(maps, 48);
}

/// A source twice as fine as the working grid gets each label four times, not half a voxel off.
#[test]
fn masks_return_to_a_finer_source_grid() {
    let phantom = exam(Region::Lumbar, 1);
    let coarse = *phantom.image.grid();
    let [columns, rows, slices] = coarse.dims.counts();
    let [i, j, k] = coarse.affine.axes();
    let fine = Grid {
        dims: Dims::new([2 * columns, 2 * rows, slices]).unwrap(),
        affine: Affine::new(
            [i.map(|v| v / 2.0), j.map(|v| v / 2.0), k],
            coarse.affine.world([-0.25, -0.25, 0.0]),
        )
        .unwrap(),
    };
    let parent = |n: usize| {
        let [i, j, k] = fine.dims.index(n);
        coarse.dims.offset([i / 2, j / 2, k])
    };
    let voxels = (0..fine.dims.voxels()).map(|n| phantom.image.voxels()[parent(n)]).collect();
    let series = Series::from_volume(Volume::new(fine, voxels).unwrap());
    let result = run(&series, TruthNet::of_structures(card(MM), &phantom.semantic)).unwrap();
    let plain = segmented(&phantom);
    assert_eq!(result.semantic.grid(), &fine);
    for n in 0..fine.dims.voxels() {
        let there = (plain.semantic.voxels()[parent(n)], plain.instances.voxels()[parent(n)]);
        assert_eq!((result.semantic.voxels()[n], result.instances.voxels()[n]), there, "voxel {n}");
    }
}

fn refusal(result: Result<Segmentation, SegmentError>) -> RefusalCode {
    match result {
        Err(SegmentError::Refused(refusal)) => refusal.code,
        other => panic!("must be refused: {other:?}"),
    }
}

#[test]
fn a_volume_without_spine_or_contrast_is_refused() {
    let grid = working_grid([40, 50, 7], [1.0, 1.0, 4.0]);
    let empty = || TruthNet::of_classes(card(MM), Volume::filled(grid, 0));
    let alike = Series::from_volume(Volume::filled(grid, 5.0));
    assert_eq!(refusal(run(&alike, empty())), RefusalCode::NoSpine);
    assert_eq!(refusal(run(&blank_series(grid), empty())), RefusalCode::NoSpine);
    // A canal alone is no spine: nothing can be named.
    let canal = blocks(grid, 1, 26, Structure::SpinalCanal);
    let net = TruthNet::of_structures(card(MM), &canal);
    assert_eq!(refusal(run(&blank_series(grid), net)), RefusalCode::NoSpine);
}

/// `count` blocks of 24 x 20 mm in five slices, `pitch` rows apart.
fn blocks(grid: Grid, count: usize, pitch: usize, structure: Structure) -> Volume<u8> {
    let dims = grid.dims;
    let value = |offset| {
        let [i, j, k] = dims.index(offset);
        let inside =
            (8..32).contains(&i) && j % pitch < 20 && j / pitch < count && (1..6).contains(&k);
        if inside { structure.value() } else { 0 }
    };
    Volume::new(grid, (0..dims.voxels()).map(value).collect()).unwrap()
}

#[test]
fn one_vertebra_is_enough_and_more_than_a_spine_has_is_cut() {
    for (count, found) in [(1, 1), (2, 2), (24, 24), (29, 24)] {
        let grid = working_grid([40, 30 * count, 7], [1.0, 1.0, 4.0]);
        let truth = blocks(grid, count, 26, Structure::VertebralBody);
        let net = TruthNet::of_structures(card(MM), &truth);
        let result = run(&blank_series(grid), net).unwrap();
        let ids: Vec<u8> = result.vertebrae.iter().map(|v| v.id.value()).collect();
        assert_eq!(ids, (2..2 + found).collect::<Vec<u8>>(), "{count} blocks");
        assert_eq!(result.numbering, Numbering::Unverified);
    }
}

/// Noise from the net must end in a result or a refusal, and a result's masks must agree with one another.
#[test]
fn random_class_maps_never_panic() {
    let mut state = 7u64;
    let mut below = |n: u64| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) % n
    };
    let sizes =
        [[1, 1, 1], [1, 90, 5], [90, 1, 5], [33, 65, 1], [31, 64, 5], [70, 97, 9], [128, 33, 6]];
    let mut results = 0;
    for seed in 0..42 {
        let grid = working_grid(sizes[seed % sizes.len()], [1.0, 1.0, 3.0]);
        // From noise to blobs: one class a block of `grain` voxels.
        let grain = [1, 4, 15][seed / 14];
        let share = 2 + below(11);
        let [columns, rows, slices] = grid.dims.counts();
        let table: Vec<u8> = (0..(columns / grain + 1) * (rows / grain + 1) * slices)
            .map(|_| if below(12) < share { below(12) as u8 } else { 0 })
            .collect();
        let class = |offset| {
            let [i, j, k] = grid.dims.index(offset);
            table[i / grain
                + (columns / grain + 1)
                    * (j / grain + (rows / grain + 1) * (k * grain.min(5) / 5 % slices))]
        };
        let classes = (0..grid.dims.voxels()).map(class).collect();
        let net = TruthNet::of_classes(card(MM), Volume::new(grid, classes).unwrap());
        if let Ok(result) = run(&blank_series(grid), net) {
            results += 1;
            consistent(&result);
        }
    }
    assert!(results > 5, "only {results} maps gave a result: too few to show anything");
}

/// Every labelled voxel has both values, and they fit each other.
fn consistent(result: &Segmentation) {
    for (&s, &v) in std::iter::zip(result.semantic.voxels(), result.instances.voxels()) {
        let fits = match s {
            0 | 60 | 61 => v == 0,
            26 => v == 26,
            62 => (200..230).contains(&v),
            100 => (100..130).contains(&v),
            _ => (1..=25).contains(&v),
        };
        assert!(fits, "structure {s} with instance {v}");
    }
}
