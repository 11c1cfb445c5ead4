//! Receivers of results that are away, or take only a part of what their profile names: what `sagitta doctor` says of them
//! before, and what they get.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use serde_json::{Value, json};
use std::process::Command;
use tests::series::Nagle;
use tests::site::{JOB, objects, series_uid};
use tests::wait::wait_for_port;
use tests::{Appliance, Guard, Site, phantom, python, root, send, wait_until};

/// What `sagitta doctor` finds of the only destination.
fn doctor(site: &Site, config: &str) -> Value {
    let mut found = site.doctor(config, "destination").unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn the_doctor_asks_every_destination_for_what_its_profile_names() {
    let mut site = Site::new().unwrap();
    let config = site.config();
    let says = |found: &Value, key: &str, word: &str| found[key].as_str().unwrap().contains(word);
    let good = doctor(&site, &config);
    assert_eq!(good["health"], "good", "{good}");
    assert!(says(&good, "text", "mr_derived, sc_rgb, gsps, seg_semantic"), "{good}");

    let beyond = config.replace("'sr_measurements']", "'sr_measurements', 'seg_labelmap']");
    let partly = doctor(&site, &beyond);
    assert_eq!(partly["health"], "wrong", "{partly}");
    assert!(says(&partly, "text", "does not take seg_labelmap"), "{partly}");
    assert!(says(&partly, "advice", "take it out of the profile"), "{partly}");

    site.console.stop();
    let away = doctor(&site, &config);
    assert_eq!(away["health"], "wrong", "{away}");
    assert!(says(&away, "text", "console cannot be reached"), "{away}");
    assert!(says(&away, "advice", "the site's move"), "{away}");

    let alone = config.split("[[destination]]").next().unwrap();
    assert_eq!(doctor(&site, alone)["health"], "absent");
}

#[test]
fn a_console_that_refuses_one_kind_gets_the_others() {
    let site = Site::new().unwrap();
    let config = site.config().replace("'sr_measurements']", "'sr_measurements', 'seg_labelmap']");
    let appliance = Appliance::ready(&site.folder, &config).unwrap();
    let series = site.folder.join("series");
    phantom(&series, &[]).unwrap();
    send(site.dicom, &series, Nagle::Off).unwrap().success().unwrap();
    let job = site.job(&series_uid(&series).unwrap()).unwrap();
    let last = site.settled(&job).unwrap();
    // Told as failed, without numbers and report, it was made again at every start.
    assert_eq!(last["state"], "done", "{last}");
    let (taken, refused) = (objects(17), 1);
    let receipts = json!([
        {"destination": 1, "taken": taken, "refused": refused, "code": "delivery", "move": "site"},
    ]);
    assert_eq!(last["destinations"], receipts, "{last}");
    let told: Vec<String> = site.heard(&job).unwrap().into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(told.iter().filter(|kind| *kind == "result").count(), 1, "{told:?}");
    let report = std::fs::read(site.results(&job).join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["destinations"], receipts);
    assert_eq!(site.console.files().unwrap().len(), objects(17), "all but the label map");
    let log = appliance.log();
    let line = log.lines().find(|line| line.contains("not sent: ")).unwrap();
    assert!(line.contains("1.2.840.10008.5.1.4.1.1.66.7"), "{line}");
    assert!(line.contains(&format!("1 of {} objects", objects(17) + 1)), "{line}");
    assert!(line.contains("the others are there; the site's move"), "{line}");
    appliance.kill();
    let again = Appliance::ready(&site.folder, &config).unwrap();
    let found = || again.log().contains("its result is there already").then_some(());
    wait_until("the result of the run before", JOB, found).unwrap();
    assert!(!again.log().contains("segmented"), "{}", again.log());
}

/// A destination that answered "out of resources" for ever blocked what followed for it.
#[test]
fn a_result_without_room_at_the_console_lets_others_overtake_it() {
    let mut site = Site::new().unwrap();
    site.console.stop();
    let mut command = Command::new(python().unwrap());
    command.arg(root().join("tests/peers/full_console.py")).arg(site.console.port.to_string());
    let _full = Guard::start(&mut command, &site.folder.join("full.log")).unwrap();
    wait_for_port(site.console.port, JOB).unwrap();
    let appliance = site.start().unwrap();
    let sent = |name: &str, seed: &str| {
        let folder = site.folder.join(name);
        phantom(&folder, &["--seed", seed]).unwrap();
        send(site.dicom, &folder, Nagle::Off).unwrap().success().unwrap();
        site.job(&series_uid(&folder).unwrap()).unwrap()
    };
    let first = sent("first", "1");
    let tried = || appliance.log().contains("out of resources").then_some(());
    wait_until("the first try", JOB, tried).unwrap_or_else(|e| panic!("{e}: {}", appliance.log()));
    let second = sent("second", "2");
    assert_eq!(site.settled(&second).unwrap()["state"], "done", "{}", appliance.log());
    assert_eq!(site.state(&first, &["sending"]).unwrap()["generation"], 1);
}
