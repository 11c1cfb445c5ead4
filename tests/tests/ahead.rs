//! A series that comes slice by slice: the net works on it before it is whole, and the result is the same.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use tests::series::Nagle;
use tests::site::series_uid;
use tests::{Site, phantom, send};

/// Between images, as from a scanner that sends each when it is reconstructed.
const PAUSE: Duration = Duration::from_millis(150);

#[test]
fn slices_are_worked_on_while_others_are_still_coming() {
    let site = Site::new().unwrap();
    let appliance = site.start().unwrap();
    let folder = site.folder.join("series");
    phantom(&folder, &["--seed", "7", "--vendor", "ge"]).unwrap();
    let uid = series_uid(&folder).unwrap();
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in &files {
        send(site.dicom, file, Nagle::Off).unwrap();
        std::thread::sleep(PAUSE);
    }
    let job = site.job(&uid).unwrap();
    let state = site.settled(&job).unwrap();
    assert_eq!(state["state"], "done", "{}", appliance.log());
    let report = report(&site.results(&job));
    let ahead = report["engine"]["slices_ahead"].as_u64().unwrap();
    assert!(ahead >= 2, "{ahead} of {} slices", files.len());

    // What a site does that gets the series at once.
    let other = Site::new().unwrap();
    let at_once = other.start().unwrap();
    send(other.dicom, &folder, Nagle::Off).unwrap();
    let alike = other.job(&uid).unwrap();
    assert_eq!(other.settled(&alike).unwrap()["state"], "done", "{}", at_once.log());
    for name in ["seg-spine_msk", "seg-vert_msk"] {
        assert!(mask(&site.results(&job), name) == mask(&other.results(&alike), name), "{name}");
    }
}

fn report(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("report.json")).unwrap()).unwrap()
}

/// The bytes of the file of a result whose name contains `name`.
fn mask(folder: &Path, name: &str) -> Vec<u8> {
    let mut files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let path = files.find(|path| path.to_string_lossy().contains(name));
    std::fs::read(path.unwrap_or_else(|| panic!("{name} in {}", folder.display()))).unwrap()
}
