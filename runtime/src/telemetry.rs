//! How the device is: measured every few seconds, told by MQTT and to the page, and judged for alarms.
//!
//! One thread looks and nobody waits for it. Health is told by the last message only, without the outbox: it is worth nothing
//! when it is old. Alarms are durable as results are, and latched over restarts (`DATA/alarms.json`).

mod alarms;
pub(crate) mod machine;
pub mod metrics;
mod rules;

use crate::audit::{Action, Actor, Audit, Ending};
use crate::commands::Unproven;
use crate::durable;
use crate::ingest::{Admission, Counts};
use crate::jobs::board::Board;
use crate::messages::{AlarmCode, AlarmMessage, Happening, HealthReport, ServiceHealth, Timestamp};
use crate::outbox::{Outbox, OutboxError};
use crate::progress::Progress;
use crate::publish::mqtt::Publisher;
use crate::tls::Tls;
use alarms::Alarms;
use rules::Seen;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::watch;

pub use rules::Limits;

/// Between two looks: what an eye on a dashboard takes for live, and thousands of small messages a day, none on the disk.
const LOOK: Duration = Duration::from_secs(5);
/// Name of the file of latched alarms in the data folder.
pub(crate) const FILE_NAME: &str = "alarms.json";

/// What the parts of the service know of themselves.
#[derive(Debug)]
pub struct Sources {
    pub audit: Arc<Audit>,
    pub board: Arc<Board>,
    pub outbox: Arc<Outbox>,
    pub publisher: Arc<Publisher>,
    pub progress: Arc<Progress>,
    pub counts: Arc<Counts>,
    pub admission: Arc<Admission>,
    pub unproven: Arc<Unproven>,
    pub tls: Option<Tls>,
    /// A supervisor MCU is configured.
    pub mcu: bool,
    pub limits: Limits,
    pub data: PathBuf,
}

/// See the module.
#[derive(Debug)]
pub struct Telemetry {
    sources: Sources,
    started: Instant,
    alarms: Mutex<Alarms>,
    latest: Mutex<Option<HealthReport>>,
}

impl Telemetry {
    pub fn new(sources: Sources) -> Arc<Telemetry> {
        let latched = std::fs::read(sources.data.join(FILE_NAME)).unwrap_or_default();
        let alarms = Mutex::new(Alarms::from_json(&latched));
        let latest = Mutex::new(None);
        Arc::new(Telemetry { sources, started: Instant::now(), alarms, latest })
    }

    /// Starts the thread; it ends when `stop` turns true. Needs a tokio runtime.
    pub fn start(
        self: &Arc<Telemetry>,
        mut stop: watch::Receiver<bool>,
    ) -> std::io::Result<thread::JoinHandle<()>> {
        let (telemetry, runtime) = (self.clone(), Handle::current());
        thread::Builder::new().name("telemetry".to_owned()).spawn(move || {
            // A broker in this process has forgotten them.
            let latched = telemetry.alarms().messages();
            latched.iter().for_each(|alarm| told(telemetry.sources.publisher.alarm(alarm)));
            loop {
                telemetry.look();
                let stopped = runtime.block_on(async {
                    tokio::time::timeout(LOOK, stop.wait_for(|stop| *stop)).await.is_ok()
                });
                if stopped {
                    return;
                }
            }
        })
    }

    /// How the topics of this device begin, with the last `/`.
    pub fn topics(&self) -> String {
        self.sources.publisher.topics().all().trim_end_matches('#').to_owned()
    }

    /// The last report; `None` before the first look.
    pub fn report(&self) -> Option<HealthReport> {
        self.latest.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// The alarms, those that matter most first.
    pub fn alarm_messages(&self) -> Vec<AlarmMessage> {
        self.alarms().messages()
    }

    /// Somebody has seen an alarm. Returns whether there was one to see.
    pub fn acknowledge(&self, code: AlarmCode) -> bool {
        let acknowledged = self.alarms().acknowledge(code);
        if acknowledged {
            tracing::info!(alarm = code.name(), "acknowledged");
            let action = Action::AcknowledgeAlarm { code };
            self.sources.audit.note(Actor::Page, action, Ending::Done);
            self.changed(code, Happening::acknowledged(code));
        }
        acknowledged
    }

    fn alarms(&self) -> MutexGuard<'_, Alarms> {
        self.alarms.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// One look: measure, judge, tell.
    fn look(&self) {
        let mut report = self.measure();
        let (now, at) = (self.started.elapsed(), Timestamp::now());
        let seen = Seen {
            report: &report,
            broker: *self.sources.publisher.connection().borrow(),
            certificate: self.sources.tls.as_ref().map(Tls::expiry),
        };
        for (code, there, delay) in rules::judge(&seen, &self.sources.limits) {
            if self.alarms().observe(now, at, code, there, delay) {
                match there {
                    true => tracing::warn!(alarm = code.name(), "raised: {}", code.action()),
                    false => tracing::info!(alarm = code.name(), "cleared"),
                }
                let happening =
                    if there { Happening::raised(code) } else { Happening::cleared(code) };
                self.changed(code, happening);
            }
        }
        let active = self.alarms().messages().iter().filter(|alarm| alarm.active).count();
        report.service.alarms_active = active as u32;
        self.sources.publisher.health(&report);
        *self.latest.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(report);
    }

    fn measure(&self) -> HealthReport {
        let Sources { board, outbox, publisher, progress, counts, mcu, data, .. } = &self.sources;
        let backlog = outbox.backlog().unwrap_or_else(|error| {
            tracing::error!("the outbox cannot be read: {error}");
            Default::default()
        });
        let figures = board.figures();
        let seconds = |ms: Option<u64>| ms.map(|ms| ms / 1000);
        HealthReport {
            uptime_s: self.started.elapsed().as_secs(),
            machine: machine::read(Path::new("/"), data),
            service: ServiceHealth {
                stuck: progress.stuck(),
                degraded: figures.degraded(),
                self_test: figures.self_test,
                self_test_age_s: figures.self_tested.map(|at| at.elapsed().as_secs()),
                jobs_open: board.open_jobs(),
                jobs_done: figures.done,
                jobs_refused: figures.refused,
                jobs_failed: figures.failed,
                instances_stored: counts.stored(),
                instances_refused: counts.refused(),
                draining: self.sources.admission.is_draining(),
                commands_ignored: self.sources.unproven.count(),
                latency_ms: figures.latencies(),
                engine: figures.engine.map(|engine| engine.kind),
                precision: figures.engine.map(|engine| engine.precision),
                fallback: figures.fallback,
                outbox_messages: backlog.messages,
                outbox_oldest_s: seconds(backlog.oldest_age_ms),
                deliveries_waiting: backlog.deliveries,
                deliveries_oldest_s: seconds(backlog.oldest_delivery_age_ms),
                mcu: publisher.last_mcu_link().filter(|_| *mcu),
                alarms_active: 0,
                health_dropped: publisher.health_dropped(),
            },
        }
    }

    /// Tells the change of an alarm and keeps it, in this order: after a kill in between it happens and is told once more, where
    /// the other order would never tell it.
    fn changed(&self, code: AlarmCode, happening: Happening) {
        let message = self.alarms().message(code);
        told(self.sources.publisher.alarm_changed(code, message.as_ref(), happening));
        self.keep();
    }

    /// Writes what is latched to the disk.
    fn keep(&self) {
        let text = self.alarms().to_json();
        if let Err(error) = durable::write(&self.sources.data.join(FILE_NAME), &text) {
            tracing::error!("alarms cannot be kept over a restart: {error}; the site's move");
        }
    }
}

/// A message that could not be stored is missing at the broker; the log has it.
fn told(stored: Result<u64, OutboxError>) {
    if let Err(error) = stored {
        tracing::error!("an alarm was not told: {error}; {}", error.whose().advice());
    }
}
