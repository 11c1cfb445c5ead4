//! What is deleted, and when: series with their results once they are older than the site keeps them, and the oldest ones
//! earlier where the disk fills up. Never what is still to be worked on or delivered.

use crate::durable::absent_is_fine;
use crate::identity::JobId;
use crate::ingest::Event;
use crate::ingest::mpps;
use crate::ingest::spool::{Spool, SpoolError};
use crate::jobs::board::Board;
use crate::outbox::Outbox;
use crate::telemetry::Limits;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

/// How often somebody looks: a walk over some hundred folders.
const LOOK: Duration = Duration::from_secs(10);
/// A series the board does not know is left alone for so long: its first image may be on its way there.
const UNKNOWN: Duration = Duration::from_secs(3600);

/// The table `[retention]` of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A series is kept so long after its last image.
    pub keep_hours: u64,
    /// Where the disk is fuller, the oldest settled series go earlier.
    pub high_water_percent: u8,
    /// Where it is fuller than this, new instances are refused with "out of resources".
    pub refuse_percent: u8,
}

impl Default for Settings {
    fn default() -> Settings {
        // A day: long enough for a look at yesterday's results, short enough for a device with patient data on it.
        Settings { keep_hours: 24, high_water_percent: 85, refuse_percent: 95 }
    }
}

impl Settings {
    /// What the types cannot rule out.
    pub fn check(&self) -> Result<(), String> {
        let Settings { high_water_percent: high, refuse_percent: refuse, .. } = self;
        match high <= refuse && *refuse <= 100 {
            true => Ok(()),
            false => Err(format!(
                "[retention] high_water_percent {high} must not be above refuse_percent {refuse}, nor that above 100"
            )),
        }
    }
}

impl Settings {
    /// What health judges the disk by.
    pub fn limits(&self) -> Limits {
        Limits {
            high_water_percent: self.high_water_percent.into(),
            refuse_percent: self.refuse_percent.into(),
        }
    }
}

/// The thread that deletes, and what it needs to know.
#[derive(Debug)]
pub struct Retention {
    pub settings: Settings,
    pub spool: Arc<Spool>,
    pub board: Arc<Board>,
    pub outbox: Arc<Outbox>,
    /// The assembler must forget what is deleted.
    pub events: mpsc::Sender<Event>,
    /// The service's folder of everything durable.
    pub data: PathBuf,
    /// Series found at start: until the board has judged them, their age says nothing.
    pub found: HashSet<JobId>,
}

impl Retention {
    /// Starts the thread; it ends when `stop` turns true. Needs a tokio runtime.
    pub fn start(self, mut stop: watch::Receiver<bool>) -> io::Result<std::thread::JoinHandle<()>> {
        let runtime = Handle::current();
        std::thread::Builder::new().name("retention".to_owned()).spawn(move || {
            runtime.block_on(async {
                loop {
                    if let Err(error) = self.look(SystemTime::now()).await {
                        tracing::error!("old series cannot be deleted: {error}; the site's move");
                    }
                    tokio::select! {
                        () = tokio::time::sleep(LOOK) => {}
                        _ = stop.wait_for(|stop| *stop) => return,
                    }
                }
            });
        })
    }

    /// Deletes what is due.
    async fn look(&self, now: SystemTime) -> io::Result<()> {
        let keep = Duration::from_secs(self.settings.keep_hours * 3600);
        let delivering: HashSet<JobId> = match self.outbox.pending_deliveries() {
            Ok(pending) => pending.into_iter().map(|delivery| delivery.job).collect(),
            Err(error) => return Err(io::Error::other(error)),
        };
        let mut series = self.spool.series()?;
        series.sort();
        for (last_image, job) in series {
            let age = now.duration_since(last_image).unwrap_or_default();
            let full = self.spool.used_percent()? >= u64::from(self.settings.high_water_percent);
            if (age < keep && !full) || delivering.contains(&job) || !self.is_over(&job, age) {
                continue;
            }
            let reason = if age >= keep { "age" } else { "the disk is filling up" };
            tracing::info!(%job, reason, "series deleted");
            self.delete(&job).await?;
        }
        for (folder, keep) in [("steps", mpps::KEPT), ("levels", keep), ("companions", keep)] {
            delete_files(&self.data.join(folder), now, keep)?;
        }
        Ok(())
    }

    /// Whether nothing more will happen to a series by itself.
    fn is_over(&self, job: &JobId, age: Duration) -> bool {
        match self.board.line(job) {
            Some(record) => record.is_settled(),
            // The board forgets; what it has made of the series it has in its folder.
            None if self.found.contains(job) => self.results(job).exists(),
            None => age >= UNKNOWN,
        }
    }

    async fn delete(&self, job: &JobId) -> io::Result<()> {
        self.spool.remove(job).map_err(|error: SpoolError| io::Error::other(error))?;
        // A closed channel means that the service is stopping.
        let _ = self.events.send(Event::Removed(job.clone())).await;
        self.outbox.forget_cancelled(job).map_err(io::Error::other)?;
        absent_is_fine(fs::remove_dir_all(self.results(job)))
    }

    fn results(&self, job: &JobId) -> PathBuf {
        self.data.join("results").join(job.as_str())
    }
}

/// Deletes files below `folder` that nobody has changed for longer than `keep`, and folders that are empty then.
fn delete_files(folder: &Path, now: SystemTime, keep: Duration) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let (path, about) = (entry.path(), entry.metadata()?);
        if about.is_dir() {
            delete_files(&path, now, keep)?;
            if now.duration_since(about.modified()?).unwrap_or_default() >= keep
                && fs::read_dir(&path)?.next().is_none()
            {
                absent_is_fine(fs::remove_dir(path))?;
            }
        } else if now.duration_since(about.modified()?).unwrap_or_default() >= keep {
            absent_is_fine(fs::remove_file(path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_that_contradict_are_found() {
        let check = |high_water_percent, refuse_percent| {
            Settings { high_water_percent, refuse_percent, ..Settings::default() }.check()
        };
        assert!(check(85, 95).is_ok() && check(0, 0).is_ok() && check(100, 100).is_ok());
        assert!(check(96, 95).is_err() && check(85, 101).is_err());
    }

    #[test]
    fn old_files_go_and_their_empty_folders_and_no_others() {
        let root = std::env::temp_dir().join(format!("sagitta-old-{}", std::process::id()));
        let [old, young] = ["a/old", "b/young"].map(|name| root.join(name));
        for path in [&old, &young] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let day = Duration::from_secs(86_400);
        let past = SystemTime::now() - 3 * day;
        fs::File::open(&old).unwrap().set_modified(past).unwrap();
        delete_files(&root, SystemTime::now(), day).unwrap();
        assert!(!old.exists() && young.exists());
        // Its folder has changed just now; a day later it is as old as it is empty.
        delete_files(&root, SystemTime::now() + day, 2 * day).unwrap();
        assert!(young.exists() && root.join("a").exists());
        delete_files(&root, SystemTime::now() + 3 * day, 2 * day).unwrap();
        assert!(fs::read_dir(&root).unwrap().next().is_none());
        fs::remove_dir_all(root).unwrap();
    }
}
