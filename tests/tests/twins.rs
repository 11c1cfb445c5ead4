//! One acquisition, sent without and with distortion correction: the corrected image is the one that counts.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use dicom_core::{DataElement, VR};
use dicom_dictionary_std::tags;
use dicom_object::open_file;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tests::series::Nagle;
use tests::site::series_uid;
use tests::{Site, phantom, send};

/// The series of `from` as a scanner sends it uncorrected: with UIDs of its own, ND for DIS2D.
fn uncorrected(from: &Path, to: &str) -> PathBuf {
    let folder = from.with_file_name(to);
    std::fs::create_dir(&folder).unwrap();
    for (n, entry) in std::fs::read_dir(from).unwrap().enumerate() {
        let mut file = open_file(entry.unwrap().path()).unwrap();
        let series = format!("1.2.3.{}", to.len());
        let instance = format!("{series}.{}", n + 1);
        file.put(DataElement::new(tags::SERIES_INSTANCE_UID, VR::UI, series));
        file.put(DataElement::new(tags::SOP_INSTANCE_UID, VR::UI, instance.as_str()));
        file.put(DataElement::new(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\M\\NORM\\ND"));
        file.meta_mut().media_storage_sop_instance_uid = instance;
        file.write_to_file(folder.join(format!("{n}.dcm"))).unwrap();
    }
    folder
}

#[test]
fn the_better_image_of_an_acquisition_replaces_the_other_or_is_kept() {
    let site = Site::new().unwrap();
    let appliance = site.start().unwrap();
    let corrected = site.folder.join("corrected");
    phantom(&corrected, &["--seed", "7"]).unwrap();
    let ended = |folder: &Path| {
        send(site.dicom, folder, Nagle::Off).unwrap();
        let job = site.job(&series_uid(folder).unwrap()).unwrap();
        let state = site.settled(&job).unwrap();
        (job, state)
    };
    let result = |job| -> Value {
        let heard = site.heard(job).unwrap();
        heard.into_iter().find(|(kind, _)| kind == "result").unwrap().1
    };
    // Nobody waits for a twin: it is segmented, and then replaced.
    let (first, state) = ended(&uncorrected(&corrected, "first"));
    assert_eq!(state["state"], "done", "{}", appliance.log());
    assert_eq!(result(&first)["class"], "t2");
    assert_eq!(result(&first)["class_reasons"], serde_json::json!(["timing"]));
    let (better, state) = ended(&corrected);
    assert_eq!(state["state"], "done", "{}", appliance.log());
    assert_eq!(result(&better)["replaces"], first.as_str());
    let report = std::fs::read(site.results(&better).join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["series"]["replaces"], first.as_str());
    assert_eq!(report["series"]["class_confidence"], "high");
    // Nothing that was sent can be taken back: the new series names the old one.
    let described: BTreeSet<String> = site
        .console
        .files()
        .unwrap()
        .into_iter()
        .map(|path| {
            let object = open_file(path).unwrap();
            let text = |tag| object.element(tag).unwrap().to_str().unwrap().trim().to_owned();
            format!("{} {}", text(tags::SERIES_NUMBER), text(tags::SERIES_DESCRIPTION))
        })
        .collect();
    let revised: Vec<_> = described.iter().filter(|words| words.contains("REVISED")).collect();
    assert_eq!(revised.len() * 2, described.len(), "{described:?}");
    for words in revised {
        let (number, _) = words.split_once(' ').unwrap();
        assert!(words.contains(&format!("REVISED, supersedes {number}")), "{words}");
    }
    let (_, state) = ended(&uncorrected(&corrected, "too late"));
    assert_eq!((&state["state"], &state["code"]), (&"refused".into(), &"not_selected".into()));
    let told = format!("a better corrected image of the same acquisition was taken: job {better}");
    assert!(appliance.log().contains(&told), "{}", appliance.log());
}
