//! Commands: each is begun once, also over kill -9 and a repetition by whoever can listen, and its reply is stored in the
//! transaction that notes its end. And jobs that were cancelled.

use super::deliveries::{DELIVERIES, listed};
use super::{Destination, Outbox, OutboxError, Priority, insert, now_ms};
use crate::identity::JobId;
use redb::{
    ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction,
};
use std::path::PathBuf;

/// Id -> (kept until, milliseconds since 1970; answered; what the reply will say of it).
const COMMANDS: TableDefinition<'_, &str, (u64, bool, &str)> = TableDefinition::new("commands");
/// Job -> generation that is not to be finished.
const CANCELLED: TableDefinition<'_, &str, u32> = TableDefinition::new("cancelled");
/// Most commands remembered, an hour at most: three a second. Beyond, none is begun until some expire.
const MAX_COMMANDS: u64 = 10_000;

/// Makes the tables, so that readers always find them.
pub(super) fn create(transaction: &WriteTransaction) -> Result<(), OutboxError> {
    transaction.open_table(COMMANDS)?;
    transaction.open_table(CANCELLED)?;
    Ok(())
}

/// Whether the end of this generation is not wanted.
pub(super) fn cancelled(
    transaction: &WriteTransaction,
    job: &JobId,
    generation: u32,
) -> Result<bool, OutboxError> {
    is_there(&transaction.open_table(CANCELLED)?, job, generation)
}

fn is_there(
    table: &impl ReadableTable<&'static str, u32>,
    job: &JobId,
    generation: u32,
) -> Result<bool, OutboxError> {
    Ok(table.get(job.as_str())?.is_some_and(|row| row.value() == generation))
}

/// What came of [`Outbox::begin_command`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    Now,
    /// It was begun before.
    Before,
    /// Too many are remembered.
    Full,
}

impl Outbox {
    /// Notes that a command is begun, unless it was before. Its id is remembered until then, when its signature is good no more.
    pub fn begin_command(
        &self,
        id: &str,
        until_ms: u64,
        about: &str,
    ) -> Result<Begun, OutboxError> {
        self.store.write(|transaction| {
            let (mut commands, now) = (transaction.open_table(COMMANDS)?, now_ms());
            commands.retain(|_, (until, answered, _)| until > now || !answered)?;
            if commands.get(id)?.is_some() {
                Ok(Begun::Before)
            } else if commands.len()? >= MAX_COMMANDS {
                Ok(Begun::Full)
            } else {
                commands.insert(id, (until_ms, false, about))?;
                Ok(Begun::Now)
            }
        })
    }

    /// Stores the reply to a command, and that it is answered: both or none.
    pub fn push_reply(
        &self,
        destination: Destination,
        id: &str,
        topic: &str,
        payload: impl FnOnce(u64) -> Vec<u8>,
    ) -> Result<u64, OutboxError> {
        let seq = self.store.write(|transaction| {
            let mut commands = transaction.open_table(COMMANDS)?;
            let begun = commands.get(id)?.map(|row| (row.value().0, row.value().2.to_owned()));
            if let Some((until, about)) = begun {
                commands.insert(id, (until, true, about.as_str()))?;
            }
            insert(transaction, destination, Priority::Urgent, topic, false, payload)
        })?;
        self.announce(seq);
        Ok(seq)
    }

    /// The commands that were begun and not answered: id, and what was to be said of each.
    pub fn unanswered_commands(&self) -> Result<Vec<(String, String)>, OutboxError> {
        self.store.read(|transaction| {
            let mut found = Vec::new();
            for row in transaction.open_table(COMMANDS)?.iter()? {
                let (id, row) = row?;
                let (_, answered, about) = row.value();
                if !answered {
                    found.push((id.value().to_owned(), about.to_owned()));
                }
            }
            Ok(found)
        })
    }

    /// Notes that a generation is not to be finished, and takes what waits of its job off the list.
    pub fn cancel(&self, job: &JobId, generation: u32) -> Result<(), OutboxError> {
        self.store.write(|transaction| {
            transaction.open_table(CANCELLED)?.insert(job.as_str(), generation)?;
            transaction.open_table(DELIVERIES)?.retain(|(other, _), _| other != job.as_str())?;
            Ok(())
        })
    }

    pub fn is_cancelled(&self, job: &JobId, generation: u32) -> Result<bool, OutboxError> {
        self.store
            .read(|transaction| is_there(&transaction.open_table(CANCELLED)?, job, generation))
    }

    /// Forgets that a job was cancelled: it is wanted again, or deleted.
    pub fn forget_cancelled(&self, job: &JobId) -> Result<(), OutboxError> {
        let there = |transaction: &ReadTransaction| {
            Ok(transaction.open_table(CANCELLED)?.get(job.as_str())?.is_some())
        };
        // No flush of a disk for the many that were not.
        if !self.store.read(there)? {
            return Ok(());
        }
        self.store.write(|transaction| {
            transaction.open_table(CANCELLED)?.remove(job.as_str())?;
            Ok(())
        })
    }

    /// Records what has to reach which destination once more. Where something of the job waits for one already, that stays. Of
    /// the end of the job nothing is to be told: it was.
    pub fn record_again(
        &self,
        job: &JobId,
        wanted: &[(&str, Vec<PathBuf>)],
    ) -> Result<(), OutboxError> {
        let at = now_ms();
        self.store.write(|transaction| {
            let mut deliveries = transaction.open_table(DELIVERIES)?;
            for (destination, files) in wanted {
                let (key, paths) = ((job.as_str(), *destination), listed(files)?);
                if deliveries.get(key)?.is_none() {
                    deliveries.insert(key, (at, paths.as_str()))?;
                }
            }
            Ok(())
        })?;
        self.recorded.send_modify(|n| *n += 1);
        Ok(())
    }
}
