//! What an entry says. New words are added here; the log is read by people and by their scripts.

use crate::messages::{AlarmCode, Timestamp, Version};
use serde::Serialize;

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// One more than the entry before, over restarts and files.
    pub number: u64,
    pub at: Timestamp,
    #[serde(flatten)]
    pub actor: Actor,
    #[serde(flatten)]
    pub action: Action,
    #[serde(flatten)]
    pub ending: Ending,
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "actor", rename_all = "snake_case")]
pub enum Actor {
    /// The service itself, or who started and stopped it.
    Service,
    /// Somebody at the page.
    Page,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    Start { software: Version },
    Stop,
    AcknowledgeAlarm { code: AlarmCode },
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "ending", rename_all = "snake_case")]
pub enum Ending {
    Done,
}
