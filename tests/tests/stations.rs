//! A spine in two stations: the lower one shows the sacrum, and the upper one takes its levels from it.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use kernels::{Affine, Dims, Grid, Volume};
use phantom::{Recipe, Region, generate};
use pipeline::VertebraId;
use sagitta::identity::JobId;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use tests::series::Nagle;
use tests::site::{JOB, series_uid};
use tests::{Site, peer, phantom, send, wait_until};

/// A body lies where another series shows it, within the width of its slices.
const SAME_PLACE_MM: f64 = 6.0;
/// Vertebrae that both stations show in part or whole.
const LEAST_SHARED: usize = 2;

/// The rows of `volume` that a station shows.
fn station(volume: &Volume<f32>, rows: Range<usize>) -> Volume<f32> {
    let [columns, _, slices] = volume.dims().counts();
    let dims = Dims::new([columns, rows.len(), slices]).unwrap();
    let affine = volume.grid().affine;
    let origin = affine.world([0.0, rows.start as f64, 0.0]);
    let affine = Affine::new(affine.axes(), origin).unwrap();
    let voxel = |at| {
        let [i, j, k] = dims.index(at);
        volume.at([i, rows.start + j, k])
    };
    Volume::new(Grid { dims, affine }, (0..dims.voxels()).map(voxel).collect()).unwrap()
}

/// A series of patient 7, in a folder of its own.
fn series(site: &Site, volume: &Volume<f32>, name: &str) -> PathBuf {
    let (file, folder) = (site.folder.join(format!("{name}.nii.gz")), site.folder.join(name));
    let bytes = models::nifti::encode_labels(&volume.map(|v| v as u16)).unwrap();
    std::fs::write(&file, bytes).unwrap();
    phantom(&folder, &["--from", file.to_str().unwrap(), "--seed", "7"]).unwrap();
    folder
}

/// Sends a series and waits for its end: the job and its last status.
fn sent(site: &Site, folder: &Path) -> (JobId, Value) {
    send(site.dicom, folder, Nagle::Off).unwrap();
    let job = site.job(&series_uid(folder).unwrap()).unwrap();
    let state = site.settled(&job).unwrap();
    (job, state)
}

/// Sends one station and waits for its end; the job, its result message and its report.
fn segmented(site: &Site, volume: &Volume<f32>, name: &str) -> (JobId, Value, Value) {
    let (job, state) = sent(site, &series(site, volume, name));
    assert_eq!(state["state"], "done", "{name}");
    let heard = site.heard(&job).unwrap();
    let (_, result) = heard.into_iter().find(|(kind, _)| kind == "result").unwrap();
    let report = json(&site.results(&job).join("report.json"));
    (job, result, report)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Where a report puts each level.
fn levels(report: &Value) -> BTreeMap<String, [f64; 3]> {
    let vertebrae = report["vertebrae"].as_array().unwrap().iter();
    vertebrae
        .map(|vertebra| {
            let at = |axis: usize| vertebra["body_centroid_mm"][axis].as_f64().unwrap();
            (vertebra["level"].as_str().unwrap().to_owned(), [at(0), at(1), at(2)])
        })
        .collect()
}

#[test]
fn the_upper_station_takes_its_levels_from_the_lower() {
    let site = Site::new().unwrap();
    let appliance = site.start().unwrap();
    let whole = generate(&Recipe::of(Region::Whole, 3)).unwrap().image;
    let rows = whole.dims().counts()[1];
    let lower = station(&whole, rows * 45 / 100..rows);
    let upper = station(&whole, rows * 15 / 100..rows * 62 / 100);
    let (lumbar, result, below) = segmented(&site, &lower, "lower");
    assert_eq!(
        (&result["numbering"], &result["levels_from"]),
        (&"from_sacrum".into(), &Value::Null)
    );
    let (thoracic, result, above) = segmented(&site, &upper, "upper");
    assert_eq!(result["numbering"], "from_study", "{}", appliance.log());
    assert_eq!(result["levels_from"], lumbar.as_str());
    assert_eq!(above["levels_from"], lumbar.as_str());
    assert!(!result["flags"].as_array().unwrap().contains(&"level_unverified".into()));

    let (below, above) = (levels(&below), levels(&above));
    let shared = below.iter().filter_map(|(level, at)| Some((level, at, above.get(level)?)));
    let shared: Vec<_> = shared.collect();
    assert!(shared.len() >= LEAST_SHARED, "{below:?} {above:?}");
    let near = |a: &[f64; 3], b: &[f64; 3]| kernels::volume::norm(kernels::volume::sub(*a, *b));
    // The outermost vertebrae of a station may be cut by its edge.
    let close = shared.iter().filter(|(_, a, b)| near(a, b) <= SAME_PLACE_MM).count();
    assert!(close + 2 >= shared.len() && close > 0, "{shared:?}");

    // Kept on this disk and numbered by again, without a UID of the patient's in any name.
    let kept = json(&site.results(&thoracic).join("neighbours.json"));
    assert_eq!(kept[0]["job"], lumbar.as_str());
}

/// The upper station came first and kept its numbers without meaning, whatever came later.
#[test]
fn a_station_that_came_first_is_numbered_again_when_the_lower_shows_its_levels() {
    let site = Site::new().unwrap();
    let appliance = site.start().unwrap();
    let whole = generate(&Recipe::of(Region::Whole, 3)).unwrap().image;
    let rows = whole.dims().counts()[1];
    let upper = station(&whole, rows * 15 / 100..rows * 62 / 100);
    let lower = station(&whole, rows * 45 / 100..rows);
    let (thoracic, result, _) = segmented(&site, &upper, "upper");
    assert_eq!(result["numbering"], "unverified", "{}", appliance.log());
    let (lumbar, _, _) = segmented(&site, &lower, "lower");
    let revised = wait_until("the revised result", JOB, || {
        let heard = site.heard(&thoracic).ok()?.into_iter();
        heard.filter(|(kind, _)| kind == "result").nth(1).map(|(_, result)| result)
    });
    let revised = revised.unwrap_or_else(|error| panic!("{error}: {}", appliance.log()));
    assert_eq!((&revised["generation"], &revised["numbering"]), (&2.into(), &"from_study".into()));
    assert_eq!(revised["levels_from"], lumbar.as_str());
    assert_eq!(site.settled(&thoracic).unwrap()["generation"], 2);
    // Once: the same series again makes nothing new, and a restart neither.
    appliance.kill();
    let again = site.start().unwrap();
    let found = || (again.log().matches("its result is there already").count() == 2).then_some(());
    wait_until("both results", JOB, found).unwrap_or_else(|e| panic!("{e}: {}", again.log()));
    assert!(!again.log().contains("numbered again"), "{}", again.log());
}

/// Three thick sagittal slices with the sacrum, beside two of other planes: refused as an exam, yet its levels are read.
#[test]
fn a_station_takes_its_levels_from_a_localiser() {
    let site = Site::new().unwrap();
    let appliance = site.start().unwrap();
    let usual = Recipe::of(Region::Whole, 3);
    let coarse = Recipe {
        columns: 320,
        rows: 512,
        slices: 3,
        in_plane_mm: 1.35,
        slice_mm: 12.0,
        ..usual.clone()
    };
    let sagittal = series(&site, &generate(&coarse).unwrap().image, "sagittal");
    let folder = site.folder.join("localiser");
    peer("make_localizer.py", &[&sagittal, &folder]).unwrap();
    let (localiser, state) = sent(&site, &folder);
    assert_eq!((&state["state"], &state["code"]), (&"refused".into(), &"not_anatomical".into()));

    let whole = generate(&usual).unwrap();
    let rows = whole.image.dims().counts()[1];
    let rows = rows * 15 / 100..rows * 62 / 100;
    let (_, result, report) = segmented(&site, &station(&whole.image, rows.clone()), "upper");
    assert_eq!(result["numbering"], "from_study", "{}", appliance.log());
    assert_eq!(result["levels_from"], localiser.as_str());
    // The levels are those of the truth.
    for (level, at) in levels(&report) {
        let index = whole.vertebrae.grid().affine.index(at).map(|n| n.round() as usize);
        let truth = VertebraId::new(whole.vertebrae.at(index) as u8).map(VertebraId::name);
        assert_eq!(truth, Some(level));
    }
}
