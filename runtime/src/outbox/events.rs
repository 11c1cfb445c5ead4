//! Events: numbered without a gap by a count of their own, which is kept in the transaction that stores the message.

use super::{Destination, Draft, META, Outbox, OutboxError, Priority, insert};
use redb::ReadableTable;

const LAST_EVENT: &str = "last_event";

impl Outbox {
    /// Stores an event, made with the number of its message and its own, and the retained message it is about, where there is
    /// one: both or none. Returns the event's number: one more than the last, over restarts too.
    pub fn push_event(
        &self,
        destination: Destination,
        about: Option<Draft<'_>>,
        topic: &str,
        payload: impl FnOnce(u64, u64) -> Vec<u8>,
    ) -> Result<u64, OutboxError> {
        let (seq, number) = self.store.write(|transaction| {
            if let Some((topic, payload)) = about {
                insert(transaction, destination, Priority::Urgent, &topic, true, payload)?;
            }
            let last = transaction.open_table(META)?.get(LAST_EVENT)?.map(|value| value.value());
            let number = last.unwrap_or(0) + 1;
            let payload = |seq| payload(seq, number);
            let seq = insert(transaction, destination, Priority::Ordinary, topic, false, payload)?;
            transaction.open_table(META)?.insert(LAST_EVENT, number)?;
            Ok((seq, number))
        })?;
        self.announce(seq);
        Ok(number)
    }
}
