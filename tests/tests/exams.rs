//! Every real T2w exam of the reference data, the whole way: DCMTK's `storescu` -> the appliance -> a DCMTK console and
//! a Mosquitto broker; then read by dciodvfy, highdicom and dcm2niix.
//!
//! How good the segmentation is, is the evaluation's business (`models`, bin `evaluate`); here it must arrive whole.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::series::Nagle;
use tests::site::series_uid;
use tests::{Site, peer, phantom, run, send, shared};

/// Vendor and form, in turn over the exams.
const DRESSES: [[&str; 2]; 6] = [
    ["siemens", "classic"],
    ["philips", "enhanced"],
    ["ge", "classic"],
    ["siemens", "enhanced"],
    ["philips", "classic"],
    ["ge", "enhanced"],
];
/// Bodies in the field of view of every exam: T11 to L5.
const LEAST_VERTEBRAE: u64 = 7;
/// A life without the states between: what every job goes through, in this order.
const LIFE: [&str; 5] = ["receiving", "complete", "running", "sending", "done"];

#[test]
fn every_t2w_exam_comes_back_on_its_own_geometry() {
    let exams = exams().unwrap();
    assert!(exams.len() >= 9, "{} T2w exams", exams.len());
    let site = Site::new().unwrap();
    let appliance = site.start().unwrap();
    for (n, exam) in exams.iter().enumerate() {
        let [vendor, form] = DRESSES[n % DRESSES.len()];
        let nagle = if n % 2 == 0 { Nagle::Off } else { Nagle::On };
        let name = format!("{} as {vendor} {form}", exam.display());
        let result = check(&site, exam, n, [vendor, form], nagle);
        let vertebrae = result.with_context(|| appliance.log()).with_context(|| name.clone());
        println!("{name}: {} vertebrae", vertebrae.unwrap());
    }
    let state = site.messages.messages().unwrap().into_iter().find(|(t, _)| t.ends_with("/state"));
    assert!(state.is_some_and(|(_, payload)| payload.contains("\"online\"")), "no birth");
}

/// The T2w exams, in order of name.
fn exams() -> Result<Vec<PathBuf>> {
    let folder = shared()?.join("data/nifti/chu_vb");
    let mut exams = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with("_T2w.nii.gz") {
            exams.push(path);
        }
    }
    exams.sort();
    Ok(exams)
}

/// Sends one exam and checks everything that came of it; the number of vertebrae.
fn check(site: &Site, exam: &Path, n: usize, dress: [&str; 2], nagle: Nagle) -> Result<u64> {
    let series = site.folder.join(format!("exam-{n}"));
    let ([vendor, form], seed) = (dress, (n + 1).to_string());
    let from = exam.to_str().context("a path that is no text")?;
    phantom(&series, &["--from", from, "--vendor", vendor, "--form", form, "--seed", &seed])?;
    send(site.dicom, &series, nagle)?.success()?;
    let job = site.job(&series_uid(&series)?)?;
    let last = site.settled(&job)?;
    ensure!(last["state"] == "done", "the job ended as {last}");

    let heard = site.heard(&job)?;
    check_life(&heard)?;
    let result = heard.iter().find(|(kind, _)| kind == "result").context("no result by MQTT")?;
    let vertebrae = result.1["vertebrae_count"].as_u64().context("no vertebrae_count")?;
    ensure!(vertebrae >= LEAST_VERTEBRAE, "{vertebrae} vertebrae");

    let console = site.folder.join("console");
    let checked = peer("check_exam.py", &[exam, &series, &console, &site.results(&job)])?;
    let files: Value = serde_json::from_str(&checked.stdout)?;
    for path in files["seg"].as_array().into_iter().flatten() {
        validate(path)?;
    }
    for kind in ["report", "outlines", "derived"] {
        validate(&files[kind][0])?;
    }
    validate(&files["capture"][0])?;
    Ok(vertebrae)
}

/// The states of a job come in order, the reason of its completeness is told, and the result comes before `done`.
fn check_life(heard: &[(String, Value)]) -> Result<()> {
    let states: Vec<&str> = heard.iter().filter_map(|(_, m)| m["state"].as_str()).collect();
    let mut changes = states.clone();
    changes.dedup();
    ensure!(changes == LIFE, "the job went through {states:?}");
    let complete =
        heard.iter().find(|(_, m)| m["state"] == "complete").context("never complete")?;
    let reasons = ["count_known", "association_release", "silence"];
    ensure!(reasons.iter().any(|r| complete.1["reason"] == *r), "complete by {}", complete.1);
    let kinds: Vec<&str> = heard.iter().map(|(kind, _)| kind.as_str()).collect();
    ensure!(kinds.ends_with(&["result", "status"]), "not result, then done: {kinds:?}");
    let numbers: Vec<u64> = heard.iter().filter_map(|(_, m)| m["seq"].as_u64()).collect();
    ensure!(numbers.len() == heard.len() && numbers.is_sorted(), "out of order: {numbers:?}");
    Ok(())
}

/// `dciodvfy` finds no error in a DICOM file.
fn validate(path: &Value) -> Result<()> {
    let path = path.as_str().context("no file of this kind")?;
    let mut command = Command::new("dciodvfy");
    let done = run(command.args(["-new", path]), Duration::from_secs(60))?;
    let text = format!("{}{}", done.stdout, done.stderr);
    ensure!(!text.lines().any(|line| line.starts_with("Error")), "{path}: {text}");
    Ok(())
}
