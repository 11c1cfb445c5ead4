//! The image for the semantic net, and images and masks from grid to grid.

use super::case::{self, Archive, Tally};
use kernels::Volume;
use pipeline::spineps::prepare::{image_at, mask_at, mask_on, normalised, padded};

/// Share of the range of an image by which the spline may differ.
const TOLERANCE: f64 = 1e-3;

fn image(archive: &Archive, key: &str, zoom: [f64; 3]) -> Volume<f32> {
    archive.volume(key, zoom, |value| value as f32)
}

/// Largest difference as a share of the range of `want`.
fn difference(got: &Volume<f32>, want: &Volume<f32>) -> f64 {
    assert_eq!(got.dims(), want.dims());
    let values = || want.voxels().iter().copied();
    let range = values().fold(f32::MIN, f32::max) - values().fold(f32::MAX, f32::min);
    let differences = got.voxels().iter().zip(values()).map(|(a, b)| (a - b).abs());
    f64::from(differences.fold(0.0, f32::max) / range)
}

#[test]
fn images_and_masks_are_resampled_as_by_spineps() {
    let [mut images, mut masks, mut back] = ["cubic", "nearest", "back"].map(Tally::new);
    for (name, archive) in case::archives(|a| a.has("img_0") && a.has("seg_back_0")) {
        for n in (0..).take_while(|n| archive.has(&format!("img_{n}"))) {
            let key = |key: &str| format!("{key}_{n}");
            let case = format!("{name} {n}");
            let (from, to) = (archive.triple(&key("z_from")), archive.triple(&key("z_to")));
            let finer = image_at(&image(&archive, &key("img"), from), to).unwrap();
            let share = difference(&finer, &image(&archive, &key("img_out"), to));
            println!("{case}: the spline differs by {share:.1e} of the range");
            images.add(&case, share <= TOLERANCE);
            let mask = archive.labels(&key("seg"), from);
            let fine = mask_at(&mask, to).unwrap();
            let want = archive.labels(&key("seg_out"), to);
            masks.compare(&case, &fine, &want);
            back.compare(
                &case,
                &mask_on(&want, mask.grid()),
                &archive.labels(&key("seg_back"), from),
            );
        }
    }
    [images, masks, back].into_iter().for_each(Tally::finish);
}

#[test]
fn masks_return_to_the_scanner_as_by_spineps() {
    let mut native = Tally::new("native");
    for (name, archive) in case::archives(|a| a.has("seg_native") && a.has("vert_native")) {
        let zoom = archive.triple("zoom");
        let json = case::json(&name).unwrap();
        let to = [0, 1, 2]
            .map(|axis| json["native"]["native_zoom"][axis].as_f64().unwrap_or(zoom[axis]));
        for (from, want) in [("semantic_clean", "seg_native"), ("vert_modelres", "vert_native")] {
            let want = archive.ids(want, to);
            native.compare(&name, &mask_on(&archive.ids(from, zoom), want.grid()), &want);
        }
    }
    native.finish();
}

#[test]
fn intensities_and_margin_are_spineps() {
    let [mut scaled, mut wider] = ["normalised", "padded"].map(Tally::new);
    for (name, archive) in case::archives(|a| a.has("norm_in") && a.has("pad_out")) {
        let volume = |key: &str| image(&archive, key, [1.0; 3]);
        let got = normalised(&volume("norm_in"));
        scaled.add(&name, difference(&got, &volume("norm_out")) == 0.0);
        wider.add(&name, difference(&padded(&got).unwrap(), &volume("pad_out")) == 0.0);
    }
    [scaled, wider].into_iter().for_each(Tally::finish);
}
