//! Measures against what was drawn, and against volumes that no patient has.
//!
//! The generator knows its own heights and angles; the table of the ignored test is where the bounds of the short one
//! come from.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "measure/truth.rs"]
mod truth;

use kernels::volume::{norm, sub};
use kernels::{Affine, Dims, Grid, Volume};
use phantom::{Population, Recipe, Region};
use pipeline::measure::{MeasuredLine, Measurements, Reason, measurements};
use pipeline::{Numbering, VertebraId};
use truth::{Differences, compare, measured};

/// Largest mean difference and 1.96 standard deviations that the short test allows; about 1.5 times what the long one
/// prints for ordinary patients.
const BOUNDS: [(&str, f64, f64); 15] = [
    ("body anterior mm", 0.1, 0.3),
    ("body middle mm", 0.1, 0.3),
    ("body posterior mm", 0.1, 0.3),
    ("body wedge", 0.01, 0.02),
    ("body depth mm", 0.25, 0.6),
    ("loss without fracture", 0.08, 0.1),
    ("disc mean mm", 0.25, 0.4),
    ("disc anterior mm", 0.2, 0.4),
    ("disc posterior mm", 0.25, 0.6),
    ("slip mm", 0.25, 0.9),
    ("sac at body mm2", 6.0, 20.0),
    ("sac at disc mm2", 6.0, 20.0),
    ("sac depth at body mm", 0.5, 1.0),
    ("sac depth at disc mm", 0.3, 1.0),
    ("lordosis L1-S1 deg", 1.2, 1.2),
];

#[test]
fn measures_of_the_truth_are_what_was_drawn() {
    let mut all = Differences::new();
    for seed in 1..=4 {
        compare(&Recipe::of(Region::Lumbar, seed), &mut all);
    }
    for (name, bias, limit) in BOUNDS {
        let found = truth::summary(&all[name]);
        assert!(found.count >= 4, "{name}: {} compared", found.count);
        assert!(found.bias.abs() <= bias && found.limit <= limit, "{name}: {found:?}");
    }
}

/// Prints the table for both populations.
#[test]
#[ignore = "minutes: many patients"]
fn agreement_over_many_patients() {
    for population in [Population::Ordinary, Population::Training] {
        let (mut all, mut doubts) = (Differences::new(), truth::Doubts::default());
        for seed in 1..=25 {
            for region in [Region::Lumbar, Region::Thoracic, Region::Whole] {
                if region == Region::Lumbar || seed % 4 == 0 {
                    let recipe = Recipe { population, ..Recipe::of(region, seed) };
                    doubts.add(&recipe, &compare(&recipe, &mut all));
                }
            }
        }
        println!("{population:?}: measure, n, missed, bias, 1.96 SD, largest");
        for (name, list) in &all {
            println!("  {name:24} {}", truth::summary(list));
        }
        println!("{doubts}");
    }
}

/// Random labels on a grid of `counts` and `spacing`.
fn noise(seed: u64, counts: [usize; 3], spacing: [f64; 3]) -> (Volume<u8>, Volume<u16>) {
    let axes = [[0.0, spacing[0], 0.0], [0.0, 0.0, -spacing[1]], [-spacing[2], 0.0, 0.0]];
    let affine = Affine::new(axes, [10.0, -20.0, 30.0]).unwrap();
    let grid = Grid { dims: Dims::new(counts).unwrap(), affine };
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 33
    };
    // Blocks of labels and single voxels: both have surfaces that no spine has.
    let block = 1 + (seed % 7) as usize;
    let values = [0u8, 0, 26, 41, 43, 44, 45, 48, 49, 49, 49, 60, 61, 62, 100, 100, 255];
    let table: Vec<(u8, u16)> = (0..997)
        .map(|_| {
            let value = values[next() as usize % values.len()];
            let base = [0, 100, 200][next() as usize % 3];
            (value, base + (18 + next() % 9) as u16)
        })
        .collect();
    let at = |offset: usize| {
        let [i, j, k] = grid.dims.index(offset).map(|n| n / block);
        table[(i * 31 + j * 57 + k * 101 + seed as usize) % table.len()]
    };
    let cells: Vec<_> = (0..grid.dims.voxels()).map(at).collect();
    let semantic = cells.iter().map(|cell| cell.0).collect();
    let instances = cells.iter().map(|cell| cell.1).collect();
    (Volume::new(grid, semantic).unwrap(), Volume::new(grid, instances).unwrap())
}

/// Measures whatever bodies are in the masks.
fn measure(semantic: &Volume<u8>, instances: &Volume<u16>) -> Measurements {
    let ids: Vec<VertebraId> = (1..=26).filter_map(VertebraId::new).collect();
    let found = pipeline::measure::vertebrae(semantic, instances, &ids, &[]);
    measurements(semantic, instances, &found, Numbering::FromSacrum, (&[], 0.9))
}

#[test]
fn no_volume_breaks_it_and_no_value_is_not_a_number() {
    let shapes = [
        ([24, 30, 6], [1.0, 1.0, 4.0]),
        ([40, 40, 1], [0.8, 0.8, 4.0]),
        ([1, 1, 1], [1.0; 3]),
        ([30, 60, 3], [0.5, 0.5, 10.0]),
        ([3, 60, 30], [10.0, 0.5, 0.5]),
        ([60, 2, 9], [0.5, 10.0, 0.5]),
    ];
    for seed in 0..60 {
        let (counts, spacing) = shapes[seed as usize % shapes.len()];
        let (semantic, instances) = noise(seed, counts, spacing);
        // JSON has no word for what is not a number: serde_json writes null.
        let text = serde_json::to_string(&measure(&semantic, &instances)).unwrap();
        let absent =
            ["compression", "kyphosis_between", "support"].map(|key| format!("\"{key}\":null"));
        let nulls = absent.iter().fold(text.clone(), |text, absent| text.replace(absent, ""));
        assert!(!nulls.contains("null"), "seed {seed}: {text}");
    }
}

/// The drawn line of a measure is as long as the measure says, and there is one for each.
#[test]
fn lines_are_as_long_as_what_was_measured() {
    let mut seen = 0;
    for seed in 0..60 {
        let (semantic, instances) = noise(seed, [40, 60, 8], [1.0, 1.0, 4.0]);
        let measures = measure(&semantic, &instances);
        let mut numbers = Vec::new();
        for vertebra in &measures.vertebrae {
            let (body, disc) = (&vertebra.body, &vertebra.disc);
            numbers.extend(body.anterior_height_mm.number());
            numbers.extend(body.middle_height_mm.number());
            numbers.extend(body.posterior_height_mm.number());
            numbers.extend(disc.height_mm.number());
        }
        let length = |line: &MeasuredLine| norm(sub(line.ends_mm[0], line.ends_mm[1]));
        let lengths: Vec<f64> = measures.lines.iter().map(length).collect();
        assert_eq!(lengths.len(), numbers.len(), "seed {seed}");
        let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-9;
        assert!(lengths.iter().zip(&numbers).all(close), "{lengths:?} and {numbers:?}");
        seen += numbers.len();
    }
    assert!(seen > 10, "{seen} lines");
}

#[test]
fn nothing_is_measured_where_there_is_nothing() {
    let (semantic, instances) = noise(1, [20, 20, 5], [1.0, 1.0, 4.0]);
    let (semantic, instances) = (semantic.map(|_| 0), instances.map(|_| 0));
    let measures = measure(&semantic, &instances);
    assert!(measures.vertebrae.is_empty());
    assert_eq!(measures.curvature.lordosis_l1_s1_deg.reason(), Some(Reason::LevelNotInView));
}

#[test]
fn unverified_levels_have_no_named_angles() {
    let recipe = Recipe::of(Region::Lumbar, 2);
    let measures = measured(&recipe, Numbering::Unverified);
    let curvature = &measures.curvature;
    for angle in
        [curvature.lordosis_l1_s1_deg, curvature.lordosis_l1_l5_deg, curvature.kyphosis_deg]
    {
        assert_eq!(angle.reason(), Some(Reason::LevelUnverified));
    }
    assert!(curvature.coronal_cobb_deg.number().is_some());
}

#[test]
fn one_vertebra_alone_is_measured_without_neighbours() {
    let made = phantom::generate(&Recipe::of(Region::Lumbar, 3)).unwrap();
    let keep = |value: u16| value == 22;
    let semantic: Vec<u8> = std::iter::zip(made.semantic.voxels(), made.vertebrae.voxels())
        .map(|(s, v)| if keep(*v) { *s } else { 0 })
        .collect();
    let semantic = Volume::new(*made.semantic.grid(), semantic).unwrap();
    let instances = made.vertebrae.map(|v| if keep(v) { v } else { 0 });
    let measures = measure(&semantic, &instances);
    let [only] = measures.vertebrae.as_slice() else { panic!("one vertebra") };
    assert!(only.body.middle_height_mm.number().is_some_and(|mm| (18.0..35.0).contains(&mm)));
    assert_eq!(only.body.height_loss.reason(), Some(Reason::NeighbourMissing));
    assert_eq!(only.disc.height_mm.reason(), Some(Reason::NoDisc));
    assert_eq!(only.alignment.slip_mm.reason(), Some(Reason::NeighbourMissing));
    assert_eq!(only.canal_at_body.sac_area_mm2.reason(), Some(Reason::NoCanal));
}

#[test]
fn no_slip_is_measured_over_a_missed_body() {
    let made = phantom::generate(&Recipe::of(Region::Lumbar, 3)).unwrap();
    let missed = |value: u16| value == 22;
    let semantic: Vec<u8> = std::iter::zip(made.semantic.voxels(), made.vertebrae.voxels())
        .map(|(s, v)| if missed(*v) { 0 } else { *s })
        .collect();
    let semantic = Volume::new(*made.semantic.grid(), semantic).unwrap();
    let measures = measure(&semantic, &made.vertebrae);
    let of = |id| measures.vertebrae.iter().find(|v| v.id.value() == id).unwrap();
    assert_eq!(of(21).alignment.slip_mm.reason(), Some(Reason::NeighbourMissing));
    assert!(of(23).alignment.slip_mm.number().is_some());
}
