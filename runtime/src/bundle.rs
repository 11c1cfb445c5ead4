//! The log bundle: what somebody far away needs to find a fault of a device, in one archive that may leave the house.
//!
//! It holds what may be said of a device anywhere else, too: findings, the configuration (in which passwords are names of
//! files), versions, audit log, alarms, log, and of the last results what no patient can be known by. No images, masks,
//! measures of a patient, UIDs, dates of an examination; no keys, passwords, hashes of users. Always the same names in the same
//! order; a part that is missing or was cut is named in `manifest.json`.

mod parts;

use crate::config::Config;
use crate::doctor::Finding;
use crate::messages::{Timestamp, Version};
use crate::seal::sha256;
use flate2::Compression;
use flate2::write::GzEncoder;
use parts::Part;
use serde::Serialize;
use thiserror::Error;

/// The folder that the archive unpacks into.
pub const FOLDER: &str = "sagitta-bundle";
/// Names the parts, with their digests.
pub const MANIFEST: &str = "manifest.json";

/// An archive that cannot be packed.
#[derive(Debug, Error)]
#[error("the log bundle cannot be packed: {0}")]
pub struct BundleError(#[from] std::io::Error);

#[derive(Serialize)]
struct Manifest {
    software: Version,
    made: Timestamp,
    parts: Vec<Entry>,
}

/// One part as the manifest names it.
#[derive(Serialize)]
struct Entry {
    name: &'static str,
    bytes: usize,
    /// Of the file as it lies in the archive.
    sha256: String,
    /// Older lines did not fit.
    cut: bool,
    /// Why there is nothing of it.
    missing: Option<String>,
}

/// Packs the bundle of a device: a gzipped tar archive of a few megabytes at most. Without a `config` it holds what is known of
/// the machine.
pub fn pack(config: Option<&Config>, findings: &[Finding]) -> Result<Vec<u8>, BundleError> {
    let parts = parts::gather(config, findings);
    let entry = |part: &Part| Entry {
        name: part.name,
        bytes: part.bytes.len(),
        sha256: sha256(&part.bytes),
        cut: part.cut,
        missing: part.missing.clone(),
    };
    let (software, made) = (Version::software(), Timestamp::now());
    let manifest = Manifest { software, made, parts: parts.iter().map(entry).collect() };
    let manifest = serde_json::to_vec_pretty(&manifest).expect("enums, numbers and texts");
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    let files = parts.iter().map(|part| (part.name, part.bytes.as_slice()));
    for (name, bytes) in std::iter::once((MANIFEST, manifest.as_slice())).chain(files) {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(made.millis() / 1000);
        archive.append_data(&mut header, format!("{FOLDER}/{name}"), bytes)?;
    }
    Ok(archive.into_inner()?.finish()?)
}
