//! Brings the recorded deliveries to their destinations: one task each, in order, again and again until acknowledged.

use super::advance::{Acknowledged, Door, Offer};
use super::store::{self, Sending, StoreError, StoredObject};
use crate::error::Move;
use crate::health::Hand;
use crate::jobs::board::Board;
use crate::messages::FailureCode;
use crate::outbox::{Delivery, Handover, Outbox, OutboxError};
use crate::wire::requestor::Route;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Pause after the first failed try; it doubles up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// A PACS that comes back has its results within this.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// What a delivery needs of the service.
#[derive(Debug, Clone)]
pub struct Deliveries {
    outbox: Arc<Outbox>,
    board: Arc<Board>,
    results: PathBuf,
}

impl Deliveries {
    /// `results`: the folder that the paths of deliveries are relative to.
    pub fn new(outbox: &Arc<Outbox>, board: &Arc<Board>, results: &Path) -> Deliveries {
        let (outbox, board) = (outbox.clone(), board.clone());
        Deliveries { outbox, board, results: results.to_owned() }
    }

    /// Starts the thread of one destination, by its name; it ends when `stop` turns true. A thread, because the outbox flushes a disk.
    /// While it has nothing to do it waits at the `door`. Needs a tokio runtime.
    pub fn start(
        &self,
        destination: String,
        route: Route,
        door: Door,
        hand: Hand,
        mut stop: watch::Receiver<bool>,
    ) -> std::io::Result<JoinHandle<()>> {
        let (deliveries, runtime) = (self.clone(), Handle::current());
        std::thread::Builder::new().name("deliveries".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = deliveries.run(&destination, &route, &door, &hand) => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
            });
        })
    }

    async fn run(&self, destination: &str, route: &Route, door: &Door, hand: &Hand) {
        let mut recorded = self.outbox.recorded();
        let mut pause = MIN_PAUSE;
        let mut ahead = None;
        loop {
            recorded.mark_unchanged();
            match self.next(destination) {
                Ok(None) => tokio::select! {
                    biased;
                    // The outbox lives as long as this task: a closed channel cannot be seen here.
                    _ = recorded.changed() => {}
                    Ok(offer) = door.wait() => ahead = accompany(destination, route, offer, hand).await,
                },
                Ok(Some(delivery)) => {
                    hand.moves();
                    let acknowledged =
                        ahead.take().is_some_and(|a: Acknowledged| a.covers(&delivery));
                    let settled = match acknowledged {
                        true => self.acknowledged(destination, &delivery),
                        false => self.deliver(destination, route, &delivery).await,
                    };
                    hand.rests();
                    if settled {
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

    fn next(&self, destination: &str) -> Result<Option<Delivery>, OutboxError> {
        let pending = self.outbox.pending_deliveries()?;
        Ok(pending.into_iter().find(|delivery| delivery.destination == destination))
    }

    /// Tries once; whether the delivery is off the list.
    async fn deliver(&self, destination: &str, route: &Route, delivery: &Delivery) -> bool {
        let job = &delivery.job;
        let sent = match self.read(delivery).await {
            Ok(objects) => store::send(destination, route, &objects).await,
            Err(error) => {
                tracing::error!(job = %job, "a result cannot be read back: {error}");
                return self.settle(delivery, Some((FailureCode::Storage, Move::Site)));
            }
        };
        match sent {
            Ok(()) => self.acknowledged(destination, delivery),
            Err(error) => self.failed(destination, delivery, &error),
        }
    }

    fn acknowledged(&self, destination: &str, delivery: &Delivery) -> bool {
        tracing::info!(job = %delivery.job, destination, "acknowledged");
        self.settle(delivery, None)
    }

    fn failed(&self, destination: &str, delivery: &Delivery, error: &StoreError) -> bool {
        let (job, advice) = (&delivery.job, error.whose_move().advice());
        let again = error.retry_can_help();
        tracing::warn!(job = %job, destination, again, "not sent: {error}; {advice}");
        if again {
            false
        } else {
            self.settle(delivery, Some((FailureCode::Delivery, error.whose_move())))
        }
    }

    /// Takes a delivery off the list; the last one of a job ends it.
    fn settle(&self, delivery: &Delivery, failure: Option<(FailureCode, Move)>) -> bool {
        let (job, outbox) = (&delivery.job, &self.outbox);
        let removed = outbox.remove_delivery(delivery);
        let (current, pending) =
            match removed.and_then(|current| Ok((current, outbox.pending_deliveries()?))) {
                Ok(answers) => answers,
                Err(error) => {
                    tracing::error!(job = %job, "a delivery cannot be taken off the list: {error}");
                    return false;
                }
            };
        if !current {
            tracing::info!(job = %job, "superseded while it was sent; the new result follows");
            return true;
        }
        let handed_over = |handover: &Handover| handover.recorded(delivery);
        let left = pending.iter().any(|other| other.job == *job);
        match failure {
            Some((code, whose)) => self.board.undeliverable(job, handed_over, code, whose),
            None if !left => self.board.finished(job, handed_over),
            None => {}
        }
        true
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

/// Sends what is offered while it is made; what was acknowledged, if that is all.
async fn accompany(
    destination: &str,
    route: &Route,
    offer: Offer,
    hand: &Hand,
) -> Option<Acknowledged> {
    let Offer { handover, kinds, mut objects } = offer;
    hand.moves();
    let sent = async {
        let mut sending = Sending::open(destination, route, &kinds).await?;
        let mut files = Vec::new();
        while let Some(sent) = objects.recv().await {
            hand.moves();
            if sending.next((&*sent.object).into()).await.is_err() {
                break;
            }
            files.push(sent.file);
        }
        sending.end().await.map(|()| files)
    };
    let sent = sent.await;
    hand.rests();
    match sent {
        Ok(files) => Some(Acknowledged { handover, files }),
        Err(error) => {
            // The delivery tries again, and tells whose move it is.
            tracing::debug!(job = %handover.job, destination, "not sent in advance: {error}");
            None
        }
    }
}
