//! `sagitta demo` as the README promises it: the contract for scripts, real input, and the page in a real browser.
//!
//! `SAGITTA_PICTURES` names a folder for the pictures of the page, to be looked at.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tests::wait::free_port;
use tests::{Finished, Guard, TempDir, peer, phantom, run, sagitta, shared, wait_until};

/// For a demo, and for a browser, on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);
/// The keys scripts rely on (ARCHITECTURE.md, "Contracts for scripts").
const KEYS: [&str; 7] =
    ["series", "stages", "total_ms", "engine", "models", "vertebrae", "outputs"];

fn demo(out: &Path, arguments: &[&str]) -> Finished {
    let mut command = Command::new(sagitta().unwrap());
    command.args(["demo", "--once", "--json", "--out"]).arg(out).args(arguments);
    run(&mut command, LIMIT).unwrap()
}

/// Exit code 0, one JSON object, the same as the report; its outputs are there. The report.
fn checked(out: &Path, arguments: &[&str]) -> Value {
    let done = demo(out, arguments).success().unwrap();
    let printed: Value = serde_json::from_str(&done.stdout).expect("one JSON object");
    let report = std::fs::read(out.join("report.json")).unwrap();
    assert_eq!(printed, serde_json::from_slice::<Value>(&report).unwrap());
    for key in KEYS {
        assert!(!printed[key].is_null(), "no {key}");
    }
    for (kind, path) in printed["outputs"].as_object().unwrap() {
        assert!(Path::new(path.as_str().unwrap()).exists(), "{kind}: {path}");
    }
    for name in ["seg.dcm", "sr.dcm", "gsps.dcm", "overlay.png"] {
        assert!(out.join(name).is_file(), "no {name}");
    }
    for end in ["_seg-spine_msk.nii.gz", "_seg-vert_msk.nii.gz"] {
        let entries = std::fs::read_dir(out).unwrap();
        let count = entries.filter(|e| e.as_ref().unwrap().path().to_string_lossy().ends_with(end));
        assert_eq!(count.count(), 1, "{end}");
    }
    printed
}

#[test]
fn once_ends_with_the_report_and_its_files() {
    let folder = TempDir::new().unwrap();
    let report = checked(&folder.join("out"), &[]);
    assert!(report["vertebrae"].as_array().unwrap().len() >= 5, "{report}");
    let stages = report["stages"].as_object().unwrap();
    for stage in ["complete", "volume", "semantic", "vertebrae", "outputs", "deliver"] {
        assert!(stages[stage].as_f64().is_some(), "no time of {stage}");
    }
    // A second one into the same folder replaces the first.
    checked(&folder.join("out"), &[]);
}

#[test]
fn with_the_mcu_its_simulator_hears_the_heartbeats() {
    let folder = TempDir::new().unwrap();
    let out = folder.join("out");
    checked(&out, &["--with-mcu"]);
    let log = std::fs::read_to_string(out.join("mcu.log")).unwrap();
    assert!(log.contains("state=Running"), "{log}");
    // The end was in order: it was announced. And nothing is left running.
    assert!(log.lines().last().unwrap().contains("state=Updating"), "{log}");
    assert!(!out.join("mcu").is_symlink(), "the simulator still runs");
}

#[test]
fn a_nifti_and_a_dicom_folder_can_be_the_patient() {
    let folder = TempDir::new().unwrap();
    let exam = shared().unwrap().join("data/nifti/sct_tutorial/t2_lumbar.nii.gz");
    checked(&folder.join("nifti"), &["--input", exam.to_str().unwrap()]);
    let series = folder.join("series");
    phantom(&series, &["--vendor", "ge", "--seed", "5"]).unwrap();
    let report = checked(&folder.join("dicom"), &["--input", series.to_str().unwrap()]);
    assert_eq!(report["series"]["instances"], 17);
}

#[test]
fn what_is_no_series_is_refused_with_exit_code_3() {
    let folder = TempDir::new().unwrap();
    let letter = folder.join("letter.nii");
    std::fs::write(&letter, "a letter").unwrap();
    let done = demo(&folder.join("out"), &["--input", letter.to_str().unwrap()]);
    assert_eq!(done.status.code(), Some(3), "{done:?}");
    let answer: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(answer["refused"]["code"], "unreadable_pixels");
}

#[test]
fn the_page_shows_the_overlay_and_the_messages() {
    let folder = TempDir::new().unwrap();
    let address = format!("127.0.0.1:{}", free_port().unwrap());
    let log = folder.join("log");
    let mut command = Command::new(sagitta().unwrap());
    command.args(["demo", "--page", &address, "--out"]).arg(folder.join("out"));
    let _demo = Guard::start(&mut command, &log).unwrap();
    wait_until("the end of the series", LIMIT, || {
        let text = std::fs::read_to_string(&log).ok()?;
        text.contains("the overlay and the messages: http://").then_some(())
    })
    .unwrap();
    let url = format!("http://{address}/");
    let pictures = std::env::var_os("SAGITTA_PICTURES").map(PathBuf::from);
    let pictures = pictures.unwrap_or_else(|| folder.path().to_owned());
    let page = peer("browse.py", &[Path::new(&url), &pictures]).unwrap().stdout;
    for part in ["data-state=\"done\"", "data-state=\"result\"", "Not for diagnostic use"] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    for name in ["wide.png", "narrow.png"] {
        assert!(std::fs::read(pictures.join(name)).unwrap().starts_with(b"\x89PNG"), "{name}");
    }
}
