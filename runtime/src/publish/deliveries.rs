//! Brings the recorded deliveries to their destinations: one task each, in order, again and again until acknowledged.

use super::store::{self, Destination, StoreError, StoredObject};
use crate::identity::JobId;
use crate::jobs::board::Board;
use crate::messages::{FailureCode, JobState};
use crate::outbox::{Delivery, Outbox, OutboxError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Pause after the first failed try; it doubles up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// A PACS that comes back has its results within this.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// What a delivery needs of the service.
#[derive(Debug, Clone)]
pub struct Deliveries {
    pub outbox: Arc<Outbox>,
    pub board: Arc<Board>,
    /// Folder the paths of the deliveries are relative to.
    pub results: PathBuf,
}

impl Deliveries {
    /// Starts the task of one destination; it runs until aborted.
    pub fn start(&self, destination: Destination) -> JoinHandle<()> {
        let deliveries = self.clone();
        tokio::spawn(async move { deliveries.run(&destination).await })
    }

    async fn run(&self, destination: &Destination) {
        let mut changes = self.board.changes();
        let mut pause = MIN_PAUSE;
        loop {
            match self.next(destination) {
                Ok(None) => {
                    // The board lives as long as this task: a closed channel cannot be seen here.
                    let _ = changes.changed().await;
                }
                Ok(Some(delivery)) => {
                    if self.deliver(destination, &delivery).await {
                        pause = MIN_PAUSE;
                    } else {
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(MAX_PAUSE);
                    }
                }
                Err(error) => {
                    tracing::error!("the outbox cannot be read: {error}");
                    tokio::time::sleep(MAX_PAUSE).await;
                }
            }
        }
    }

    fn next(&self, destination: &Destination) -> Result<Option<Delivery>, OutboxError> {
        let pending = self.outbox.pending_deliveries()?;
        Ok(pending.into_iter().find(|delivery| delivery.destination == destination.name))
    }

    /// Tries once; whether the delivery is off the list.
    async fn deliver(&self, destination: &Destination, delivery: &Delivery) -> bool {
        let job = &delivery.job;
        let sent = match self.read(delivery).await {
            Ok(objects) => store::send(destination, &objects).await,
            Err(error) => {
                tracing::error!(job = %job, "a result cannot be read back: {error}");
                return self.settle(delivery, Some(FailureCode::Storage));
            }
        };
        match sent {
            Ok(()) => {
                tracing::info!(job = %job, destination = destination.name, "acknowledged");
                self.settle(delivery, None)
            }
            Err(error) => self.failed(destination, delivery, &error),
        }
    }

    fn failed(&self, destination: &Destination, delivery: &Delivery, error: &StoreError) -> bool {
        let (job, advice) = (&delivery.job, error.whose_move().advice());
        let again = error.retry_can_help();
        tracing::warn!(job = %job, destination = destination.name, again, "not sent: {error}; {advice}");
        if again { false } else { self.settle(delivery, Some(FailureCode::Delivery)) }
    }

    /// Takes a delivery off the list; the last one of a job ends it.
    fn settle(&self, delivery: &Delivery, failure: Option<FailureCode>) -> bool {
        let job = &delivery.job;
        let left = self
            .outbox
            .remove_delivery(job, &delivery.destination)
            .and_then(|()| self.outbox.pending_deliveries());
        let left = match left {
            Ok(left) => left.iter().any(|other| other.job == *job),
            Err(error) => {
                tracing::error!(job = %job, "a delivery cannot be taken off the list: {error}");
                return false;
            }
        };
        self.conclude(job, failure, left);
        true
    }

    fn conclude(&self, job: &JobId, failure: Option<FailureCode>, left: bool) {
        match failure {
            Some(code) => {
                let whose = crate::error::Move::Site;
                self.board.change(job, JobState::Failed { code, whose });
            }
            None if !left => self.board.finished(job),
            None => {}
        }
    }

    async fn read(&self, delivery: &Delivery) -> Result<Vec<StoredObject>, String> {
        let mut objects = Vec::with_capacity(delivery.files.len());
        for file in &delivery.files {
            let bytes =
                tokio::fs::read(self.results.join(file)).await.map_err(|e| e.to_string())?;
            objects.push(StoredObject::parse(&bytes).map_err(|e| e.to_string())?);
        }
        Ok(objects)
    }
}
