//! Bad input, to the service and to `sagitta segment`: each gets one clear line that names the object and whose move it
//! is, the right status and code; the service goes on and nothing acknowledged is lost.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tests::series::Nagle;
use tests::site::{objects, series_uid};
use tests::{Appliance, Finished, Site, TempDir, peer, phantom, run, sagitta, send, wait_until};

/// For a command that ends by itself on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
/// Bad series by the name of tests/peers/make_bad.py, and the code they are refused with.
const SERIES: [(&str, &str); 8] = [
    ("missing_geometry", "missing_geometry"),
    ("mixed_orientations", "mixed_orientation"),
    ("axial", "not_sagittal"),
    ("three_slices", "too_few_slices"),
    ("lossy", "lossy"),
    ("gap", "gap"),
    ("duplicate_slice", "duplicate_slice"),
    ("localizer", "not_anatomical"),
];
/// Bad files, which never become a series.
const FILES: [(&str, &str); 5] = [
    ("not_dicom", "wrong_class"),
    ("truncated", "wrong_class"),
    ("wrong_class", "wrong_class"),
    ("no_affine.nii.gz", "missing_geometry"),
    ("not_nifti.nii", "unreadable_pixels"),
];

/// A good series, and bad ones made of it.
fn series(folder: &TempDir) -> (PathBuf, PathBuf) {
    let (good, bad) = (folder.join("good"), folder.join("bad"));
    phantom(&good, &[]).unwrap();
    std::fs::create_dir(&bad).unwrap();
    peer("make_bad.py", &[&good, &bad]).unwrap();
    (good, bad)
}

fn segment(input: &Path, out: &Path) -> Finished {
    let mut command = Command::new(sagitta().unwrap());
    command.arg("segment").arg(input).arg("--out").arg(out).arg("--json");
    run(&mut command, LIMIT).unwrap()
}

#[test]
fn segment_refuses_with_exit_code_3_and_a_code() {
    let folder = TempDir::new().unwrap();
    let (_, bad) = series(&folder);
    for (name, code) in SERIES.into_iter().chain(FILES) {
        let input = bad.join(name);
        let done = segment(&input, &folder.join("out"));
        assert_eq!(done.status.code(), Some(3), "{name}: {done:?}");
        let answer: Value = serde_json::from_str(&done.stdout).expect("JSON");
        let refused = answer["refused"].as_object().expect("a refusal");
        assert_eq!(refused["code"], code, "{name}");
        for key in ["text", "plane", "class", "dims", "spacing_mm"] {
            assert!(refused.contains_key(key), "{name} lacks {key}");
        }
        let line = done.stderr.trim_end();
        assert!(line.starts_with("refused: ") && !line.contains('\n'), "{name}: {line}");
        assert!(line.contains(&*input.to_string_lossy()), "{name}: {line}");
        assert!(line.ends_with("the sender's move"), "{name}: {line}");
        assert!(!folder.join("out").exists(), "{name} left outputs");
    }
}

#[test]
fn segment_fails_with_exit_code_1_when_it_cannot_read_or_write() {
    let folder = TempDir::new().unwrap();
    let good = folder.join("good");
    phantom(&good, &[]).unwrap();
    let below_a_file = good.join("0001.dcm/out");
    let absent = folder.join("absent");
    for (input, out, named) in
        [(&absent, &folder.join("out"), &absent), (&good, &below_a_file, &below_a_file)]
    {
        let done = segment(input, out);
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        let line = done.stderr.trim_end();
        assert!(line.starts_with("error: ") && !line.contains('\n'), "{line}");
        assert!(line.contains(&*named.to_string_lossy()), "{line}");
        assert_eq!(done.stdout, "", "nothing a script could take for a report");
    }
}

#[test]
fn the_service_refuses_bad_series_by_code_and_goes_on() {
    let site = Site::new().unwrap();
    let (good, bad) = series(&site.folder);
    let appliance = site.start().unwrap();
    for (name, code) in SERIES {
        let last = settle(&site, &bad.join(name));
        assert_eq!((&last["state"], &last["code"]), (&"refused".into(), &code.into()), "{name}");
        told_once(&appliance, last["job"].as_str().unwrap(), "refused: ");
    }
    let last = settle(&site, &bad.join("counted_gap"));
    assert_eq!(last["state"], "incomplete");
    assert_eq!((&last["have"], &last["expect"]), (&16.into(), &17.into()));
    told_once(&appliance, last["job"].as_str().unwrap(), "incomplete: ");

    raw_statuses(&site, &appliance, &good);
    // storescu proposes CT for it, and that context is not accepted.
    let sent = send(site.dicom, &bad.join("wrong_class"), Nagle::Off).unwrap();
    let text = format!("{}{}", sent.stdout, sent.stderr);
    assert!(
        !sent.status.success() && text.contains("No Acceptable Presentation Contexts"),
        "{text}"
    );

    let mut echo = Command::new("echoscu");
    echo.args(["-aec", "SAGITTA", "127.0.0.1", &site.dicom.to_string()]);
    run(&mut echo, LIMIT).unwrap().success().unwrap();
    assert_eq!(settle(&site, &good)["state"], "done", "{}", appliance.log());
}

/// Sends a series and waits until nothing more happens to it.
fn settle(site: &Site, folder: &Path) -> Value {
    send(site.dicom, folder, Nagle::Off).unwrap().success().unwrap();
    site.settled(&site.job(&series_uid(folder).unwrap()).unwrap()).unwrap()
}

/// The log has one line about the end of a job, and it says whose move it is.
fn told_once(appliance: &Appliance, job: &str, what: &str) {
    let log = appliance.log();
    let lines: Vec<&str> = log.lines().filter(|l| l.contains(job) && l.contains(what)).collect();
    assert!(lines.len() == 1 && lines[0].contains("the sender's move"), "{job}: {lines:?}");
}

/// Messages that no correct sender sends: their status, and one line each.
fn raw_statuses(site: &Site, appliance: &Appliance, good: &Path) {
    let port = site.dicom.to_string();
    let done = peer("store_raw.py", &[Path::new(&port), &good.join("0001.dcm")]).unwrap();
    let answers: Value = serde_json::from_str(&done.stdout).unwrap();
    let expected = [
        ("not_dicom", "c000"),
        ("truncated", "c000"),
        ("wrong_class", "0122"),
        ("another_instance", "a900"),
    ];
    for (case, status) in expected {
        assert_eq!(answers[case][0], status, "{case}: {answers}");
        assert!(answers[case][1].as_str().is_some_and(|text| text.len() > 10), "{case}: {answers}");
    }
    let log = appliance.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("instance refused")).collect();
    assert_eq!(lines.len(), expected.len(), "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("the sender's move")), "{lines:?}");
}

#[test]
fn a_service_that_cannot_start_says_why_and_whose_move_it_is() {
    let site = Site::new().unwrap();
    let config = site.config();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let data = site.folder.join("data");
    let file = site.folder.join("a-file");
    std::fs::write(&file, "x").unwrap();
    let below = file.join("data");
    let dicom = format!("127.0.0.1:{}", site.dicom);
    let page = format!("127.0.0.1:{}", site.page);
    let external = format!("kind = 'external', host = '127.0.0.1', port = {}", site.broker.port);
    let text = |path: &Path| path.display().to_string();
    let cases = [
        (config.replace(&dicom, &taken), taken.clone()),
        (config.replace(&page, &taken), taken.clone()),
        (
            config.replace(&external, &format!("kind = 'embedded', listen = '{taken}'")),
            taken.clone(),
        ),
        (config.replace(&text(&data), &text(&below)), text(&below)),
        (format!("colour = 'red'\n{config}"), "colour".to_owned()),
        (config.replace("site = 'north'", "site = 'North Wing'"), "site".to_owned()),
    ];
    for (config, named) in cases {
        let mut appliance = Appliance::start(&site.folder, &config).unwrap();
        let code = appliance.process.wait(LIMIT).unwrap();
        let log = appliance.log();
        let line = log.trim_end().lines().last().expect("an error");
        assert_eq!(code, Some(1), "{log}");
        assert!(line.starts_with("error: ") && line.contains(&named), "{named}: {line}");
        println!("{line}");
    }
}

#[test]
fn a_broker_and_a_console_that_come_back_get_everything_in_order() {
    let mut site = Site::new().unwrap();
    site.broker.stop();
    site.console.stop();
    let appliance = site.start().unwrap();
    let first = site.folder.join("first");
    phantom(&first, &["--seed", "2"]).unwrap();
    send(site.dicom, &first, Nagle::Off).unwrap().success().unwrap();
    let logged = |text: &'static str| {
        wait_until(text, tests::site::JOB, || appliance.log().contains(text).then_some(()))
            .unwrap_or_else(|error| panic!("{error}: {}", appliance.log()));
    };
    logged("broker away: the site's move");
    logged("not sent: console cannot be reached; the site's move");
    site.console.restart().unwrap();
    site.broker_returns(&appliance).unwrap();
    let job = site.job(&series_uid(&first).unwrap()).unwrap();
    assert_eq!(site.settled(&job).unwrap()["state"], "done");
    let heard = sequence(&site);
    assert_eq!(heard, (1..=heard.len() as u64).collect::<Vec<_>>(), "each once and in order");
    assert_eq!(site.console.files().unwrap().len(), objects(17));

    // Away while the service runs.
    site.broker.stop();
    let second = site.folder.join("second");
    phantom(&second, &["--seed", "3"]).unwrap();
    send(site.dicom, &second, Nagle::Off).unwrap().success().unwrap();
    let job = site.job(&series_uid(&second).unwrap()).unwrap();
    let report = site.results(&job).join("report.json");
    wait_until("the second report", tests::site::JOB, || report.exists().then_some(())).unwrap();
    site.broker_returns(&appliance).unwrap();
    assert_eq!(site.settled(&job).unwrap()["state"], "done");
    let later = sequence(&site);
    // At least once: what was sent but not acknowledged before comes again, with its number.
    assert!(later.is_sorted() && later[0] <= heard.len() as u64 + 1, "{heard:?}, then {later:?}");
}

/// The numbers of the job messages and events heard since the last subscription.
fn sequence(site: &Site) -> Vec<u64> {
    let messages = site.messages.messages().unwrap().into_iter();
    let counted =
        messages.filter(|(topic, _)| topic.contains("/jobs/") || topic.ends_with("/event"));
    let numbers = counted.map(|(_, payload)| serde_json::from_str::<Value>(&payload).unwrap());
    numbers.filter_map(|message| message["seq"].as_u64()).collect()
}
