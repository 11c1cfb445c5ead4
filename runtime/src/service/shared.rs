//! What the parts of the service share, and how each is made of it.

use super::intake::Intake;
use crate::audit::Audit;
use crate::commands::{self, Clerk, Commands, Desk, Operators, Rerun, Unproven};
use crate::config::Config;
use crate::dashboard::{self, Access};
use crate::health::{Health, Part};
use crate::ingest::{Admission, Event};
use crate::jobs::board::Board;
use crate::jobs::companions::Companions;
use crate::jobs::levels::Levels;
use crate::jobs::produce::Workshop;
use crate::jobs::shadow::Shadow;
use crate::jobs::verdict::Verdicts;
use crate::jobs::{Again, Bench, Work, active, engines};
use crate::mrd::server::Server;
use crate::outbox::Outbox;
use crate::page::Page;
use crate::progress::Progress;
use crate::publish::advance::Door;
use crate::publish::deliveries::{Deliveries, Recipient};
use crate::publish::mqtt::{self, Endpoint, LiveMessage, Publisher};
use crate::publish::store::Destination;
use crate::registry::Registry;
use crate::retention::Retention;
use crate::seal::DeviceKey;
use crate::supervise;
use crate::telemetry::{Sources, Telemetry};
use crate::tls::Tls;
use anyhow::Result;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread;
use tokio::net::TcpListener;
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::task::JoinHandle;

/// See the module.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) tls: Option<Tls>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) audit: Arc<Audit>,
    pub(super) publisher: Arc<Publisher>,
    pub(super) board: Arc<Board>,
    pub(super) health: Arc<Health>,
    pub(super) admission: Arc<Admission>,
    pub(super) unproven: Arc<Unproven>,
    /// An operator has ordered the end.
    pub(super) leave: Arc<Notify>,
    pub(super) stop: watch::Receiver<bool>,
}

impl Shared {
    /// Opens what is on the disk, and begins to drain the outbox.
    pub(super) fn open(
        config: Config,
        tls: Option<Tls>,
        endpoint: &Endpoint,
        intake: &Intake,
        stop: watch::Receiver<bool>,
    ) -> Result<Shared> {
        let outbox = Arc::new(Outbox::open(&config.data.join("outbox.redb"))?);
        let audit = Arc::new(Audit::open(&config.data)?);
        let publisher = Publisher::start(&config.mqtt, endpoint.clone(), outbox.clone());
        let publisher = Arc::new(publisher);
        let board = Arc::new(Board::new(publisher.clone()));
        let (health, unproven) = (Health::new(), Arc::default());
        let admission = intake.admission.clone();
        Ok(Shared {
            config,
            tls,
            outbox,
            audit,
            publisher,
            board,
            health,
            admission,
            unproven,
            leave: Arc::default(),
            stop,
        })
    }

    /// Where orders are carried out.
    fn desk(
        &self,
        deliveries: Deliveries,
        queue: SyncSender<Work>,
        reruns: mpsc::Sender<Rerun>,
    ) -> Desk {
        Desk {
            deliveries,
            destinations: self.config.destinations.clone(),
            admission: self.admission.clone(),
            queue,
            reruns,
            models: Registry::of(&self.config.data),
            leave: self.leave.clone(),
        }
    }

    /// Folder of all results.
    pub(super) fn results(&self) -> PathBuf {
        self.config.data.join("results")
    }

    /// What the worker needs.
    pub(super) fn bench(&self, doors: &[(Destination, Door)], key: &[u8]) -> Result<Bench> {
        let config = &self.config;
        let device_key = DeviceKey::keep(&config.data)?;
        let workshop = self.workshop()?;
        let (_, engine) = workshop.tags()?;
        self.board.works_on(engine, workshop.passed());
        Ok(Bench {
            shadow: self.shadow(workshop.threads()),
            verdicts: self.verdicts(&workshop)?,
            workshop,
            board: self.board.clone(),
            outbox: self.outbox.clone(),
            destinations: doors.to_vec(),
            results: self.results(),
            levels: Levels::new(config.data.join("levels"), key.to_vec()),
            companions: Companions::new(config.data.join("companions"), key.to_vec()),
            selection: config.selection.clone(),
            again: Again::default(),
            key: Arc::new(device_key),
            hand: Arc::new(self.health.hand(Part::Jobs)),
        })
    }

    /// The nets on the engine that the configuration asks for; the log says which one it became.
    fn workshop(&self) -> Result<Workshop> {
        let Config { jobs, data, .. } = &self.config;
        let settings = engines::settings(jobs, Some(data));
        let listener = Some(engines::logged());
        let mut workshop = active::open(&Registry::of(data), jobs.threads, &settings, listener)?;
        if jobs.lesions {
            workshop = workshop.with_lesions()?;
        }
        let engine = workshop.engine();
        tracing::info!(engine = %engine.name, "engine: {}", engine.reason);
        Ok(workshop)
    }

    /// The candidate beside the active model, where there is one; one that cannot run is no reason not to start.
    fn shadow(&self, threads: usize) -> Option<Shadow> {
        let Config { jobs, data, .. } = &self.config;
        let settings = engines::settings(jobs, Some(data));
        Shadow::open(data, &settings, threads).unwrap_or_else(|reason| {
            tracing::warn!("the candidate model does not run: {reason}; the site's move");
            None
        })
    }

    /// What was said before of series of which nothing is made, by this software, its nets and the site's table.
    fn verdicts(&self, workshop: &Workshop) -> Result<Verdicts> {
        let (weights, table) = (workshop.weights(), serde_json::to_string(&self.config.selection)?);
        let judges = [
            ("software", env!("CARGO_PKG_VERSION")),
            ("weights", weights.as_str()),
            ("selection", table.as_str()),
        ];
        Ok(Verdicts::new(self.results(), &judges))
    }

    /// The destinations, each with where it waits for what is sent in advance.
    pub(super) fn doors(&self) -> Vec<(Destination, Door)> {
        self.config.destinations.iter().map(|to| (to.clone(), Door::default())).collect()
    }

    /// The threads that bring results to their destinations, one for each.
    pub(super) fn deliver(
        &self,
        doors: &[(Destination, Door)],
        deliveries: &Deliveries,
    ) -> Result<Vec<thread::JoinHandle<()>>> {
        let start = |(number, (destination, door)): (u32, &(Destination, Door))| {
            let hand = self.health.hand(Part::Deliveries);
            let route = destination.route(self.tls.as_ref()).map_err(anyhow::Error::msg)?;
            let (name, door) = (destination.name.clone(), door.clone());
            let to = Recipient { number, name, route, door };
            Ok(deliveries.start(to, hand, self.stop.clone())?)
        };
        (1..).zip(doors).map(start).collect()
    }

    /// What hears commands and what obeys them, where the configuration names operators.
    pub(super) fn obey(
        &self,
        endpoint: &Endpoint,
        deliveries: Deliveries,
        queue: SyncSender<Work>,
        reruns: mpsc::Sender<Rerun>,
    ) -> Result<Option<(JoinHandle<()>, thread::JoinHandle<()>)>> {
        let (config, unproven) = (&self.config, &self.unproven);
        if config.operators.is_empty() {
            return Ok(None);
        }
        let (orders, tokens) = mpsc::channel(commands::WAITING);
        let commands = Commands {
            operators: Operators::open(&config.operators)?,
            device: config.mqtt.device_path(),
            clerk: Arc::new(Clerk::new(&self.outbox, &self.publisher, &self.audit)),
            desk: self.desk(deliveries, queue, reruns),
            unproven: unproven.clone(),
        };
        let thread = commands.start(tokens, self.stop.clone())?;
        let task = mqtt::commands(&config.mqtt, endpoint.clone(), orders, unproven.clone());
        Ok(Some((task, thread)))
    }

    /// What measures, tells and judges how the device is.
    pub(super) fn telemetry(&self, intake: &Intake, progress: &Arc<Progress>) -> Arc<Telemetry> {
        Telemetry::new(Sources {
            audit: self.audit.clone(),
            board: self.board.clone(),
            outbox: self.outbox.clone(),
            publisher: self.publisher.clone(),
            progress: progress.clone(),
            counts: intake.counts.clone(),
            admission: self.admission.clone(),
            unproven: self.unproven.clone(),
            tls: self.tls.clone(),
            mcu: self.config.mcu.is_some(),
            limits: self.config.retention.limits(),
            data: self.config.data.clone(),
        })
    }

    /// What deletes what is old.
    pub(super) fn retention(&self, intake: &Intake, events: mpsc::Sender<Event>) -> Retention {
        Retention {
            settings: self.config.retention,
            spool: intake.spool.clone(),
            board: self.board.clone(),
            outbox: self.outbox.clone(),
            events,
            data: self.config.data.clone(),
            found: intake.found.iter().map(|arrival| arrival.job.clone()).collect(),
        }
    }

    /// The task that takes series by MRD and answers them, where the configuration wants it.
    pub(super) fn serve_mrd(
        &self,
        listener: Option<TcpListener>,
        queue: SyncSender<Work>,
        key: Vec<u8>,
    ) -> Option<JoinHandle<()>> {
        let server = Server::new(self.config.mrd.clone(), self.admission.clone(), queue, key);
        Some(tokio::spawn(server.serve(listener?, self.stop.clone())))
    }

    /// The thread that speaks to the supervisor MCU, where the configuration names one.
    pub(super) fn supervision(
        &self,
        progress: &Arc<Progress>,
    ) -> Result<Option<thread::JoinHandle<()>>> {
        let Some(settings) = self.config.mcu.clone() else { return Ok(None) };
        let (progress, publisher) = (progress.clone(), self.publisher.clone());
        Ok(Some(supervise::start(settings, progress, publisher, self.stop.clone())?))
    }

    /// The task that serves the page.
    pub(super) fn serve_page(
        &self,
        listener: TcpListener,
        access: Access,
        telemetry: Arc<Telemetry>,
        heard: broadcast::Receiver<LiveMessage>,
    ) -> JoinHandle<()> {
        let page = Arc::new(Page::new(self.board.clone(), telemetry));
        let served = dashboard::serve(listener, access, page, heard, self.stop.clone());
        tokio::spawn(async move {
            if let Err(error) = served.await {
                tracing::error!("the page ended: {error}");
            }
        })
    }
}
