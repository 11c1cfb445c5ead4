//! What becomes of a command: the one message about it.

use super::Name;
use crate::error::Move;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What can be ordered; nothing else can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderKind {
    /// Test the nets now, between two jobs.
    SelfTest,
    /// Take no more series; finish those that are here.
    Drain,
    /// Take series again.
    Resume,
    /// Bring the result of a job to its destinations once more.
    Resend,
    /// Make the result of a job again.
    Reprocess,
    /// Let a job be that has no result yet, or whose result is not delivered.
    Cancel,
    /// Run another model beside the active one, or none.
    ModelShadow,
    /// Let another model make the results.
    ModelPromote,
    /// Let the model before this one make the results again.
    ModelRollback,
    /// End in order, to be started again.
    Restart,
}

impl OrderKind {
    pub const ALL: [OrderKind; 10] = [
        OrderKind::SelfTest,
        OrderKind::Drain,
        OrderKind::Resume,
        OrderKind::Resend,
        OrderKind::Reprocess,
        OrderKind::Cancel,
        OrderKind::ModelShadow,
        OrderKind::ModelPromote,
        OrderKind::ModelRollback,
        OrderKind::Restart,
    ];

    /// The word in tokens, messages and the configuration.
    pub fn name(self) -> &'static str {
        match self {
            OrderKind::SelfTest => "self_test",
            OrderKind::Drain => "drain",
            OrderKind::Resume => "resume",
            OrderKind::Resend => "resend",
            OrderKind::Reprocess => "reprocess",
            OrderKind::Cancel => "cancel",
            OrderKind::ModelShadow => "model_shadow",
            OrderKind::ModelPromote => "model_promote",
            OrderKind::ModelRollback => "model_rollback",
            OrderKind::Restart => "restart",
        }
    }
}

/// Payload of `cmd/{command}/reply`: once for each command that a listed operator has signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommandReply {
    /// Its id, of its sender's choice.
    pub command: Name,
    /// Whose key signed it: a name of the configuration.
    pub operator: Name,
    /// Null where the word is none of ours.
    pub order: Option<OrderKind>,
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    Done,
    Failed {
        reason: OrderFault,
        #[serde(rename = "move")]
        whose: Move,
        action: &'static str,
    },
    /// The service ended meanwhile: it may have been carried out or not.
    Interrupted,
}

impl From<Result<(), OrderFault>> for Outcome {
    fn from(ended: Result<(), OrderFault>) -> Outcome {
        match ended {
            Ok(()) => Outcome::Done,
            Err(reason) => {
                Outcome::Failed { reason, whose: reason.whose(), action: reason.action() }
            }
        }
    }
}

/// Why an order was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderFault {
    /// Another device is named.
    WrongDevice,
    Expired,
    NotYetValid,
    /// Good for longer than any command may be.
    ValidTooLong,
    /// Not an order of this version, or a field of it is wrong.
    UnknownOrder,
    /// The operator may not order this.
    NotAllowed,
    /// Too much waits already.
    Busy,
    NoSuchJob,
    /// Its images still come, or it is at work.
    JobOpen,
    /// Images of it are missing.
    JobIncomplete,
    /// It has no result, or none that a destination gets.
    NoResult,
    NoSuchDestination,
    /// It has ended: there is nothing to cancel.
    JobEnded,
    SelfTestFailed,
    NoSuchModel,
    /// Its cards, weights or known answers do not fit each other or this version.
    UnusableModel,
    /// The model has this role already.
    ModelActive,
    NoPreviousModel,
    Storage,
}

impl OrderFault {
    pub const ALL: [OrderFault; 19] = [
        OrderFault::WrongDevice,
        OrderFault::Expired,
        OrderFault::NotYetValid,
        OrderFault::ValidTooLong,
        OrderFault::UnknownOrder,
        OrderFault::NotAllowed,
        OrderFault::Busy,
        OrderFault::NoSuchJob,
        OrderFault::JobOpen,
        OrderFault::JobIncomplete,
        OrderFault::NoResult,
        OrderFault::NoSuchDestination,
        OrderFault::JobEnded,
        OrderFault::SelfTestFailed,
        OrderFault::NoSuchModel,
        OrderFault::UnusableModel,
        OrderFault::ModelActive,
        OrderFault::NoPreviousModel,
        OrderFault::Storage,
    ];

    /// `Peer` is who sent the command.
    pub fn whose(self) -> Move {
        match self {
            OrderFault::NotAllowed
            | OrderFault::SelfTestFailed
            | OrderFault::UnusableModel
            | OrderFault::Storage => Move::Site,
            _ => Move::Peer,
        }
    }

    /// What to do about it.
    pub fn action(self) -> &'static str {
        match self {
            OrderFault::WrongDevice => "name this device: SITE/DEVICE, as in the topic",
            OrderFault::Expired => "sign it anew; if it is new, compare the clocks of both sides",
            OrderFault::NotYetValid => "compare the clocks of both sides",
            OrderFault::ValidTooLong => "sign it for an hour at most",
            OrderFault::UnknownOrder => "look at the orders of this version: docs/commands.md",
            OrderFault::NotAllowed => {
                "list the order under `may` of this operator, and restart the service"
            }
            OrderFault::Busy => "send it again when fewer series wait",
            OrderFault::NoSuchJob => {
                "look for the job on the page: it may have been deleted by its age"
            }
            OrderFault::JobOpen => "wait for its end",
            OrderFault::JobIncomplete => "send its missing images",
            OrderFault::NoResult => "look why on the page, then let it be made again: `reprocess`",
            OrderFault::NoSuchDestination => "name a destination of the configuration",
            OrderFault::JobEnded => "nothing: it has ended",
            OrderFault::SelfTestFailed => {
                "install the program again and restart it, then have the memory tested: no results are made"
            }
            OrderFault::NoSuchModel => "name a model of `sagitta model list`, or bring it there",
            OrderFault::UnusableModel => "look at its fault: `sagitta model list`",
            OrderFault::ModelActive => "nothing: it makes the results already",
            OrderFault::NoPreviousModel => "name the model to go back to: `model_promote`",
            OrderFault::Storage => "look at the disk and the log",
        }
    }
}
