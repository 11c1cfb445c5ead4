//! The patch net's path: patches and slices agree, lesions are found where they are, bad input has its reason.

use kernels::patch_net::{Layer, PatchNet};
use kernels::{Affine, Dims, Grid, Volume};
use pipeline::VertebraId;
use pipeline::penn::{self, Compartment, Enhanced, Masks, SIDE, Tumours, Unseen};

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

/// A lesion of `mm` in grey tissue, in L2, by the net that looks for what is bright.
fn found(mm: f64) -> Tumours {
    let image = disc(mm).map(|inside| if inside == 1 { 900.0 } else { 300.0f32 });
    let body = disc(60.0);
    let (semantic, instances) = (body.map(|v| 49 * v), body.map(|v| 21 * u16::from(v)));
    let masks = Some(Masks { semantic: &semantic, instances: &instances });
    penn::tumours(Enhanced { image: &image, agent: true, masks }, &bright_net(), 2, 2)
        .expect("nothing hides it")
}

#[test]
fn a_slice_at_once_is_its_patches_one_by_one() {
    let (net, plane) = (random_net(), values(96 * 96, 7, 1.0));
    for stride in [1, 2, 4] {
        let [across, down] = net.positions([96, 96], stride);
        let slice = net.scores(&plane, 96, stride, 2);
        // Every seventh patch by itself: an image that is one patch.
        for n in (0..across * down).step_by(7) {
            let (x, y) = (n % across * stride, n / across * stride);
            let rows = (y..y + SIDE).map(|row| &plane[row * 96 + x..row * 96 + x + SIDE]);
            let alone = net.scores(&rows.collect::<Vec<_>>().concat(), SIDE, 1, 1);
            let there = &slice[2 * n..2 * n + 2];
            assert!(alone.iter().zip(there).all(|(a, b)| (a - b).abs() <= 1e-5), "{stride} {n}");
        }
    }
}

#[test]
fn a_constant_map_of_scores_is_that_constant_everywhere() {
    for stride in [1, 2, 4, 8] {
        let positions = [37, 50].map(|n: usize| n / stride + 1);
        let scores = vec![0.37; positions[0] * positions[1]];
        let rebuilt = penn::rebuilt(&scores, positions, [37, 50], stride);
        assert_eq!(rebuilt.len(), 37 * 50);
        assert!(rebuilt.iter().all(|v| (v - 0.37).abs() < 1e-6), "{stride}");
    }
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
    let Tumours { mask, lesions } = found(40.0);
    let [lesion] = lesions.as_slice() else { panic!("{lesions:?}") };
    let volume = mask.voxels().iter().filter(|&&v| v == 1).count() as f64
        * mask.grid().affine.spacing().iter().product::<f64>();
    assert!((lesion.volume_mm3 - volume).abs() < 1e-6);
    assert_eq!(lesion.compartment, Compartment::VertebralBody);
    assert_eq!(lesion.level, VertebraId::new(21));
    assert!((lesion.extent_mm[2] - 12.0).abs() < 1e-9, "{:?}", lesion.extent_mm);
    assert!((20.0..45.0).contains(&lesion.extent_mm[0]), "{:?}", lesion.extent_mm);
    assert!(found(9.0).lesions.is_empty());
}

#[test]
fn what_cannot_be_seen_has_its_reason() {
    let image = disc(40.0).map(f32::from);
    let (semantic, instances) = (disc(60.0), disc(60.0).map(u16::from));
    let masks = Some(Masks { semantic: &semantic, instances: &instances });
    let series = Enhanced { image: &image, agent: true, masks };
    let refused = |series, net: &PatchNet| penn::tumours(series, net, 4, 1).unwrap_err();
    let net = bright_net();
    assert_eq!(refused(Enhanced { agent: false, ..series }, &net), Unseen::NoContrast);
    assert_eq!(refused(Enhanced { masks: None, ..series }, &net), Unseen::NoMasks);
    let flat = image.map(|_| 5.0);
    assert_eq!(refused(Enhanced { image: &flat, ..series }, &net), Unseen::Flat);
    let empty = semantic.map(|_| 0);
    let masks = Some(Masks { semantic: &empty, instances: &instances });
    assert_eq!(refused(Enhanced { masks, ..series }, &net), Unseen::NoSpine);
    let layer = Layer { weights: vec![0.0; 9], bias: vec![0.0] };
    assert_eq!(refused(series, &PatchNet::new(3, vec![layer]).unwrap()), Unseen::WrongNet);
}
