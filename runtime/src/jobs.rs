//! Jobs: complete series, one after the other, through decode, segmentation and outputs.
//!
//! One thread works them off, because one network fills the machine; the queue is bounded. A panic is our bug and ends
//! one job, not the service.

pub mod active;
mod again;
pub mod ahead;
pub mod board;
pub mod clock;
pub mod companions;
pub mod engines;
pub mod generation;
pub mod inline;
mod lesions;
pub mod levels;
pub mod outputs;
pub mod plans;
pub mod produce;
mod self_test;
pub mod shadow;
pub mod source;
pub mod verdict;

use crate::commands::Ticket;
use crate::decode;
use crate::decode::{DicomSeries, selection};
use crate::error::Move;
use crate::health::Hand;
use crate::identity::JobId;
use crate::messages::{Completion, FailureCode, JobResult, JobState, OrderFault};
use crate::objects::OutputKind;
use crate::outbox::{Handover, Outbox, OutboxError};
use crate::publish::advance::{Advance, Door};
use crate::publish::store::Destination;
use crate::report::{EngineReport, FallbackReport};
use crate::seal::{DeviceKey, Digest};
pub use again::Again;
use ahead::Ahead;
use board::{Board, Produced, Shown};
use clock::StageClock;
use companions::Companions;
use generation::Generation;
use inline::Inline;
use levels::Levels;
use pipeline::{Neighbour, Refusal, RefusalCode, Segmentation, Use};
use produce::{ProduceError, Product, Request, Workshop};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shadow::Shadow;
use source::Source;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use tokio::sync::watch;
use verdict::{Verdict, Verdicts};

/// Complete series that may wait: half an hour of a busy scanner. Beyond, decisions wait for a place, then the answers of
/// the receiver: the sender is slowed down and nothing is lost.
pub const MAX_WAITING: usize = 64;

/// Section `jobs` of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Threads of the engine; all cores when absent.
    pub threads: Option<usize>,
    /// `auto`, `tensorrt`, `cuda` or `simd`.
    #[serde(default)]
    pub engine: engines::Choice,
    /// `auto`, `float` or `int8`.
    #[serde(default)]
    pub precision: engines::Precision,
    /// Whether enhancing lesions are looked for on T1 after a contrast agent: experimental, not for diagnosis.
    #[serde(default)]
    pub lesions: bool,
    /// Folder of the shims of TensorRT; that of our package when absent.
    pub shims: Option<PathBuf>,
}

/// What is to be done with a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// It is complete: segment it.
    Run { completion: Completion, generation: Generation },
    /// It was given up although nothing is known to be missing: find out why, and say so.
    Explain { have: u32 },
}

/// What the worker takes from its queue.
#[derive(Debug)]
pub enum Work {
    Series(Job),
    Inline(Inline),
    Ahead(Ahead),
    /// Somebody has ordered a self-test.
    SelfTest(Ticket),
}

/// A series to work on.
#[derive(Debug)]
pub struct Job {
    pub id: JobId,
    /// Its instances in the spool, any order.
    pub files: Vec<PathBuf>,
    pub purpose: Purpose,
    /// From the last instance to the decision that it is complete.
    pub waited: Duration,
}

/// What a worker needs.
pub struct Bench {
    pub workshop: Workshop,
    pub board: Arc<Board>,
    pub outbox: Arc<Outbox>,
    /// Each with where it waits for what is sent in advance.
    pub destinations: Vec<(Destination, Door)>,
    /// Folder of all results.
    pub results: PathBuf,
    /// What the series of a study know of one another.
    pub levels: Levels,
    pub companions: Companions,
    /// What was said of series of which nothing is made.
    pub verdicts: Verdicts,
    /// What the site takes.
    pub selection: selection::Settings,
    /// Seals reports.
    pub key: Arc<DeviceKey>,
    /// Series whose levels became known after they had a result.
    pub again: Again,
    /// Says that the job at work moves on.
    pub hand: Arc<Hand>,
    /// A candidate model, for idle time.
    pub shadow: Option<Shadow>,
}

impl std::fmt::Debug for Bench {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bench({})", self.results.display())
    }
}

/// Starts the worker. It ends when the queue's senders are gone, or after the job at work when `stop` turns true; jobs
/// that still wait then run at the next start, since their instances are in the spool.
pub fn start(
    mut bench: Bench,
    queue: Receiver<Work>,
    stop: watch::Receiver<bool>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    let thread = std::thread::Builder::new().name("jobs".to_owned());
    thread.stack_size(decode::dicom::STACK_BYTES).spawn(move || {
        let (mut next, mut tested) = (None, bench.self_test());
        loop {
            let pause = tested.until_next().min(bench.until_shadow());
            let work = next.take().map_or_else(|| bench.again.or_next(&queue, pause), Ok);
            if *stop.borrow() || matches!(work, Err(RecvTimeoutError::Disconnected)) {
                return;
            }
            if tested.is_old(&bench) {
                tested = bench.self_test();
            }
            bench.hand.moves();
            match work {
                Ok(Work::Series(job)) => bench.work_or_fail(&job),
                Ok(Work::Inline(inline)) => inline.work(&mut bench),
                Ok(Work::Ahead(ahead)) => next = ahead.work(&mut bench, &queue),
                Ok(Work::SelfTest(ticket)) => {
                    tested = bench.self_test();
                    ticket.close(tested.passed().then_some(()).ok_or(OrderFault::SelfTestFailed));
                }
                Err(_idle) => bench.shadow(),
            }
            bench.hand.rests();
        }
    })
}

fn failed(code: FailureCode, whose: Move) -> JobState {
    JobState::Failed { code, whose }
}

impl Bench {
    /// A panic is our bug: it ends the job, and the line of the job says so.
    fn work_or_fail(&mut self, job: &Job) {
        let worked = std::panic::catch_unwind(AssertUnwindSafe(|| self.work(job)));
        if worked.is_err() {
            tracing::error!(job = %job.id, "the job panicked: a fault of Sagitta, please report it");
            self.board.change(&job.id, failed(FailureCode::Internal, Move::Sagitta));
        }
    }

    fn work(&mut self, job: &Job) {
        let worked = match &job.purpose {
            Purpose::Run { completion, generation } => self.produce(job, *completion, generation),
            Purpose::Explain { have } => self.decode(job).map(|_| {
                tracing::warn!(job = %job.id, have, "incomplete: more was meant to come; the sender's move");
                let verdict = Verdict::Incomplete { have: *have, expect: None };
                self.board.change(&job.id, verdict.state());
                self.verdicts.keep(&job.id, job.files.len(), verdict);
            }),
        };
        let state = match worked {
            Ok(()) => return,
            Err(ProduceError::Refused(refusal)) => {
                let advice = Move::Peer.advice();
                tracing::info!(job = %job.id, code = ?refusal.code, "refused: {refusal}; {advice}");
                let code = refusal.code;
                self.board.refused(&job.id, refusal);
                return self.verdicts.keep(&job.id, job.files.len(), Verdict::Refused { code });
            }
            Err(error) => {
                let whose = error.whose_move();
                tracing::error!(job = %job.id, "failed: {error}; {}", whose.advice());
                failed(error.code(), whose)
            }
        };
        self.board.change(&job.id, state);
    }

    /// The series of a job, and the digests of its files. One that is refused may still tell levels.
    fn decode(&mut self, job: &Job) -> Result<(Box<DicomSeries>, Vec<Digest>), ProduceError> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|source| ProduceError::Read { path: path.clone(), source })
        };
        let files: Vec<Vec<u8>> = job.files.iter().map(read).collect::<Result<_, _>>()?;
        // Each takes milliseconds.
        let (decoded, digests) = std::thread::scope(|scope| {
            let digests = scope.spawn(|| Digest::of_all(&files));
            (decode::dicom::decode(&files, Use::Exam, &self.selection), digests.join())
        });
        let digests = digests.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if decoded.as_ref().is_err_and(|refusal| may_tell_levels(refusal.code)) {
            self.read_levels(job, &files);
        }
        Ok((Box::new(decoded?), digests))
    }

    /// Keeps the levels that a localiser shows. Whatever is wrong with it is told by its refusal already.
    fn read_levels(&mut self, job: &Job, files: &[Vec<u8>]) {
        let Ok(series) = decode::dicom::decode(files, Use::Levels, &self.selection) else {
            return;
        };
        let source = Source::Dicom(Box::new(series));
        if self.levels.are_kept(&source, &job.id) {
            return self.number_again(&source);
        }
        let Ok(segmentation) = self.workshop.read_levels(&source) else { return };
        match self.levels.keep(&source, &job.id, &segmentation) {
            Ok(true) => {
                tracing::info!(job = %job.id, "its levels are kept for other series of the study");
                self.number_again(&source);
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(job = %job.id, "its levels cannot be kept: {error}; the site's move");
            }
        }
    }

    /// Makes the outputs and hands them to the deliveries.
    fn produce(
        &mut self,
        job: &Job,
        completion: Completion,
        generation: &Generation,
    ) -> Result<(), ProduceError> {
        if self.outbox.is_cancelled(&job.id, generation.number)? {
            return Err(OutboxError::Cancelled.into());
        }
        let mut clock = StageClock::new(job.waited);
        let (board, hand) = (self.board.clone(), self.hand.clone());
        board.begun(&job.id, generation.number, completion);
        let mut begin = |stage| {
            hand.moves();
            board.begin(&job.id, stage);
        };
        clock.begin(crate::messages::JobStage::Volume, &mut begin);
        let levels_at = |source| ProduceError::Write { path: generation.folder.clone(), source };
        let (mut dicom, inputs) = self.decode(job)?;
        let company = self.companions.meet(&dicom, &job.id, generation).map_err(levels_at)?;
        if let Some(better) = company.better {
            return Err(left_for(&better, &dicom).into());
        }
        if company.follows_t1 {
            dicom.selection.hint_at_agent();
        }
        let source = Source::Dicom(dicom);
        let neighbours = self.levels.neighbours(&source, &job.id, &generation.folder);
        let request = Request {
            neighbours: neighbours.map_err(levels_at)?,
            name: job.id.to_string(),
            inputs,
            folder: generation.folder.clone(),
            made: generation.made.clone(),
            generation: generation.number,
            supersedes: company.worse,
            labelmap: self.destinations.iter().any(|(to, _)| to.wants(OutputKind::Labelmap)),
        };
        let handover = Handover::new(&job.id, generation.number);
        let mut advance = Advance::new(&self.destinations, &self.results, handover.clone());
        let product =
            self.workshop.produce(&source, &request, &mut advance, &mut clock, &mut begin)?;
        // No more comes: who was offered it waits for the record.
        drop(advance);
        let told = self.tell_study(job, completion, generation, &source, &product.segmentation);
        told.map_err(levels_at)?;
        clock.end();
        tell_engine(job, &product);
        self.show(job, completion, generation, &product, &clock, &handover)?;
        self.hand_over(&handover, &product)?;
        self.remember(source, request.neighbours.known(), product.segmentation);
        Ok(())
    }

    /// Keeps a finished series for the candidate model.
    fn remember(&mut self, source: Source, neighbours: Vec<Neighbour>, made: Segmentation) {
        if let Some(shadow) = &mut self.shadow {
            shadow.finished(source.into_series(), neighbours, made);
        }
    }

    /// Until the candidate model has work.
    fn until_shadow(&self) -> Duration {
        self.shadow.as_ref().and_then(Shadow::due).unwrap_or(Duration::MAX)
    }

    /// Nothing else is to be done.
    fn shadow(&mut self) {
        let hand = &self.hand;
        if let Some(shadow) = &mut self.shadow {
            shadow.work(&mut || hand.moves());
        }
    }

    /// Keeps what other series of the study may want to know of a result, and sees to those that waited for it.
    fn tell_study(
        &mut self,
        job: &Job,
        completion: Completion,
        generation: &Generation,
        source: &Source,
        segmentation: &Segmentation,
    ) -> std::io::Result<()> {
        if self.levels.keep(source, &job.id, segmentation)? {
            self.number_again(source);
        }
        self.levels.remember(source, &job.id, &job.files, completion, segmentation)?;
        match source {
            Source::Dicom(dicom) => self.companions.keep(dicom, &job.id, generation.number),
            Source::Volume(_) => Ok(()),
        }
    }

    /// Puts the result where the page and the last acknowledgement find it.
    fn show(
        &self,
        job: &Job,
        completion: Completion,
        generation: &Generation,
        product: &Product,
        clock: &StageClock,
        handover: &Handover,
    ) -> Result<(), ProduceError> {
        let (model, engine) = self.workshop.tags()?;
        self.board.works_on(engine, product.passed);
        let (id, segmentation) = (job.id.clone(), &product.segmentation);
        let mut result = JobResult::new(id, generation.number, segmentation, model, engine);
        result.stages_ms = clock.timings().clone();
        result.outputs = product.report.outputs.kinds();
        result.fallback = product.passed;
        result.selection = product.report.series.selection.clone();
        result.replaces = product.report.series.replaces.clone();
        result.levels_from = product.report.levels_from.clone();
        let mut report = product.report.clone();
        report.series.complete = Some(completion);
        let folder = generation.folder.clone();
        let (scene, overview) = (product.scene.clone(), Arc::new(product.overview.clone()));
        let shown = Shown { scene, overview };
        let produced = Produced::new(result, report, folder, handover.clone(), self.key.clone());
        self.board.produced(&job.id, shown, produced);
        Ok(())
    }

    /// Records what every destination has to get. Without destinations the job is done.
    fn hand_over(&self, handover: &Handover, product: &Product) -> Result<(), ProduceError> {
        let mut wanted = Vec::new();
        for (destination, _) in &self.destinations {
            let objects = product.objects.iter().filter(|(kind, _)| destination.wants(*kind));
            let files: Vec<_> = objects.map(|(_, path)| relative(&self.results, path)).collect();
            if !files.is_empty() {
                wanted.push((destination.name.as_str(), files));
            }
        }
        if !wanted.is_empty() {
            // Before the record: a destination may have acknowledged everything when the next line runs.
            self.board.change(&handover.job, JobState::Sending);
        }
        self.outbox.record_deliveries(handover, &wanted)?;
        if wanted.is_empty() {
            self.board.finished(&handover.job, |this| this == handover);
        }
        Ok(())
    }
}

/// The line of a job about its engine.
fn tell_engine(job: &Job, product: &Product) {
    let EngineReport { name, reason, fallback, .. } = &product.report.engine;
    match fallback {
        None => tracing::info!(job = %job.id, engine = %name, "segmented; {reason}"),
        Some(FallbackReport { from, state, .. }) => {
            tracing::warn!(job = %job.id, engine = %name, instead_of = %from, state, "segmented; {reason}");
        }
    }
}

/// The refusal of a series of whose acquisition a better image was taken.
fn left_for(better: &JobId, dicom: &DicomSeries) -> Refusal {
    let text = format!("a better corrected image of the same acquisition was taken: job {better}");
    let class = Some(dicom.selection.class.name());
    let refusal = Refusal { class, ..Refusal::new(RefusalCode::NotSelected, text) };
    refusal.on_grid(dicom.series.volume.grid())
}

/// Whether a refused series may be a localiser.
fn may_tell_levels(code: RefusalCode) -> bool {
    use RefusalCode::{MixedOrientation, NotAnatomical, Resolution, TooFewSlices};
    matches!(code, NotAnatomical | MixedOrientation | TooFewSlices | Resolution)
}

fn relative(folder: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(folder).unwrap_or(path).to_owned()
}
