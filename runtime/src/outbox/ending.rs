//! The end of a job, told once: a note that it is still to be told stands from the record of its deliveries on, and goes
//! in the transaction that stores the messages. What the messages say is others' business.

use super::{Destination, Outbox, OutboxError, Priority, insert};
use crate::identity::JobId;
use redb::{ReadableTable, TableDefinition, WriteTransaction};

/// Job -> generation whose end is still to be told.
const UNTOLD: TableDefinition<'_, &str, u32> = TableDefinition::new("untold");

/// A topic, and a payload that is made with the number of its message.
pub type Draft<'a> = (String, &'a dyn Fn(u64) -> Vec<u8>);

/// Makes the table, so that readers always find it.
pub(super) fn create(transaction: &WriteTransaction) -> Result<(), OutboxError> {
    transaction.open_table(UNTOLD)?;
    Ok(())
}

/// Notes that the end of this generation is still to be told; that of an earlier one is superseded.
pub(super) fn note(
    transaction: &WriteTransaction,
    job: &JobId,
    generation: u32,
) -> Result<(), OutboxError> {
    transaction.open_table(UNTOLD)?.insert(job.as_str(), generation)?;
    Ok(())
}

impl Outbox {
    /// Whether the deliveries of this generation were recorded and its end was not told.
    pub fn is_untold(&self, job: &JobId, generation: u32) -> Result<bool, OutboxError> {
        self.store.read(|transaction| {
            let untold = transaction.open_table(UNTOLD)?.get(job.as_str())?;
            Ok(untold.is_some_and(|row| row.value() == generation))
        })
    }

    /// Stores the messages that tell the end of a generation, all or none, and with them that it is told.
    pub fn push_end(
        &self,
        destination: Destination,
        job: &JobId,
        generation: u32,
        messages: &[Draft<'_>],
    ) -> Result<(), OutboxError> {
        let last = self.store.write(|transaction| {
            let mut last = 0;
            for (topic, payload) in messages {
                let ordinary = Priority::Ordinary;
                last = insert(transaction, destination, ordinary, topic, false, payload)?;
            }
            let mut untold = transaction.open_table(UNTOLD)?;
            let noted = untold.get(job.as_str())?.map(|row| row.value());
            if noted == Some(generation) {
                untold.remove(job.as_str())?;
            }
            Ok(last)
        })?;
        self.announce(last);
        Ok(())
    }
}
