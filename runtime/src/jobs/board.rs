//! Where every job stands: the one place that tells MQTT, the page and the report.

mod figures;
mod herald;

pub use figures::Figures;

use crate::error::Move;
use crate::identity::JobId;
use crate::messages::{
    Completion, Engine, FailureCode, JobResult, JobStage, JobState, JobStatus, Passed, SelfTest,
    Timings,
};
use crate::outbox::Handover;
use crate::publish::mqtt::Publisher;
use crate::render::Scene;
use crate::report::Report;
use crate::seal::DeviceKey;
use herald::Herald;
use pipeline::Refusal;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Series whose slices the page can show: each keeps about 40 MB in memory (20 slices of 512 x 512).
const SHOWN: usize = 4;
/// Jobs remembered for the page; older ones stand in the results folder.
const REMEMBERED: usize = 200;
/// Stages worth a message of their own: the others pass within milliseconds.
const ANNOUNCED: [JobStage; 4] =
    [JobStage::Volume, JobStage::Semantic, JobStage::Vertebrae, JobStage::Outputs];

/// A result, to be looked at.
#[derive(Debug, Clone)]
pub struct Shown {
    pub scene: Arc<Scene>,
    /// The overview picture, PNG.
    pub overview: Arc<Vec<u8>>,
}

/// What is said of a job when its last delivery is acknowledged.
#[derive(Debug, Clone)]
pub struct Produced {
    pub result: JobResult,
    pub report: Report,
    /// Folder of the outputs; the report joins them.
    folder: PathBuf,
    handover: Handover,
    /// Seals the report.
    key: Arc<DeviceKey>,
    /// When the outputs were there: from then on it is the deliveries' time.
    since: Instant,
}

impl Produced {
    pub fn new(
        result: JobResult,
        report: Report,
        folder: PathBuf,
        handover: Handover,
        key: Arc<DeviceKey>,
    ) -> Produced {
        Produced { result, report, folder, handover, key, since: Instant::now() }
    }
}

/// One job's line.
#[derive(Debug, Clone)]
pub struct Record {
    pub job: JobId,
    pub generation: u32,
    pub state: JobState,
    pub instances: u32,
    /// Order of arrival in this run of the service.
    pub order: u64,
    pub timings: Timings,
    /// The engine that should have made the result and did not.
    pub fallback: Option<Passed>,
    pub shown: Option<Shown>,
    /// Why the series is not for us.
    pub refusal: Option<Refusal>,
    /// The numbers and the report, when the job is done.
    pub result: Option<JobResult>,
    pub report: Option<Report>,
    produced: Option<Produced>,
    /// Something was said of it in this run of the service.
    announced: bool,
    since: Instant,
    last_instance: Instant,
}

/// All jobs of this run of the service.
#[derive(Debug)]
pub struct Board {
    publisher: Arc<Publisher>,
    herald: Herald,
    records: Mutex<BTreeMap<JobId, Record>>,
    figures: Mutex<Figures>,
    changes: watch::Sender<u64>,
}

impl Board {
    pub fn new(publisher: Arc<Publisher>) -> Board {
        let (records, figures) = (Mutex::default(), Mutex::default());
        let herald = Herald::start(publisher.clone());
        Board { publisher, herald, records, figures, changes: watch::Sender::new(0) }
    }

    /// Counts up with every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// An instance came; the first one of a job opens its line. One `found` in the spool at start is no news to anybody.
    pub fn arrived(&self, job: &JobId, found: bool) {
        let opened = {
            let mut records = self.records();
            let order = records.values().map(|r| r.order + 1).max().unwrap_or(0);
            let record = records.entry(job.clone()).or_insert_with(|| Record::new(job, order));
            record.last_instance = Instant::now();
            record.instances += 1;
            let opened = record.instances == 1 && !found;
            forget_oldest(&mut records);
            opened
        };
        if opened {
            self.change(job, JobState::Receiving);
        }
    }

    /// The series counts as complete. While an earlier generation of it is at work that one keeps the line, until the
    /// worker has [`begun`](Board::begun) this one.
    pub fn completed(&self, job: &JobId, generation: u32, reason: Completion) {
        if self.line(job).is_some_and(|line| line.is_settled() || line.is_waiting()) {
            self.open(job, generation, reason);
        }
    }

    /// The worker begins a generation.
    pub fn begun(&self, job: &JobId, generation: u32, reason: Completion) {
        if self.line(job).is_some_and(|line| line.generation != generation) {
            self.open(job, generation, reason);
        }
    }

    fn open(&self, job: &JobId, generation: u32, reason: Completion) {
        self.update(job, |record| {
            record.generation = generation;
            record.timings = Timings::default();
            record.fallback = None;
            record.refusal = None;
        });
        self.change(job, JobState::Complete { reason });
    }

    /// Time since the last instance of `job`.
    pub fn waited(&self, job: &JobId) -> Duration {
        self.records().get(job).map_or(Duration::ZERO, |record| record.last_instance.elapsed())
    }

    pub fn begin(&self, job: &JobId, stage: JobStage) {
        if ANNOUNCED.contains(&stage) {
            self.change(job, JobState::Running { stage });
        }
    }

    /// The job is in another state; says so to the broker: durably, but for the stages of its work, which are told beside it.
    pub fn change(&self, job: &JobId, state: JobState) {
        let status = self.update(job, |record| {
            record.state = state;
            record.announced = true;
        });
        let Some(status) = status else { return };
        self.count(|figures| figures.count(state));
        match state {
            JobState::Running { .. } | JobState::Sending => self.herald.announce(status),
            _ => self.herald.tell(&status),
        }
    }

    /// The series is not for us.
    pub fn refused(&self, job: &JobId, refusal: Refusal) {
        let code = refusal.code;
        self.update(job, |record| record.refusal = Some(refusal));
        self.change(job, JobState::Refused { code });
    }

    /// The outputs of a job are there.
    pub fn produced(&self, job: &JobId, shown: Shown, produced: Produced) {
        {
            let mut records = self.records();
            if let Some(record) = records.get_mut(job) {
                record.timings = produced.result.stages_ms.clone();
                record.fallback = produced.result.fallback;
                record.shown = Some(shown);
                record.produced = Some(produced);
            }
            hide_oldest(&mut records);
        }
        self.notify();
    }

    /// The result was made, delivered and told before. Says so only where something else was said in this run.
    pub fn found_done(&self, job: &JobId) {
        if self.line(job).is_some_and(|line| line.announced) {
            self.change(job, JobState::Done);
        } else {
            self.update(job, |record| record.state = JobState::Done);
        }
    }

    /// Every destination acknowledged (or there was none) what `handed_over` names: report and numbers go out. Nothing
    /// happens where that result was superseded, failed with another destination, or was handed over by an earlier run of
    /// the service: its series runs again and is delivered again.
    pub fn finished(&self, job: &JobId, handed_over: impl Fn(&Handover) -> bool) {
        if let Some(produced) = self.take(job, handed_over) {
            self.end(job, produced);
        }
    }

    /// A destination will not take what `handed_over` names: the job failed, whatever the others do.
    pub fn undeliverable(
        &self,
        job: &JobId,
        handed_over: impl Fn(&Handover) -> bool,
        code: FailureCode,
        whose: Move,
    ) {
        let Some(produced) = self.take(job, handed_over) else { return };
        if self.line(job).is_some_and(|line| line.generation == produced.result.generation) {
            self.change(job, JobState::Failed { code, whose });
        }
    }

    fn take(&self, job: &JobId, handed_over: impl Fn(&Handover) -> bool) -> Option<Produced> {
        let mut records = self.records();
        let record = records.get_mut(job)?;
        record.produced.take_if(|produced| handed_over(&produced.handover))
    }

    /// The report first: a kill before the end is told finds the note that it is untold, and the series runs again.
    fn end(&self, job: &JobId, produced: Produced) {
        let mut result = produced.result;
        result.stages_ms.add(JobStage::Deliver, produced.since.elapsed());
        let report = produced.report.timed(result.stages_ms.clone());
        if let Err(error) = report.write(&produced.folder, Some(&produced.key)) {
            tracing::error!(job = %job, "the report cannot be written: {error}");
        }
        let status = self.update(job, |record| {
            if record.generation == result.generation {
                record.timings = result.stages_ms.clone();
                record.state = JobState::Done;
                record.announced = true;
            }
            record.report = Some(report);
            record.result = Some(result.clone());
        });
        self.count(|figures| figures.add(&result.stages_ms));
        // A newer generation has the line: it tells its own end.
        let status = status.filter(|status| status.generation == result.generation);
        self.herald.catch_up();
        if let Err(error) = self.publisher.end(&result, status.as_ref()) {
            tracing::error!(job = %job, "an end is not told: {error}; {}", error.whose().advice());
        }
    }

    /// What was counted since the start.
    pub fn figures(&self) -> Figures {
        self.figures.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    fn count(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.figures.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
    }

    /// The engine at work, and the one that should be.
    pub fn works_on(&self, engine: Engine, fallback: Option<Passed>) {
        self.count(|figures| (figures.engine, figures.fallback) = (Some(engine), fallback));
    }

    /// A self-test ended.
    pub fn self_tested(&self, outcome: SelfTest) {
        let ended = Some(Instant::now());
        self.count(|figures| (figures.self_test, figures.self_tested) = (outcome, ended));
    }

    /// Series that wait for the worker or are at work.
    pub fn open_jobs(&self) -> u32 {
        let at_work = |state| matches!(state, JobState::Complete { .. } | JobState::Running { .. });
        self.records().values().filter(|record| at_work(record.state)).count() as u32
    }

    /// The lines, newest first.
    pub fn lines(&self) -> Vec<Record> {
        let mut lines: Vec<Record> = self.records().values().cloned().collect();
        lines.sort_by_key(|record| std::cmp::Reverse(record.order));
        lines
    }

    pub fn line(&self, job: &JobId) -> Option<Record> {
        self.records().get(job).cloned()
    }

    fn update(&self, job: &JobId, change: impl FnOnce(&mut Record)) -> Option<JobStatus> {
        let status = self.records().get_mut(job).map(|record| {
            change(record);
            record.status()
        });
        self.notify();
        status
    }

    fn notify(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<JobId, Record>> {
        self.records.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Record {
    fn new(job: &JobId, order: u64) -> Record {
        Record {
            job: job.clone(),
            generation: 1,
            state: JobState::Receiving,
            instances: 0,
            order,
            timings: Timings::default(),
            fallback: None,
            shown: None,
            refusal: None,
            result: None,
            report: None,
            produced: None,
            announced: false,
            since: Instant::now(),
            last_instance: Instant::now(),
        }
    }

    pub fn status(&self) -> JobStatus {
        JobStatus {
            job: self.job.clone(),
            generation: self.generation,
            state: self.state,
            instances: self.instances,
            elapsed_ms: self.since.elapsed().as_millis() as u64,
            stages_ms: self.timings.clone(),
            fallback: self.fallback,
        }
    }

    /// No worker has taken it up.
    fn is_waiting(&self) -> bool {
        matches!(self.state, JobState::Receiving | JobState::Complete { .. })
    }

    /// Nothing more will happen to it by itself.
    pub fn is_settled(&self) -> bool {
        matches!(
            self.state,
            JobState::Done
                | JobState::Refused { .. }
                | JobState::Failed { .. }
                | JobState::Incomplete { .. }
        )
    }
}

fn forget_oldest(records: &mut BTreeMap<JobId, Record>) {
    while records.len() > REMEMBERED {
        let settled = records.values().filter(|record| record.is_settled());
        let Some(oldest) = settled.min_by_key(|record| record.order) else { return };
        let oldest = oldest.job.clone();
        records.remove(&oldest);
    }
}

fn hide_oldest(records: &mut BTreeMap<JobId, Record>) {
    let mut shown: Vec<(u64, JobId)> = records
        .values()
        .filter(|record| record.shown.is_some())
        .map(|record| (record.order, record.job.clone()))
        .collect();
    shown.sort();
    for (_, job) in shown.iter().rev().skip(SHOWN) {
        if let Some(record) = records.get_mut(job) {
            record.shown = None;
        }
    }
}
