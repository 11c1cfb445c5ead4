//! What has to leave this device and has not been confirmed yet: MQTT messages and DICOM deliveries, in one redb file.
//!
//! A row is durable when `push` or `record_deliveries` returns, and stays until the receiver confirmed it: kill -9 and
//! power cuts lose nothing, at the price of repetitions with the same number. redb and not SQLite: pure Rust, no C in
//! the image, one writer, and its crash tests are part of its repository. Sending is left to `publish`.
//!
//! Every call blocks for at most one disk flush. Layout of the file (store version 1): table `meta` (`version`,
//! `last_seq`, `bytes`, `last_event`, `mcu_*`: `marks`), table `messages` (number -> destination, retained, time in ms, topic, payload),
//! table `urgent` (the numbers of those that overtake), table `deliveries`
//! ((job, destination) -> time in ms, file paths as a JSON list), table `untold` (job -> generation), tables `commands` and
//! `cancelled` (`commands`).

mod commands;
mod deliveries;
mod ending;
mod events;
mod marks;
mod store;

pub use commands::Begun;
pub use deliveries::{Delivery, Handover};
pub use ending::Draft;
pub use marks::JournalMark;

use crate::error::Move;
use crate::messages::{MAX_PAYLOAD_BYTES, Timestamp};
use redb::{ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};
use std::path::{Path, PathBuf};
use store::Store;
use thiserror::Error;
use tokio::sync::watch;

/// Version of the file's layout. A newer file is refused: a downgrade must not guess.
const STORE_VERSION: u64 = 1;
/// Most messages kept: three months of a busy scanner (200 series a day, 15 messages each) without a broker, about
/// 130 MB at 500 bytes a row. After that somebody must have noticed.
pub const MAX_MESSAGES: u64 = 270_000;
/// Most bytes of topics and payloads: twice what so many ordinary messages have. A single one may have 64 KiB.
pub const MAX_BYTES: u64 = 256 * 1024 * 1024;
/// Above both limits urgent messages have room still: that the box is in trouble is not to be lost in what it says of its work.
const URGENT_MESSAGES: u64 = 1000;
const URGENT_BYTES: u64 = 1024 * 1024;
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
type Row<'a> = (u8, bool, u64, &'a str, &'a [u8]);
const MESSAGES: TableDefinition<'_, u64, Row<'static>> = TableDefinition::new("messages");
const URGENT: TableDefinition<'_, u64, ()> = TableDefinition::new("urgent");
/// In `META`: of all topics and payloads.
const BYTES: &str = "bytes";

/// Why a row could not be stored or read.
#[derive(Debug, Error)]
pub enum OutboxError {
    #[error("the outbox {path} cannot be opened: {source}")]
    Open { path: PathBuf, source: Box<redb::Error> },
    #[error("the outbox {path} is of store version {found}, this software knows {STORE_VERSION}")]
    Newer { path: PathBuf, found: u64 },
    #[error("the outbox is full: {messages} messages of {bytes} bytes wait for the broker")]
    Full { messages: u64, bytes: u64 },
    #[error("a message of {bytes} bytes is larger than {MAX_PAYLOAD_BYTES}")]
    TooLarge { bytes: usize },
    #[error("a delivery names a file outside the results folder")]
    Path,
    #[error("the job was cancelled by a command")]
    Cancelled,
    #[error("the outbox cannot be read or written: {0}")]
    Store(Box<redb::Error>),
}

impl OutboxError {
    pub fn whose(&self) -> Move {
        match self {
            OutboxError::TooLarge { .. } | OutboxError::Path => Move::Sagitta,
            _ => Move::Site,
        }
    }
}

impl<E: Into<redb::Error>> From<E> for OutboxError {
    fn from(error: E) -> OutboxError {
        OutboxError::Store(Box::new(error.into()))
    }
}

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// The broker of the configuration.
    Mqtt,
}

impl Destination {
    /// The number in the file; never reused.
    fn code(self) -> u8 {
        match self {
            Destination::Mqtt => 1,
        }
    }
}

/// Whether a message waits its turn. Each kind is in order by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    Ordinary,
    /// Overtakes: how an alarm stands, and what somebody waits for.
    Urgent,
}

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub seq: u64,
    pub retained: bool,
    pub topic: String,
    pub payload: Vec<u8>,
}

/// How full the outbox is, for health.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    pub messages: u64,
    pub deliveries: u64,
    /// Since the oldest waiting message was pushed; `None` when none waits.
    pub oldest_age_ms: Option<u64>,
    /// Since the oldest waiting delivery was recorded.
    pub oldest_delivery_age_ms: Option<u64>,
}

/// The durable outbox. One process opens a file at a time (redb locks it).
#[derive(Debug)]
pub struct Outbox {
    store: Store,
    pushed: watch::Sender<u64>,
    /// Counts up with every record of deliveries in this run.
    recorded: watch::Sender<u64>,
}

impl Outbox {
    /// Opens or creates the file.
    pub fn open(path: &Path) -> Result<Outbox, OutboxError> {
        let store = Store::open(path)?;
        let last_seq = store.write(|transaction| {
            let mut meta = transaction.open_table(META)?;
            let version = meta.get("version")?.map(|value| value.value());
            match version {
                Some(found) if found > STORE_VERSION => {
                    return Err(OutboxError::Newer { path: path.to_owned(), found });
                }
                Some(_) => {}
                None => drop(meta.insert("version", STORE_VERSION)?),
            }
            let messages = transaction.open_table(MESSAGES)?;
            transaction.open_table(URGENT)?;
            if meta.get(BYTES)?.is_none() {
                meta.insert(BYTES, all_bytes(&messages)?)?;
            }
            commands::create(transaction)?;
            deliveries::create(transaction)?;
            ending::create(transaction)?;
            Ok(meta.get("last_seq")?.map_or(0, |value| value.value()))
        })?;
        let (pushed, recorded) = (watch::Sender::new(last_seq), watch::Sender::new(0));
        Ok(Outbox { store, pushed, recorded })
    }

    /// Stores a message and returns its number: one more than the last, over restarts too. `payload` is made with the
    /// number, in the same transaction, so that numbers have no gaps.
    pub fn push(
        &self,
        destination: Destination,
        priority: Priority,
        topic: &str,
        retained: bool,
        payload: impl FnOnce(u64) -> Vec<u8>,
    ) -> Result<u64, OutboxError> {
        let seq = self.store.write(|transaction| {
            insert(transaction, destination, priority, topic, retained, payload)
        })?;
        self.announce(seq);
        Ok(seq)
    }

    /// Tells who waits for messages that they are there up to this number.
    fn announce(&self, seq: u64) {
        self.pushed.send_if_modified(|last| std::mem::replace(last, seq.max(*last)) < seq);
    }

    /// The oldest `limit` messages to `destination` of a priority with a number above `after`.
    pub fn pending(
        &self,
        destination: Destination,
        priority: Priority,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Message>, OutboxError> {
        self.store.read(|transaction| {
            let messages = transaction.open_table(MESSAGES)?;
            let urgent = transaction.open_table(URGENT)?;
            let mut found = Vec::new();
            let mut take = |seq: u64, (code, retained, _, topic, payload): Row<'_>| {
                if code == destination.code() {
                    let (topic, payload) = (topic.to_owned(), payload.to_vec());
                    found.push(Message { seq, retained, topic, payload });
                }
                found.len() < limit
            };
            match priority {
                _ if limit == 0 => {}
                Priority::Urgent => {
                    for row in urgent.range(after + 1..)? {
                        let seq = row?.0.value();
                        if messages.get(seq)?.is_some_and(|row| !take(seq, row.value())) {
                            break;
                        }
                    }
                }
                Priority::Ordinary => {
                    for row in messages.range(after + 1..)? {
                        let (seq, row) = row?;
                        if urgent.get(seq.value())?.is_none() && !take(seq.value(), row.value()) {
                            break;
                        }
                    }
                }
            }
            Ok(found)
        })
    }

    /// Takes confirmed messages out. A number that is not there counts as taken out.
    pub fn remove(&self, confirmed: &[u64]) -> Result<(), OutboxError> {
        self.store.write(|transaction| {
            let mut messages = transaction.open_table(MESSAGES)?;
            let mut urgent = transaction.open_table(URGENT)?;
            let mut removed = 0;
            for &seq in confirmed {
                removed += messages.remove(seq)?.map_or(0, |row| row_bytes(row.value()));
                urgent.remove(seq)?;
            }
            let mut meta = transaction.open_table(META)?;
            let bytes = meta.get(BYTES)?.map_or(0, |value| value.value());
            meta.insert(BYTES, bytes.saturating_sub(removed))?;
            Ok(())
        })
    }

    /// The number of the last message pushed, as it changes.
    pub fn pushed(&self) -> watch::Receiver<u64> {
        self.pushed.subscribe()
    }

    pub fn backlog(&self) -> Result<Backlog, OutboxError> {
        self.store.read(|transaction| {
            let messages = transaction.open_table(MESSAGES)?;
            let oldest = messages.first()?.map(|(_, row)| row.value().2);
            let age = |then| now_ms().saturating_sub(then);
            Ok(Backlog {
                messages: messages.len()?,
                deliveries: deliveries::count(transaction)?,
                oldest_age_ms: oldest.map(age),
                oldest_delivery_age_ms: deliveries::oldest(transaction)?.map(age),
            })
        })
    }
}

/// Puts a message into its table under the next number.
fn insert(
    transaction: &WriteTransaction,
    destination: Destination,
    priority: Priority,
    topic: &str,
    retained: bool,
    payload: impl FnOnce(u64) -> Vec<u8>,
) -> Result<u64, OutboxError> {
    let mut meta = transaction.open_table(META)?;
    let mut messages = transaction.open_table(MESSAGES)?;
    let (there, bytes) = (messages.len()?, meta.get(BYTES)?.map_or(0, |value| value.value()));
    let (more, larger) = match priority {
        Priority::Ordinary => (0, 0),
        Priority::Urgent => (URGENT_MESSAGES, URGENT_BYTES),
    };
    if there >= MAX_MESSAGES + more || bytes >= MAX_BYTES + larger {
        return Err(OutboxError::Full { messages: there, bytes });
    }
    let seq = meta.get("last_seq")?.map_or(0, |value| value.value()) + 1;
    let payload = payload(seq);
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(OutboxError::TooLarge { bytes: payload.len() });
    }
    let row = (destination.code(), retained, now_ms(), topic, payload.as_slice());
    messages.insert(seq, row)?;
    if priority == Priority::Urgent {
        transaction.open_table(URGENT)?.insert(seq, ())?;
    }
    meta.insert("last_seq", seq)?;
    meta.insert(BYTES, bytes + row_bytes(row))?;
    Ok(seq)
}

fn row_bytes((_, _, _, topic, payload): Row<'_>) -> u64 {
    (topic.len() + payload.len()) as u64
}

/// Of a file that was written before bytes were counted.
fn all_bytes(messages: &impl ReadableTable<u64, Row<'static>>) -> Result<u64, OutboxError> {
    let mut bytes = 0;
    for row in messages.iter()? {
        bytes += row_bytes(row?.1.value());
    }
    Ok(bytes)
}

fn now_ms() -> u64 {
    Timestamp::now().millis()
}

#[cfg(test)]
mod tests;
