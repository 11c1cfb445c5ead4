//! The publisher's messages about the supervisor MCU.

use super::Publisher;
use crate::messages::{Envelope, LinkState, McuEntry, McuLink, Timestamp};
use crate::outbox::{Destination, JournalMark, OutboxError, Priority};

impl Publisher {
    /// Publishes how the link stands, retained. Durable when it returns; blocks for one disk flush.
    pub fn mcu_link(&self, link: &McuLink) -> Result<u64, OutboxError> {
        *self.mcu.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(link.link);
        let (boot, ts) = (self.identity.boot, Timestamp::now());
        let payload = |seq| Envelope { seq, boot, ts }.encode(link);
        let topic = self.identity.topics.mcu_link();
        self.outbox.push(Destination::Mqtt, Priority::Ordinary, &topic, true, payload)
    }

    /// Publishes an entry of the supervisor's journal, and remembers that it did: once, over restarts too.
    pub fn mcu_entry(&self, entry: &McuEntry) -> Result<u64, OutboxError> {
        let (boot, ts) = (self.identity.boot, Timestamp::now());
        let payload = |seq| Envelope { seq, boot, ts }.encode(entry);
        let mark = JournalMark { sequence: entry.entry, run: entry.run, at_ms: entry.uptime_ms };
        let topic = self.identity.topics.mcu_journal();
        self.outbox.push_entry(Destination::Mqtt, &topic, mark, payload)
    }

    /// The last entry that was published.
    pub fn last_mcu_entry(&self) -> Result<Option<JournalMark>, OutboxError> {
        self.outbox.journal_mark()
    }

    /// How the link stood when it was told last.
    pub fn last_mcu_link(&self) -> Option<LinkState> {
        *self.mcu.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Whether the task that drains the outbox is there.
    pub fn is_running(&self) -> bool {
        !self.task.is_finished()
    }
}
