//! No patient data leave by MQTT, logs, pages or the log bundle: everything that can be sent is sent, everything that is said is
//! captured, and no value of a header may be found in it. (DICOM objects carry patient data: that is their purpose.)
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tests::series::Nagle;
use tests::site::{JOB, series_uid};
use tests::{Site, peer, phantom, run, sagitta, send, shared, wait_until};

/// For unpacking a series.
const LIMIT: Duration = Duration::from_secs(60);
/// What a bundle holds, by name.
const BUNDLE: [&str; 9] = [
    "alarms.json",
    "audit-verified.txt",
    "audit.log",
    "configuration.toml",
    "doctor.json",
    "manifest.json",
    "results.json",
    "service.log",
    "versions.json",
];
/// Fewer header values than this mean that the collector is broken: one Siemens header has hundreds.
const LEAST_VALUES: usize = 500;

#[test]
fn no_phi_in_messages_logs_and_pages() {
    let site = Site::new().unwrap();
    let inputs = site.folder.join("inputs");
    unpack(&shared().unwrap().join("data/dicom"), &inputs);
    phantom(&inputs.join("phantom"), &[]).unwrap();
    let appliance = site.start().unwrap();
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(&inputs).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    for folder in &folders {
        // Some objects are refused by their class or their content: what is said about that is looked at, too.
        send(site.dicom, folder, Nagle::Off).unwrap();
    }
    let job = site.job(&series_uid(&inputs.join("phantom")).unwrap()).unwrap();
    assert_eq!(site.settled(&job).unwrap()["state"], "done", "{}", appliance.log());
    wait_until("the end of every job", JOB, || settled(&site).then_some(())).unwrap();

    let messages = site.messages.messages().unwrap();
    let mut said: Vec<(&str, String)> = vec![("the log", appliance.log())];
    said.extend(messages.into_iter().map(|(t, p)| ("a message", format!("{t} {p}"))));
    for path in ["/", "/api/jobs", "/events"] {
        said.push(("the page", site.page(path).unwrap()));
    }
    said.extend(bundle(&site));
    let values = peer("collect_phi.py", &[&inputs]).unwrap().stdout;
    let values: Vec<&str> = values.lines().collect();
    assert!(values.len() >= LEAST_VALUES, "{} header values", values.len());
    let size: usize = said.iter().map(|(_, text)| text.len()).sum();
    println!("{} values of {} series, {size} bytes said", values.len(), folders.len());
    let leaks: Vec<String> = said
        .iter()
        .flat_map(|(place, text)| {
            let hits = values.iter().filter(move |value| holds(text, value));
            hits.map(move |value| format!("{place}: {value:?}"))
        })
        .collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
}

/// The log bundle, unpacked: every file with its name.
fn bundle(site: &Site) -> Vec<(&'static str, String)> {
    let (archive, unpacked) = (site.folder.join("bundle.tar.gz"), site.folder.join("bundle"));
    std::fs::create_dir(&unpacked).unwrap();
    let mut command = Command::new(sagitta().unwrap());
    command.arg("bundle").arg("--config").arg(site.folder.join("sagitta.toml"));
    run(command.arg("--out").arg(&archive), LIMIT).unwrap().success().unwrap();
    let mut tar = Command::new("tar");
    run(tar.arg("-xzf").arg(&archive).arg("-C").arg(&unpacked), LIMIT).unwrap().success().unwrap();
    let folder = unpacked.join("sagitta-bundle");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, BUNDLE);
    let read = |name: &String| std::fs::read_to_string(folder.join(name)).unwrap();
    let texts: Vec<String> = names.iter().map(read).collect();
    for (name, text) in names.iter().zip(&texts) {
        assert!(!text.is_empty() || *name == "alarms.json", "{name} is empty");
    }
    assert!(texts[6].contains("\"engine\"") && texts[7].contains("segmented"), "{texts:#?}");
    texts.into_iter().map(|text| ("the bundle", text)).collect()
}

/// Whether `text` holds `value` as a word: `2024` is not in `120243`.
fn holds(text: &str, value: &str) -> bool {
    let word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.match_indices(value).any(|(at, _)| {
        !word(text[..at].chars().next_back()) && !word(text[at + value.len()..].chars().next())
    })
}

/// Whether every job the page knows has ended.
fn settled(site: &Site) -> bool {
    let Ok(jobs) = site.page("/api/jobs") else { return false };
    let Ok(jobs) = serde_json::from_str::<serde_json::Value>(&jobs) else { return false };
    let ends = ["done", "refused", "failed", "incomplete"];
    jobs.as_array()
        .is_some_and(|jobs| jobs.iter().all(|job| ends.iter().any(|end| job["state"] == *end)))
}

/// Copies every series of the reference data, unpacked, into a folder of its own.
fn unpack(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let series = entry.unwrap().path();
        if !series.is_dir() || series.ends_with("malformed") {
            continue;
        }
        let out = to.join(series.file_name().unwrap());
        std::fs::create_dir_all(&out).unwrap();
        for file in std::fs::read_dir(&series).unwrap() {
            unpack_file(&file.unwrap().path(), &out);
        }
    }
}

fn unpack_file(path: &Path, out: &Path) {
    let name = path.file_name().unwrap().to_string_lossy();
    if name.ends_with(".tar.xz") {
        let mut tar = Command::new("tar");
        run(tar.arg("-xJf").arg(path).arg("-C").arg(out), LIMIT).unwrap().success().unwrap();
    } else if let Some(plain) = name.strip_suffix(".gz") {
        let unpacked = Command::new("gzip").arg("-dc").arg(path).output().unwrap();
        assert!(unpacked.status.success(), "{name}");
        std::fs::write(out.join(plain), unpacked.stdout).unwrap();
    } else if name.ends_with(".dcm") {
        std::fs::copy(path, out.join(&*name)).unwrap();
    }
}
