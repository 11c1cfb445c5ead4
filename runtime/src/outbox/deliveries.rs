//! Deliveries of DICOM objects: which files a destination still has to acknowledge.

use super::{Outbox, OutboxError, now_ms};
use crate::identity::JobId;
use redb::{
    ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    WriteTransaction,
};
use std::path::{Component, Path, PathBuf};

type Row<'a> = (u64, &'a str);
const DELIVERIES: TableDefinition<'_, (&str, &str), Row<'static>> =
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

/// Makes the table, so that readers always find it.
pub(super) fn create(transaction: &WriteTransaction) -> Result<(), OutboxError> {
    transaction.open_table(DELIVERIES)?;
    Ok(())
}

pub(super) fn count(transaction: &ReadTransaction) -> Result<u64, OutboxError> {
    Ok(transaction.open_table(DELIVERIES)?.len()?)
}

impl Outbox {
    /// Records which files have to reach which destinations, all at once: a job's first delivery must not look like its
    /// last. A delivery of the same job to the same destination that still waits is replaced: its objects are
    /// superseded by the new ones.
    pub fn record_deliveries(
        &self,
        job: &JobId,
        deliveries: &[(&str, Vec<PathBuf>)],
    ) -> Result<(), OutboxError> {
        let transaction = self.write()?;
        {
            let mut table = transaction.open_table(DELIVERIES)?;
            for (destination, files) in deliveries {
                let paths: Option<Vec<&str>> = files.iter().map(|path| relative(path)).collect();
                let paths = serde_json::json!(paths.ok_or(OutboxError::Path)?).to_string();
                table.insert((job.as_str(), *destination), (now_ms(), paths.as_str()))?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Every delivery that waits, oldest first.
    pub fn pending_deliveries(&self) -> Result<Vec<Delivery>, OutboxError> {
        let transaction = self.database.begin_read()?;
        let deliveries = transaction.open_table(DELIVERIES)?;
        let mut found = Vec::new();
        for row in deliveries.iter()? {
            let (key, row) = row?;
            let ((job, destination), (recorded_ms, paths)) = (key.value(), row.value());
            let job = JobId::parse(job).expect("only job ids are written here");
            let files = serde_json::from_str(paths).expect("only lists of paths are written here");
            let destination = destination.to_owned();
            found.push(Delivery { job, destination, files, recorded_ms });
        }
        found.sort_by_key(|delivery| delivery.recorded_ms);
        Ok(found)
    }

    /// Takes a delivery out: the destination acknowledged every object, or refused them for good.
    pub fn remove_delivery(&self, job: &JobId, destination: &str) -> Result<(), OutboxError> {
        let transaction = self.write()?;
        transaction.open_table(DELIVERIES)?.remove((job.as_str(), destination))?;
        Ok(transaction.commit()?)
    }
}

/// The path as text, if it stays below the folder it is relative to.
fn relative(path: &Path) -> Option<&str> {
    let below = path.components().all(|part| matches!(part, Component::Normal(_)));
    path.to_str().filter(|text| below && !text.is_empty())
}
