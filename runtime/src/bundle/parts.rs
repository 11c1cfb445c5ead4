//! The parts of a bundle: where each comes from, and how much of it.

use crate::config::Config;
use crate::doctor::Finding;
use crate::report;
use crate::{audit, recent, telemetry};
use models::engine::{Forms, Precision};
use serde_json::{Map, Value, json};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Of the log: what `recent` keeps.
const LOG_BYTES: usize = 2 << 20;
/// Of the audit log: some thousand entries, months of an ordinary device.
const AUDIT_BYTES: usize = 256 << 10;
/// Of everything else, each.
const OTHER_BYTES: usize = 256 << 10;
/// Results told of: a morning of a busy scanner.
const REPORTS: usize = 32;

/// What leaves of a report. Everything else stays: digests of the images, paths, places and measures of vertebrae.
const KEPT: [&str; 18] = [
    "/series/generation",
    "/series/instances",
    "/series/plane",
    "/series/class",
    "/series/class_confidence",
    "/series/class_reasons",
    "/series/dims",
    "/series/spacing_mm",
    "/series/complete",
    "/stages",
    "/total_ms",
    "/engine",
    "/models",
    "/software",
    "/configuration_sha256",
    "/numbering",
    "/flags",
    "/peak_memory_mib",
];

/// One file of the archive.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
    /// Older lines did not fit.
    pub(super) cut: bool,
    /// Why there is nothing of it.
    pub(super) missing: Option<String>,
}

impl Part {
    /// The last whole lines of `text` that fit, or the reason why there are none.
    fn new(name: &'static str, limit: usize, text: io::Result<Vec<u8>>) -> Part {
        let (bytes, missing) = match text {
            Ok(bytes) if bytes.is_empty() => (bytes, Some("there is none yet".to_owned())),
            Ok(bytes) => (bytes, None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (Vec::new(), Some("there is none yet".to_owned()))
            }
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let cut = bytes.len() > limit;
        let bytes = if cut { last_lines(&bytes, limit).to_vec() } else { bytes };
        Part { name, bytes, cut, missing }
    }

    fn json(name: &'static str, value: &Value) -> Part {
        Part::new(name, OTHER_BYTES, serde_json::to_vec_pretty(value).map_err(io::Error::from))
    }
}

fn last_lines(bytes: &[u8], limit: usize) -> &[u8] {
    let tail = &bytes[bytes.len() - limit..];
    let whole = tail.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    &tail[whole..]
}

/// All parts, in the order of the archive.
pub(super) fn gather(config: Option<&Config>, findings: &[Finding]) -> Vec<Part> {
    let text = config.map(|config| toml::to_string(config).map_err(io::Error::other));
    let data = config.map(|config| config.data.as_path());
    let of_data = |read: &dyn Fn(&Path) -> io::Result<Vec<u8>>| {
        data.map_or_else(|| Err(io::Error::other("no configuration names the data folder")), read)
    };
    vec![
        Part::json("doctor.json", &json!(findings)),
        Part::json("versions.json", &versions()),
        Part::new(
            "configuration.toml",
            OTHER_BYTES,
            text.map_or_else(
                || Err(io::Error::other("it cannot be read: see doctor.json")),
                |text| text.map(String::into_bytes),
            ),
        ),
        Part::new(
            "alarms.json",
            OTHER_BYTES,
            of_data(&|data| fs::read(data.join(telemetry::FILE_NAME))),
        ),
        Part::new("audit.log", AUDIT_BYTES, of_data(&|data| audit::read_last_file(data))),
        Part::new("audit-verified.txt", OTHER_BYTES, of_data(&verified)),
        Part::new("results.json", OTHER_BYTES, of_data(&results)),
        Part::new("service.log", LOG_BYTES, of_data(&recent::read)),
    ]
}

/// Of everything that can differ between two devices of one release.
fn versions() -> Value {
    let first_line = |path: &str| {
        let text = fs::read_to_string(path).ok()?;
        text.lines().next().map(str::to_owned)
    };
    let nets = Forms::embedded(Precision::Auto).map(|forms| {
        let (one, two) = (&forms.simd.semantic.card, &forms.simd.instance.card);
        json!([
            { "name": one.name, "version": one.version, "weights_sha256": one.weights_sha256 },
            { "name": two.name, "version": two.version, "weights_sha256": two.weights_sha256 },
        ])
    });
    json!({
        "software": env!("CARGO_PKG_VERSION"),
        "architecture": std::env::consts::ARCH,
        "kernel": first_line("/proc/sys/kernel/osrelease"),
        "system": fs::read_to_string("/etc/os-release").ok().and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
            Some(line.trim_matches('"').to_owned())
        }),
        "jetson": first_line("/etc/nv_tegra_release"),
        "driver": first_line("/proc/driver/nvidia/version"),
        "models": nets.unwrap_or_else(|error| json!(error.to_string())),
    })
}

/// What `sagitta audit verify` would say.
fn verified(data: &Path) -> io::Result<Vec<u8>> {
    let said = match audit::verify_folder(&data.join(audit::FOLDER), None)? {
        Ok(verified) => format!("it fits up to record {}\n", verified.last),
        Err(fault) => format!("it does not fit: {fault}\n"),
    };
    Ok(said.into_bytes())
}

/// The last results, newest first, each without what a patient could be known by.
fn results(data: &Path) -> io::Result<Vec<u8>> {
    let mut found: Vec<(SystemTime, PathBuf)> = Vec::new();
    for job in folders(&data.join("results"))? {
        for generation in folders(&job)? {
            let path = generation.join(report::FILE_NAME);
            if let Ok(written) = fs::metadata(&path).and_then(|file| file.modified()) {
                found.push((written, path));
            }
        }
    }
    found.sort();
    let newest = found.iter().rev().take(REPORTS);
    let reduced: Vec<Value> = newest.filter_map(|(_, path)| reduced(path)).collect();
    Ok(serde_json::to_vec_pretty(&reduced)?)
}

fn folders(path: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    Ok(paths.into_iter().filter(|path| path.is_dir()).collect())
}

/// `None` where the file went away or is no report: retention may be at work.
fn reduced(path: &Path) -> Option<Value> {
    let report: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let job = path.ancestors().nth(2)?.file_name()?.to_string_lossy().into_owned();
    let mut kept = Map::from_iter([("job".to_owned(), Value::from(job))]);
    for pointer in KEPT {
        let name = pointer.rsplit('/').next().unwrap_or(pointer);
        kept.insert(name.to_owned(), report.pointer(pointer).cloned().unwrap_or_default());
    }
    let count = report.get("vertebrae").and_then(Value::as_array).map(Vec::len);
    kept.insert("vertebrae".to_owned(), json!(count));
    Some(Value::Object(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_are_kept_and_the_cut_is_told() {
        let lines = b"one\ntwo\nthree\n".to_vec();
        let part = Part::new("a", 8, Ok(lines.clone()));
        assert_eq!((part.bytes.as_slice(), part.cut), (b"three\n".as_slice(), true));
        let part = Part::new("a", 14, Ok(lines));
        assert_eq!((part.bytes.len(), part.cut, part.missing), (14, false, None));
        let part = Part::new("a", 8, Ok(Vec::new()));
        assert_eq!(part.missing.as_deref(), Some("there is none yet"));
    }

    #[test]
    fn of_a_report_leaves_what_is_named_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("sagitta-reduced-{}", std::process::id()));
        let place = folder.join("results/aaaabbbbccccddddeeee/1");
        fs::create_dir_all(&place).unwrap();
        let report = json!({
            "series": { "name": "x", "class": "t2", "class_rule": "secret", "dims": [1, 2, 3] },
            "vertebrae": [{ "body_ml": 31.25 }, {}],
            "inputs": [{ "sha256": "secret" }],
            "outputs": { "seg": "secret" },
            "total_ms": 5.0,
        });
        fs::write(place.join(report::FILE_NAME), report.to_string()).unwrap();
        let told: Value = serde_json::from_slice(&results(&folder).unwrap()).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(told[0]["job"], "aaaabbbbccccddddeeee");
        assert_eq!((&told[0]["class"], &told[0]["vertebrae"]), (&json!("t2"), &json!(2)));
        let text = told.to_string();
        assert!(!text.contains("secret") && !text.contains("31.25"), "{text}");
    }
}
