//! How a configuration gets into force and out of it again: on trial, as an update does.
//!
//! A candidate is proposed. What starts the service takes it before the start (`sagitta config take`) and keeps it when the
//! service is ready (`sagitta config keep`). A start with a trial that nobody kept takes the one before back: whatever
//! happened, a fault of the configuration, a hang until the limit of the unit, a power cut. No watcher has to live for that.
//!
//! There is no reload: every part reads its settings when it starts, a start takes seconds and is what every crash and every
//! update use, and nothing acknowledged is lost by it. A reload would be a second way into each state, with half of each.
//!
//! Files beside the configuration `C`: `C.candidate`, an administrator's; `C.previous`, the one before; `C.trial`, there from
//! `take` to `keep`; `C.outcome`, how the last trial ended. In the data folder of the one in force: `candidate.toml`, what the
//! service proposes for somebody far away. That is all it may write: the others are root's, and root writes nothing in a folder
//! of the service.

use super::change::{Change, changes};
use super::{Config, ConfigError};
use crate::durable;
use crate::error::Move;
use crate::seal::sha256;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Largest configuration: a hundred times what the largest site writes.
pub const MAX_BYTES: u64 = 1 << 20;
/// Where a candidate of the service waits, in the data folder.
const CANDIDATE: &str = "candidate.toml";
/// What errors call a candidate.
const NAME: &str = "candidate";

/// Who proposes: it decides where the candidate waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proposer {
    /// Somebody on this machine who may write beside the configuration.
    Administrator,
    /// The service, which may write the data folder only.
    Service,
}

/// How a trial ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Counts the trials of this device.
    pub number: u64,
    /// Of the candidate.
    pub sha256: String,
    #[serde(flatten)]
    pub ending: Ending,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ending", rename_all = "snake_case")]
pub enum Ending {
    /// The service became ready with it.
    Kept,
    /// The service did not become ready: the one before is in force.
    TakenBack,
    /// It could not be used; nothing has changed.
    Refused { reason: String },
}

/// Why a candidate was not proposed or taken. Nothing has changed.
#[derive(Debug, Error)]
pub enum TrialError {
    #[error("the candidate: {0}")]
    Candidate(ConfigError),
    #[error("the configuration in force: {0}; mend it by hand, then restart the service")]
    InForce(ConfigError),
    #[error("it would change nothing")]
    NoChange,
    #[error(
        "it moves the data folder from {from} to {to}, where what was acknowledged would not be found: stop the service, move the folder and edit the configuration by hand"
    )]
    DataMoves { from: PathBuf, to: PathBuf },
    #[error("there is no earlier configuration")]
    NoPrevious,
    #[error("a configuration is on trial: wait until the service is ready")]
    OnTrial,
    #[error("cannot use {path}: {source}")]
    File { path: PathBuf, source: io::Error },
}

impl TrialError {
    pub fn whose_move(&self) -> Move {
        Move::Site
    }
}

/// What `take` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// There was nothing to take.
    Nothing,
    /// The candidate is in force, on trial.
    OnTrial,
    /// The last trial was not kept: the one before is in force again.
    Back,
    /// There was a candidate, which cannot be used.
    Refused(String),
}

/// The configuration of one device, by the path of its file.
#[derive(Debug, Clone)]
pub struct Place(PathBuf);

impl Place {
    pub fn new(configuration: &Path) -> Place {
        Place(configuration.to_owned())
    }

    fn beside(&self, end: &str) -> PathBuf {
        let mut name = self.0.clone().into_os_string();
        name.push(end);
        name.into()
    }

    fn trial(&self) -> PathBuf {
        self.beside(".trial")
    }

    fn previous(&self) -> PathBuf {
        self.beside(".previous")
    }

    fn in_force(&self) -> Result<Config, TrialError> {
        Config::read(&self.0).map_err(TrialError::InForce)
    }

    /// What `text` would change, where it could be proposed: the dry run.
    pub fn check(&self, text: &str) -> Result<Vec<Change>, TrialError> {
        let changes = self.compare(text)?;
        let candidate = Config::parse(text, Path::new(NAME)).map_err(TrialError::Candidate)?;
        candidate.rehearse(Path::new(NAME)).map_err(TrialError::Candidate)?;
        Ok(changes)
    }

    /// The same without opening any file that `text` names: it may be from the service, and who takes is root.
    fn compare(&self, text: &str) -> Result<Vec<Change>, TrialError> {
        let candidate = Config::parse(text, Path::new(NAME)).map_err(TrialError::Candidate)?;
        let now = self.in_force()?;
        if now.data != candidate.data {
            return Err(TrialError::DataMoves { from: now.data, to: candidate.data });
        }
        let changes = changes(&now, &candidate);
        if changes.is_empty() { Err(TrialError::NoChange) } else { Ok(changes) }
    }

    /// Leaves `text` for the next start to take. The service has to be restarted then.
    pub fn propose(&self, text: &str, proposer: Proposer) -> Result<Vec<Change>, TrialError> {
        let changes = self.check(text)?;
        if self.trial().exists() {
            return Err(TrialError::OnTrial);
        }
        match proposer {
            Proposer::Administrator => self.write(&self.beside(".candidate"), text)?,
            Proposer::Service => {
                let path = self.in_force()?.data.join(CANDIDATE);
                durable::write(&path, text.as_bytes()).map_err(|source| at(&path, source))?;
            }
        }
        Ok(changes)
    }

    /// The configuration before this one, to be proposed again.
    pub fn previous_text(&self) -> Result<String, TrialError> {
        read_small(&self.previous()).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => TrialError::NoPrevious,
            _ => at(&self.previous(), error),
        })
    }

    /// How the last trial ended.
    pub fn outcome(&self) -> Option<Outcome> {
        serde_json::from_str(&read_small(&self.beside(".outcome")).ok()?).ok()
    }

    /// Before a start: takes back a trial that was not kept, else puts a candidate in force.
    ///
    /// A power cut between two steps leaves either nothing or a trial, which the next start takes back.
    pub fn take(&self) -> Result<Taken, TrialError> {
        match read_small(&self.trial()) {
            Ok(sha256) => return self.take_back(&sha256),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(at(&self.trial(), source)),
        }
        let Ok(now) = self.in_force() else { return Ok(Taken::Nothing) };
        let there = |path: &PathBuf| path.symlink_metadata().is_ok();
        let Some(path) = self.candidates(&now).into_iter().find(there) else {
            return Ok(Taken::Nothing);
        };
        let text = match read_small(&path) {
            Ok(text) => text,
            Err(source) => return self.refuse(&path, "", &at(&path, source)),
        };
        let sha256 = sha256(text.as_bytes());
        match self.compare(&text) {
            Ok(_changes) => {}
            Err(error) => return self.refuse(&path, &sha256, &error),
        }
        let current = read_small(&self.0).map_err(|source| at(&self.0, source))?;
        self.write(&self.previous(), &current)?;
        self.write(&self.trial(), &sha256)?;
        self.write(&self.0, &text)?;
        remove(&path)?;
        Ok(Taken::OnTrial)
    }

    fn take_back(&self, sha256: &str) -> Result<Taken, TrialError> {
        let previous = self.previous();
        let text = read_small(&previous).map_err(|source| at(&previous, source))?;
        self.write(&self.0, &text)?;
        if let Ok(now) = self.in_force() {
            self.candidates(&now).iter().try_for_each(|path| remove(path))?;
        }
        self.end(sha256, Ending::TakenBack)?;
        remove(&self.trial())?;
        Ok(Taken::Back)
    }

    fn refuse(&self, path: &Path, sha256: &str, error: &TrialError) -> Result<Taken, TrialError> {
        let reason = error.to_string();
        self.end(sha256, Ending::Refused { reason: reason.clone() })?;
        remove(path)?;
        Ok(Taken::Refused(reason))
    }

    /// The service is ready: a trial is over, and its configuration stays. Returns whether there was one.
    pub fn keep(&self) -> Result<bool, TrialError> {
        let Ok(sha256) = read_small(&self.trial()) else { return Ok(false) };
        self.end(&sha256, Ending::Kept)?;
        remove(&self.trial())?;
        Ok(true)
    }

    fn end(&self, sha256: &str, ending: Ending) -> Result<(), TrialError> {
        let number = self.outcome().map_or(1, |last| last.number + 1);
        let outcome = Outcome { number, sha256: sha256.to_owned(), ending };
        let text = serde_json::to_string(&outcome).expect("numbers and texts");
        self.write(&self.beside(".outcome"), &text)
    }

    /// Where candidates wait; an administrator's goes first.
    fn candidates(&self, in_force: &Config) -> [PathBuf; 2] {
        [self.beside(".candidate"), in_force.data.join(CANDIDATE)]
    }

    /// Writes a file beside the configuration, readable by those who may read that one.
    fn write(&self, path: &Path, text: &str) -> Result<(), TrialError> {
        let written = fs::metadata(&self.0).and_then(|like| write_like(path, text, &like));
        written.map_err(|source| at(path, source))
    }
}

/// Writes a file, whole or not at all, that belongs to whom `like` belongs to, with its mode.
pub(crate) fn write_like(path: &Path, text: &str, like: &fs::Metadata) -> io::Result<()> {
    durable::write_with(path, text.as_bytes(), &|file: &File| {
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
            fchown(file, Some(like.uid()), Some(like.gid()))?;
        }
        file.set_permissions(like.permissions())
    })
}

/// The text of a plain file of at most [`MAX_BYTES`]. Follows no link: the service could have made it, and who takes is root.
fn read_small(path: &Path) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let kind = file.metadata()?;
    if !kind.is_file() || kind.len() > MAX_BYTES {
        return Err(io::Error::other("it is no plain file, or too large"));
    }
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

fn remove(path: &Path) -> Result<(), TrialError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path, error)),
        _ => Ok(()),
    }
}

fn at(path: &Path, source: io::Error) -> TrialError {
    TrialError::File { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
