//! Instances by DICOMweb (STOW-RS), from a client that we did not write, and from one that breaks every rule.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::path::Path;

use serde_json::{Value, json};
use tests::site::{objects, series_uid};
use tests::{Appliance, Site, free_port, peer, phantom};

/// An appliance with DICOMweb, its port, and these lines more in `[dicom]`.
fn start(site: &Site, lines: &str) -> (Appliance, String) {
    let port = free_port().unwrap();
    let config = format!("{}[dicomweb]\nbind = '127.0.0.1:{port}'\n", site.config_with(lines));
    let appliance = Appliance::ready(&site.folder, &config).unwrap();
    (appliance, port.to_string())
}

#[test]
fn a_series_of_a_dicomweb_client_is_segmented() {
    let site = Site::new().unwrap();
    let (appliance, port) = start(&site, "");
    let series = site.folder.join("series");
    phantom(&series, &[]).unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let said = peer("stow.py", &[Path::new(&url), &series]).unwrap().stdout;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said, json!({"stored": 17, "failed": 0}), "{}", appliance.log());
    let job = site.job(&series_uid(&series).unwrap()).unwrap();
    assert_eq!(site.settled(&job).unwrap()["state"], "done", "{}", appliance.log());
    assert_eq!(site.console.files().unwrap().len(), objects(17));
}

#[test]
fn what_is_no_request_or_no_instance_is_refused_by_its_reason() {
    let site = Site::new().unwrap();
    let (appliance, port) = start(&site, "");
    let series = site.folder.join("series");
    phantom(&series, &[]).unwrap();
    let done = peer("stow_raw.py", &[Path::new(&port), &series.join("0001.dcm")]).unwrap();
    let answers: Value = serde_json::from_str(&done.stdout).unwrap();
    // HTTP status, and the reasons of PS3.18 table I.2-2.
    let expected = json!({
        "not_multipart": [415, []],
        "metadata": [415, []],
        "no_boundary": [400, []],
        "nothing": [400, []],
        "cut": [400, []],
        "long_head": [400, []],
        "not_dicom": [409, ["c000"]],
        "truncated": [409, ["c000"]],
        "wrong_class": [409, ["0122"]],
        "another_instance": [409, ["a900"]],
        "path_trick": [409, ["c000"]],
        "deflated": [409, ["c122"]],
        "other_study": [409, ["a900"]],
        "half": [202, ["c000"]],
        "good": [200, []],
        "no_such_page": [404, []],
    });
    assert_eq!(answers, expected, "{}", appliance.log());
    let log = appliance.log();
    let refused: Vec<&str> = log.lines().filter(|line| line.contains("instance refused")).collect();
    assert_eq!(refused.len(), 8, "{refused:?}");
    assert!(refused.iter().all(|line| line.contains("the sender's move")), "{refused:?}");
}

#[test]
fn only_a_listed_address_may_send() {
    let site = Site::new().unwrap();
    let lines = "[[dicom.peer]]\ncalling_ae = 'MR1'\n\
        [[dicom.peer]]\ncalling_ae = 'ROUTER'\naddress = '192.0.2.7'";
    let (appliance, port) = start(&site, lines);
    let series = site.folder.join("series");
    phantom(&series, &[]).unwrap();
    let done = peer("stow_raw.py", &[Path::new(&port), &series.join("0001.dcm")]).unwrap();
    let answers: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(answers["good"], json!([403, []]), "{}", appliance.log());
    let log = appliance.log();
    let line = log.lines().find(|line| line.contains("request rejected")).unwrap();
    assert!(line.contains("127.0.0.1") && line.contains("the site's move"), "{line}");
    let spool = site.folder.join("data/spool");
    assert!(!spool.read_dir().unwrap().any(|_| true), "nothing was kept");
}
