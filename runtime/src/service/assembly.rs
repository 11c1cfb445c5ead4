//! The thread between arrivals and jobs: what the assembler decides, and what it leads to.

use crate::commands::Rerun;
use crate::error::Move;
use crate::health::Hand;
use crate::identity::JobId;
use crate::ingest::Event;
use crate::ingest::assemble::{self, Assembler, Coming, Decision, Reason};
use crate::jobs::ahead::Ahead;
use crate::jobs::board::Board;
use crate::jobs::verdict::{Verdict, Verdicts};
use crate::jobs::{Job, Purpose, Work, generation};
use crate::messages::{Completion, FailureCode, JobState, OrderFault};
use crate::outbox::Outbox;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

/// Nothing is due: the assembler sleeps until an event wakes it, or this long.
const IDLE: Duration = Duration::from_secs(3600);

/// The assembler and what its decisions lead to.
pub(super) struct Assembly {
    pub(super) assembler: Assembler,
    pub(super) board: Arc<Board>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) queue: SyncSender<Work>,
    pub(super) results: PathBuf,
    pub(super) verdicts: Verdicts,
    pub(super) hand: Hand,
}

impl Assembly {
    /// Starts the thread; it ends when `stop` turns true. Needs a tokio runtime.
    pub(super) fn start(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut reruns: mpsc::Receiver<Rerun>,
        mut stop: watch::Receiver<bool>,
    ) -> std::io::Result<thread::JoinHandle<()>> {
        let runtime = Handle::current();
        thread::Builder::new().name("assemble".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = self.run(&mut events, &mut reruns) => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
            });
        })
    }

    async fn run(
        &mut self,
        events: &mut mpsc::Receiver<Event>,
        reruns: &mut mpsc::Receiver<Rerun>,
    ) {
        let start = Instant::now();
        loop {
            let due = self.assembler.next_deadline();
            let pause = due.map_or(IDLE, |due| due.saturating_sub(start.elapsed()));
            self.hand.rests();
            let event = tokio::select! {
                event = tokio::time::timeout(pause, events.recv()) => event,
                Some(Rerun { job, ticket }) = reruns.recv() => {
                    self.hand.moves();
                    ticket.close(self.run_again(&job));
                    continue;
                }
            };
            self.hand.moves();
            let event = match event {
                Ok(None) => return,
                Ok(event) => event,
                Err(_elapsed) => None,
            };
            if let Some(event) = &event {
                if let Event::Arrived(arrival) = event {
                    self.board.arrived(&arrival.job, arrival.origin.is_none());
                }
                self.assembler.on_event(start.elapsed(), event);
            }
            for decision in self.assembler.poll(start.elapsed()) {
                self.decide(decision);
            }
            if let Some(coming) =
                event.and_then(|event| self.assembler.ahead(start.elapsed(), &event))
            {
                self.look_ahead(coming);
            }
        }
    }

    /// Hands a series that is still coming to the worker, for the time in which it has nothing else to do.
    fn look_ahead(&self, Coming { job: id, paths: files, whole }: Coming) {
        // A full queue has better work.
        let _ = self.queue.try_send(Work::Ahead(Ahead { id, files, whole }));
    }

    /// Makes the result of a series again, that has one or failed.
    fn run_again(&self, job: &JobId) -> Result<(), OrderFault> {
        let line = self.board.line(job).ok_or(OrderFault::NoSuchJob)?;
        let decision = self.assembler.again(job).filter(|_| line.is_settled());
        let decision = decision.ok_or(OrderFault::JobOpen)?;
        let completion = completion(decision.reason).ok_or(OrderFault::JobIncomplete)?;
        let not_stored = |error: String| {
            tracing::error!(%job, "cannot be made again: {error}; {}", Move::Site.advice());
            OrderFault::Storage
        };
        let generation = generation::of(&self.results, job, decision.have)
            .and_then(generation::reopen)
            .map_err(|error| not_stored(error.to_string()))?;
        self.outbox.forget_cancelled(job).map_err(|error| not_stored(error.to_string()))?;
        self.board.completed(job, generation.number, completion);
        self.enqueue(decision, Purpose::Run { completion, generation });
        Ok(())
    }

    fn decide(&self, decision: Decision) {
        let job = &decision.job;
        if let Some(verdict) = self.verdicts.of(&decision) {
            tracing::info!(%job, "it was judged before");
            return self.board.found(job, verdict.state());
        }
        let Some(completion) = completion(decision.reason) else { return self.give_up(decision) };
        // The assembler counts from its own start; the disk knows what was made before.
        let generation = match generation::of(&self.results, job, decision.have) {
            Ok(generation) => generation,
            Err(error) => {
                tracing::error!(%job, "cannot write to {}: {error}; the site's move", self.results.display());
                let (code, whose) = (FailureCode::Storage, Move::Site);
                return self.board.change(job, JobState::Failed { code, whose });
            }
        };
        if generation.finished && self.is_told(job, generation.number) {
            tracing::info!(%job, "its result is there already");
            return self.board.found(job, JobState::Done);
        }
        let (instances, generation_number) = (decision.have, generation.number);
        tracing::info!(%job, instances, generation = generation_number, reason = ?decision.reason, certainty = ?decision.reason.certainty(), "complete");
        self.board.completed(job, generation_number, completion);
        self.enqueue(decision, Purpose::Run { completion, generation });
    }

    /// Whether nobody waits for the end of a result whose report is there. An outbox that cannot be read does not tell: then
    /// the series runs again, which harms nobody.
    fn is_told(&self, job: &JobId, generation: u32) -> bool {
        match self.outbox.is_untold(job, generation) {
            Ok(untold) => !untold,
            Err(error) => {
                tracing::error!(%job, "the outbox cannot be read: {error}");
                false
            }
        }
    }

    /// A series that stopped coming. Where the sender announced more, that is the reason; where not, a look at the images
    /// tells (three slices, several orientations, a gap).
    fn give_up(&self, decision: Decision) {
        let (job, have) = (&decision.job, decision.have as u32);
        match decision.expect.map(|n| n as u32).filter(|&expect| have < expect) {
            Some(expect) => {
                tracing::warn!(%job, have, expect, "incomplete: instances are missing; the sender's move");
                let verdict = Verdict::Incomplete { have, expect: Some(expect) };
                self.board.change(job, verdict.state());
                self.verdicts.keep(job, decision.have, verdict);
            }
            None => self.enqueue(decision, Purpose::Explain { have }),
        }
    }

    /// Hands a series to the worker. Waits where the queue is full: so do then the answers of the receiver.
    fn enqueue(&self, decision: Decision, purpose: Purpose) {
        let Decision { job: id, paths: files, .. } = decision;
        let waited = self.board.waited(&id);
        // A full queue is the worker's progress, not ours.
        self.hand.rests();
        // The worker is gone: the service is stopping, and the instances in the spool run at the next start.
        let _ = self.queue.send(Work::Series(Job { id, files, purpose, waited }));
    }
}

fn completion(reason: Reason) -> Option<Completion> {
    match reason {
        assemble::Reason::CountKnown => Some(Completion::CountKnown),
        assemble::Reason::AssociationRelease => Some(Completion::AssociationRelease),
        assemble::Reason::Silence => Some(Completion::Silence),
        assemble::Reason::Incomplete => None,
    }
}
