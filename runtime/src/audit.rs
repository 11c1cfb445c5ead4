//! The audit log: who did what when, and how it ended. Append-only, durable, and chained by hashes, so that a record that was
//! changed, left out or moved is found by name. No patient data: an entry holds enums, numbers, versions and job ids.
//!
//! Layout: `FOLDER/audit.log`, and older files as `audit-N.log` with the number of their first record. A file begins with
//! `sagitta audit 1 NUMBER HASH`, the last record before it; every other line is `HASH ENTRY`, where HASH is the SHA-256 of
//! the hash before and the bytes of the JSON entry. `FOLDER/head` names the last record, so that records cut off at the end
//! are missed. A power cut may leave half a line, which was never acknowledged to anybody: it goes at the next start.
//!
//! Whoever may write as the service can write the whole chain anew. What such a hand cannot change is a record that somebody has
//! noted elsewhere: `sagitta audit verify --head` compares it.

mod chain;
mod entry;

pub use chain::{Fault, Head, Verified, verify_file, verify_folder};
pub use entry::{Action, Actor, Ending, Entry};

use crate::durable;
use crate::messages::Timestamp;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use thiserror::Error;

/// Folder of the log in the data folder.
pub const FOLDER: &str = "audit";
const CURRENT: &str = "audit.log";
const HEAD: &str = "head";
/// A file of this size is closed: some four thousand entries, read within milliseconds at the start.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Files kept, the current one too: years of an ordinary device, and a bound where somebody floods it.
const MAX_FILES: usize = 16;

/// A log that cannot be opened. The site's move: disk or permissions.
#[derive(Debug, Error)]
#[error("the audit log {path} cannot be opened: {source}")]
pub struct AuditError {
    path: PathBuf,
    source: io::Error,
}

/// The log, open for appending. One process writes a log at a time.
#[derive(Debug)]
pub struct Audit {
    folder: PathBuf,
    tail: Mutex<Tail>,
}

#[derive(Debug)]
struct Tail {
    file: File,
    bytes: u64,
    head: Head,
}

impl Audit {
    /// Opens or makes the log in `DATA/audit`. One that does not fit is told in the log of the service and goes on behind its last
    /// record: a device that helps patients does not stop for it, and the fault stays to be found.
    pub fn open(data: &Path) -> Result<Audit, AuditError> {
        let folder = data.join(FOLDER);
        let path = folder.join(CURRENT);
        Audit::at(folder, &path).map_err(|source| AuditError { path, source })
    }

    fn at(folder: PathBuf, path: &Path) -> io::Result<Audit> {
        let head = match std::fs::read(path) {
            Ok(bytes) => recover(&folder, path, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Also after a kill while a full file was closed.
                let head = kept_head(&folder).unwrap_or_default();
                durable::write(path, head.first_line().as_bytes())?;
                head
            }
            Err(error) => return Err(error),
        };
        let file = OpenOptions::new().append(true).open(path)?;
        let tail = Tail { bytes: file.metadata()?.len(), file, head };
        Ok(Audit { folder, tail: Mutex::new(tail) })
    }

    /// Appends an entry; it is durable when this returns. Returns its number and hash.
    pub fn record(&self, actor: Actor, action: Action, ending: Ending) -> io::Result<Head> {
        let mut tail = self.tail();
        if tail.bytes >= MAX_FILE_BYTES {
            self.rotate(&mut tail)?;
        }
        let number = tail.head.number + 1;
        let entry = Entry { number, at: Timestamp::now(), actor, action, ending };
        let text = serde_json::to_string(&entry).expect("enums, numbers and checked names");
        let head = Head { number, hash: tail.head.follow(text.as_bytes()) };
        let line = format!("{} {text}\n", head.hash);
        if let Err(error) =
            tail.file.write_all(line.as_bytes()).and_then(|()| tail.file.sync_data())
        {
            // Half a line would join the next one.
            tail.file.set_len(tail.bytes)?;
            return Err(error);
        }
        (tail.bytes, tail.head) = (tail.bytes + line.len() as u64, head.clone());
        durable::write(&self.folder.join(HEAD), head.to_string().as_bytes())?;
        Ok(head)
    }

    /// The same where nobody waits for it: what cannot be recorded is in the log of the service.
    pub fn note(&self, actor: Actor, action: Action, ending: Ending) {
        if let Err(error) = self.record(actor, action, ending) {
            tracing::error!("the audit log cannot be written: {error}; the site's move");
        }
    }

    /// Closes a full file and begins the next, and forgets the oldest.
    fn rotate(&self, tail: &mut Tail) -> io::Result<()> {
        let path = self.folder.join(CURRENT);
        let first = chain::first_number(&std::fs::read(&path)?).unwrap_or(tail.head.number);
        std::fs::rename(&path, self.folder.join(chain::closed_name(first)))?;
        durable::write(&path, tail.head.first_line().as_bytes())?;
        tail.file = OpenOptions::new().append(true).open(&path)?;
        tail.bytes = tail.file.metadata()?.len();
        let closed = chain::closed(&self.folder)?;
        let spare = (closed.len() + 1).saturating_sub(MAX_FILES);
        closed[..spare].iter().try_for_each(std::fs::remove_file)
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The bytes of the file that is being written: the last records, for somebody who reads along.
pub fn read_last_file(data: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(data.join(FOLDER).join(CURRENT))
}

/// Takes half a line off the end, and returns the record to go on behind.
fn recover(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<Head> {
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    if whole < bytes.len() {
        tracing::warn!(
            "half a record at the end of the audit log is taken off: the last run was cut off"
        );
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(whole as u64)?;
        file.sync_all()?;
    }
    let (last, fault) = chain::walk(&bytes[..whole]);
    if let Some(fault) = fault {
        tracing::error!("the audit log does not fit: {fault}; somebody has changed it");
        return Ok(kept_head(folder)
            .into_iter()
            .chain([last])
            .max_by_key(|head| head.number)
            .unwrap_or_default());
    }
    match kept_head(folder) {
        Some(kept) if kept.number > last.number => {
            tracing::error!(
                "the audit log ends at record {}, it had {}: somebody has cut it",
                last.number,
                kept.number
            );
            Ok(kept)
        }
        _ => Ok(last),
    }
}

/// What the file beside the log says of its end; `None` where it says nothing.
fn kept_head(folder: &Path) -> Option<Head> {
    std::fs::read_to_string(folder.join(HEAD)).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
