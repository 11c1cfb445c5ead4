//! Series by MRD, from the public client library, and from a client that breaks every rule.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Appliance, Site, free_port, peer, phantom, run, sagitta, wait_until};

const LIMIT: Duration = Duration::from_secs(120);
/// What hostile messages may cost: a few connections' buffers, none of the 200 MiB that they announce.
const MOST_GROWTH_KIB: u64 = 64 << 10;

/// An appliance that takes MRD, with these lines more in `[mrd]`; and its port.
fn start(site: &Site, lines: &str) -> (Appliance, String) {
    let port = free_port().unwrap();
    let config = format!("{}[mrd]\nbind = '127.0.0.1:{port}'\n{lines}\n", site.config());
    let appliance = Appliance::ready(&site.folder, &config).unwrap();
    (appliance, port.to_string())
}

fn series(site: &Site) -> PathBuf {
    let folder = site.folder.join("series");
    phantom(&folder, &[]).unwrap();
    folder
}

fn said(script: &str, arguments: &[&Path], appliance: &Appliance) -> Value {
    let done = peer(script, arguments).unwrap_or_else(|e| panic!("{e:#}\n{}", appliance.log()));
    serde_json::from_str(&done.stdout).unwrap()
}

/// Samples travel without the rescale of the DICOM images: the net's input is the same but for roundings, which move a few voxels
/// at edges in floats and a hundred times as many in whole numbers.
const FLOATS: &str = "[jobs]\nprecision = 'float'";

/// The mask that `sagitta segment` makes of a folder, in floats.
fn mask(site: &Site, series: &Path) -> PathBuf {
    let (out, config) = (site.folder.join("segmented"), site.folder.join("floats.toml"));
    std::fs::write(&config, format!("{}{FLOATS}\n", site.config())).unwrap();
    let mut command = Command::new(sagitta().unwrap());
    command.arg("segment").arg(series).arg("--out").arg(&out).arg("--config").arg(config);
    run(&mut command, LIMIT).unwrap().success().unwrap();
    let mut files = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.to_string_lossy().contains("_seg-spine_msk")).unwrap()
}

#[test]
fn a_series_comes_back_with_labels_contours_colour_and_report() {
    let site = Site::new().unwrap();
    let (appliance, port) = start(&site, FLOATS);
    let series = series(&site);
    let mask = mask(&site, &series);
    let mut said = said("mrd_client.py", &[Path::new(&port), &series, &mask], &appliance);
    let [labelled, differing] =
        ["labelled", "differing"].map(|of| said["labels"][of].take().as_u64().unwrap());
    assert!(labelled > 50_000 && differing * 10_000 <= labelled, "{differing} of {labelled}");
    let expected = json!({
        // Series number, what it is, images: one after the other, the results before the scanner ends.
        "runs": [
            [1, "original", 17], [1000, "SAGITTA_LABELS", 17], [1001, "SAGITTA_CONTOURS", 17],
            [1002, "SAGITTA_OVERLAY", 17], [1003, "SAGITTA_REPORT", 1], [2, "original", 1],
        ],
        "early": 69,
        "originals_unchanged": true,
        "places_kept": [true, true, true],
        "attributes_kept": true,
        "roles": ["Segmentation", "Image", "Image", "Image"],
        // Data type, image type, channels.
        "types": [[2, 1, 1], [1, 1, 1], [1, 6, 3], [1, 6, 3]],
        "rescale_kept": [false, true, false],
        "highest_label": 100,
        "labels": {"differing": null, "labelled": null},
        "samples_unchanged": true,
        "contours": {
            "many": true, "most_points_ok": true, "closed": true, "inside": true, "solid_visible": true,
        },
        "contours_agree": true,
        "colour": {"highest": 255, "tints": true},
        "report_colours": true,
        "texts": ["ERROR   the series is refused: 1 slices; a spine series has at least 5"],
        "closed": true,
    });
    assert_eq!(said, expected, "{}", appliance.log());
    assert!(!appliance.log().contains("panicked"), "{}", appliance.log());
}

#[test]
fn what_cannot_be_segmented_goes_back_with_the_reason() {
    let site = Site::new().unwrap();
    let (appliance, port) = start(&site, "");
    let series = series(&site);
    let client =
        |how| said("mrd_client.py", &[Path::new(&port), &series, Path::new(how)], &appliance);
    let refusal = "ERROR   the series is refused: the series is axial; send a sagittal one";
    let expected = json!({
        "kinds": {"original": 17}, "originals": true, "texts": [refusal],
        "closed": true,
    });
    assert_eq!(client("axial"), expected, "{}", appliance.log());
    let expected = json!({
        "kinds": {
            "SAGITTA_LABELS": 17, "SAGITTA_CONTOURS": 17, "SAGITTA_OVERLAY": 17,
            "SAGITTA_REPORT": 1,
        },
        "originals": false, "texts": [], "closed": true,
    });
    assert_eq!(client("plain"), expected, "{}", appliance.log());
    everybody_is_told(&site, &appliance);
}

/// The same series of the same measurement twice: refused, then segmented. Only the scanner was told before.
fn everybody_is_told(site: &Site, appliance: &Appliance) {
    let heard = |kind: &str| -> Vec<Value> {
        let messages = site.messages.messages().unwrap().into_iter();
        let ours = messages.filter(|(topic, _)| topic.ends_with(&format!("/{kind}")));
        ours.map(|(_, payload)| serde_json::from_str(&payload).unwrap())
            .filter(|message: &Value| message.get("job").is_some())
            .collect()
    };
    let end = || heard("status").into_iter().find(|status| status["state"] == "done");
    let done = wait_until("the last status", LIMIT, end)
        .unwrap_or_else(|error| panic!("{error}: {}", appliance.log()));
    assert_eq!((&done["generation"], &done["instances"]), (&json!(2), &json!(17)), "{done}");
    let statuses = heard("status");
    let of = |state: &str| statuses.iter().filter(|s| s["state"] == state).collect::<Vec<_>>();
    let [refused] = of("refused")[..] else { panic!("{statuses:?}") };
    assert_eq!((&refused["code"], &refused["generation"]), (&json!("not_sagittal"), &json!(1)));
    assert!(of("complete").iter().all(|status| status["reason"] == "series_end"));
    let [result] = &heard("result")[..] else { panic!("{:?}", heard("result")) };
    assert_eq!((&result["job"], &result["generation"]), (&done["job"], &json!(2)));
    assert!(result["vertebrae_count"].as_u64().unwrap() > 3, "{result}");
    let page: Value = serde_json::from_str(&site.page("/api/jobs").unwrap()).unwrap();
    assert_eq!((&page[0]["job"], &page[0]["slices"]), (&done["job"], &json!(17)), "{page}");
}

#[test]
fn a_scanner_does_not_wait_longer_than_the_deadline() {
    let site = Site::new().unwrap();
    let (appliance, port) = start(&site, "deadline_ms = 1");
    let series = series(&site);
    let said = said("mrd_client.py", &[Path::new(&port), &series, Path::new("plain")], &appliance);
    let late = json!({
        "kinds": {}, "originals": false,
        "texts": ["ERROR   no result within 1 ms"], "closed": true,
    });
    assert_eq!(said, late, "{}", appliance.log());
}

/// Most memory the appliance has held, KiB.
fn peak_kib(appliance: &Appliance) -> u64 {
    let status = format!("/proc/{}/status", appliance.process.id());
    let status = std::fs::read_to_string(status).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn what_is_no_mrd_is_told_so_and_harms_nobody() {
    let site = Site::new().unwrap();
    let (mut appliance, port) = start(&site, "");
    // The nets' own test at start takes memory, too.
    let tested = || appliance.log().contains("self-test passed").then_some(());
    wait_until("the self-test", LIMIT, tested).unwrap();
    let before = peak_kib(&appliance);
    let answers = said("mrd_raw.py", &[Path::new(&port)], &appliance);
    let error = |text: &str| json!([[format!("ERROR   {text}")], true]);
    let at_most = "at most 268435456 are taken";
    let expected = json!({
        "absurd_matrix": error("a matrix of [65535, 65535, 65535]; each must be 1 to 4096"),
        "large_image": error(&format!("137438953472 bytes of samples; {at_most}")),
        "channels": error(&format!("2198989701120 bytes of samples; {at_most}")),
        "attributes":
            error("attributes of 9223372036854775808 bytes; at most 4194304 are taken"),
        "data_type": error("data type 99 is not known"),
        "unknown": error("message 4711 is not known"),
        "deprecated": error("message 1005 is of a form that is no longer in use"),
        "long_text": error("a text of 4294967295 bytes; at most 16777216 are taken"),
        "early": error("data came before a configuration and a header"),
        "nothing": [[], true],
        // The letters "GE".
        "not_mrd": error("message 17735 is not known"),
    });
    assert_eq!(answers, expected, "{}", appliance.log());
    let growth = peak_kib(&appliance) - before;
    assert!(growth < MOST_GROWTH_KIB, "{growth} KiB more than {before}");
    assert!(appliance.process.is_running().unwrap());
}

#[test]
fn only_a_listed_address_may_connect() {
    let site = Site::new().unwrap();
    let (appliance, port) = start(&site, "allow = ['192.0.2.0/24']");
    let mut stream = std::net::TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let answer = std::io::Read::read(&mut stream, &mut [0; 16]);
    assert!(matches!(answer, Ok(0)), "{answer:?}");
    wait_until("a line in the log", LIMIT, || {
        appliance.log().contains("[mrd] allow").then_some(())
    })
    .unwrap();
}
