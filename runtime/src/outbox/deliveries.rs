//! Deliveries of DICOM objects: which files a destination still has to acknowledge.

use super::{Outbox, OutboxError, commands, ending, now_ms};
use crate::identity::JobId;
use redb::{
    ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction,
};
use std::path::{Component, Path, PathBuf};
use tokio::sync::watch;

type Row<'a> = (u64, &'a str);
pub(super) const DELIVERIES: TableDefinition<'_, (&str, &str), Row<'static>> =
    TableDefinition::new("deliveries");

/// Objects of one job that one destination has not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub job: JobId,
    /// Name of the destination in the configuration.
    pub destination: String,
    /// Relative to the results folder, in the order in which they are sent.
    pub files: Vec<PathBuf>,
    /// When it was recorded, milliseconds since 1970.
    pub recorded_ms: u64,
}

/// One hand-over of a result to the deliveries. A run of the same generation after a kill hands over again: the deliveries
/// of the two have the same files and differ by this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    pub job: JobId,
    pub generation: u32,
    /// When, milliseconds since 1970.
    pub recorded_ms: u64,
}

impl Handover {
    pub fn new(job: &JobId, generation: u32) -> Handover {
        Handover { job: job.clone(), generation, recorded_ms: now_ms() }
    }

    /// Whether `delivery` was recorded with this one.
    pub fn recorded(&self, delivery: &Delivery) -> bool {
        self.job == delivery.job && self.recorded_ms == delivery.recorded_ms
    }
}

/// Makes the table, so that readers always find it.
pub(super) fn create(transaction: &WriteTransaction) -> Result<(), OutboxError> {
    transaction.open_table(DELIVERIES)?;
    Ok(())
}

pub(super) fn count(transaction: &ReadTransaction) -> Result<u64, OutboxError> {
    Ok(transaction.open_table(DELIVERIES)?.len()?)
}

/// When the oldest was recorded, milliseconds since 1970.
pub(super) fn oldest(transaction: &ReadTransaction) -> Result<Option<u64>, OutboxError> {
    let mut oldest = None;
    for row in transaction.open_table(DELIVERIES)?.iter()? {
        let at = row?.1.value().0;
        oldest = Some(oldest.map_or(at, |before: u64| before.min(at)));
    }
    Ok(oldest)
}

impl Outbox {
    /// Records what has to reach which destination, all of a job at once: whoever takes one off the list sees the others.
    /// Deliveries of the same job that still wait are replaced, those to a destination that is configured no more too:
    /// their objects are superseded by the new ones. The end of the job is to be told from now on. Nothing is recorded of a
    /// generation that was cancelled: an error.
    pub fn record_deliveries(
        &self,
        handover: &Handover,
        wanted: &[(&str, Vec<PathBuf>)],
    ) -> Result<(), OutboxError> {
        let job = handover.job.as_str();
        self.store.write(|transaction| {
            if commands::cancelled(transaction, &handover.job, handover.generation)? {
                return Err(OutboxError::Cancelled);
            }
            let mut deliveries = transaction.open_table(DELIVERIES)?;
            deliveries.retain(|(other, _), _| other != job)?;
            for (destination, files) in wanted {
                let paths = listed(files)?;
                deliveries.insert((job, *destination), (handover.recorded_ms, paths.as_str()))?;
            }
            ending::note(transaction, &handover.job, handover.generation)
        })?;
        self.recorded.send_modify(|n| *n += 1);
        Ok(())
    }

    /// Changes when deliveries were recorded.
    pub fn recorded(&self) -> watch::Receiver<u64> {
        self.recorded.subscribe()
    }

    /// Every delivery that waits, oldest first.
    pub fn pending_deliveries(&self) -> Result<Vec<Delivery>, OutboxError> {
        let mut found = self.store.read(|transaction| {
            let mut found = Vec::new();
            for row in transaction.open_table(DELIVERIES)?.iter()? {
                let (key, row) = row?;
                let ((job, destination), (recorded_ms, paths)) = (key.value(), row.value());
                let job = JobId::parse(job).expect("only job ids are written here");
                let files =
                    serde_json::from_str(paths).expect("only lists of paths are written here");
                let destination = destination.to_owned();
                found.push(Delivery { job, destination, files, recorded_ms });
            }
            Ok(found)
        })?;
        found.sort_by_key(|delivery| delivery.recorded_ms);
        Ok(found)
    }

    /// Takes a delivery out: the destination acknowledged every object, or refused them for good. `false` when a newer
    /// one replaced it while it was under way; that one stays.
    pub fn remove_delivery(&self, delivery: &Delivery) -> Result<bool, OutboxError> {
        let key = (delivery.job.as_str(), delivery.destination.as_str());
        let paths = listed(&delivery.files)?;
        self.store.write(|transaction| {
            let mut deliveries = transaction.open_table(DELIVERIES)?;
            let there = deliveries.get(key)?.map(|row| {
                let (recorded_ms, there) = row.value();
                recorded_ms == delivery.recorded_ms && there == paths
            });
            if there == Some(true) {
                deliveries.remove(key)?;
            }
            Ok(there == Some(true))
        })
    }
}

/// The paths as the table holds them.
pub(super) fn listed(files: &[PathBuf]) -> Result<String, OutboxError> {
    let paths: Option<Vec<&str>> = files.iter().map(|path| relative(path)).collect();
    Ok(serde_json::json!(paths.ok_or(OutboxError::Path)?).to_string())
}

/// The path as text, if it stays below the folder it is relative to.
fn relative(path: &Path) -> Option<&str> {
    let below = path.components().all(|part| matches!(part, Component::Normal(_)));
    path.to_str().filter(|text| below && !text.is_empty())
}
