//! The service: where all parts meet. Follow one series by reading [`Service::start`] downwards.

mod assembly;
mod intake;
mod shared;

use crate::audit::{Action, Actor, Audit, Ending};
use crate::commands;
use crate::config::Config;
use crate::health::Part;
use crate::ingest::assemble::Assembler;
use crate::jobs;
use crate::jobs::board::Board;
use crate::messages::{Happening, Version};
use crate::progress::Progress;
use crate::publish::deliveries::Deliveries;
use crate::publish::mqtt::{self, Endpoint, LiveMessage, Publisher};
use crate::tls::Tls;
use crate::{dashboard, secret, watchdog};
use anyhow::Result;
use assembly::Assembly;
use intake::{Intake, Listeners};
use shared::Shared;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::task::JoinHandle;

/// Instances between receiver and assembler: enough that the receiver never waits for a decision.
const ARRIVALS: usize = 1024;
/// Messages kept for a page that reads slowly; it then misses some, the broker does not.
const LIVE: usize = 256;
/// How long the end waits for the job at work.
const LAST_JOB: Duration = Duration::from_secs(20);
/// How often the end looks whether the threads are through.
const END_PAUSE: Duration = Duration::from_millis(20);
/// Name of the site's key in the data folder.
pub(crate) const KEY_FILE: &str = "site.key";

/// A running service.
#[derive(Debug)]
pub struct Service {
    pub dicom: SocketAddr,
    pub dashboard: Option<SocketAddr>,
    pub endpoint: Endpoint,
    pub board: Arc<Board>,
    pub live: broadcast::Sender<LiveMessage>,
    witness: Witness,
    stop: watch::Sender<bool>,
    leave: Arc<Notify>,
    tasks: Vec<JoinHandle<()>>,
    /// Assembler, worker, one for each destination: they write to the disk, which no task should wait for.
    threads: Vec<thread::JoinHandle<()>>,
}

impl Service {
    /// Starts everything. An error names the part that cannot start and whose move it is; nothing is left running that
    /// matters, because the process ends.
    pub async fn start(config: Config) -> Result<Service> {
        let key = site_key(&config.data)?;
        let tls = config.tls.as_ref().map(Tls::open).transpose()?;
        let intake = Intake::open(&config, &key, tls.as_ref())?;
        let mut listeners = Listeners::open(&config).await?;
        let access = config.dashboard.access()?;
        let page = listen_for_page(&config).await?;
        let dicom = listeners.dicom.local_addr()?;
        let dashboard = page.as_ref().map(TcpListener::local_addr).transpose()?;

        let endpoint = Endpoint::open(&config.mqtt.broker, tls.as_ref())?;
        // The page listens from the beginning: the device's birth comes once.
        let (live, heard) = broadcast::channel(LIVE);
        let mut tasks = vec![mqtt::subscribe(&config.mqtt, endpoint.clone(), live.clone())];
        tasks.extend(mqtt::neighbours(&config.mqtt, endpoint.clone(), live.clone()));
        let (stop, stopped) = watch::channel(false);
        let shared = Shared::open(config, tls, &endpoint, &intake, stopped.clone())?;
        let Shared { config, outbox, publisher, board, health, .. } = &shared;

        let (queue, waiting) = std::sync::mpsc::sync_channel(jobs::MAX_WAITING);
        let doors = shared.doors();
        let bench = shared.bench(&doors, &key)?;
        let verdicts = bench.verdicts.clone();
        let mut threads = vec![jobs::start(bench, waiting, stopped.clone())?];
        let progress = Progress::new(config, health, publisher);
        threads.extend(shared.supervision(&progress)?);
        let deliveries = Deliveries::new(outbox, board, &shared.results());
        threads.extend(shared.deliver(&doors, &deliveries)?);

        tasks.extend(shared.serve_mrd(listeners.mrd.take(), queue.clone(), key));
        let (reruns, again) = mpsc::channel(commands::WAITING);
        if let Some((task, thread)) = shared.obey(&endpoint, deliveries, queue.clone(), reruns)? {
            tasks.push(task);
            threads.push(thread);
        }
        let (events, incoming) = mpsc::channel(ARRIVALS);
        let assembly = Assembly {
            assembler: Assembler::new(config.complete),
            board: board.clone(),
            outbox: outbox.clone(),
            queue,
            results: shared.results(),
            verdicts,
            hand: health.hand(Part::Assemble),
        };
        threads.push(assembly.start(incoming, again, stopped.clone())?);
        let telemetry = shared.telemetry(&intake, &progress);
        threads.push(shared.retention(&intake, events.clone()).start(stopped.clone())?);
        let hand = health.hand(Part::Ingest);
        tasks.extend(intake.start(listeners, config.dicom.clone(), events, hand, stopped.clone()));
        tasks.extend(shared.tls.clone().map(|tls| tokio::spawn(tls.watch())));
        // Before anything else can happen.
        let witness = Witness::started(publisher.clone(), shared.audit.clone());
        threads.push(telemetry.start(stopped.clone())?);
        threads.extend(watchdog::start(progress, board.clone(), stopped)?);
        tasks.extend(page.map(|listener| shared.serve_page(listener, access, telemetry, heard)));
        tracing::info!(%dicom, ?dashboard, broker = ?endpoint, "ready");
        Ok(Service {
            dicom,
            dashboard,
            endpoint,
            board: board.clone(),
            live,
            witness,
            stop,
            leave: shared.leave.clone(),
            tasks,
            threads,
        })
    }

    /// An operator has ordered a restart.
    async fn asked_to_leave(&self) {
        self.leave.notified().await;
    }

    /// Takes no more, lets the job at work end, says so to the broker.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        let since = Instant::now();
        while !self.threads.iter().all(thread::JoinHandle::is_finished) {
            if since.elapsed() >= LAST_JOB {
                tracing::warn!(
                    "the job at work is cut off; its series runs again at the next start"
                );
                break;
            }
            tokio::time::sleep(END_PAUSE).await;
        }
        for task in self.tasks {
            task.abort();
            // Aborted: it has nothing to say.
            let _ = task.await;
        }
        self.witness.stopping();
        self.witness.publisher.shutdown().await;
    }
}

/// Who hears of starts and stops: the broker and the audit log.
#[derive(Debug)]
struct Witness {
    publisher: Arc<Publisher>,
    audit: Arc<Audit>,
}

impl Witness {
    fn started(publisher: Arc<Publisher>, audit: Arc<Audit>) -> Witness {
        let software = Version::software();
        audit.note(Actor::Service, Action::Start { software }, Ending::Done);
        tell(&publisher, Happening::Started { software });
        Witness { publisher, audit }
    }

    fn stopping(&self) {
        self.audit.note(Actor::Service, Action::Stop, Ending::Done);
        tell(&self.publisher, Happening::Stopping);
    }
}

/// Publishes an event of the service; work goes on where it cannot be stored.
fn tell(publisher: &Publisher, happening: Happening) {
    if let Err(error) = publisher.event(happening) {
        tracing::error!("an event was not told: {error}; {}", error.whose().advice());
    }
}

/// Where the page is served, if it is.
async fn listen_for_page(config: &Config) -> Result<Option<TcpListener>> {
    Ok(match config.dashboard.bind {
        Some(address) => Some(dashboard::bind(address).await?),
        None => None,
    })
}

/// Runs the service until `shutdown` ends.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<()> {
    let service = Service::start(config).await?;
    tokio::select! {
        () = shutdown => tracing::info!("shutting down"),
        () = service.asked_to_leave() => tracing::info!("shutting down, to be started again"),
    }
    service.shutdown().await;
    Ok(())
}

/// The site's key for job ids.
fn site_key(data: &Path) -> Result<Vec<u8>> {
    Ok(secret::keep(data, KEY_FILE, "a new one would rename every job")?.to_vec())
}
