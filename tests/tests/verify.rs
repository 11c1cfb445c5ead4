//! `sagitta verify`: one byte changed in each kind of output is found, and what is wrong is named. The key is the device's own,
//! installed apart; OpenSSL agrees with the signature; what a console has received is as good as what was written.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tests::series::Nagle;
use tests::site::series_uid;
use tests::{Finished, Site, TempDir, phantom, run, sagitta, send};

const LIMIT: Duration = Duration::from_secs(60);

/// A finished job of an appliance, and the public key of its device.
struct Done {
    site: Site,
    series: PathBuf,
    /// Folder of the results.
    results: PathBuf,
    key: PathBuf,
}

fn done() -> Done {
    let site = Site::new().unwrap();
    let appliance = site.start().unwrap();
    let series = site.folder.join("series");
    phantom(&series, &[]).unwrap();
    send(site.dicom, &series, Nagle::Off).unwrap().success().unwrap();
    let job = site.job(&series_uid(&series).unwrap()).unwrap();
    assert_eq!(site.settled(&job).unwrap()["state"], "done", "{}", appliance.log());
    let (results, key) = (site.results(&job), site.folder.join("device.pem"));
    let printed =
        sagitta_with(&["key".as_ref(), "--config".as_ref(), &site.folder.join("sagitta.toml")]);
    std::fs::write(&key, printed.success().unwrap().stdout).unwrap();
    // Everything below works without the device.
    appliance.kill();
    Done { site, series, results, key }
}

fn sagitta_with(arguments: &[&Path]) -> Finished {
    let mut command = Command::new(sagitta().unwrap());
    run(command.args(arguments), LIMIT).unwrap()
}

/// What is said of one file.
fn verify(file: &Path, key: &Path, more: &[&str]) -> Value {
    let mut arguments: Vec<&Path> = vec!["verify".as_ref(), "--json".as_ref(), file];
    arguments.extend([Path::new("--key"), key]);
    arguments.extend(more.iter().map(Path::new));
    let finished = sagitta_with(&arguments);
    let mut verdicts: Vec<Value> = serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}: {finished:?}"));
    let good = verdicts.iter().all(|verdict| verdict["genuine"] == true);
    assert_eq!(finished.status.code(), Some(if good { 0 } else { 1 }), "{finished:?}");
    verdicts.remove(0)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The file with one bit of its last quarter turned, beside a copy of the report.
fn tampered(done: &Done, name: &str, folder: &TempDir) -> PathBuf {
    let mut bytes = std::fs::read(done.results.join(name)).unwrap();
    let at = bytes.len() - bytes.len() / 4 - 1;
    bytes[at] ^= 1;
    let copy = folder.join(name);
    std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
    std::fs::copy(done.results.join("report.json"), folder.join("report.json")).unwrap();
    std::fs::write(&copy, bytes).unwrap();
    copy
}

#[test]
fn every_output_is_proven_and_one_changed_bit_of_each_is_found() {
    let done = done();
    let mode = std::fs::metadata(done.site.folder.join("data/device.key")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let report = std::fs::read(done.results.join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    let names: Vec<&String> = report["files"].as_object().unwrap().keys().collect();
    let kinds =
        ["overlay.png", "seg.dcm", "seg-vert.dcm", "sr.dcm", "gsps.dcm", "derived/", "capture/"];
    let endings = ["_seg-spine_msk.nii.gz", "_seg-vert_msk.nii.gz", "_ctd.json"];
    assert!(kinds.iter().all(|kind| names.iter().any(|name| name.starts_with(kind))), "{names:?}");
    assert!(endings.iter().all(|end| names.iter().any(|name| name.ends_with(end))), "{names:?}");

    assert_eq!(verify(&done.results, &done.key, &[])["role"], "report");
    let folder = TempDir::new().unwrap();
    for name in names {
        let good = verify(&done.results.join(name), &done.key, &[]);
        assert_eq!(good["role"], "output", "{good}");
        let bad = verify(&tampered(&done, name, &folder), &done.key, &[]);
        assert_eq!(bad["fault"], "changed", "{bad}");
        assert!(bad["text"].as_str().unwrap().contains(name.as_str()), "{bad}");
    }
    let text = std::fs::read_to_string(done.results.join("report.json")).unwrap();
    let report = folder.join("report.json");
    std::fs::write(&report, text.replacen("\"level\": \"L4\"", "\"level\": \"L3\"", 1)).unwrap();
    assert_eq!(verify(&report, &done.key, &[])["fault"], "report_changed");

    // A name in the file meta information that makes the same data set be read otherwise.
    let mut bytes = std::fs::read(done.results.join("seg.dcm")).unwrap();
    let syntax = bytes.windows(20).position(|text| text == b"1.2.840.10008.1.2.1\0").unwrap();
    bytes[syntax + 18] = b'2';
    std::fs::copy(done.results.join("report.json"), folder.join("report.json")).unwrap();
    std::fs::write(folder.join("seg.dcm"), bytes).unwrap();
    assert_eq!(verify(&folder.join("seg.dcm"), &done.key, &[])["fault"], "changed");

    // Two outputs of one report in each other's places.
    std::fs::copy(done.results.join("seg.dcm"), folder.join("seg-vert.dcm")).unwrap();
    assert_eq!(verify(&folder.join("seg-vert.dcm"), &done.key, &[])["fault"], "changed");

    std::fs::remove_file(done.results.join("sr.dcm")).unwrap();
    let missing = sagitta_with(&["verify".as_ref(), &done.results, "--key".as_ref(), &done.key]);
    assert!(missing.stdout.contains("sr.dcm: cannot be read"), "{missing:?}");
    assert!(missing.stderr.contains("1 of"), "{missing:?}");
}

#[test]
fn what_a_console_received_and_what_the_scanner_sent_are_known_by_what_they_hold() {
    let done = done();
    let report = done.results.join("report.json");
    let with = ["--report", text(&report)];
    let received = done.site.console.files().unwrap();
    assert!(!received.is_empty());
    for file in &received {
        assert_eq!(verify(file, &done.key, &with)["role"], "output", "{}", file.display());
    }
    let mut bytes = std::fs::read(&received[0]).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&received[0], bytes).unwrap();
    assert_eq!(verify(&received[0], &done.key, &with)["fault"], "not_named");
    for file in std::fs::read_dir(&done.series).unwrap() {
        let file = file.unwrap().path();
        assert_eq!(verify(&file, &done.key, &with)["role"], "input", "{}", file.display());
    }
}

#[test]
fn a_missing_report_a_foreign_key_and_another_model_are_named() {
    let done = done();
    let mask = done.results.join("overlay.png");
    let report: Value =
        serde_json::from_slice(&std::fs::read(done.results.join("report.json")).unwrap()).unwrap();
    let models: Vec<&str> = report["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["weights_sha256"].as_str().unwrap())
        .collect();
    assert_eq!(models.len(), 2);
    let both = ["--model", models[0], "--model", models[1]];
    assert_eq!(verify(&mask, &done.key, &both)["genuine"], true);
    assert_eq!(verify(&mask, &done.key, &both[..2])["fault"], "other_model");

    let folder = TempDir::new().unwrap();
    let (private, foreign) = (folder.join("foreign.key"), folder.join("foreign.pem"));
    openssl(&["genpkey", "-algorithm", "ed25519", "-out", text(&private)]);
    openssl(&["pkey", "-in", text(&private), "-pubout", "-out", text(&foreign)]);
    assert_eq!(verify(&mask, &foreign, &[])["fault"], "foreign_key");

    // The trust folder of the site: any device of it may have made the file.
    let trusting =
        |folder: &Path| sagitta_with(&["verify".as_ref(), &mask, "--trust".as_ref(), folder]);
    assert!(trusting(folder.path()).stdout.contains("not among the trusted"));
    std::fs::copy(&done.key, folder.join("mr1.pem")).unwrap();
    assert_eq!(trusting(folder.path()).status.code(), Some(0));
    let nobody = trusting(&done.series);
    assert!(nobody.stderr.contains("there is no public key (*.pem)"), "{nobody:?}");

    let alone = TempDir::new().unwrap();
    std::fs::create_dir_all(alone.join("a/b")).unwrap();
    std::fs::copy(&mask, alone.join("a/b/overlay.png")).unwrap();
    assert_eq!(verify(&alone.join("a/b/overlay.png"), &done.key, &[])["fault"], "no_report");

    // No device stands behind a report of `sagitta segment`.
    let out = alone.join("out");
    let segment = ["segment".as_ref(), done.series.as_path(), "--out".as_ref(), &out];
    sagitta_with(&segment).success().unwrap();
    assert_eq!(verify(&out.join("overlay.png"), &done.key, &[])["fault"], "unsigned");
}

/// The format as docs/verify.md tells it, read by somebody else.
#[test]
fn openssl_agrees_with_the_signature() {
    let done = done();
    let report = std::fs::read_to_string(done.results.join("report.json")).unwrap();
    let value: Value = serde_json::from_str(&report).unwrap();
    let signature = value["signature"]["ed25519"].as_str().unwrap();
    let digits = |n: usize| u8::from_str_radix(&signature[2 * n..2 * n + 2], 16).unwrap();
    let signed = report.rfind(",\n  \"signature\"").unwrap();
    let folder = TempDir::new().unwrap();
    let (message, raw) = (folder.join("message"), folder.join("signature"));
    std::fs::write(&message, format!("sagitta report v1\n{}", &report[..signed])).unwrap();
    std::fs::write(&raw, (0..64).map(digits).collect::<Vec<u8>>()).unwrap();
    openssl(&[
        "pkeyutl",
        "-verify",
        "-rawin",
        "-pubin",
        "-inkey",
        text(&done.key),
        "-in",
        text(&message),
        "-sigfile",
        text(&raw),
    ]);
}

fn openssl(arguments: &[&str]) {
    run(Command::new("openssl").args(arguments), LIMIT).unwrap().success().unwrap();
}
