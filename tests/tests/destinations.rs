//! Receivers of results that are away, or take only a part of what their profile names: what `sagitta doctor` says of them
//! before, and what they get.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use serde_json::Value;
use tests::series::Nagle;
use tests::site::{objects, series_uid};
use tests::{Appliance, Site, phantom, send};

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
    assert_eq!((&last["state"], &last["code"]), (&"failed".into(), &"delivery".into()), "{last}");
    assert_eq!(last["move"], "site", "{last}");
    assert_eq!(site.console.files().unwrap().len(), objects(17), "all but the label map");
    let log = appliance.log();
    let line = log.lines().find(|line| line.contains("not sent: ")).unwrap();
    assert!(line.contains("1.2.840.10008.5.1.4.1.1.66.7"), "{line}");
    assert!(line.contains(&format!("1 of {} objects", objects(17) + 1)), "{line}");
    assert!(line.contains("the others are there; the site's move"), "{line}");
}
