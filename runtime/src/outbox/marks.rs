//! Numbers kept with the messages they belong to: what was pushed and that it was pushed are one transaction, so a message
//! made from an outside record is stored once, also over kill -9.

use super::{Destination, META, Outbox, OutboxError, Priority, insert};

/// What is kept of the supervisor's journal: the last entry that became a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalMark {
    pub sequence: u32,
    pub run: u32,
    pub at_ms: u64,
}

const SEQUENCE: &str = "mcu_sequence";
const RUN: &str = "mcu_run";
const AT_MS: &str = "mcu_at_ms";

impl Outbox {
    /// Stores a message and the entry it was made of.
    pub fn push_entry(
        &self,
        destination: Destination,
        topic: &str,
        mark: JournalMark,
        payload: impl FnOnce(u64) -> Vec<u8>,
    ) -> Result<u64, OutboxError> {
        let seq = self.store.write(|transaction| {
            let seq = insert(transaction, destination, Priority::Ordinary, topic, false, payload)?;
            let mut meta = transaction.open_table(META)?;
            meta.insert(SEQUENCE, u64::from(mark.sequence))?;
            meta.insert(RUN, u64::from(mark.run))?;
            meta.insert(AT_MS, mark.at_ms)?;
            Ok(seq)
        })?;
        self.announce(seq);
        Ok(seq)
    }

    /// The last entry that became a message.
    pub fn journal_mark(&self) -> Result<Option<JournalMark>, OutboxError> {
        self.store.read(|transaction| {
            let meta = transaction.open_table(META)?;
            let read = |name| Ok::<_, OutboxError>(meta.get(name)?.map(|value| value.value()));
            let (Some(sequence), Some(run), Some(at_ms)) =
                (read(SEQUENCE)?, read(RUN)?, read(AT_MS)?)
            else {
                return Ok(None);
            };
            // They were 32 bits when they were kept.
            let (sequence, run) = (sequence as u32, run as u32);
            Ok(Some(JournalMark { sequence, run, at_ms }))
        })
    }
}
