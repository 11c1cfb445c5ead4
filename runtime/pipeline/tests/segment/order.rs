//! What is above what, and what it is called: bent spines, gaps, levels of another series.

use super::truth_net::{TruthNet, blank_series, card, working_grid};
use super::{MM, exam, run, run_beside, segmented};
use kernels::{Grid, Volume};
use phantom::Region;
use pipeline::{
    Flag, KnownLevel, Neighbour, Numbering, Segmentation, Series, Structure, Vertebra, VertebraId,
};

/// What a station further down would know of the two lowest vertebrae names all of them; where it contradicts a landmark in
/// view, the landmark is kept and the doubt told.
#[test]
fn levels_come_from_a_neighbouring_station() {
    let (region, seed, first) = (Region::Thoracic, 1, 5);
    let phantom = exam(region, seed);
    let alone = segmented(&phantom);
    let known = |vertebrae: &[Vertebra], shift: u8| {
        let level = |v: &Vertebra| KnownLevel {
            level: VertebraId::new(v.id.value() + shift).unwrap(),
            body_centroid_mm: v.body_centroid_mm,
        };
        [Neighbour { levels: vertebrae.iter().map(level).collect() }]
    };
    let lowest = &alone.vertebrae[alone.vertebrae.len() - 2..];
    let net = TruthNet::of_structures(card(MM), &phantom.semantic);
    let series = Series::from_volume(phantom.image.clone());
    let named = run_beside(&series, &known(lowest, first - 2), net).unwrap();
    assert_eq!(named.numbering, Numbering::FromStudy { neighbour: 0 });
    let ids = |result: &Segmentation| -> Vec<u8> {
        result.vertebrae.iter().map(|v| v.id.value()).collect()
    };
    let truth: Vec<u8> = (first..first + alone.vertebrae.len() as u8).collect();
    assert_eq!(truth, ids(&named));
    assert!(!named.flags.contains(&Flag::LevelUnverified), "{:?}", named.flags);

    let lumbar = exam(Region::Lumbar, 1);
    let alone = segmented(&lumbar);
    let net = TruthNet::of_structures(card(MM), &lumbar.semantic);
    let series = Series::from_volume(lumbar.image.clone());
    let upper = &alone.vertebrae[..2];
    let disputed = run_beside(&series, &known(upper, 1), net).unwrap();
    assert_eq!(disputed.numbering, Numbering::FromSacrum);
    assert_eq!(ids(&disputed), ids(&alone));
    assert!(disputed.flags.contains(&Flag::LandmarksDisagree));
}

/// Blocks with discs between them before a canal, on an arc that leaves straight down and bends forward through `degrees`.
fn bent_spine(grid: Grid, count: usize, degrees: f64) -> Volume<u8> {
    const RADIUS_MM: f64 = 130.0;
    let spacing = grid.affine.spacing();
    let value = |offset| {
        let index = grid.dims.index(offset).map(|n| n as f64);
        let [x, y, z]: [f64; 3] = std::array::from_fn(|axis| index[axis] * spacing[axis]);
        let (back, down) = (x - 110.0, y - 10.0);
        let radius = back.hypot(down);
        let turned = down.atan2(back).to_degrees();
        let place = turned / degrees * count as f64;
        if !(0.0..count as f64).contains(&place) || !(6.0..24.0).contains(&z) {
            return 0;
        }
        match (radius - RADIUS_MM, place.fract()) {
            (-14.0..14.0, 0.2..0.8) => Structure::VertebralBody.value(),
            (-12.0..12.0, _) => Structure::Disc.value(),
            (18.0..30.0, _) => Structure::SpinalCanal.value(),
            _ => 0,
        }
    };
    Volume::new(grid, (0..grid.dims.voxels()).map(value).collect()).unwrap()
}

/// In order of height the lower half of such a spine was numbered backwards, and its discs were given to the wrong side.
#[test]
fn a_spine_that_bends_until_it_rises_is_in_order_of_its_canal() {
    let grid = working_grid([280, 190, 7], [1.0, 1.0, 4.0]);
    let truth = bent_spine(grid, 10, 130.0);
    let result = run(&blank_series(grid), TruthNet::of_structures(card(MM), &truth)).unwrap();
    let turns: Vec<f64> = result
        .vertebrae
        .iter()
        .map(|v| (v.body_centroid_index[1] - 10.0).atan2(v.body_centroid_index[0] - 110.0))
        .collect();
    assert!(turns.len() == 10 && turns.is_sorted(), "{turns:?}");
    let dims = grid.dims;
    for (offset, &instance) in result.instances.voxels().iter().enumerate() {
        let [i, j, _] = dims.index(offset).map(|n| n as f64);
        let Some(disc) = instance.checked_sub(VertebraId::DISC_OFFSET).filter(|&id| id < 100)
        else {
            continue;
        };
        let turned = (j - 10.0).atan2(i - 110.0);
        let above = turns.iter().filter(|&&turn| turn < turned).count() as u16;
        assert_eq!(disc, 1 + above, "disc at {i}, {j}");
    }
}

/// A metal implant or a band of saturation: what lies beyond it is kept, and that a body may be missing is told.
#[test]
fn beyond_a_gap_without_signal_the_spine_goes_on_and_the_gap_is_told() {
    let phantom = exam(Region::Lumbar, 1);
    let whole = segmented(&phantom);
    assert!(!whole.flags.contains(&Flag::RowInterrupted), "{:?}", whole.flags);
    let lost = &whole.vertebrae[2];
    let [_, row, _] = lost.body_centroid_index;
    let dims = phantom.semantic.dims();
    let mut dark = phantom.semantic.clone();
    for (at, value) in dark.voxels_mut().iter_mut().enumerate() {
        if (dims.index(at)[1] as f64 - row).abs() < 16.0 / MM {
            *value = 0;
        }
    }
    let net = TruthNet::of_structures(card(MM), &dark);
    let result = run(&Series::from_volume(phantom.image.clone()), net).unwrap();
    assert!(result.flags.contains(&Flag::RowInterrupted), "{:?}", result.flags);
    let near = |a: &Vertebra, b: &Vertebra| {
        kernels::volume::norm(kernels::volume::sub(a.body_centroid_mm, b.body_centroid_mm)) < 8.0
    };
    for kept in whole.vertebrae.iter().filter(|v| v.id != lost.id) {
        assert!(result.vertebrae.iter().any(|v| near(v, kept)), "{:?} is lost, too", kept.id);
    }
}
