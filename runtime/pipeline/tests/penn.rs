//! The patch net's path: patches and slices agree, lesions are found where they are, bad input has its reason.

use kernels::conv::InstructionSet;
use kernels::patch_net::{Layer, PatchNet, Sweep};
use kernels::{Affine, Dims, Grid, Volume};
use pipeline::VertebraId;
use pipeline::penn::{
    self, Compartment, Detector, Enhanced, MOST_LESIONS, Reading, Reconstruction, SIDE, Tumours,
    Unseen,
};

/// Small numbers without an order, the same in every run.
fn values(count: usize, seed: u64, reach: f32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1u64 << 24) as f32 * 2.0 - 1.0) * reach
    };
    (0..count).map(|_| next()).collect()
}

fn random_net() -> PatchNet {
    let sizes = [SIDE * SIDE, 200, 200, 200, 2];
    let layers = sizes.windows(2).enumerate().map(|(n, pair)| Layer {
        weights: values(pair[0] * pair[1], n as u64 + 1, 2.0 / (pair[0] as f32).sqrt()),
        bias: values(pair[1], n as u64 + 11, 0.1),
    });
    PatchNet::new(SIDE, layers.collect()).expect("layers that fit")
}

/// A net that calls a patch tumour when its mean is above 0.6: one logistic layer.
fn bright_net() -> PatchNet {
    let count = (SIDE * SIDE) as f32;
    let weights = [-40.0 / count, 40.0 / count].map(|w| vec![w; SIDE * SIDE]).concat();
    PatchNet::new(SIDE, vec![Layer { weights, bias: vec![24.0, -24.0] }]).expect("one layer")
}

/// Sagittal, (P, I, R), pixels of the training, slices 4 mm apart.
fn grid() -> Grid {
    let axes = [[0.0, penn::PIXEL_MM, 0.0], [0.0, 0.0, -penn::PIXEL_MM], [-4.0, 0.0, 0.0]];
    let affine = Affine::new(axes, [8.0, -30.0, 40.0]).expect("three directions");
    Grid { dims: Dims::new([96, 120, 5]).expect("few voxels"), affine }
}

/// 1 in a disc of `mm` about the middle of slices 1 to 3.
fn disc(mm: f64) -> Volume<u8> {
    let mut mask = Volume::filled(grid(), 0u8);
    let dims = mask.dims();
    for (n, value) in mask.voxels_mut().iter_mut().enumerate() {
        let [i, j, k] = dims.index(n);
        let away = (i as f64 - 48.0).hypot(j as f64 - 60.0) * penn::PIXEL_MM;
        *value = u8::from(away < mm / 2.0 && (1..4).contains(&k));
    }
    mask
}

const READING: Reading =
    Reading { stride: 2, reconstruction: Reconstruction::Mean, threshold: 0.5 };

fn detector() -> Detector {
    Detector::new(bright_net(), READING).expect("a net of the method")
}

/// What is bright in `image`, whose spine is `body` and that L2.
fn found_in(image: &Volume<f32>, body: &Volume<u8>) -> Result<Tumours, Unseen> {
    let (semantic, instances) = (body.map(|v| 49 * v), body.map(|v| 21 * u16::from(v)));
    let (semantic, instances) = (&semantic, &instances);
    detector().tumours(Enhanced { image, agent: true, semantic, instances }, 2)
}

/// A lesion of `mm` in grey tissue, in L2.
fn found(mm: f64) -> Tumours {
    found_in(&lesion(mm), &disc(60.0)).expect("nothing hides it")
}

fn lesion(mm: f64) -> Volume<f32> {
    disc(mm).map(|inside| if inside == 1 { 900.0 } else { 300.0 })
}

#[test]
fn a_slice_at_once_is_its_patches_one_by_one() {
    let (net, plane) = (random_net(), values(96 * 96, 7, 1.0));
    let set = InstructionSet::best();
    let patch = Sweep::new(net.clone(), 1);
    for stride in [1, 2, 4] {
        let [across, down] = net.positions([96, 96], stride);
        let slice = Sweep::new(net.clone(), stride).scores(set, &plane, 96, 2);
        // Every seventh patch by itself: an image that is one patch.
        for n in (0..across * down).step_by(7) {
            let (x, y) = (n % across * stride, n / across * stride);
            let rows = (y..y + SIDE).map(|row| &plane[row * 96 + x..row * 96 + x + SIDE]);
            let alone = patch.scores(set, &rows.collect::<Vec<_>>().concat(), SIDE, 1);
            let there = &slice[2 * n..2 * n + 2];
            assert!(alone.iter().zip(there).all(|(a, b)| (a - b).abs() <= 1e-5), "{stride} {n}");
        }
    }
}

#[test]
fn a_constant_map_of_scores_is_that_constant_everywhere() {
    for (stride, way) in [1, 2, 4, 8].into_iter().flat_map(|n| Reconstruction::ALL.map(|w| (n, w)))
    {
        let positions = [37, 50].map(|n: usize| n / stride + 1);
        let scores = vec![0.37; positions[0] * positions[1]];
        let rebuilt = penn::rebuilt(way, &scores, positions, [37, 50], stride);
        assert_eq!(rebuilt.len(), 37 * 50);
        assert!(rebuilt.iter().all(|v| (v - 0.37).abs() < 1e-6), "{stride} {way:?}");
    }
}

/// `penn.patches.centre` of `models/train` for the same: pixels 0 and 1 are nearest to patch 0, 2 to 5 to patch 1.
#[test]
fn a_pixel_takes_the_score_of_the_patch_in_whose_middle_it_is() {
    let scores = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    let rebuilt = penn::rebuilt(Reconstruction::Centre, &scores, [3, 2], [10, 5], 4);
    let row = [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0];
    assert_eq!(rebuilt[..10], row);
    assert_eq!(rebuilt[20..30], row.map(|score| score + 3.0));
}

/// `penn.preprocess.prepare` of `models/train` on the same numbers: the training's values, to the rounding of float32.
#[test]
fn intensities_are_those_of_the_training() {
    let dims = Dims::new([6, 5, 2]).unwrap();
    let ramp = (0..60).map(|n| ((n * 37) % 101) as f32).collect();
    let image = Volume::new(Grid { dims, ..grid() }, ramp).unwrap();
    let got = penn::prepared(&image).unwrap();
    for (place, want) in TRAINED {
        let value = got.voxels()[place];
        assert!((value - want).abs() < 2e-5, "{place}: {value} {want}");
    }
}

const TRAINED: [(usize, f32); 12] = [
    (0, 0.000000),
    (5, 0.691742),
    (10, 0.530597),
    (15, 0.539855),
    (20, 0.636929),
    (25, 0.778789),
    (30, 1.000000),
    (35, 0.643044),
    (40, 0.517147),
    (45, 0.563000),
    (50, 0.666763),
    (55, 0.781724),
];

#[test]
fn a_large_lesion_is_a_finding_and_a_small_one_is_invisible() {
    let Tumours { mask, lesions, elsewhere } = found(40.0);
    let [lesion] = lesions.as_slice() else { panic!("{lesions:?}") };
    let volume = mask.voxels().iter().filter(|&&v| v == 1).count() as f64
        * mask.grid().affine.spacing().iter().product::<f64>();
    assert!((lesion.volume_mm3 - volume).abs() < 1e-6);
    assert_eq!((lesion.compartment, elsewhere), (Compartment::VertebralBody, 0));
    assert_eq!(lesion.level, VertebraId::new(21));
    assert!((lesion.extent_mm[2] - 12.0).abs() < 1e-9, "{:?}", lesion.extent_mm);
    assert!((20.0..45.0).contains(&lesion.extent_mm[0]), "{:?}", lesion.extent_mm);
    assert!(found(9.0).lesions.is_empty());
}

#[test]
fn findings_go_back_to_the_grid_of_the_series_whatever_its_orientation() {
    // (A, S, L) of half the pixels: columns to anterior, rows to superior, slices to the left.
    let axes = [[0.0, -0.4, 0.0], [0.0, 0.0, 0.4], [4.0, 0.0, 0.0]];
    let affine = Affine::new(axes, [-8.0, 34.0, -41.0]).expect("three directions");
    let grid = Grid { dims: Dims::new([160, 200, 5]).expect("few voxels"), affine };
    let turned = |source: &Volume<u8>| {
        let voxels = (0..grid.dims.voxels()).map(|place| {
            let world = grid.affine.world(grid.dims.index(place).map(|n| n as f64));
            let index = source.grid().affine.index(world).map(f64::round);
            let inside =
                (0..3).all(|n| (0.0..source.dims().counts()[n] as f64).contains(&index[n]));
            if inside { source.at(index.map(|n| n as usize)) } else { 0 }
        });
        Volume::new(grid, voxels.collect()).expect("one value per voxel")
    };
    let truth = turned(&disc(40.0));
    let image = truth.map(|inside| if inside == 1 { 900.0 } else { 300.0f32 });
    let Tumours { mask, lesions, .. } = found_in(&image, &turned(&disc(60.0))).unwrap();
    assert_eq!((mask.grid(), lesions.len()), (&grid, 1));
    let straight = turned(&found(40.0).mask.map(|number| number as u8));
    let both = mask.voxels().iter().zip(straight.voxels()).filter(|&(&m, &s)| m == 1 && s == 1);
    let sizes = [&mask.map(|number| number as u8), &straight].map(count);
    let dice = 2.0 * both.count() as f64 / sizes.iter().sum::<usize>() as f64;
    assert!(dice > 0.9, "{dice}");
}

fn count(mask: &Volume<u8>) -> usize {
    mask.voxels().iter().filter(|&&v| v == 1).count()
}

#[test]
fn what_is_far_from_the_spine_is_counted_and_not_told() {
    let mut body = Volume::filled(grid(), 0u8);
    body.voxels_mut()[..5].fill(1);
    let Tumours { lesions, elsewhere, .. } = found_in(&lesion(40.0), &body).unwrap();
    assert_eq!((lesions.len(), elsewhere), (0, 1));
}

#[test]
fn what_cannot_be_seen_has_its_reason() {
    let (image, spine) = (lesion(40.0), disc(60.0));
    let (semantic, instances) = (&spine, &spine.map(u16::from));
    let series = Enhanced { image: &image, agent: true, semantic, instances };
    let refused = |series| detector().tumours(series, 1).unwrap_err();
    assert_eq!(refused(Enhanced { agent: false, ..series }), Unseen::NoContrast);
    let flat = image.map(|_| 5.0);
    assert_eq!(refused(Enhanced { image: &flat, ..series }), Unseen::Flat);
    let empty = spine.map(|_| 0);
    assert_eq!(refused(Enhanced { semantic: &empty, ..series }), Unseen::NoSpine);
}

/// Slices that are bright and dark in turn: every bright one is a part of its own.
#[test]
fn more_spots_than_anybody_looks_through_are_no_lesions() {
    let spots = |slices: usize| {
        let dims = Dims::new([96, 120, slices]).unwrap();
        let whole = Volume::filled(Grid { dims, ..grid() }, 1u8);
        let mut image = whole.map(|_| 300.0f32);
        for (k, slice) in image.voxels_mut().chunks_exact_mut(96 * 120).enumerate() {
            slice[2000..6000].fill(if k % 2 == 0 { 900.0 } else { 300.0 });
        }
        found_in(&image, &whole)
    };
    assert_eq!(spots(2 * MOST_LESIONS).unwrap().lesions.len(), MOST_LESIONS);
    assert_eq!(spots(2 * MOST_LESIONS + 1).unwrap_err(), Unseen::TooMany);
}

#[test]
fn a_net_of_another_form_is_no_detector() {
    let layer = Layer { weights: vec![0.0; 9], bias: vec![0.0] };
    let net = PatchNet::new(3, vec![layer]).unwrap();
    assert!(Detector::new(net, READING).is_err());
    assert!(Detector::new(bright_net(), Reading { stride: 0, ..READING }).is_err());
}
