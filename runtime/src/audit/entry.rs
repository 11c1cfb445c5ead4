//! What an entry says. New words are added here; the log is read by people and by their scripts.

use crate::identity::JobId;
use crate::messages::{AlarmCode, Name, OrderFault, OrderKind, Outcome, Timestamp, Version};
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
    /// Who signed a command: a name of the configuration, and the fingerprint of the key.
    Operator { operator: Name, key: String },
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    Start {
        software: Version,
    },
    Stop,
    AcknowledgeAlarm {
        code: AlarmCode,
    },
    /// A command; the job where it names one.
    Order {
        command: Name,
        order: OrderKind,
        #[serde(skip_serializing_if = "Option::is_none")]
        job: Option<JobId>,
    },
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "ending", rename_all = "snake_case")]
pub enum Ending {
    Done,
    Failed {
        reason: OrderFault,
    },
    /// The service ended meanwhile: it was done or not.
    Interrupted,
}

impl From<Outcome> for Ending {
    fn from(outcome: Outcome) -> Ending {
        match outcome {
            Outcome::Done => Ending::Done,
            Outcome::Failed { reason, .. } => Ending::Failed { reason },
            Outcome::Interrupted => Ending::Interrupted,
        }
    }
}
