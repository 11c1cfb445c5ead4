//! Where orders are carried out. Each part of the service does its own: this says who is asked.

use super::Ticket;
use super::order::Order;
use crate::error::Move;
use crate::identity::JobId;
use crate::ingest::Admission;
use crate::jobs::{Work, generation, outputs};
use crate::messages::{FailureCode, JobState, OrderFault};
use crate::outbox::OutboxError;
use crate::publish::deliveries::Deliveries;
use crate::publish::store::Destination;
use crate::registry::{Registry, RegistryError, Roles};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use tokio::sync::{Notify, mpsc};

/// A job whose result is to be made again.
#[derive(Debug)]
pub struct Rerun {
    pub job: JobId,
    pub ticket: Ticket,
}

/// See the module.
#[derive(Debug)]
pub struct Desk {
    pub deliveries: Deliveries,
    pub destinations: Vec<Destination>,
    pub admission: Arc<Admission>,
    /// The worker's.
    pub queue: SyncSender<Work>,
    /// To whoever knows the instances of every series.
    pub reruns: mpsc::Sender<Rerun>,
    pub models: Registry,
    /// Ends the service in order; whoever started it starts it again.
    pub leave: Arc<Notify>,
}

impl Desk {
    /// Carries out an order, or hands it with its ticket to the part that can.
    pub fn carry_out(&self, order: Order, ticket: Ticket) {
        match order {
            Order::SelfTest {} => self.self_test(ticket),
            Order::Drain {} => ticket.close(self.drain(true)),
            Order::Resume {} => ticket.close(self.drain(false)),
            Order::Resend { job, destination } => {
                ticket.close(self.resend(&job, destination.as_deref()));
            }
            Order::Reprocess { job } => self.reprocess(job, ticket),
            Order::Cancel { job } => ticket.close(self.cancel(&job)),
            Order::ModelShadow { model } => ticket.close(given(self.models.shadow(model))),
            Order::ModelPromote { model } => ticket.close(given(self.models.promote(model))),
            Order::ModelRollback {} => ticket.close(given(self.models.roll_back())),
            Order::Restart {} => {
                ticket.close(Ok(()));
                self.leave.notify_one();
            }
        }
    }

    fn self_test(&self, ticket: Ticket) {
        match self.queue.try_send(Work::SelfTest(ticket)) {
            Ok(()) => {}
            Err(TrySendError::Full(work) | TrySendError::Disconnected(work)) => {
                if let Work::SelfTest(ticket) = work {
                    ticket.close(Err(OrderFault::Busy));
                }
            }
        }
    }

    fn drain(&self, draining: bool) -> Result<(), OrderFault> {
        self.admission.drain(draining);
        Ok(())
    }

    fn reprocess(&self, job: JobId, ticket: Ticket) {
        let refused = match self.reruns.try_send(Rerun { job, ticket }) {
            Ok(()) => return,
            Err(refused) => refused.into_inner(),
        };
        refused.ticket.close(Err(OrderFault::Busy));
    }

    /// Lets a job be. One that waits or is at work says so when the worker comes to it, one that is being sent at once; over
    /// restarts too.
    fn cancel(&self, job: &JobId) -> Result<(), OrderFault> {
        let line = self.deliveries.board.line(job).ok_or(OrderFault::NoSuchJob)?;
        match line.state {
            _ if line.is_settled() => return Err(OrderFault::JobEnded),
            JobState::Receiving => return Err(OrderFault::JobOpen),
            _ => {}
        }
        self.deliveries.outbox.cancel(job, line.generation).map_err(|error| not_stored(&error))?;
        let cancelled = JobState::Failed { code: FailureCode::Cancelled, whose: Move::Site };
        if line.state == JobState::Sending && self.deliveries.board.given_up(job, line.generation) {
            self.deliveries.board.change(job, cancelled);
        }
        Ok(())
    }

    /// Brings the last result of a job to its destinations once more.
    fn resend(&self, job: &JobId, destination: Option<&str>) -> Result<(), OrderFault> {
        if self.deliveries.board.line(job).is_some_and(|line| !line.is_settled()) {
            return Err(OrderFault::JobOpen);
        }
        let named = |to: &&Destination| destination.is_none_or(|name| to.name == name);
        let destinations: Vec<&Destination> = self.destinations.iter().filter(named).collect();
        if destinations.is_empty() {
            return Err(OrderFault::NoSuchDestination);
        }
        let folder = generation::last_finished(&self.deliveries.results, job);
        let folder = folder.map_err(|error| not_read(&error))?.ok_or(OrderFault::NoResult)?;
        let mut wanted = Vec::new();
        for to in destinations {
            let files = self.files(&folder, to).map_err(|error| not_read(&error))?;
            if !files.is_empty() {
                wanted.push((to.name.as_str(), files));
            }
        }
        if wanted.is_empty() {
            return Err(OrderFault::NoResult);
        }
        self.deliveries.outbox.record_again(job, &wanted).map_err(|error| not_stored(&error))
    }

    /// The objects of a result that a destination gets, relative to the folder of all results.
    fn files(&self, folder: &Path, to: &Destination) -> std::io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for &kind in &to.profile {
            files.extend(outputs::objects_in(folder, kind)?);
        }
        let relative =
            |path: &PathBuf| path.strip_prefix(&self.deliveries.results).ok().map(Path::to_owned);
        Ok(files.iter().filter_map(relative).collect())
    }
}

/// Whether a model got its role, which it has from the next start on.
fn given(roles: Result<Roles, RegistryError>) -> Result<(), OrderFault> {
    roles.map(drop).map_err(|error| {
        tracing::warn!("a model has no new role: {error}; {}", error.whose_move().advice());
        match error {
            RegistryError::Unknown(_) => OrderFault::NoSuchModel,
            RegistryError::Unusable { .. } => OrderFault::UnusableModel,
            RegistryError::Active(_) => OrderFault::ModelActive,
            RegistryError::NoPrevious => OrderFault::NoPreviousModel,
            RegistryError::Wrong { .. } | RegistryError::File { .. } => OrderFault::Storage,
        }
    })
}

fn not_stored(error: &OutboxError) -> OrderFault {
    tracing::error!("an order cannot be carried out: {error}; {}", error.whose().advice());
    OrderFault::Storage
}

fn not_read(error: &std::io::Error) -> OrderFault {
    tracing::error!("a result cannot be read: {error}; {}", Move::Site.advice());
    OrderFault::Storage
}
