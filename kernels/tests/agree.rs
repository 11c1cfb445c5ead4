//! Every fast operation against its plain definition, over odd sizes, single voxels, empty and full masks, and random
//! contents. A failure names the case by its seed.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod random;

use kernels::components::Connectivity;
use kernels::morphology::Element;
use kernels::{
    Affine, Dims, Grid, Volume, bias, components, distance, fill, growth, morphology, reference,
    resample, statistics,
};
use random::{Random, grids, label_map};

/// Rows of one voxel, single slices, primes, longer than a cache line and than a word of bits.
const COUNTS: [[usize; 3]; 10] = [
    [1, 1, 1],
    [1, 1, 5],
    [7, 1, 1],
    [1, 6, 1],
    [5, 4, 3],
    [13, 11, 1],
    [17, 3, 7],
    [9, 10, 6],
    [64, 3, 2],
    [131, 5, 3],
];

fn close(got: &[f32], want: &[f32], tolerance: f32, case: &str) {
    assert_eq!(got.len(), want.len(), "{case}");
    for (n, (got, want)) in got.iter().zip(want).enumerate() {
        assert!(got == want || (got - want).abs() <= tolerance, "{case}: {n}: {got} != {want}");
    }
}

/// Runs `check` on every grid for several seeds; `case` names the failure.
fn over_grids(mut check: impl FnMut(&mut Random, Grid, &str)) {
    for seed in 0..12 {
        let mut random = Random(seed);
        for grid in grids(&mut random, &COUNTS) {
            let case = format!("seed {seed}, {:?}", grid.dims.counts());
            check(&mut random, grid, &case);
        }
    }
}

const CONNECTIVITIES: [Connectivity; 3] =
    [Connectivity::Faces6, Connectivity::Edges18, Connectivity::Corners26];

#[test]
fn resampling() {
    over_grids(|random, grid, case| {
        let values = random.volume(grid, |r| r.below(200) as f32 / 2.0);
        // Values to 100; f32 weights and two nested sums round to a few 2^-24 each: 1e-4 covers 100 * 2 * 8 * 2^-24.
        for spacing in [0.3, 1.0, 2.9] {
            let got = resample::in_plane(&values, spacing);
            let want = reference::resample::in_plane(&values, spacing);
            assert_eq!(got.grid(), want.grid(), "{case}");
            close(got.voxels(), want.voxels(), 1e-4, case);
        }
    });
}

#[test]
fn sampling_another_grid() {
    over_grids(|random, grid, case| {
        let values = random.volume(grid, |r| r.below(200) as f32 / 2.0);
        let others = grids(random, &COUNTS);
        let mut other = others[random.below(others.len() as u64) as usize];
        let start = [random.unit() - 0.5, random.unit() * 4.0, 0.0];
        let axes = grid.affine.axes().map(|axis| kernels::volume::scale(axis, 0.3 + random.unit()));
        other.affine = Affine::new(axes, grid.affine.world(start)).unwrap();
        let want = reference::resample::nearest(&values, &other);
        assert_eq!(resample::nearest(&values, &other), want, "{case}");
        // Values to 100; f32 sums over the filter's memory and three passes: 2e-4 covers 100 * 3 * 8 * 2^-24.
        let (got, want) =
            (resample::cubic(&values, &other), reference::resample::cubic(&values, &other));
        assert_eq!(got.grid(), want.grid(), "{case}");
        close(got.voxels(), want.voxels(), 2e-4, case);
    });
}

#[test]
fn statistics_of_values() {
    over_grids(|random, grid, case| {
        let values = random.volume(grid, |r| (r.below(40) as f32 - 10.0) * 1.7);
        let percents = [99.5, 0.0, 50.0, 0.5, 100.0, 50.0, 33.3];
        let want = reference::statistics::percentiles(values.voxels(), &percents);
        assert_eq!(statistics::percentiles(values.voxels(), &percents), want, "{case}");
    });
}

#[test]
fn connected_components() {
    over_grids(|random, grid, case| {
        let map = label_map(random, grid, 3);
        for connectivity in CONNECTIVITIES {
            let (numbers, parts) = reference::components::label(&map, connectivity);
            let found = components::label(&map, connectivity);
            assert_eq!(found.parts, parts, "{case} {connectivity:?}");
            let mut painted = Volume::filled(*map.grid(), 0);
            for (n, range) in found.runs() {
                painted.voxels_mut()[range].fill(n as u32 + 1);
            }
            assert_eq!(painted, numbers, "{case} {connectivity:?}");
            let by_part = (0..parts.len()).flat_map(|n| found.runs_of(n).map(move |run| (n, run)));
            let mut by_part: Vec<_> = by_part.collect();
            by_part.sort_by_key(|(_, run)| run.start);
            assert!(found.runs().eq(by_part), "{case} {connectivity:?}");
        }
    });
}

#[test]
fn holes() {
    let (mut found, mut caves) = (0, 0);
    over_grids(|random, grid, case| {
        let dense = random.volume(grid, |r| [0, 2, 1, 1, 1, 1, 1, 1][r.below(8) as usize]);
        for (map, value) in [(&dense, 1), (&dense, 2), (&label_map(random, grid, 2), 1)] {
            let holes = fill::holes_in_slices(map, value);
            found += holes.len();
            assert_eq!(holes, reference::fill::holes_in_slices(map, value), "{case}");
            let cavities = fill::holes(map, value);
            caves += cavities.len();
            assert_eq!(cavities, reference::fill::holes(map, value), "{case}");
        }
    });
    assert!(caves > 10, "the cases hold {caves} cavities: too few to show anything");
    assert!(found > 10, "the cases hold {found} holes: too few to show anything");
}

#[test]
fn distances_and_morphology() {
    over_grids(|random, grid, case| {
        let mask = label_map(random, grid, 1);
        // Both sum the same squares in f64; the last f32 bit may differ: 2000 mm² * 2^-24.
        let want = reference::distance::squared_mm_in_plane(&mask);
        close(distance::squared_mm_in_plane(&mask).voxels(), want.voxels(), 2e-4, case);
        let (solid, want) = (distance::squared_mm(&mask), reference::distance::squared_mm(&mask));
        for (got, want) in solid.voxels().iter().zip(want.voxels()) {
            // The same three squares in another order: a few units in the last place of 3000 mm².
            assert!(got == want || (got - want).abs() <= 1e-11, "{case}: {got} != {want}");
        }
        let dilated = morphology::dilate_in_plane(&mask, 1.1);
        assert_eq!(dilated, reference::morphology::dilate_in_plane(&mask, 1.1), "{case}");
    });
}

#[test]
fn elements() {
    over_grids(|random, grid, case| {
        let dense = random.volume(grid, |r| [0, 1, 1, 1, 1, 1, 1, 3][r.below(8) as usize]);
        let along = [random.below(2) == 0, random.below(2) == 0, random.below(2) == 0];
        for mask in [&dense, &label_map(random, grid, 2)] {
            for connectivity in CONNECTIVITIES {
                for along in [[true; 3], along] {
                    let element = Element { connectivity, along };
                    let want = reference::morphology::erode(mask, element);
                    assert_eq!(morphology::erode(mask, element), want, "{case} {element:?}");
                    let want = reference::morphology::dilate(mask, element);
                    assert_eq!(morphology::dilate(mask, element), want, "{case} {element:?}");
                }
            }
        }
    });
}

#[test]
fn growth_of_labels() {
    over_grids(|random, grid, case| {
        let along = [random.below(2) == 0, random.below(2) == 0, random.below(2) == 0];
        let sparse = random.volume(grid, |r| [0, 0, 0, 0, 0, 1, 7, 255][r.below(8) as usize]);
        let (labels, inside) = (label_map(random, grid, 3), label_map(random, grid, 1));
        for labels in [&sparse, &labels] {
            for connectivity in CONNECTIVITIES {
                for along in [[true; 3], along] {
                    let element = Element { connectivity, along };
                    let want = reference::growth::grow(labels, &inside, element);
                    assert_eq!(growth::grow(labels, &inside, element), want, "{case} {element:?}");
                }
            }
        }
    });
}

/// Tissues with texture under a slow field, in air; every other case with nothing but noise.
fn patient(random: &mut Random, grid: Grid) -> Volume<f32> {
    let (slope, noisy) = (random.unit() - 0.5, random.below(2) == 0);
    let values = (0..grid.dims.voxels()).map(|offset| {
        let [i, j, k] = grid.dims.index(offset);
        let tissue = [0.5, 100.0, 220.0, 700.0][(i / 5 + j / 7 + k / 3) % 4];
        let field = (slope * (i as f64 / 20.0 + j as f64 / 40.0)).exp();
        let texture = 1.0 + 0.1 * random.unit();
        let value = if noisy { 1000.0 * random.unit() } else { tissue * field * texture };
        value as f32
    });
    Volume::new(grid, values.collect()).unwrap()
}

#[test]
fn bias_fields() {
    let mut random = Random(0);
    let mut cases = grids(&mut random, &COUNTS);
    // As wide as a patient: several intervals and many cells along each axis.
    let wide = [[41, 37, 9], [23, 90, 4]];
    for (counts, [a, b, c]) in wide.into_iter().zip([[4.1, 5.0, 6.0], [2.5, 2.2, 4.0]]) {
        let axes = [[0.0, a, 0.0], [0.0, 0.0, -b], [-c, 0.0, 0.0]];
        let affine = Affine::new(axes, [0.0; 3]).unwrap();
        cases.push(Grid { dims: Dims::new(counts).unwrap(), affine });
    }
    let mut changed = 0.0f32;
    for grid in cases {
        let case = format!("{:?}", grid.dims.counts());
        let image = patient(&mut random, grid);
        let want = reference::bias::correct(&image);
        let mut got = image.clone();
        bias::correct(&mut got, 2);
        for ((got, want), was) in got.voxels().iter().zip(want.voxels()).zip(image.voxels()) {
            // Sums of single precision in 40 rounds, each from the one before.
            assert!((got - want).abs() <= 1e-3 * want, "{case}: {got} != {want}");
            changed = changed.max((want / was - 1.0).abs());
        }
    }
    assert!(changed > 0.1, "the fields are at most {changed}: too little to show anything");
}
