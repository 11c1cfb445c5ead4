//! Storage Commitment and procedure steps against pynetdicom as a console: what it is told, over whose association, and that
//! kill -9 forgets neither.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tests::series::Nagle;
use tests::site::series_uid;
use tests::wait::free_port;
use tests::{Appliance, Guard, Site, peer, phantom, python, root, send, wait_until};

const LIMIT: Duration = Duration::from_secs(90);
/// Slices of the phantom.
const SLICES: usize = 17;
/// Event type 2: not all is committed.
const FAILURES: u16 = 2;
/// Failure reasons: no such object instance, class and instance conflict.
const NO_SUCH_INSTANCE: u16 = 0x0112;
const CLASS_CONFLICT: u16 = 0x0119;

/// A series that the site's scanner sends.
fn series(site: &Site) -> PathBuf {
    let folder = site.folder.join("series");
    phantom(&folder, &[]).unwrap();
    folder
}

fn start(site: &Site, lines: &str) -> Appliance {
    Appliance::ready(&site.folder, &site.config_with(lines)).unwrap()
}

fn commit(action: &str, port: u16, folder: &Path) -> Value {
    let port = port.to_string();
    let done = peer("commit.py", &[Path::new(action), Path::new(&port), folder]).unwrap();
    serde_json::from_str(&done.stdout).unwrap()
}

/// All but the first, which was asked for under another class, and the one that nobody has sent.
fn check(report: &Value) {
    assert_eq!(report["event"], FAILURES, "{report}");
    assert_eq!(report["committed"].as_array().unwrap().len(), SLICES - 1, "{report}");
    let reasons = report["failed"].as_object().unwrap().values();
    let reasons: BTreeSet<u64> = reasons.map(|reason| reason.as_u64().unwrap()).collect();
    assert_eq!(reasons, [NO_SUCH_INSTANCE, CLASS_CONFLICT].map(u64::from).into(), "{report}");
}

fn waiting(site: &Site) -> usize {
    std::fs::read_dir(site.folder.join("data/commitments")).map_or(0, Iterator::count)
}

fn settled(site: &Site, appliance: &Appliance) {
    wait_until("the end of the question", LIMIT, || (waiting(site) == 0).then_some(()))
        .unwrap_or_else(|error| panic!("{error}: {}", appliance.log()));
    wait_until("the line of the report", LIMIT, || {
        appliance.log().contains("storage commitment reported").then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {}", appliance.log()));
}

#[test]
fn a_console_that_stays_is_told_over_its_own_association() {
    let site = Site::new().unwrap();
    let folder = series(&site);
    let appliance = start(&site, "commitment = true");
    send(site.dicom, &folder, Nagle::Off).unwrap().success().unwrap();
    check(&commit("stay", site.dicom, &folder));
    settled(&site, &appliance);

    // One that left without hearing is told when it comes again, over a restart too.
    assert_eq!(commit("ask", site.dicom, &folder), "asked");
    wait_until("the end of the association", LIMIT, || {
        appliance.log().contains("association ended without release").then_some(())
    })
    .unwrap();
    appliance.kill();
    assert_eq!(waiting(&site), 1);
    let appliance = start(&site, "commitment = true");
    check(&commit("call", site.dicom, &folder));
    settled(&site, &appliance);
}

#[test]
fn a_console_that_left_is_called_back_again_and_again_and_over_a_kill() {
    let site = Site::new().unwrap();
    let folder = series(&site);
    let port = free_port().unwrap();
    let lines = format!(
        "commitment = true\n[[dicom.peer]]\ncalling_ae = 'SCANNER'\nreport_to = '127.0.0.1:{port}'"
    );
    let appliance = start(&site, &lines);
    send(site.dicom, &folder, Nagle::Off).unwrap().success().unwrap();
    assert_eq!(commit("ask", site.dicom, &folder), "asked");
    wait_until("a failed try", LIMIT, || {
        appliance.log().contains("storage commitment not reported: no connection").then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {}", appliance.log()));
    appliance.kill();
    let appliance = start(&site, &lines);

    // It answers the first report with a failure, so that there is a second.
    let (heard, mut listen) = (site.folder.join("heard"), Command::new(python().unwrap()));
    listen.arg(root().join("tests/peers/commit.py")).args(["listen", &port.to_string()]);
    let _listening = Guard::start(&mut listen, &heard).unwrap();
    let report = wait_until("the report", LIMIT, || {
        let text = std::fs::read_to_string(&heard).unwrap();
        text.lines().find_map(|line| serde_json::from_str(line).ok())
    });
    check(&report.unwrap_or_else(|error| panic!("{error}: {}", appliance.log())));
    settled(&site, &appliance);
    assert!(appliance.log().contains("the peer answers with status 0110H"), "{}", appliance.log());
}

#[test]
fn commitment_is_not_offered_unless_the_site_wants_it() {
    let site = Site::new().unwrap();
    let folder = series(&site);
    let appliance = start(&site, "");
    let port = site.dicom.to_string();
    let refused = peer("commit.py", &[Path::new("ask"), Path::new(&port), &folder]).unwrap_err();
    assert!(refused.to_string().contains("no association"), "{refused}\n{}", appliance.log());
}

#[test]
fn a_procedure_step_begins_goes_on_over_a_kill_and_ends_once() {
    let site = Site::new().unwrap();
    let folder = series(&site);
    let appliance = start(&site, "");
    let port = site.dicom.to_string();
    let perform = |operation: &str, uid: &str, status: &str| -> Value {
        let arguments = [&port, operation, uid, status].map(Path::new);
        let done = peer("perform.py", &[&arguments[..], &[folder.as_path()]].concat()).unwrap();
        serde_json::from_str(&done.stdout).unwrap()
    };
    let status = |code: &str| json!([code, null]);
    assert_eq!(perform("create", "1.2.9", "IN PROGRESS"), status("0000"));
    assert_eq!(perform("create", "1.2.9", "IN PROGRESS"), status("0111"));
    assert_eq!(perform("create", "1.2.10", "COMPLETED"), status("0106"));
    assert_eq!(perform("create", "1.2.10", "-"), status("0120"));
    assert_eq!(perform("set", "1.2.10", "COMPLETED"), status("0112"));
    appliance.kill();
    let appliance = start(&site, "");
    assert_eq!(perform("set", "1.2.9", "-"), status("0000"));
    assert_eq!(perform("set", "1.2.9", "COMPLETED"), status("0000"));
    assert_eq!(perform("set", "1.2.9", "DISCONTINUED"), json!(["0110", "a506"]));

    // What is kept names the series and its images as the rest of the service does, and nothing else.
    send(site.dicom, &folder, Nagle::Off).unwrap().success().unwrap();
    let job = site.job(&series_uid(&folder).unwrap()).unwrap();
    let kept = std::fs::read_dir(site.folder.join("data/steps")).unwrap().next().unwrap().unwrap();
    let kept: Value = serde_json::from_slice(&std::fs::read(kept.path()).unwrap()).unwrap();
    assert_eq!(kept["state"], "completed", "{kept}");
    let named: BTreeSet<&str> =
        kept["series"][job.as_str()].as_array().unwrap().iter().flat_map(Value::as_str).collect();
    let spool = site.folder.join("data/spool").join(job.as_str());
    let files: Vec<PathBuf> =
        std::fs::read_dir(spool).unwrap().map(|entry| entry.unwrap().path()).collect();
    let stems: BTreeSet<&str> =
        files.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect();
    assert_eq!((named.len(), &named), (SLICES, &stems), "{}", appliance.log());
}
