//! Brings the recorded deliveries to their destinations: one thread each, again and again until acknowledged. A destination that is
//! away holds all that waits for it; one that has no room for a result now lets others overtake it (`turns`).

mod turns;

use super::advance::{Acknowledged, Door, Offer};
use super::store::{self, Patience, Sending, StoreError, StoredObject};
use crate::error::Move;
use crate::health::Hand;
use crate::jobs::board::Board;
use crate::messages::{FailureCode, Receipt, Shortfall};
use crate::outbox::{Delivery, Handover, Outbox, OutboxError};
use crate::wire::requestor::Route;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::watch;
use turns::{Turn, Turns};

/// Pause after the first try that did not reach the destination; it doubles up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// A PACS that comes back has its results within this.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Where deliveries go.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// Its place in the configuration, from 1.
    pub number: u32,
    /// Its name there.
    pub name: String,
    pub route: Route,
    /// Where it waits for what is sent in advance, while it has nothing to do.
    pub door: Door,
}

/// What a delivery needs of the service.
#[derive(Debug, Clone)]
pub struct Deliveries {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) board: Arc<Board>,
    pub(crate) results: PathBuf,
}

impl Deliveries {
    /// `results`: the folder that the paths of deliveries are relative to.
    pub fn new(outbox: &Arc<Outbox>, board: &Arc<Board>, results: &Path) -> Deliveries {
        let (outbox, board) = (outbox.clone(), board.clone());
        Deliveries { outbox, board, results: results.to_owned() }
    }

    /// Starts the thread of one destination; it ends when `stop` turns true. A thread, because the outbox flushes a disk.
    /// Needs a tokio runtime.
    pub fn start(
        &self,
        to: Recipient,
        hand: Hand,
        mut stop: watch::Receiver<bool>,
    ) -> std::io::Result<JoinHandle<()>> {
        let (deliveries, runtime) = (self.clone(), Handle::current());
        std::thread::Builder::new().name("deliveries".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = deliveries.run(&to, &hand) => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
            });
        })
    }

    async fn run(&self, to: &Recipient, hand: &Hand) {
        let (start, mut recorded) = (Instant::now(), self.outbox.recorded());
        let (mut turns, mut pause, mut ahead) = (Turns::default(), MIN_PAUSE, None);
        loop {
            recorded.mark_unchanged();
            let pending = match self.pending(to) {
                Ok(pending) => pending,
                Err(error) => {
                    tracing::error!("the outbox cannot be read: {error}");
                    tokio::time::sleep(MAX_PAUSE).await;
                    continue;
                }
            };
            match turns.next(start.elapsed(), &pending) {
                Turn::Idle => tokio::select! {
                    biased;
                    // The outbox lives as long as this thread: a closed channel cannot be seen here.
                    _ = recorded.changed() => {}
                    Ok(offer) = to.door.wait() => ahead = accompany(to, offer, hand).await,
                },
                Turn::At(due) => {
                    let pause = due.saturating_sub(start.elapsed());
                    // Something new, or the pause is over.
                    let _ = tokio::time::timeout(pause, recorded.changed()).await;
                }
                Turn::Now { delivery, last } => {
                    hand.moves();
                    let acknowledged =
                        ahead.take().is_some_and(|a: Acknowledged| a.covers(delivery));
                    let tried = match acknowledged {
                        true => self.acknowledged(to, delivery),
                        false => self.deliver(to, delivery, last).await,
                    };
                    hand.rests();
                    match tried {
                        Tried::Settled => pause = MIN_PAUSE,
                        Tried::InVain => turns.in_vain(start.elapsed(), delivery),
                        Tried::Away => {
                            tokio::time::sleep(pause).await;
                            pause = (pause * 2).min(MAX_PAUSE);
                        }
                    }
                }
            }
        }
    }

    /// What waits for the destination, oldest first.
    fn pending(&self, to: &Recipient) -> Result<Vec<Delivery>, OutboxError> {
        let mut pending = self.outbox.pending_deliveries()?;
        pending.retain(|delivery| delivery.destination == to.name);
        Ok(pending)
    }

    async fn deliver(&self, to: &Recipient, delivery: &Delivery, last: bool) -> Tried {
        let (job, of) = (&delivery.job, delivery.files.len());
        let objects = match self.read(delivery).await {
            Ok(objects) => objects,
            Err(error) => {
                tracing::error!(job = %job, "a result cannot be read back: {error}");
                let refused =
                    Shortfall { refused: of as u32, code: FailureCode::Storage, whose: Move::Site };
                return self.settle(to, delivery, Some(refused));
            }
        };
        let patience = if last { Patience::Last } else { Patience::Again };
        match store::send(&to.name, &to.route, &objects, patience).await {
            Ok(()) => self.acknowledged(to, delivery),
            Err(error) => self.failed(to, delivery, last, &error),
        }
    }

    fn acknowledged(&self, to: &Recipient, delivery: &Delivery) -> Tried {
        tracing::info!(job = %delivery.job, destination = to.name, "acknowledged");
        self.settle(to, delivery, None)
    }

    fn failed(&self, to: &Recipient, delivery: &Delivery, last: bool, error: &StoreError) -> Tried {
        let (job, whose) = (&delivery.job, error.whose_move());
        let again = error.is_away() || (error.retry_can_help() && !last);
        tracing::warn!(job = %job, destination = to.name, again, "not sent: {error}; {}", whose.advice());
        if error.is_away() {
            return Tried::Away;
        }
        if again {
            return Tried::InVain;
        }
        let refused = match error {
            StoreError::Partly { refused, .. } => *refused,
            _ => delivery.files.len(),
        };
        let code = FailureCode::Delivery;
        self.settle(to, delivery, Some(Shortfall { refused: refused as u32, code, whose }))
    }

    /// Takes a delivery off the list; the last one of a job ends it.
    fn settle(&self, to: &Recipient, delivery: &Delivery, shortfall: Option<Shortfall>) -> Tried {
        let (job, outbox) = (&delivery.job, &self.outbox);
        let handed_over = |handover: &Handover| handover.recorded(delivery);
        let of = delivery.files.len() as u32;
        let taken = of - shortfall.map_or(0, |shortfall| shortfall.refused);
        // Before it is off the list: whoever takes the last one off tells what all of them have.
        let receipt = Receipt { destination: to.number, taken, shortfall };
        self.board.received(job, handed_over, receipt);
        let removed = outbox.remove_delivery(delivery);
        let (current, pending) =
            match removed.and_then(|current| Ok((current, outbox.pending_deliveries()?))) {
                Ok(answers) => answers,
                Err(error) => {
                    tracing::error!(job = %job, "a delivery cannot be taken off the list: {error}");
                    return Tried::InVain;
                }
            };
        if !current {
            tracing::info!(job = %job, "superseded while it was sent; the new result follows");
        } else if !pending.iter().any(|other| other.job == *job) {
            self.board.finished(job, handed_over);
        }
        Tried::Settled
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

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tried {
    /// The delivery is off the list.
    Settled,
    /// It comes again; others may be welcome.
    InVain,
    /// Nobody was reached.
    Away,
}

/// Sends what is offered while it is made; what was acknowledged, if that is all.
async fn accompany(to: &Recipient, offer: Offer, hand: &Hand) -> Option<Acknowledged> {
    let Offer { handover, kinds, mut objects } = offer;
    hand.moves();
    let sent = async {
        let mut sending = Sending::open(&to.name, &to.route, &kinds).await?;
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
            tracing::debug!(job = %handover.job, destination = to.name, "not sent in advance: {error}");
            None
        }
    }
}
