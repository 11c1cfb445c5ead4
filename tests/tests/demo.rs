//! `sagitta demo` as the README promises it: the contract for scripts, real input, and the page in a real browser.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tests::wait::free_port;
use tests::{Finished, Guard, TempDir, phantom, run, sagitta, shared, wait_until};

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
    for name in ["seg.dcm", "overlay.png"] {
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
    let parts = [
        "<canvas id=\"canvas\"",
        "data-state=\"done\"",
        "data-state=\"result\"",
        "Not for diagnostic use",
    ];
    // The browser prints what it has when everything asked for has come; jobs and messages may come later.
    wait_until("the overlay and the messages on the page", LIMIT, || {
        let page = browse(&folder, &address, &["--dump-dom"]).stdout;
        parts.iter().all(|part| page.contains(part)).then_some(())
    })
    .unwrap();
    for (name, size) in [("wide", "1400,900"), ("narrow", "420,900")] {
        let picture = folder.join(format!("{name}.png"));
        let shot = format!("--screenshot={}", picture.display());
        browse(&folder, &address, &[&shot, &format!("--window-size={size}")]);
        let bytes = std::fs::read(&picture).unwrap();
        assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 10_000, "{} bytes", bytes.len());
        if let Some(keep) = std::env::var_os("SAGITTA_KEEP_PICTURES") {
            std::fs::copy(&picture, Path::new(&keep).join(format!("{name}.png"))).unwrap();
        }
    }
}

/// Loads the page in a headless browser. No virtual time: it would wait for the end of the events, which never ends.
fn browse(folder: &TempDir, address: &str, arguments: &[&str]) -> Finished {
    let mut command = Command::new("chromium");
    command.args(["--headless=old", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]);
    command.args(["--disable-dev-shm-usage", "--timeout=8000"]);
    command.arg(format!("--user-data-dir={}", folder.join("profile").display()));
    command.args(arguments).arg(format!("http://{address}/"));
    run(&mut command, Duration::from_secs(60)).unwrap().success().unwrap()
}
