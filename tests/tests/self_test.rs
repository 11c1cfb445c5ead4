//! The self-test fails closed: a program with one changed weight, whose checksums are forged so that nothing else can see it,
//! takes series, makes no result of them and says so everywhere.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sagitta::seal::sha256;
use serde_json::Value;
use tests::series::Nagle;
use tests::site::series_uid;
use tests::wait::{wait_for_port, wait_until};
use tests::{Guard, Site, phantom, root, run, sagitta, send};

const LIMIT: Duration = Duration::from_secs(60);
/// What the service runs unless a site says otherwise.
const WEIGHTS: &str = "models/weights/semantic.int8.onnx";

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// A weight in the net's last third, far from the names of the graph: its byte turned round.
fn damaged(weights: &[u8]) -> Vec<u8> {
    let mut weights = weights.to_vec();
    let at = weights.len() * 5 / 6;
    weights[at] ^= 0x55;
    weights
}

/// A copy of the program with other weights, and with their checksum wherever the old one was, if it is `forged`.
fn program(folder: &Path, forged: bool) -> PathBuf {
    let weights = std::fs::read(root().join(WEIGHTS)).unwrap();
    let mut bytes = std::fs::read(sagitta().unwrap()).unwrap();
    // By a part that is quickly found: all of it would be compared at every byte.
    let at = find(&bytes, &weights[..4096]).expect("the weights are in the program");
    let changed = damaged(&weights);
    assert_eq!(bytes[at..at + weights.len()], weights);
    bytes[at..at + weights.len()].copy_from_slice(&changed);
    let (old, new) = (sha256(&weights), sha256(&changed));
    while forged && let Some(at) = find(&bytes, old.as_bytes()) {
        bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
    }
    let path = folder.join(if forged { "forged" } else { "damaged" });
    std::fs::write(&path, bytes).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn last(site: &Site, end: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let last = || {
        let messages = site.messages.messages().unwrap().into_iter();
        let of_topic = messages.filter(|(topic, _)| topic.ends_with(end));
        let values = of_topic.filter_map(|(_, payload)| serde_json::from_str(&payload).ok());
        values.collect::<Vec<Value>>().into_iter().rfind(|value| wanted(value))
    };
    wait_until(end, LIMIT, last).unwrap()
}

#[test]
fn one_changed_weight_behind_a_forged_checksum_ends_every_job_by_name() {
    let site = Site::new().unwrap();
    let program = program(site.folder.path(), true);
    let (config, log) = (site.folder.join("sagitta.toml"), site.folder.join("log"));
    std::fs::write(&config, site.config()).unwrap();
    let mut command = Command::new(&program);
    let service = Guard::start(command.args(["run", "--config"]).arg(&config), &log).unwrap();
    wait_for_port(site.dicom, LIMIT).unwrap();

    // Intake goes on: an acknowledgement stays a promise.
    let series = site.folder.join("series");
    phantom(&series, &[]).unwrap();
    send(site.dicom, &series, Nagle::Off).unwrap().success().unwrap();
    let job = site.job(&series_uid(&series).unwrap()).unwrap();
    let ended = site.settled(&job).unwrap();
    assert_eq!((&ended["state"], &ended["code"]), (&"failed".into(), &"self_test".into()));
    assert_eq!(ended["move"], "site", "{ended}");
    assert_eq!(site.console.files().unwrap(), Vec::<PathBuf>::new());

    let health = last(&site, "/health", |health| health["service"]["self_test"] == "failed");
    assert_eq!(health["service"]["degraded"], "self_test", "{health}");
    assert!(health["service"]["self_test_age_s"].is_u64(), "{health}");
    let alarm = last(&site, "/alarms/self_test_failed", |alarm| alarm["active"] == true);
    assert_eq!(alarm["severity"], "critical", "{alarm}");
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("the self-test failed: simd int8 says"), "{text}");

    let mut doctor = Command::new(&program);
    let said = run(doctor.args(["doctor", "--config"]).arg(&config), LIMIT).unwrap();
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    let line = said.stdout.lines().find(|line| line.contains("self-test")).unwrap();
    assert!(line.starts_with("!!") && line.contains("known is"), "{line}");

    // The program is mended: the series runs, and the alarm is over.
    drop(service);
    let _appliance = site.start().unwrap();
    assert_eq!(site.state(&job, &["done"]).unwrap()["state"], "done");
    last(&site, "/health", |health| health["service"]["self_test"] == "passed");
    last(&site, "/alarms/self_test_failed", |alarm| alarm["active"] == false);
}

#[test]
fn one_changed_weight_with_its_honest_checksum_is_no_net() {
    let site = Site::new().unwrap();
    let config = site.folder.join("sagitta.toml");
    std::fs::write(&config, site.config()).unwrap();
    let mut command = Command::new(program(site.folder.path(), false));
    let said = run(command.args(["run", "--config"]).arg(&config), LIMIT).unwrap();
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(said.stderr.contains("the card says SHA-256"), "{said:?}");
}
