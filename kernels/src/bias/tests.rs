//! A known field is found again, and what has none is left as it is.

use super::*;
use crate::{Affine, Dims};

/// 160 x 224 x 64 mm.
fn grid() -> Grid {
    let axes = [[0.0, 2.0, 0.0], [0.0, 0.0, -2.0], [-4.0, 0.0, 0.0]];
    let dims = Dims::new([80, 112, 16]).unwrap();
    Grid { dims, affine: Affine::new(axes, [0.0; 3]).unwrap() }
}

/// A body with a spine in air: marrow, disc, fat and muscle, each with some texture; air is 0 in the label volume.
fn patient() -> (Volume<u8>, Volume<f32>) {
    let dims = grid().dims;
    let tissue = |[i, j, k]: [usize; 3]| match (i, j) {
        (0..6, _) | (74.., _) => 0,
        (6..14, _) => 3,
        (30..50, _) if (2..14).contains(&k) => 1 + u8::from(j % 16 > 12),
        _ => 4,
    };
    let labels: Vec<u8> = (0..dims.voxels()).map(|n| tissue(dims.index(n))).collect();
    let texture = |n: usize| 1.0 + 0.05 * ((n * 7919 % 101) as f32 / 50.0 - 1.0);
    let image = labels
        .iter()
        .enumerate()
        .map(|(n, label)| [2.0, 320.0, 180.0, 700.0, 110.0][usize::from(*label)] * texture(n));
    let image = image.collect();
    (Volume::new(grid(), labels).unwrap(), Volume::new(grid(), image).unwrap())
}

/// ln of a coil's field: bright at the back and in the middle of the height; 2.5-fold from end to end.
fn coil([i, j, k]: [usize; 3]) -> f32 {
    let (p, h, s) = (i as f32 / 79.0, j as f32 / 111.0 - 0.5, k as f32 / 15.0 - 0.5);
    0.7 * p - 1.0 * h * h - 0.2 * s
}

fn under_coil(image: &Volume<f32>) -> Volume<f32> {
    let dims = image.dims();
    let values = image.voxels().iter().enumerate();
    let values = values.map(|(n, value)| value * coil(dims.index(n)).exp()).collect();
    Volume::new(*image.grid(), values).unwrap()
}

/// Deviation over mean of the voxels of one tissue.
fn variation(image: &Volume<f32>, labels: &Volume<u8>, label: u8) -> f64 {
    let voxels = image.voxels().iter().zip(labels.voxels());
    let values: Vec<f32> = voxels.filter(|(_, l)| **l == label).map(|(v, _)| *v).collect();
    let (mean, deviation) = crate::statistics::mean_deviation_above(&values, 0.0).unwrap();
    deviation / mean
}

#[test]
fn a_coils_field_is_found_and_taken_out() {
    let (labels, clean) = patient();
    let coiled = under_coil(&clean);
    let mut corrected = coiled.clone();
    correct(&mut corrected, 2);
    for label in 1..=4 {
        let [was, is] = [&coiled, &corrected].map(|image| variation(image, &labels, label));
        println!("tissue {label}: variation {was:.3}, corrected {is:.3}");
        assert!(is < 0.6 * was, "tissue {label}: {was} {is}");
    }
    // Without the fat under the skin: where a bright layer ends, no method tells its brightness from a coil's.
    let body = || (0..labels.voxels().len()).filter(|&n| ![0, 3].contains(&labels.voxels()[n]));
    let left: Vec<f64> =
        body().map(|n| f64::from(corrected.voxels()[n] / clean.voxels()[n]).ln()).collect();
    let given: Vec<f64> = body().map(|n| f64::from(coil(labels.dims().index(n)))).collect();
    let deviation = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / values.len() as f64).sqrt()
    };
    let share = deviation(&left) / deviation(&given);
    println!("{share:.3} of the field is left");
    assert!(share < 0.3, "{share}");
}

#[test]
fn the_result_does_not_depend_on_threads() {
    let image = under_coil(&patient().1);
    let corrected = [1, 2, 5].map(|threads| {
        let mut image = image.clone();
        correct(&mut image, threads);
        image
    });
    assert_eq!(corrected[0], corrected[1]);
    assert_eq!(corrected[0], corrected[2]);
}

#[test]
fn images_that_tell_nothing_stay_as_they_are() {
    for value in [7.0, 0.0, -3.0, f32::INFINITY, f32::MIN_POSITIVE / 4.0] {
        let mut image = Volume::filled(grid(), value);
        correct(&mut image, 2);
        for got in image.voxels() {
            assert!(*got == value || (got / value - 1.0).abs() < 1e-5, "{value}: {got}");
        }
    }
    let mut image = Volume::filled(grid(), f32::NAN);
    correct(&mut image, 2);
    assert!(image.voxels().iter().all(|value| value.is_nan()));
}

#[test]
fn values_that_are_no_numbers_stay_where_they_are() {
    let mut image = under_coil(&patient().1);
    let mut want = image.clone();
    correct(&mut want, 2);
    let wrong = [(5000, f32::NAN), (70_000, f32::INFINITY), (99_999, -4.0)];
    wrong.iter().for_each(|&(n, value)| image.voxels_mut()[n] = value);
    correct(&mut image, 2);
    for (n, (got, want)) in image.voxels().iter().zip(want.voxels()).enumerate() {
        match wrong.iter().find(|(at, _)| *at == n) {
            Some((_, value)) => assert!(!got.is_finite() || (*got < 0.0 && *value < 0.0), "{got}"),
            None => assert!((got / want - 1.0).abs() < 1e-2, "{n}: {got} {want}"),
        }
    }
}

#[test]
fn impossible_spacings_do_no_harm() {
    for spacing in [1e-300, 1e-9, 1e9, 1e150] {
        let axes = [[0.0, spacing, 0.0], [0.0, 0.0, -1.0], [-4.0, 0.0, 0.0]];
        let dims = Dims::new([300, 3, 1]).unwrap();
        let Ok(affine) = Affine::new(axes, [0.0; 3]) else { continue };
        let values = (0..900).map(|n| 100.0 + (n % 37) as f32).collect();
        let mut image = Volume::new(Grid { dims, affine }, values).unwrap();
        correct(&mut image, 1);
        assert!(image.voxels().iter().all(|value| value.is_finite() && *value > 0.0), "{spacing}");
    }
}

#[test]
fn a_field_of_another_grid_is_not_applied() {
    let image = under_coil(&patient().1);
    let field = Field::estimate(&image, 1).unwrap();
    let other = Grid { dims: Dims::new([112, 80, 16]).unwrap(), ..grid() };
    let mut moved = Volume::new(other, image.into_voxels()).unwrap();
    let before = moved.clone();
    field.divide(&mut moved, 1);
    assert_eq!(moved, before);
}
