//! Acknowledged is kept: kill -9 in the middle of a job and right after the last acknowledgement, then a new start. And
//! the same series gives the same UIDs and, with the stored date, the same bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tests::series::Nagle;
use tests::site::series_uid;
use tests::{Site, TempDir, phantom, run, sagitta, send};

/// For `sagitta segment` on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
/// Derived images, captures and two SEGs of the phantom's 17 slices.
const OBJECTS: usize = 17 + 17 + 2;

/// What the console has: name (modality and SOP Instance UID) and bytes of every object.
fn console(site: &Site) -> BTreeMap<String, Vec<u8>> {
    let files = site.console.files().unwrap().into_iter();
    files.map(|path| (name(&path), std::fs::read(&path).unwrap())).collect()
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
    site.state(&job, &["running"]).unwrap();
    appliance.kill();
    let appliance = site.start().unwrap();
    site.state(&job, &["sending"]).unwrap();
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
    let mut heard = site.heard(&job).unwrap();
    // At least once: a message that was not acknowledged before kill -9 comes again, with its number.
    heard.sort_by_key(|(_, message)| message["seq"].as_u64());
    heard.dedup_by_key(|(_, message)| message["seq"].as_u64());
    let states: Vec<&str> = heard.iter().filter_map(|(_, m)| m["state"].as_str()).collect();
    let done = states.iter().filter(|state| **state == "done").count();
    let results = heard.iter().filter(|(kind, _)| kind == "result").count();
    assert_eq!((done, results), (1, 1), "told once, with its numbers: {states:?}");

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
