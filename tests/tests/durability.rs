//! Acknowledged is kept: kill -9 in the middle of a job and right after the last acknowledgement, then a new start. And
//! the same series gives the same UIDs and, with the stored date, the same bytes.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sagitta::identity::JobId;
use sagitta::outbox::{Handover, Outbox};
use serde_json::Value;
use tests::series::Nagle;
use tests::site::{objects, series_uid};
use tests::{Site, TempDir, phantom, run, sagitta, send};

/// For `sagitta segment` on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
/// Of the phantom's 17 slices.
const OBJECTS: usize = objects(17);

/// What the console has: name (modality and SOP Instance UID) and bytes of every object.
fn console(site: &Site) -> BTreeMap<String, Vec<u8>> {
    let files = site.console.files().unwrap().into_iter();
    files.map(|path| (name(&path), std::fs::read(&path).unwrap())).collect()
}

/// What was told of `job`, in order: states, and `result`. At least once: a message that was not acknowledged before a kill
/// comes again, with its number, and counts as one.
fn told(site: &Site, job: &JobId) -> Vec<String> {
    let mut heard = site.heard(job).unwrap();
    heard.sort_by_key(|(_, message)| message["seq"].as_u64());
    heard.dedup_by_key(|(_, message)| message["seq"].as_u64());
    let word =
        |(kind, message): (String, Value)| message["state"].as_str().map_or(kind, str::to_owned);
    heard.into_iter().map(word).collect()
}

/// The starts whose birth, farewell or loss was heard.
fn boots(site: &Site) -> BTreeSet<String> {
    let messages = site.messages.messages().unwrap().into_iter();
    let states = messages.filter(|(topic, _)| topic.ends_with("/state"));
    let boot = |payload: &str| serde_json::from_str::<Value>(payload).unwrap()["boot"].to_string();
    states.map(|(_, payload)| boot(&payload)).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn a_killed_service_finishes_its_jobs_and_repeats_their_objects() {
    let series = TempDir::new().unwrap();
    let folder = series.join("series");
    phantom(&folder, &[]).unwrap();
    let uid = series_uid(&folder).unwrap();

    let quiet = Site::new().unwrap();
    let appliance = quiet.start().unwrap();
    send(quiet.dicom, &folder, Nagle::Off).unwrap().success().unwrap();
    let job = quiet.job(&uid).unwrap();
    assert_eq!(quiet.settled(&job).unwrap()["state"], "done", "{}", appliance.log());
    let undisturbed = console(&quiet);
    assert_eq!(undisturbed.len(), OBJECTS);
    drop(appliance);

    let site = Site::new().unwrap();
    let appliance = site.start().unwrap();
    send(site.dicom, &folder, Nagle::Off).unwrap().success().unwrap();
    // storescu has every acknowledgement; nothing of the job needs to have happened yet.
    appliance.kill();
    let appliance = site.start().unwrap();
    let job = site.job(&uid).unwrap();
    site.state(&job, &["running", "sending", "done"]).unwrap();
    appliance.kill();
    let appliance = site.start().unwrap();
    // On a busy machine it may have finished before we look; then all the same must hold.
    site.state(&job, &["sending", "done"]).unwrap();
    appliance.kill();
    let written = outputs(&site.results(&job));
    let appliance = site.start().unwrap();
    assert_eq!(site.settled(&job).unwrap()["state"], "done", "{}", appliance.log());
    tests::wait_until("the report", LIMIT, || {
        site.results(&job).join("report.json").exists().then_some(())
    })
    .unwrap();

    let disturbed = console(&site);
    // The names hold the UIDs: each object once, and the same ones as without kill -9. (The bytes hold the date of the
    // job's first run, which differs between the two sites.)
    assert_eq!(
        disturbed.keys().collect::<Vec<_>>(),
        undisturbed.keys().collect::<Vec<_>>(),
        "other UIDs"
    );
    assert!(written == outputs(&site.results(&job)), "the repetition has other bytes");
    let told = told(&site, &job);
    let count = |word: &str| told.iter().filter(|told| *told == word).count();
    assert_eq!((count("done"), count("result")), (1, 1), "told once, with its numbers: {told:?}");

    // A start that finds everything finished sends nothing again.
    appliance.kill();
    std::fs::remove_dir_all(site.folder.join("console")).unwrap();
    std::fs::create_dir(site.folder.join("console")).unwrap();
    let appliance = site.start().unwrap();
    tests::wait_until("the finished job", LIMIT, || {
        appliance.log().contains("its result is there already").then_some(())
    })
    .unwrap();
    assert!(site.console.files().unwrap().is_empty(), "objects were sent again");
}

/// Objects go to the console while their result is still made and written; a kill meanwhile must not leave others there than the
/// next run sends.
#[test]
fn a_kill_while_objects_go_out_in_advance_leaves_no_other_objects() {
    let folder = TempDir::new().unwrap();
    let series = folder.join("series");
    phantom(&series, &[]).unwrap();
    let site = Site::new().unwrap();
    let appliance = site.start().unwrap();
    send(site.dicom, &series, Nagle::Off).unwrap().success().unwrap();
    tests::wait_until("the first object", LIMIT, || {
        (!site.console.files().unwrap().is_empty()).then_some(())
    })
    .unwrap();
    appliance.kill();
    let early: BTreeSet<String> = console(&site).into_keys().collect();
    let appliance = site.start().unwrap();
    let job = site.job(&series_uid(&series).unwrap()).unwrap();
    assert_eq!(site.settled(&job).unwrap()["state"], "done", "{}", appliance.log());
    let all: BTreeSet<String> = console(&site).into_keys().collect();
    assert_eq!(all.len(), OBJECTS, "each object once: {early:?} {all:?}");
    assert!(early.is_subset(&all));
    let told = told(&site, &job);
    let count = |word: &str| told.iter().filter(|told| *told == word).count();
    assert_eq!((count("done"), count("result")), (1, 1), "told once, with its numbers: {told:?}");
}

/// Kill -9 between the report and the messages that tell of it: the numbers never came, or the site heard twice of them.
#[test]
fn an_end_that_was_not_told_before_a_kill_is_told_at_the_next_start_only() {
    let folder = TempDir::new().unwrap();
    let series = folder.join("series");
    phantom(&series, &[]).unwrap();
    let site = Site::new().unwrap();
    let appliance = site.start().unwrap();
    send(site.dicom, &series, Nagle::Off).unwrap().success().unwrap();
    let job = site.job(&series_uid(&series).unwrap()).unwrap();
    assert_eq!(site.settled(&job).unwrap()["state"], "done", "{}", appliance.log());
    appliance.kill();
    let results = || told(&site, &job).iter().filter(|told| *told == "result").count();
    assert_eq!(results(), 1);

    // As the kill would leave it: everything is there, and the note that the end is untold.
    let handover = Handover { job: job.clone(), generation: 1, recorded_ms: 1 };
    let outbox = Outbox::open(&site.folder.join("data/outbox.redb")).unwrap();
    outbox.record_deliveries(&handover, &[]).unwrap();
    drop(outbox);
    let appliance = site.start().unwrap();
    tests::wait_until("the untold end", LIMIT, || (results() == 2).then_some(())).unwrap();
    assert_eq!(site.settled(&job).unwrap()["state"], "done", "{}", appliance.log());
    appliance.kill();

    let (before, boots) = (told(&site, &job), boots(&site));
    let appliance = site.start().unwrap();
    tests::wait_until("the finished job", LIMIT, || {
        appliance.log().contains("its result is there already").then_some(())
    })
    .unwrap();
    // Who never was there says no farewell.
    tests::wait_until("the birth", LIMIT, || (self::boots(&site) != boots).then_some(())).unwrap();
    // Whatever it says at its end comes after all it had to say of the job.
    appliance.process.signal("TERM").unwrap();
    tests::wait_until("the farewell", LIMIT, || {
        let all = site.messages.messages().unwrap();
        all.last().is_some_and(|(_, payload)| payload.contains("offline")).then_some(())
    })
    .unwrap();
    assert_eq!(told(&site, &job), before, "told again");
}

#[test]
fn segmenting_twice_gives_the_same_bytes() {
    let folder = TempDir::new().unwrap();
    let input = folder.join("series");
    phantom(&input, &["--seed", "4", "--vendor", "philips", "--form", "enhanced"]).unwrap();
    let (first, second) = (folder.join("first"), folder.join("second"));
    for (out, threads) in [(&first, "1"), (&second, "2")] {
        let mut command = Command::new(sagitta().unwrap());
        command.arg("segment").arg(&input).arg("--out").arg(out).args(["--threads", threads]);
        run(&mut command, LIMIT).unwrap().success().unwrap();
    }
    let (first, second) = (outputs(&first), outputs(&second));
    assert_eq!(first.keys().collect::<Vec<_>>(), second.keys().collect::<Vec<_>>());
    assert!(first.len() > OBJECTS, "{} files", first.len());
    for (name, bytes) in &first {
        assert!(bytes == &second[name], "{} differs", name.display());
    }
}

/// Every output below `folder` with its bytes, but the report: it holds times.
fn outputs(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if name(&path) != "report.json" {
                let relative = path.strip_prefix(folder).unwrap().to_owned();
                found.insert(relative, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}
