//! The chain: how a record hangs on the one before it, and where it breaks. Pure but for [`verify_file`] and [`verify_folder`].

use super::{CURRENT, HEAD};
use crate::identity::hexadecimal;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// First words of every file, with the version of its form.
const MAGIC: &str = "sagitta audit 1 ";
/// Digits of a SHA-256.
const HASH_DIGITS: usize = 64;
const PREFIX: &str = "audit-";
const SUFFIX: &str = ".log";

/// A record by number and hash; number 0 stands before the first one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub number: u64,
    /// SHA-256, small hexadecimal digits.
    pub hash: String,
}

impl Default for Head {
    fn default() -> Head {
        Head { number: 0, hash: "0".repeat(HASH_DIGITS) }
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.hash)
    }
}

impl FromStr for Head {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Head, &'static str> {
        let wrong = "a record is named by its number, a blank and its SHA-256";
        let (number, hash) = text.split_once(' ').ok_or(wrong)?;
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let whole = hash.len() == HASH_DIGITS && hash.bytes().all(digit);
        let number = number.parse().map_err(|_| wrong)?;
        whole.then(|| Head { number, hash: hash.to_owned() }).ok_or(wrong)
    }
}

impl Head {
    /// The hash of an entry that follows this record.
    pub(super) fn follow(&self, entry: &[u8]) -> String {
        hexadecimal(&Sha256::new().chain_update(&self.hash).chain_update(entry).finalize())
    }

    /// The line a file begins with that goes on behind this record.
    pub(super) fn first_line(&self) -> String {
        format!("{MAGIC}{self}\n")
    }
}

/// The first record that does not fit, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// No file of this form, or its first line was changed.
    NotLog,
    /// The bytes of the record, or those of an earlier one with all hashes behind it, were changed.
    Changed { number: u64 },
    /// Another record stands where this one should: it is missing, or records were reordered.
    Missing { number: u64, found: u64 },
    /// The log ends before this record, which had been written.
    Cut { number: u64 },
    /// The record is another one than the one that was told outside.
    Rewritten { number: u64 },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NotLog => write!(f, "it does not begin as an audit log"),
            Fault::Changed { number } => write!(f, "record {number} was changed"),
            Fault::Missing { number, found } => {
                write!(
                    f,
                    "record {number} is missing or out of order: record {found} stands in its place"
                )
            }
            Fault::Cut { number } => {
                write!(f, "record {number} is missing: the log was cut before it")
            }
            Fault::Rewritten { number } => {
                write!(
                    f,
                    "record {number} is not the one that was told outside: the log was written anew"
                )
            }
        }
    }
}

/// A log that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The record before the oldest that is kept.
    pub before: Head,
    pub last: Head,
}

#[derive(Deserialize)]
struct Numbered {
    number: u64,
}

/// Follows the lines of one file: the last record that can be read, and the first fault. `bytes` holds whole lines.
pub(super) fn walk(bytes: &[u8]) -> (Head, Option<Fault>) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let Some(mut head) = lines.next().and_then(start) else {
        return (Head::default(), Some(Fault::NotLog));
    };
    for line in lines {
        match next(&head, line) {
            Ok(record) => head = record,
            Err(fault) => return (head, Some(fault)),
        }
    }
    (head, None)
}

fn start(line: &str) -> Option<Head> {
    line.strip_prefix(MAGIC)?.parse().ok()
}

/// The record of a line that follows `head`.
fn next(head: &Head, line: &str) -> Result<Head, Fault> {
    let number = head.number + 1;
    let (hash, entry) = line.split_once(' ').ok_or(Fault::Changed { number })?;
    let found =
        serde_json::from_str::<Numbered>(entry).map_err(|_| Fault::Changed { number })?.number;
    if found != number {
        return Err(Fault::Missing { number, found });
    }
    match head.follow(entry.as_bytes()) == hash {
        true => Ok(Head { number, hash: hash.to_owned() }),
        false => Err(Fault::Changed { number }),
    }
}

/// The number of the first record of a file.
pub(super) fn first_number(bytes: &[u8]) -> Option<u64> {
    Some(start(String::from_utf8_lossy(bytes).lines().next()?)?.number + 1)
}

/// Twenty digits, so that names sort as numbers do.
pub(super) fn closed_name(first: u64) -> String {
    format!("{PREFIX}{first:020}{SUFFIX}")
}

/// The closed files of a log, oldest first.
pub(super) fn closed(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX)) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Checks one file from its first line on. Half a line at its end is what a power cut leaves, and no fault.
pub fn verify_file(path: &Path, told: Option<&Head>) -> io::Result<Result<Verified, Fault>> {
    Ok(verify(&[std::fs::read(path)?], None, told))
}

/// Checks all files of a log, that each goes on where the one before ends, and that nothing is missing at the end.
pub fn verify_folder(folder: &Path, told: Option<&Head>) -> io::Result<Result<Verified, Fault>> {
    let mut paths = closed(folder)?;
    paths.push(folder.join(CURRENT));
    let files = paths.iter().map(std::fs::read).collect::<io::Result<Vec<_>>>()?;
    let kept = std::fs::read_to_string(folder.join(HEAD));
    let kept = kept.ok().and_then(|text| text.parse().ok());
    Ok(verify(&files, kept.as_ref(), told))
}

/// `kept`: the last record as the file beside the log names it; `told`: a record that somebody outside has seen.
fn verify(files: &[Vec<u8>], kept: Option<&Head>, told: Option<&Head>) -> Result<Verified, Fault> {
    let mut ends: Option<Verified> = None;
    for bytes in files {
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let text = String::from_utf8_lossy(&bytes[..whole]);
        let before = text.lines().next().and_then(start).ok_or(Fault::NotLog)?;
        if let Some(Verified { last, .. }) = ends.as_ref().filter(|ends| ends.last != before) {
            let number = last.number + 1;
            return Err(match before.number == last.number {
                true => Fault::Changed { number: last.number },
                false => Fault::Missing { number, found: before.number + 1 },
            });
        }
        let (last, fault) = walk(&bytes[..whole]);
        if let Some(fault) = fault {
            return Err(fault);
        }
        let before = ends.map_or(before, |ends: Verified| ends.before);
        ends = Some(Verified { before, last });
    }
    let ends = ends.ok_or(Fault::NotLog)?;
    for known in kept.into_iter().chain(told) {
        if known.number > ends.last.number {
            return Err(Fault::Cut { number: ends.last.number + 1 });
        }
        let there = files.iter().any(|bytes| has(bytes, known));
        if known.number > ends.before.number && !there {
            return Err(Fault::Rewritten { number: known.number });
        }
    }
    Ok(ends)
}

/// Whether a file holds this record.
fn has(bytes: &[u8], record: &Head) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.lines().any(|line| {
        line.strip_prefix(&record.hash).is_some_and(|rest| {
            serde_json::from_str::<Numbered>(rest.trim_start())
                .is_ok_and(|found| found.number == record.number)
        })
    })
}
