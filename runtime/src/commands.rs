//! Commands by MQTT: signed by an operator of the configuration, good once and for a short time, carried out in order, answered
//! once, and kept in the audit log. A broker has no say in it: whoever may write to it can send nothing that is obeyed.
//!
//! Life of a command: [`token`] proves who signed it, [`order`] whether it holds here and now, `desk` carries it out. It is
//! durably begun before, and its reply is stored with its end: after a kill in between it is answered as interrupted, and never
//! carried out twice.

mod desk;
pub mod order;
pub mod token;

pub use desk::{Desk, Rerun};

use crate::audit::{Action, Actor, Audit, Ending};
use crate::identity::JobId;
use crate::messages::{CommandReply, Name, OrderFault, OrderKind, Outcome, Timestamp};
use crate::outbox::{Begun, Outbox, OutboxError};
use crate::publish::mqtt::Publisher;
use crate::seal::{KeyError, PublicKey};
use order::{Asked, LEEWAY_S, MAX_VALIDITY_S};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

/// Commands that wait to be looked at. Beyond, they are dropped and counted: each costs a signature to check, and somebody who
/// floods the topic should cost no more.
pub const WAITING: usize = 16;

/// An entry `[[operator]]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// Stands for them in replies and in the audit log.
    pub name: Name,
    /// A PEM file with their public Ed25519 key.
    pub key: PathBuf,
    /// What they may order.
    pub may: Vec<OrderKind>,
}

/// Whom we obey, in what.
#[derive(Debug, Clone)]
pub struct Operators {
    operators: Vec<Operator>,
    /// In their order.
    keys: Vec<PublicKey>,
}

impl Operators {
    /// Reads their keys.
    pub fn open(operators: &[Operator]) -> Result<Operators, KeyError> {
        let keys = operators.iter().map(|operator| PublicKey::read(&operator.key));
        Ok(Operators { keys: keys.collect::<Result<_, _>>()?, operators: operators.to_vec() })
    }

    /// Whether it would not be known which of two has signed.
    pub fn share_a_key(&self) -> bool {
        (1..self.keys.len()).any(|n| self.keys[..n].contains(&self.keys[n]))
    }
}

/// What was sent to the topic of commands and was none, or one that was sent before.
#[derive(Debug, Default)]
pub struct Unproven(AtomicU64);

impl Unproven {
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts one; the log has the first of a thousand, so that nobody can fill it.
    pub fn add(&self, reason: &str) {
        if self.0.fetch_add(1, Ordering::Relaxed).is_multiple_of(1000) {
            tracing::warn!(
                "a message to the topic of commands was ignored: {reason}; the sender's move"
            );
        }
    }
}

/// Who answers commands, and keeps that it did.
#[derive(Debug)]
pub struct Clerk {
    outbox: Arc<Outbox>,
    publisher: Arc<Publisher>,
    audit: Arc<Audit>,
}

/// What a reply says of its command beside the outcome.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Head {
    operator: Name,
    /// Fingerprint of the key.
    key: String,
    order: Option<OrderKind>,
    job: Option<JobId>,
}

/// A command that was begun. To be closed; one that is dropped is answered as interrupted at the next start.
#[derive(Debug)]
#[must_use]
pub struct Ticket {
    clerk: Arc<Clerk>,
    command: Name,
    head: Head,
}

impl Ticket {
    /// Answers, and puts it into the audit log.
    pub fn close(self, ended: Result<(), OrderFault>) {
        self.clerk.close(self.command, self.head, ended.into());
    }
}

impl Clerk {
    pub fn new(outbox: &Arc<Outbox>, publisher: &Arc<Publisher>, audit: &Arc<Audit>) -> Clerk {
        let (outbox, publisher, audit) = (outbox.clone(), publisher.clone(), audit.clone());
        Clerk { outbox, publisher, audit }
    }

    fn close(&self, command: Name, head: Head, outcome: Outcome) {
        let Head { operator, key, order, job } = head;
        tracing::info!(
            command = command.as_str(),
            operator = operator.as_str(),
            ?order,
            ?outcome,
            "command"
        );
        if let Some(order) = order {
            let actor = Actor::Operator { operator: operator.clone(), key };
            let action = Action::Order { command: command.clone(), order, job };
            self.audit.note(actor, action, Ending::from(outcome));
        }
        let reply = CommandReply { command, operator, order, outcome };
        if let Err(error) = self.publisher.reply(&reply) {
            tracing::error!("a reply is lost: {error}; {}", error.whose().advice());
        }
    }

    /// Answers what an earlier run of the service left.
    fn answer_interrupted(&self) -> Result<(), OutboxError> {
        for (command, about) in self.outbox.unanswered_commands()? {
            match (Name::new(&command), serde_json::from_str(&about)) {
                (Ok(command), Ok(head)) => self.close(command, head, Outcome::Interrupted),
                _ => tracing::error!("a command that was begun cannot be read"),
            }
        }
        Ok(())
    }
}

/// See the module.
#[derive(Debug)]
pub struct Commands {
    pub operators: Operators,
    /// `SITE/DEVICE`.
    pub device: String,
    pub clerk: Arc<Clerk>,
    pub desk: Desk,
    pub unproven: Arc<Unproven>,
}

impl Commands {
    /// Starts the thread; it ends when `stop` turns true. Needs a tokio runtime.
    pub fn start(
        self,
        mut incoming: mpsc::Receiver<Vec<u8>>,
        mut stop: watch::Receiver<bool>,
    ) -> std::io::Result<thread::JoinHandle<()>> {
        let runtime = Handle::current();
        thread::Builder::new().name("commands".to_owned()).spawn(move || {
            if let Err(error) = self.clerk.answer_interrupted() {
                tracing::error!("commands of the last run cannot be answered: {error}");
            }
            let mut next = || {
                runtime.block_on(async {
                    tokio::select! {
                        token = incoming.recv() => token,
                        _ = stop.wait_for(|stop| *stop) => None,
                    }
                })
            };
            while let Some(token) = next() {
                self.on(&token);
            }
        })
    }

    fn on(&self, token: &[u8]) {
        let (by, asked) = match token::open(token, &self.operators.keys) {
            Ok((by, claims)) => match serde_json::from_slice::<Asked>(&claims) {
                Ok(asked) => (by, asked),
                Err(_) => return self.unproven.add("its claims are not those of a command"),
            },
            Err(fault) => return self.unproven.add(&fault.to_string()),
        };
        let operator = &self.operators.operators[by];
        let now_s = Timestamp::now().millis() / 1000;
        let order = asked.order(&self.device, now_s).and_then(|order| {
            let may = operator.may.contains(&order.kind());
            if may { Ok(order) } else { Err(OrderFault::NotAllowed) }
        });
        let head = Head {
            operator: operator.name.clone(),
            key: self.operators.keys[by].fingerprint(),
            order: asked.kind(),
            job: order.as_ref().ok().and_then(|order| order.job().cloned()),
        };
        match (self.begin(asked.jti, head, now_s), order) {
            (Some(ticket), Ok(order)) => self.desk.carry_out(order, ticket),
            (Some(ticket), Err(fault)) => ticket.close(Err(fault)),
            (None, _) => {}
        }
    }

    /// Begins a command, unless it was before. Also one that is refused: whoever has listened may send it again and again.
    fn begin(&self, command: Name, head: Head, now_s: u64) -> Option<Ticket> {
        let about = serde_json::to_string(&head).expect("names, words and a job id");
        // At least as long as any signature may be good that is good now.
        let until_ms = (now_s + MAX_VALIDITY_S + 2 * LEEWAY_S) * 1000;
        match self.clerk.outbox.begin_command(command.as_str(), until_ms, &about) {
            Ok(Begun::Now) => return Some(Ticket { clerk: self.clerk.clone(), command, head }),
            Ok(Begun::Before) => self.unproven.add("it was sent before"),
            Ok(Begun::Full) => self.unproven.add("too many came within an hour"),
            Err(error) => {
                tracing::error!("a command cannot be begun: {error}; {}", error.whose().advice());
            }
        }
        None
    }
}
