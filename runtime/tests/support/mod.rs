//! What the tests of MQTT and of the page share: example messages, a folder and a broker process per test.
#![allow(dead_code, reason = "every test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "the example page uses it too")]

pub(crate) mod watcher;

use kernels::{Affine, Dims, Grid, Volume};
use pipeline::{Flag, Numbering, Vertebra};
use pipeline::{ModelCard, Segmentation, Structure, VertebraId};
use sagitta::identity::JobId;
use sagitta::jobs::board::Board;
use sagitta::messages::{
    Engine, JobResult, JobStage, JobState, JobStatus, Latencies, ModelTag, Name, OutputKind,
    SelfTest, ServiceHealth, Timings,
};
use sagitta::outbox::Outbox;
use sagitta::publish::mqtt::{BrokerSettings, Endpoint, Publisher, Settings, SiteBroker};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// For a condition that comes true within milliseconds, on a machine under full load.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn job(name: &str) -> JobId {
    JobId::new(b"a site key", name)
}

/// A service that has worked for a while.
pub(crate) fn service() -> ServiceHealth {
    ServiceHealth {
        stuck: None,
        degraded: None,
        self_test: SelfTest::Passed,
        self_test_age_s: Some(3600),
        jobs_open: 1,
        jobs_done: 12,
        jobs_refused: 3,
        jobs_failed: 1,
        instances_stored: 312,
        instances_refused: 2,
        draining: false,
        commands_ignored: 0,
        latency_ms: Latencies::default(),
        engine: None,
        precision: None,
        fallback: None,
        outbox_messages: 4,
        outbox_oldest_s: Some(7),
        deliveries_waiting: 1,
        deliveries_oldest_s: None,
        mcu: None,
        alarms_active: 1,
        health_dropped: 0,
    }
}

pub(crate) fn timings() -> Timings {
    let mut timings = Timings::default();
    for (n, stage) in JobStage::ALL.into_iter().enumerate() {
        timings.add(stage, Duration::from_micros(1500 + 40_250 * (n as u64 * 5 % 7)));
    }
    timings
}

pub(crate) fn status(job: &JobId, state: JobState) -> JobStatus {
    JobStatus {
        job: job.clone(),
        generation: 1,
        state,
        instances: 15,
        elapsed_ms: 1234,
        stages_ms: Timings::default(),
        fallback: None,
        destinations: Vec::new(),
    }
}

pub(crate) fn card() -> ModelCard {
    ModelCard {
        name: "semantic-cpu".to_owned(),
        version: "0.1.0".to_owned(),
        weights_sha256: "0123456789abcdef".repeat(4),
        context: 2,
        multiple_of: 8,
        in_plane_mm: 1.0,
        slice_pitch_mm: [2.0, 5.0],
        normalisation: pipeline::card::Normalisation {
            low_percentile: 0.5,
            high_percentile: 99.5,
            foreground: 0.1,
        },
        mirror_slices: true,
        classes: Vec::new(),
    }
}

pub(crate) fn segmentation(numbering: Numbering) -> Segmentation {
    let axes = [[0.0, 2.0, 0.0], [0.0, 0.0, -2.0], [-5.0, 0.0, 0.0]];
    let affine = Affine::new(axes, [0.0; 3]).unwrap();
    let grid = Grid { dims: Dims::new([10, 10, 5]).unwrap(), affine };
    let mut semantic = Volume::filled(grid, 0u8);
    semantic.voxels_mut()[..100].fill(Structure::VertebralBody.value());
    semantic.voxels_mut()[100..150].fill(Structure::Disc.value());
    let vertebra = |id, body_ml| Vertebra {
        id: VertebraId::new(id).unwrap(),
        body_centroid_index: [1.0; 3],
        body_centroid_mm: [2.0; 3],
        body_ml,
        truncated: id == 20,
        support: None,
    };
    let instances = Volume::filled(grid, 0u16);
    let vertebrae = vec![vertebra(20, 21.456), vertebra(21, 24.1)];
    let known: (&[Flag], f32) = (&[Flag::LevelUnverified], 0.951_26);
    Segmentation {
        measures: pipeline::measure::measurements(
            &semantic, &instances, &vertebrae, numbering, known,
        ),
        semantic,
        instances,
        vertebrae,
        sacrum: numbering == Numbering::FromSacrum,
        numbering,
        likely: Vec::new(),
        flags: vec![Flag::LevelUnverified, Flag::LaterallyTruncated],
        confidence: 0.951_26,
        tumours: None,
    }
}

pub(crate) fn result(job: &JobId, numbering: Numbering) -> JobResult {
    let (model, engine) =
        (ModelTag::from_card(&card()).unwrap(), Engine::parse("simd f32").unwrap());
    let mut result = JobResult::new(job.clone(), 1, &segmentation(numbering), model, engine);
    result.stages_ms = timings();
    result.outputs = vec![OutputKind::SegSpine, OutputKind::Overlay, OutputKind::MrDerived];
    result
}

/// A folder for one test, removed at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("sagitta-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Debian's broker on a port of loopback; it ends with the test.
pub(crate) struct Mosquitto {
    process: Child,
    pub(crate) port: u16,
}

impl Mosquitto {
    /// `config`: lines beside the listener. State is kept in `folder`.
    pub(crate) fn start(port: u16, folder: &Path, config: &str) -> Mosquitto {
        let file = folder.join("mosquitto.conf");
        let place = folder.display();
        let text = format!(
            "listener {port} 127.0.0.1\npersistence true\npersistence_location {place}/\n\
             user root\n{config}\n"
        );
        std::fs::write(&file, text).unwrap();
        let process = Command::new("/usr/sbin/mosquitto")
            .args(["-c".as_ref(), file.as_os_str()])
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto is needed: apt-get install mosquitto");
        wait_for("mosquitto to listen", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(())
        });
        Mosquitto { process, port }
    }

    /// Ends it in order: it keeps what it acknowledged for sessions that last.
    pub(crate) fn stop(mut self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.process.wait().unwrap();
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A board whose messages stay in the outbox: nobody listens where it looks for a broker. Needs a tokio runtime.
pub(crate) fn board(folder: &Path) -> (Arc<Board>, Arc<Outbox>) {
    let (host, port) = ("127.0.0.1".to_owned(), Some(free_port()));
    let broker = BrokerSettings::External(SiteBroker { host, port, ..SiteBroker::default() });
    let name = |text| Name::new(text).unwrap();
    let settings = Settings { site: name("north"), device: name("mr1"), broker };
    let outbox = Arc::new(Outbox::open(&folder.join("outbox.redb")).unwrap());
    let endpoint = Endpoint::open(&settings.broker, None).unwrap();
    let publisher = Publisher::start(&settings, endpoint, outbox.clone());
    (Arc::new(Board::new(Arc::new(publisher))), outbox)
}

/// Waits until `look` finds something.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
