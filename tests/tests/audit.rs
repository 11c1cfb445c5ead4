//! The audit log of the running service: starts, stops and an acknowledged alarm, over a kill, and what tampering shows.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tests::place::sagitta;
use tests::shell::{Finished, run};
use tests::site::get;
use tests::wait::wait_until;
use tests::{Appliance, Site};

/// For a look at the device, an orderly end, a command.
const LIMIT: Duration = Duration::from_secs(30);
const ALARM: &str = "engine_fallback";

/// `sagitta audit verify`.
fn verify(site: &Site, more: &[&str]) -> Finished {
    let mut command = Command::new(sagitta().unwrap());
    command.args(["audit", "verify"]).args(more);
    command.arg("--config").arg(site.folder.join("sagitta.toml"));
    run(&mut command, LIMIT).unwrap()
}

fn log(site: &Site) -> PathBuf {
    site.folder.join("data/audit/audit.log")
}

/// The actions of the log, in order.
fn actions(site: &Site) -> Vec<String> {
    let text = std::fs::read_to_string(log(site)).unwrap();
    let entry = |line: &str| serde_json::from_str(line.split_once(' ').unwrap().1).unwrap();
    let entries = text.lines().skip(1).map(entry);
    entries.map(|entry: serde_json::Value| entry["action"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn starts_stops_and_seen_alarms_are_kept_and_no_change_of_them_goes_unseen() {
    let site = Site::new().unwrap();
    // An engine that is not here: an alarm at once.
    let config = format!("{}[jobs]\nengine = 'tensorrt'\n", site.config());
    let mut first = Appliance::ready(&site.folder, &config).unwrap();
    let there = || get(site.page, "/api/alarms").ok().filter(|text| text.contains(ALARM));
    wait_until("the alarm", LIMIT, there).unwrap();
    assert_eq!(site.acknowledge(ALARM).unwrap(), "204", "{}", first.log());
    first.process.signal("TERM").unwrap();
    assert_eq!(first.process.wait(LIMIT).unwrap(), Some(0), "{}", first.log());
    // The second run is cut off.
    Appliance::ready(&site.folder, &config).unwrap().kill();
    assert_eq!(actions(&site), ["start", "acknowledge_alarm", "stop", "start"]);
    let whole = verify(&site, &[]).success().unwrap().stdout;
    let head =
        whole.lines().find_map(|line| line.strip_prefix("last record: ")).unwrap().to_owned();
    assert!(head.starts_with("4 "), "{whole}");

    // One word of one record, with the rest as it was.
    let text = std::fs::read_to_string(log(&site)).unwrap();
    let faults = |text: &str| {
        std::fs::write(log(&site), text).unwrap();
        verify(&site, &["--head", &head]).success().unwrap_err().to_string()
    };
    let changed = faults(&text.replace(ALARM, "too_hot"));
    assert!(changed.contains("record 2 was changed"), "{changed}");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let missing = faults(&[&lines[..3], &lines[4..]].concat().concat());
    assert!(missing.contains("record 3 is missing or out of order"), "{missing}");
    let cut = faults(&lines[..4].concat());
    assert!(cut.contains("record 4 is missing: the log was cut"), "{cut}");

    // A tampered log stops nobody, and the service says so.
    let third = Appliance::ready(&site.folder, &config).unwrap();
    assert!(third.log().contains("somebody has cut it"), "{}", third.log());
}
