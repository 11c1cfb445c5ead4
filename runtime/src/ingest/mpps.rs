//! Modality Performed Procedure Step, as provider (PS3.4 annex F): what a console says it has begun, acquired and ended. Kept
//! on disk for a while; a hint for completeness, never a condition: many consoles send none.

use super::Performed;
use super::normalized::Declined;
use super::spool::{self, Spool};
use crate::dimse::data_set::{self, Node};
use crate::durable;
use crate::identity::{JobId, derived_uid};
use crate::ingest::header::is_uid;
use crate::messages::Timestamp;
use dicom_dictionary_std::tags;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// So long a step is kept: it may be changed until the examination ends, and asked for after a restart.
pub const KEPT: Duration = Duration::from_secs(2 * 86_400);
/// Most steps kept: beyond, something creates them that is no console.
const MAX_STEPS: usize = 10_000;

/// Where a procedure step stands (0040,0252).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    InProgress,
    /// Everything was acquired as it was meant.
    Completed,
    /// Given up: what was acquired is all there will be.
    Discontinued,
}

/// What a console said of one procedure step. Holds no patient data: series are named by [`JobId`], instances by the names
/// they have in the spool ([`spool::name`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub state: State,
    /// The instances of each series; empty while the console has named only the series.
    pub series: BTreeMap<JobId, BTreeSet<String>>,
}

impl Step {
    /// What it lists of each series, once it was completed: the console will name no more. A discontinued one proves nothing:
    /// what was not listed may still be reconstructed.
    pub fn performed(&self, spool: &Spool) -> Vec<Performed> {
        if self.state != State::Completed {
            return Vec::new();
        }
        let of = |(job, names): (&JobId, &BTreeSet<String>)| Performed {
            job: job.clone(),
            paths: names.iter().map(|name| spool.path(job, name)).collect(),
        };
        self.series.iter().map(of).collect()
    }
}

/// All steps kept.
#[derive(Debug)]
pub struct Steps {
    folder: PathBuf,
    site_key: Vec<u8>,
    /// Serialises reading a step with the write that changes it.
    changing: Mutex<()>,
}

impl Steps {
    /// Keeps files in `folder`, which need not be there yet. Returns what they say, for the assembler.
    pub fn open(folder: &Path, site_key: &[u8]) -> io::Result<(Steps, Vec<Step>)> {
        let steps = Steps {
            folder: folder.to_owned(),
            site_key: site_key.to_vec(),
            changing: Mutex::new(()),
        };
        let mut found = Vec::new();
        for path in durable::files(folder, "json")? {
            found.extend(serde_json::from_slice(&fs::read(path)?).ok());
        }
        Ok((steps, found))
    }

    /// N-CREATE: a step has begun; its SOP Instance UID, ours when the console gave none (PS3.7 10.1.5.1.4). Blocks on the
    /// disk.
    pub fn create(
        &self,
        instance: Option<&str>,
        data_set: &[u8],
    ) -> Result<(String, Step), Declined> {
        let now = Timestamp::now().millis().to_string();
        let instance = instance.map_or_else(|| derived_uid(&["step", &now]), str::to_owned);
        let change = Change::read(data_set, &self.site_key)?;
        match change.state.ok_or(Declined::Missing("performed procedure step status"))? {
            State::InProgress => {}
            _ => return Err(Declined::Invalid("performed procedure step status")),
        }
        let series = change.series.unwrap_or_default();
        let step = Step { state: State::InProgress, series };
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(&instance)?;
        if path.exists() {
            return Err(Declined::Duplicate);
        }
        if durable::files(&self.folder, "json")?.len() >= MAX_STEPS {
            return Err(Declined::Full("too many procedure steps are kept"));
        }
        keep(&path, &step)?;
        Ok((instance, step))
    }

    /// N-SET: more is known of a step, or it has ended. Blocks on the disk.
    pub fn set(&self, instance: &str, data_set: &[u8]) -> Result<Step, Declined> {
        let change = Change::read(data_set, &self.site_key)?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(instance)?;
        let mut step: Step = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Declined::NoSuchInstance);
            }
            Err(error) => return Err(error.into()),
        };
        if step.state != State::InProgress {
            return Err(Declined::Ended);
        }
        step.state = change.state.unwrap_or(step.state);
        step.series = change.series.unwrap_or(step.series);
        keep(&path, &step)?;
        Ok(step)
    }

    fn path(&self, instance: &str) -> Result<PathBuf, Declined> {
        match is_uid(instance) {
            true => Ok(self.folder.join(format!("{}.json", spool::name(instance)))),
            false => Err(Declined::Invalid("SOP Instance UID")),
        }
    }
}

fn keep(path: &Path, step: &Step) -> io::Result<()> {
    durable::write(path, &serde_json::to_vec(step)?)
}

/// What a data set says; absent is unchanged.
#[derive(Debug, Default)]
struct Change {
    state: Option<State>,
    series: Option<BTreeMap<JobId, BTreeSet<String>>>,
}

impl Change {
    fn read(data_set: &[u8], site_key: &[u8]) -> Result<Change, Declined> {
        const SERIES: dicom_core::Tag = tags::PERFORMED_SERIES_SEQUENCE;
        const IMAGES: dicom_core::Tag = tags::REFERENCED_IMAGE_SEQUENCE;
        let (mut state, mut present) = (None, false);
        // UID of each series and names of its images, in the order of the items: the UID may come behind its images.
        let mut series: Vec<(String, BTreeSet<String>)> = Vec::new();
        data_set::visit(data_set, &mut |path, node| match (path, node) {
            ([], Node::Value(tags::PERFORMED_PROCEDURE_STEP_STATUS, value)) => {
                state = Some(data_set::text(value));
            }
            ([SERIES], Node::Item) => {
                present = true;
                series.push(Default::default());
            }
            ([SERIES, ..], Node::Value(tag, value)) => {
                let Some((uid, names)) = series.last_mut() else { return };
                match (&path[1..], tag) {
                    ([], tags::SERIES_INSTANCE_UID) => *uid = data_set::text(value),
                    ([IMAGES], tags::REFERENCED_SOP_INSTANCE_UID) => {
                        names.insert(spool::name(&data_set::text(value)));
                    }
                    _ => {}
                }
            }
            _ => {}
        })?;
        let state = match state.as_deref() {
            None => None,
            Some("IN PROGRESS") => Some(State::InProgress),
            Some("COMPLETED") => Some(State::Completed),
            Some("DISCONTINUED") => Some(State::Discontinued),
            Some(_) => return Err(Declined::Invalid("performed procedure step status")),
        };
        if !series.iter().all(|(uid, _)| is_uid(uid)) {
            return Err(Declined::Invalid("Series Instance UID"));
        }
        let named = series.into_iter().map(|(uid, names)| (JobId::new(site_key, &uid), names));
        Ok(Change { state, series: present.then(|| named.collect()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dimse::Status;
    use crate::dimse::data_set::Writer;

    /// A data set with a status and a series of images.
    fn said(status: Option<&str>, images: &[&str]) -> Vec<u8> {
        let image = |uid: &&str| {
            let mut item = Writer::default();
            item.uid(tags::REFERENCED_SOP_INSTANCE_UID, uid);
            item
        };
        let mut series = Writer::default();
        series.sequence(tags::REFERENCED_IMAGE_SEQUENCE, images.iter().map(image));
        series.uid(tags::SERIES_INSTANCE_UID, "1.2.3");
        let mut written = Writer::default();
        if let Some(status) = status {
            written.uid(tags::PERFORMED_PROCEDURE_STEP_STATUS, status);
        }
        written.sequence(tags::PERFORMED_SERIES_SEQUENCE, [series].into_iter());
        written.into_bytes()
    }

    fn status<T>(result: Result<T, Declined>) -> Option<Status> {
        result.err().map(|declined| declined.status())
    }

    #[test]
    fn a_step_begins_goes_on_and_ends_once_and_is_found_after_a_restart() {
        let folder = std::env::temp_dir().join(format!("sagitta-steps-{}", std::process::id()));
        let (steps, found) = Steps::open(&folder, b"key").unwrap();
        assert!(found.is_empty());
        let job = JobId::new(b"key", "1.2.3");
        let (uid, begun) = steps.create(Some("1.9"), &said(Some("IN PROGRESS"), &[])).unwrap();
        assert_eq!((uid.as_str(), begun.state), ("1.9", State::InProgress));
        let again = steps.create(Some("1.9"), &said(Some("IN PROGRESS"), &[]));
        assert_eq!(status(again), Some(Status::DuplicateInstance));

        steps.set("1.9", &said(None, &["1.2.3.1"])).unwrap();
        let ended = steps.set("1.9", &said(Some("COMPLETED "), &["1.2.3.1", "1.2.3.2"])).unwrap();
        let names = [spool::name("1.2.3.1"), spool::name("1.2.3.2")];
        assert_eq!(ended.series[&job], BTreeSet::from(names));
        let late = steps.set("1.9", &said(Some("DISCONTINUED"), &[]));
        assert_eq!(status(late), Some(Status::StepEnded));
        let (_, found) = Steps::open(&folder, b"key").unwrap();
        assert_eq!(found, [ended]);
        let text = fs::read_to_string(durable::files(&folder, "json").unwrap().remove(0)).unwrap();
        assert!(!text.contains("1.2.3"), "no UID is kept: {text}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_a_console_must_not_send_has_its_status() {
        let folder = std::env::temp_dir().join(format!("sagitta-nosteps-{}", std::process::id()));
        let (steps, _) = Steps::open(&folder, b"key").unwrap();
        let create = |uid, bytes: &[u8]| status(steps.create(Some(uid), bytes));
        assert_eq!(create("1.9", &said(None, &[])), Some(Status::MissingAttribute));
        assert_eq!(create("1.9", &said(Some("COMPLETED"), &[])), Some(Status::InvalidValue));
        assert_eq!(create("1.9", &said(Some("DONE"), &[])), Some(Status::InvalidValue));
        assert_eq!(create("../x", &said(Some("IN PROGRESS"), &[])), Some(Status::InvalidValue));
        assert_eq!(create("1.9", b"a letter"), Some(Status::ProcessingFailure));
        assert_eq!(status(steps.set("1.9", &said(None, &[]))), Some(Status::NoSuchInstance));
        let (made, _) = steps.create(None, &said(Some("IN PROGRESS"), &[])).unwrap();
        assert!(is_uid(&made) && steps.set(&made, &said(None, &[])).is_ok());
        fs::remove_dir_all(folder).unwrap();
    }
}
