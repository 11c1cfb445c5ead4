//! Another model on a running device: beside the active one, then in its place, then taken back because it fails its self-test.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tests::series::Nagle;
use tests::site::series_uid;
use tests::{Appliance, Site, phantom, run, sagitta, send, wait_until};

/// For a start, a job, or the idle time of a device and a run after it.
const LIMIT: Duration = Duration::from_secs(180);

fn model(site: &Site, arguments: &[&str]) -> String {
    let mut command = Command::new(sagitta().unwrap());
    command.arg("model").args(arguments).env("SAGITTA_CONFIG", site.folder.join("sagitta.toml"));
    run(&mut command, LIMIT).unwrap().success().unwrap().stdout
}

fn listed(site: &Site) -> Value {
    serde_json::from_str(&model(site, &["list", "--json"])).unwrap()
}

fn active(site: &Site) -> String {
    let listed = listed(site);
    let active = listed["models"].as_array().unwrap().iter().find(|m| m["role"] == "active");
    active.unwrap()["model"].as_str().unwrap().to_owned()
}

/// Sends a new patient and waits for the end; the report.
fn job(site: &Site, appliance: &Appliance, seed: &str) -> Value {
    let series = site.folder.join(format!("series-{seed}"));
    phantom(&series, &["--seed", seed]).unwrap();
    send(site.dicom, &series, Nagle::Off).unwrap().success().unwrap();
    let job = site.job(&series_uid(&series).unwrap()).unwrap();
    assert_eq!(site.settled(&job).unwrap()["state"], "done", "{}", appliance.log());
    let report = std::fs::read(site.results(&job).join("report.json")).unwrap();
    serde_json::from_slice(&report).unwrap()
}

fn file(path: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

#[test]
fn a_model_runs_beside_the_active_one_takes_its_place_and_is_taken_back() {
    let site = Site::new().unwrap();
    std::fs::write(site.folder.join("sagitta.toml"), site.config()).unwrap();
    let folder = site.model("floats").unwrap();
    assert!(model(&site, &["freeze", folder.to_str().unwrap()]).contains("simd f32"));
    model(&site, &["shadow", "floats"]);
    let appliance = site.start().unwrap();
    let report = job(&site, &appliance, "1");
    assert_eq!(report["engine"]["name"], "simd int8");
    let path = site.folder.join("data/models/shadow.json");
    let compared = || file(&path).filter(|sum| sum["series"] == 1);
    let sum = wait_until("the comparison", LIMIT, compared);
    let sum = sum.unwrap_or_else(|error| panic!("{error}: {}", appliance.log()));
    assert_eq!((&sum["level_flips"], &sum["failed"]), (&0.into(), &0.into()), "{sum}");
    assert!(sum["vertebrae"].as_u64().unwrap() >= 5, "{sum}");
    let body = sum["structures"]["Vertebral body"]["mean"].as_f64().unwrap();
    assert!(body > 0.98 && body < 1.0, "floats and whole numbers differ a little: {sum}");
    assert_eq!(listed(&site)["shadow"], sum);
    drop(appliance);

    model(&site, &["promote", "floats"]);
    let appliance = site.start().unwrap();
    assert_eq!(job(&site, &appliance, "2")["engine"]["name"], "simd f32");
    assert!(appliance.log().contains("passed its self-test: it stays"), "{}", appliance.log());
    assert_eq!((active(&site).as_str(), &listed(&site)["on_trial"]), ("floats", &false.into()));
    drop(appliance);

    // Whole files, and nets that do not say what their release said.
    let other = site.model("other").unwrap();
    let answers = std::fs::read_to_string(folder.join("answers.toml")).unwrap();
    let line = answers.lines().find(|line| line.starts_with("answer_sha256")).unwrap();
    let changed = format!("answer_sha256 = \"{}\"", "0".repeat(64));
    std::fs::write(other.join("answers.toml"), answers.replace(line, &changed)).unwrap();
    model(&site, &["promote", "other"]);
    let appliance = site.start().unwrap();
    assert_eq!(job(&site, &appliance, "3")["engine"]["name"], "simd f32");
    assert!(appliance.log().contains("the promoted model is taken back"), "{}", appliance.log());
    assert_eq!(active(&site), "floats");
}
