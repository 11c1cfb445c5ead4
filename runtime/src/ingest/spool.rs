//! The spool: every received instance on disk, verbatim, before it is acknowledged.
//!
//! An instance is written into a blank of the `pool` where there is one, else into a new file; either way it is a DICOM file whose
//! meta information seals the data set, and which may be padded behind it.
//!
//! Layout: `ROOT/JOB/HASH.dcm`. `JOB` is the [`JobId`] of the series and `HASH` a SHA-256 of the SOP Instance UID, so
//! that no text of a sender becomes a path. A file appears under its name only whole; what [`Spool::open`]
//! finds after a power cut, with what it takes from the pool, is exactly what was acknowledged, or more. Retention is the caller's.

mod pool;

use super::header::{self, Header};
use super::prescan::Limits;
use super::{Arrival, classes};
use crate::durable::{self, sync_folder};
use crate::error::Move;
use crate::identity::{JobId, hexadecimal};
use crate::part10;
use pool::Pool;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::SystemTime;
use thiserror::Error;

const INSTANCE: &str = "dcm";
/// A second instance with the UID of another and different bytes: kept for the site to look at, never used.
const CONFLICT: &str = "conflict";
/// A file being written; what is left of it after a crash was never acknowledged.
const PARTIAL: &str = "part";
/// The folder of a job that is being deleted.
const LEAVING: &str = "leaving";
/// Hexadecimal digits of a file name: 128 bits of SHA-256, no collision in any spool.
const HASH_DIGITS: usize = 32;

/// A spool that cannot do its work. The site's move: disk or permissions.
#[derive(Debug, Error)]
pub enum SpoolError {
    #[error("the spool folder {path} cannot be used: {source}")]
    Unusable { path: PathBuf, source: io::Error },
    #[error("the disk of the spool folder {path} is full")]
    Full { path: PathBuf },
    #[error("cannot write to the spool folder {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
}

impl SpoolError {
    pub fn whose_move(&self) -> Move {
        Move::Site
    }
}

/// What became of a received instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    New,
    /// Already here, byte for byte.
    Duplicate,
    /// Its UID is already here with other bytes; it was kept beside the first.
    Conflict,
}

/// A durable instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub job: JobId,
    pub path: PathBuf,
    pub outcome: Outcome,
}

/// The durable folder of received instances. Shared by all associations.
#[derive(Debug)]
pub struct Spool {
    root: PathBuf,
    site_key: Vec<u8>,
    /// Fuller than so many percent, the disk takes nothing more.
    refuse_percent: u64,
    pool: Pool,
    /// The instances on their way to the disk: one of a UID at a time, so that "is it there already" has one answer.
    landing: Mutex<HashSet<PathBuf>>,
    landed: Condvar,
    /// Whoever makes the folder of a job: others who find it there may rely on its name.
    folders: Mutex<()>,
    partials: AtomicU64,
}

impl Spool {
    /// Opens or creates the folder, proves that it can be written, and returns the images it holds. The caller feeds
    /// them to the assembler as if they had just arrived.
    pub fn open(root: &Path, site_key: &[u8]) -> Result<(Spool, Vec<Arrival>), SpoolError> {
        let unusable = |source| SpoolError::Unusable { path: root.to_owned(), source };
        fs::create_dir_all(root).map_err(unusable)?;
        let probe = root.join(format!("probe.{PARTIAL}"));
        File::create(&probe).and_then(|file| file.sync_all()).map_err(unusable)?;
        fs::remove_file(&probe).map_err(unusable)?;
        adopt(root, site_key).map_err(unusable)?;
        let spool = Spool {
            pool: Pool::open(root).map_err(unusable)?,
            root: root.to_owned(),
            site_key: site_key.to_vec(),
            refuse_percent: 100,
            landing: Mutex::default(),
            landed: Condvar::new(),
            folders: Mutex::default(),
            partials: AtomicU64::new(0),
        };
        let arrivals = spool.recover().map_err(unusable)?;
        // A kill may have left folders without durable names.
        sync_folder(root).map_err(unusable)?;
        Ok((spool, arrivals))
    }

    /// The same, which refuses instances once its disk is filled to so many percent.
    pub fn refusing_at(self, percent: u8) -> Spool {
        Spool { refuse_percent: u64::from(percent), ..self }
    }

    /// How full the disk is, for who may not use what is kept for root.
    pub fn used_percent(&self) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(&self.root)?;
        Ok(100 - disk.f_bavail.saturating_mul(100) / disk.f_blocks.max(1))
    }

    /// Makes an instance durable: its file, and a new one's name, are synced when this returns. Blocks on the disk.
    pub fn store(&self, header: &Header, data_set: &[u8]) -> Result<Stored, SpoolError> {
        let full = || SpoolError::Full { path: self.root.clone() };
        // At 100 the disk itself says so.
        if self.refuse_percent < 100 && self.used_percent().is_ok_and(|p| p >= self.refuse_percent)
        {
            return Err(full());
        }
        self.land(header, data_set).map_err(|source| match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => full(),
            _ => SpoolError::Write { path: self.root.clone(), source },
        })
    }

    /// Where an instance of a job is kept, by its [`name`]; it need not have come.
    pub fn path(&self, job: &JobId, name: &str) -> PathBuf {
        self.folder(job).join(format!("{name}.{INSTANCE}"))
    }

    /// Folder of a job.
    pub fn folder(&self, job: &JobId) -> PathBuf {
        self.root.join(job.as_str())
    }

    /// Deletes the instances of a job: all, or after a kill at the next start. Retention: only after its results are
    /// delivered.
    pub fn remove(&self, job: &JobId) -> Result<(), SpoolError> {
        let leaving = self.root.join(format!("{job}.{LEAVING}"));
        // What is still in the pool after a power cut would come back.
        let removed = self
            .pool
            .sync()
            .and_then(|()| fs::rename(self.folder(job), &leaving))
            .and_then(|()| sync_folder(&self.root))
            .and_then(|()| fs::remove_dir_all(&leaving));
        match removed {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(SpoolError::Write { path: self.root.clone(), source })
            }
            _ => Ok(()),
        }
    }

    /// Every job that has instances here, and when the last one came.
    pub fn series(&self) -> io::Result<Vec<(SystemTime, JobId)>> {
        let mut series = Vec::new();
        for (job, folder) in self.folders()? {
            // One that was removed meanwhile has none.
            let Ok(about) = fs::metadata(folder) else { continue };
            series.push((about.modified()?, job));
        }
        Ok(series)
    }

    /// The folders of jobs.
    fn folders(&self) -> io::Result<Vec<(JobId, PathBuf)>> {
        let mut folders = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let job = entry.file_name().to_str().and_then(JobId::parse);
            folders.extend(job.map(|job| (job, entry.path())));
        }
        Ok(folders)
    }

    /// The SOP classes of those of these instances that are here. One walk over all names: asked a few times a day. Blocks on
    /// the disk.
    pub fn classes_of<'a>(
        &self,
        instances: impl Iterator<Item = &'a str>,
    ) -> io::Result<HashMap<&'a str, String>> {
        let mut wanted: HashMap<String, &str> =
            instances.map(|instance| (name(instance), instance)).collect();
        let mut found = HashMap::new();
        for (_, folder) in self.folders()? {
            for path in durable::files(&folder, INSTANCE)? {
                let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                let Some(instance) = wanted.remove(stem) else { continue };
                if let Some(class) = class_of(&path)? {
                    found.insert(instance, class);
                }
            }
        }
        Ok(found)
    }

    fn land(&self, header: &Header, data_set: &[u8]) -> io::Result<Stored> {
        let job = JobId::new(&self.site_key, &header.series);
        let name = name(&header.sop_instance);
        let path = self.path(&job, &name);
        let syntax = &header.transfer_syntax;
        let prefix = part10::prefix(&header.sop_class, &header.sop_instance, syntax, data_set);
        let content = [&prefix, data_set];
        let _landing = self.claim(&path);
        if !path.exists() {
            self.write_new(&path, content, syntax)?;
            return Ok(Stored { job, path, outcome: Outcome::New });
        }
        if same(&path, content)? {
            // Its first sender may have been told of a disk that failed.
            sync_folder(&self.folder(&job))?;
            return Ok(Stored { job, path, outcome: Outcome::Duplicate });
        }
        let path = self.folder(&job).join(format!("{name}.{}.{CONFLICT}", hash(&content)));
        self.write(&path, content)?;
        Ok(Stored { job, path, outcome: Outcome::Conflict })
    }

    /// Makes an instance durable under a name that is not there.
    fn write_new(&self, path: &Path, content: [&[u8]; 2], syntax: &str) -> io::Result<()> {
        let bytes = content[0].len() + content[1].len();
        let file_bytes = pool::file_bytes((bytes + part10::LEAST_PADDING) as u64);
        let Some((blank, length)) = file_bytes.and_then(|n| Some((self.pool.take(n)?, n))) else {
            return self.write(path, content);
        };
        self.make_folder(parent(path))?;
        let padding = part10::padding(syntax, length as usize - bytes);
        blank.become_file(path, &[content[0], content[1], &padding])
    }

    /// Waits until nobody else lands the same instance.
    fn claim(&self, path: &Path) -> Landing<'_> {
        let landing = self.landing.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let taken = |landing: &mut HashSet<PathBuf>| landing.contains(path);
        let waited = self.landed.wait_while(landing, taken);
        waited.unwrap_or_else(|poisoned| poisoned.into_inner()).insert(path.to_owned());
        Landing { spool: self, path: path.to_owned() }
    }

    /// Makes a new file durable, whole under its name.
    fn write(&self, path: &Path, content: [&[u8]; 2]) -> io::Result<()> {
        let folder = parent(path);
        self.make_folder(folder)?;
        let number = self.partials.fetch_add(1, Ordering::Relaxed);
        let partial = path.with_extension(format!("{number}.{PARTIAL}"));
        let written = write(&partial, content).and_then(|()| fs::rename(&partial, path));
        if written.is_err() {
            // The first error is the one to report; a partial file left behind is removed at the next start.
            let _ = fs::remove_file(&partial);
        }
        written.and_then(|()| sync_folder(folder))
    }

    /// Makes the folder of a job with a durable name. Once a series: its instances need not sync the name again.
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        let _alone = self.folders.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match fs::create_dir(folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
            Ok(()) => sync_folder(&self.root).inspect_err(|_| {
                // The next one must not find it; the first error is the one to report.
                let _ = fs::remove_dir(folder);
            }),
        }
    }

    /// Removes what was never acknowledged and reads the headers of the images that were.
    fn recover(&self) -> io::Result<Vec<Arrival>> {
        for entry in fs::read_dir(&self.root)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == LEAVING) {
                fs::remove_dir_all(path)?;
            }
        }
        let mut arrivals = Vec::new();
        for (_, folder) in self.folders()? {
            for file in fs::read_dir(folder)? {
                let path = file?.path();
                match path.extension().and_then(|extension| extension.to_str()) {
                    Some(PARTIAL) => fs::remove_file(&path)?,
                    Some(INSTANCE) => arrivals.extend(self.arrival(path)?),
                    _ => {}
                }
            }
        }
        arrivals.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(arrivals)
    }

    /// The image in a spool file; `None` for what is ignored.
    fn arrival(&self, path: PathBuf) -> io::Result<Option<Arrival>> {
        let bytes = fs::read(&path)?;
        let header = part10::split(&bytes).ok().and_then(|(transfer_syntax, data_set)| {
            header::read(data_set, &transfer_syntax, Limits::IGNORED).ok()
        });
        let Some(header) = header else {
            tracing::warn!(file = %path.display(), "a file in the spool is not an instance; left alone");
            return Ok(None);
        };
        if classes::usage(&header.sop_class) != Some(classes::Use::Image) {
            return Ok(None);
        }
        let job = JobId::new(&self.site_key, &header.series);
        Ok(Some(Arrival { origin: None, job, path, header, outcome: Outcome::New }))
    }
}

/// An instance on its way to the disk.
struct Landing<'a> {
    spool: &'a Spool,
    path: PathBuf,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let landing = self.spool.landing.lock();
        landing.unwrap_or_else(|poisoned| poisoned.into_inner()).remove(&self.path);
        self.spool.landed.notify_all();
    }
}

/// What an instance is called in the spool: no text of a sender becomes a path.
pub fn name(sop_instance: &str) -> String {
    hash(&[sop_instance.as_bytes()])
}

fn write(path: &Path, content: [&[u8]; 2]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    content.iter().try_for_each(|part| file.write_all(part))?;
    file.sync_all()
}

fn parent(path: &Path) -> &Path {
    path.parent().expect("a path below the root")
}

/// Gives the whole instances that a kill or a power cut left in the pool the places they were written for.
fn adopt(root: &Path, site_key: &[u8]) -> io::Result<()> {
    let mut adopted = 0;
    for path in pool::left(root)? {
        let mut head = Vec::new();
        File::open(&path)?.take(part10::PREFIX_BYTES).read_to_end(&mut head)?;
        // Most are blanks.
        if part10::File::read(&head).is_err() {
            continue;
        }
        let bytes = fs::read(&path)?;
        let Some(header) =
            part10::File::read(&bytes).ok().filter(|f| f.is_whole()).and_then(|file| {
                header::read(file.data_set, &file.transfer_syntax().ok()?, Limits::IGNORED).ok()
            })
        else {
            // Torn: it was never acknowledged.
            fs::remove_file(&path)?;
            continue;
        };
        let job = JobId::new(site_key, &header.series);
        let folder = root.join(job.as_str());
        fs::create_dir_all(&folder)?;
        fs::rename(&path, folder.join(format!("{}.{INSTANCE}", name(&header.sop_instance))))?;
        sync_folder(&folder)?;
        adopted += 1;
    }
    if adopted > 0 {
        sync_folder(root)?;
        tracing::info!(instances = adopted, "taken from the pool of the spool");
    }
    Ok(())
}

/// The class in the file meta information.
fn class_of(path: &Path) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    File::open(path)?.take(part10::PREFIX_BYTES).read_to_end(&mut head)?;
    Ok(part10::File::read(&head).ok().and_then(|file| file.sop_class().ok()))
}

fn same(path: &Path, [prefix, data_set]: [&[u8]; 2]) -> io::Result<bool> {
    let there = fs::read(path)?;
    // The seal is in the prefix: behind the data set there is padding at most.
    Ok(there.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(data_set)))
}

fn hash(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hexadecimal(&hasher.finalize()[..HASH_DIGITS / 2])
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
