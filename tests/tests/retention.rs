//! What leaves the appliance, and when: by age, by the disk's mark, never before it was delivered; and what a full disk says.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use sagitta::identity::JobId;
use tests::series::Nagle;
use tests::site::{JOB, series_uid};
use tests::{Appliance, Site, phantom, send, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

fn start(site: &Site, retention: &str) -> Appliance {
    let marks = "high_water_percent = 100\nrefuse_percent = 100";
    let config = site.config().replace(marks, retention);
    Appliance::ready(&site.folder, &config).unwrap()
}

/// Sends a series; its job.
fn sent(site: &Site, seed: &str) -> JobId {
    let folder = site.folder.join(format!("series-{seed}"));
    phantom(&folder, &["--seed", seed]).unwrap();
    send(site.dicom, &folder, Nagle::Off).unwrap().success().unwrap();
    site.job(&series_uid(&folder).unwrap()).unwrap()
}

fn spooled(site: &Site, job: &JobId) -> PathBuf {
    site.folder.join("data/spool").join(job.as_str())
}

fn gone(site: &Site, appliance: &Appliance, job: &JobId) {
    let results = site.folder.join("data/results").join(job.as_str());
    wait_until("the end of the series", LIMIT, || {
        (!spooled(site, job).exists() && !results.exists()).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {}", appliance.log()));
}

#[test]
fn a_series_goes_by_its_age_and_does_not_come_back() {
    let site = Site::new().unwrap();
    let appliance = start(&site, "keep_hours = 24");
    let [old, young] = ["2", "3"].map(|seed| sent(&site, seed));
    for job in [&old, &young] {
        assert_eq!(site.settled(job).unwrap()["state"], "done", "{}", appliance.log());
    }
    let folder = std::fs::File::open(spooled(&site, &old)).unwrap();
    folder.set_modified(SystemTime::now() - Duration::from_secs(25 * 3600)).unwrap();
    gone(&site, &appliance, &old);
    assert!(appliance.log().contains("series deleted"), "{}", appliance.log());
    appliance.kill();
    let appliance = start(&site, "keep_hours = 24");
    wait_until("the young series", LIMIT, || {
        appliance.log().contains("its result is there already").then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {}", appliance.log()));
    assert!(!spooled(&site, &old).exists() && spooled(&site, &young).exists());
}

#[test]
fn a_disk_above_its_mark_gives_up_what_is_delivered_and_nothing_else() {
    let mut site = Site::new().unwrap();
    site.console.stop();
    let appliance = start(&site, "high_water_percent = 0");
    let job = sent(&site, "2");
    wait_until("a failed delivery", JOB, || {
        appliance.log().contains("not sent: console cannot be reached").then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {}", appliance.log()));
    // Longer than the pause between two looks.
    std::thread::sleep(Duration::from_secs(12));
    assert!(spooled(&site, &job).exists(), "deleted before it was delivered: {}", appliance.log());
    site.console.restart().unwrap();
    assert_eq!(site.settled(&job).unwrap()["state"], "done", "{}", appliance.log());
    gone(&site, &appliance, &job);
    assert!(appliance.log().contains("the disk is filling up"), "{}", appliance.log());
}

#[test]
fn a_disk_beyond_its_last_mark_takes_nothing_more() {
    let site = Site::new().unwrap();
    let appliance = start(&site, "high_water_percent = 0\nrefuse_percent = 0");
    let folder = site.folder.join("series");
    phantom(&folder, &[]).unwrap();
    let refused = send(site.dicom, &folder, Nagle::Off).unwrap();
    let text = format!("{}{}", refused.stdout, refused.stderr);
    assert!(text.contains("OutOfResources"), "{text}");
    let log = appliance.log();
    let line = log.lines().find(|line| line.contains("instance refused")).unwrap();
    assert!(line.contains("0xa700") && line.contains("the site's move"), "{line}");
}
