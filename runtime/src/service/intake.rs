//! What comes in by DICOM, and what was there when the service started: spool, procedure steps, storage commitments.

use crate::config::Config;
use crate::health::Hand;
use crate::ingest::commitment::Commitments;
use crate::ingest::mpps::{Step, Steps};
use crate::ingest::receiver::{Receiver, Services};
use crate::ingest::spool::Spool;
use crate::ingest::{Admission, Arrival, Counts, Event, Performed, association, stow};
use crate::tls::Tls;
use crate::wire::requestor::Route;
use anyhow::{Context, Result};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Where instances come in.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) dicom: TcpListener,
    web: Option<TcpListener>,
    /// Nothing that comes here lies on the disk: it is none of the [`Intake`].
    pub(super) mrd: Option<TcpListener>,
}

impl Listeners {
    pub(super) async fn open(config: &Config) -> Result<Listeners> {
        let dicom = bind(config.dicom.bind, "DICOM").await?;
        let web = bind_where(config.dicomweb.bind, "DICOMweb").await?;
        let mrd = bind_where(config.mrd.bind, "MRD").await?;
        Ok(Listeners { dicom, web, mrd })
    }
}

async fn bind_where(address: Option<SocketAddr>, what: &str) -> Result<Option<TcpListener>> {
    match address {
        Some(address) => bind(address, what).await.map(Some),
        None => Ok(None),
    }
}

async fn bind(address: SocketAddr, what: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen for {what} on {address}: set another port, or end what holds this one"
        )
    })
}

/// Everything of the receiver that has a place on the disk.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) spool: Arc<Spool>,
    /// The images that lay in the spool.
    pub(super) found: Vec<Arrival>,
    steps: Steps,
    performed: Vec<Vec<Performed>>,
    commitments: Option<Arc<Commitments>>,
    pub(super) counts: Arc<Counts>,
    pub(super) admission: Arc<Admission>,
    /// For the listener, where it is to be secure.
    tls: Option<Tls>,
}

impl Intake {
    pub(super) fn open(config: &Config, key: &[u8], tls: Option<&Tls>) -> Result<Intake> {
        let (spool, found) = Spool::open(&config.data.join("spool"), key)?;
        let spool = Arc::new(spool.refusing_at(config.retention.refuse_percent));
        let (steps, known) = open_steps(&config.data, key)?;
        let performed = known.iter().map(|step| step.performed(&spool)).collect();
        let tls = tls.filter(|_| config.dicom.tls).cloned();
        let commitments = commitments(config, &spool, tls.as_ref())?;
        let (counts, admission) = (Arc::default(), Arc::default());
        Ok(Intake { spool, found, steps, performed, commitments, counts, admission, tls })
    }

    /// Starts the tasks: what was there is brought, while the listener already takes more.
    pub(super) fn start(
        self,
        listeners: Listeners,
        settings: association::Settings,
        events: mpsc::Sender<Event>,
        hand: Hand,
        stop: watch::Receiver<bool>,
    ) -> Vec<JoinHandle<()>> {
        let Intake { spool, found, steps, performed, commitments, counts, admission, tls } = self;
        let mut tasks = vec![tokio::spawn(bring(found, performed, events.clone()))];
        tasks.extend(commitments.iter().flat_map(|commitments| commitments.start()));
        let services =
            Services { settings, admission, tls, spool, steps, commitments, counts, events };
        let receiver = Receiver::new(services);
        let Listeners { dicom, web, .. } = listeners;
        let web = web.map(|web| stow::serve(web, receiver.clone(), stop.clone()));
        tasks.extend(web.map(tokio::spawn));
        tasks.push(tokio::spawn(held(hand, association::serve(dicom, receiver, stop))));
        tasks
    }
}

/// `work` with the hand of its part, which is missed when the work ends.
async fn held(hand: Hand, work: impl Future<Output = ()>) {
    work.await;
    drop(hand);
}

/// What lay on the disk at start is brought as if it came now, while the service already receives.
async fn bring(found: Vec<Arrival>, performed: Vec<Vec<Performed>>, events: mpsc::Sender<Event>) {
    let found = found.into_iter().map(|arrival| Event::Arrived(Box::new(arrival)));
    for event in found.chain(performed.into_iter().map(Event::Performed)) {
        if events.send(event).await.is_err() {
            return;
        }
    }
}

fn open_steps(data: &Path, key: &[u8]) -> Result<(Steps, Vec<Step>)> {
    let folder = data.join("steps");
    Steps::open(&folder, key).with_context(|| {
        format!(
            "cannot read the procedure steps in {}: let the service read there",
            folder.display()
        )
    })
}

/// The storage commitments that wait for their reports, where the site wants any.
fn commitments(
    config: &Config,
    spool: &Arc<Spool>,
    tls: Option<&Tls>,
) -> Result<Option<Arc<Commitments>>> {
    if !config.dicom.commitment {
        return Ok(None);
    }
    let (folder, own_title) = (config.data.join("commitments"), &config.dicom.ae_title);
    let mut routes = HashMap::new();
    for peer in &config.dicom.peers {
        let (title, Some(address)) = (&peer.calling_ae, &peer.report_to) else { continue };
        let mut route = Route::plain(address.clone(), title.clone(), own_title.clone());
        if let Some(tls) = tls {
            let name = Route::server_name(address, None).map_err(anyhow::Error::msg)?;
            route = route.secured(tls, name);
        }
        routes.insert(title.trim().to_owned(), route);
    }
    let commitments = Commitments::open(&folder, spool.clone(), routes).with_context(|| {
        format!("cannot read the commitments in {}: let the service read there", folder.display())
    })?;
    Ok(Some(Arc::new(commitments)))
}
