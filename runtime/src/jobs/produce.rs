//! One series -> its outputs in a folder: segmentation, DICOM objects, masks, pictures, report.
//!
//! The service and `sagitta segment` both run this, so that they give the same bytes.

use super::clock::StageClock;
use super::lesions::Lesions;
use super::levels::Neighbours;
use super::outputs::{Objects, Pictures};
use super::source::Source;
use crate::error::Move;
use crate::identity::{NetName, Provenance, Superseded};
use crate::messages::{Engine, FailureCode, JobStage, MessageError, ModelTag, Passed};
use crate::objects::{Made, ObjectError, OutputKind};
use crate::outbox::OutboxError;
use crate::publish::advance::Advance;
use crate::render::Scene;
use crate::report::{EngineReport, FallbackReport, Files, Report, SeriesReport};
use crate::seal::Digest;
use models::engine::{self, Engines, Forms, Listener, ModelError, Ran};
use models::nifti::NiftiError;
use pipeline::{NetError, Refusal, SegmentError, Segmentation, Series, Stage};
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Begins the names of masks and centroids; also what the report calls the series.
    pub name: String,
    /// Of the files that the series was read from.
    pub inputs: Vec<Digest>,
    pub folder: PathBuf,
    pub made: Made,
    pub generation: u32,
    /// What other series of the study know of the levels.
    pub neighbours: Neighbours,
    /// The result of another series that this one is better than.
    pub supersedes: Option<Superseded>,
    /// Whether anybody takes the label map.
    pub labelmap: bool,
}

/// What came out.
#[derive(Debug)]
pub struct Product {
    pub segmentation: Segmentation,
    pub report: Report,
    /// The engine that was passed over, as messages name it.
    pub passed: Option<Passed>,
    /// DICOM objects in the order in which a destination wants them.
    pub objects: Vec<(OutputKind, PathBuf)>,
    pub scene: Arc<Scene>,
    /// The overview picture, PNG.
    pub overview: Vec<u8>,
}

/// Why there is no output.
#[derive(Debug, Error)]
pub enum ProduceError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the self-test failed: {0}")]
    SelfTest(String),
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Objects(#[from] ObjectError),
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Mask(#[from] NiftiError),
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    #[error("a value of the model card cannot be published: {0}")]
    Message(#[from] MessageError),
}

impl From<SegmentError> for ProduceError {
    fn from(error: SegmentError) -> ProduceError {
        match error {
            SegmentError::Refused(refusal) => refusal.into(),
            SegmentError::Net(error) => error.into(),
        }
    }
}

impl ProduceError {
    pub fn whose_move(&self) -> Move {
        match self {
            ProduceError::Refused(_) => Move::Peer,
            ProduceError::Objects(error) => error.whose_move(),
            ProduceError::Outbox(error) => error.whose(),
            ProduceError::SelfTest(_) | ProduceError::Read { .. } | ProduceError::Write { .. } => {
                Move::Site
            }
            ProduceError::Net(_) | ProduceError::Mask(_) | ProduceError::Message(_) => {
                Move::Sagitta
            }
        }
    }

    pub fn code(&self) -> FailureCode {
        match self {
            ProduceError::SelfTest(_) => FailureCode::SelfTest,
            ProduceError::Outbox(OutboxError::Cancelled) => FailureCode::Cancelled,
            ProduceError::Net(_) => FailureCode::Engine,
            ProduceError::Read { .. } | ProduceError::Write { .. } | ProduceError::Outbox(_) => {
                FailureCode::Storage
            }
            ProduceError::Refused(_)
            | ProduceError::Objects(_)
            | ProduceError::Mask(_)
            | ProduceError::Message(_) => FailureCode::Internal,
        }
    }
}

/// Reads cards and weights, and checks them against each other.
pub type ReadForms = Box<dyn Fn() -> Result<Forms, ModelError> + Send>;

/// The loaded nets and what they are called in outputs.
pub struct Workshop {
    engines: Engines,
    /// Reads the weights once more, for the self-test.
    read: ReadForms,
    threads: usize,
    /// Where lesions are looked for.
    lesions: Option<Lesions>,
    /// Why nothing that comes from here can be believed.
    failed: Option<String>,
    /// Of the last series; before the first, of the engine at work.
    engine: EngineReport,
}

impl std::fmt::Debug for Workshop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Workshop({:?})", self.engine)
    }
}

impl Workshop {
    /// Loads the shipped nets on the best engine that is here and that `settings` allow. With a `listener` plans that are
    /// missing are built beside the jobs.
    pub fn open(
        threads: Option<usize>,
        settings: &engine::Settings,
        listener: Option<Listener>,
    ) -> Result<Workshop, ModelError> {
        let precision = settings.precision;
        Workshop::with(Box::new(move || Forms::embedded(precision)), threads, settings, listener)
    }

    /// [`Workshop::open`] with nets from anywhere.
    pub fn with(
        read: ReadForms,
        threads: Option<usize>,
        settings: &engine::Settings,
        listener: Option<Listener>,
    ) -> Result<Workshop, ModelError> {
        let threads = threads.unwrap_or_else(kernels::threads::available);
        let engines = Engines::open(&read()?, settings, threads, listener)?;
        let engine = engine_report(engines.at_work(), threads);
        Ok(Workshop { engines, read, threads, lesions: None, failed: None, engine })
    }

    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The same that also looks for enhancing lesions: experimental.
    pub fn with_lesions(self) -> Result<Workshop, ModelError> {
        Ok(Workshop { lesions: Some(Lesions::open()?), ..self })
    }

    pub fn engine(&self) -> &EngineReport {
        &self.engine
    }

    /// Whether the weights have their checksums and every engine still gives its known answers. After one that
    /// failed no series is segmented.
    pub fn self_test(&mut self) -> Result<(), String> {
        let weights = (self.read)().map_err(|error| error.to_string());
        let tested =
            weights.and_then(|_| self.engines.self_test().map_err(|trouble| trouble.to_string()));
        // The best one may have been taken away.
        self.engine = engine_report(self.engines.at_work(), self.threads);
        self.failed = tested.clone().err();
        tested
    }

    fn believed(&self) -> Result<(), NetError> {
        match &self.failed {
            None => Ok(()),
            Some(reason) => Err(NetError::Engine(format!("the self-test failed: {reason}"))),
        }
    }

    /// The engine that should be at work and is not, as messages name it.
    pub fn passed(&self) -> Option<Passed> {
        let fallback = self.engines.at_work().fallback?;
        Passed::try_from(&fallback).ok()
    }

    /// SHA-256 of the weights of all nets.
    pub fn weights(&self) -> String {
        let nets = self.engines.nets();
        let instance = nets.instance.as_ref().map(|net| net.card().weights_sha256.clone());
        [nets.semantic.card().weights_sha256.clone(), instance.unwrap_or_default()].join(" ")
    }

    /// Model and engine as messages name them.
    pub fn tags(&self) -> Result<(ModelTag, Engine), MessageError> {
        Ok((
            ModelTag::from_card(self.engines.nets().semantic.card())?,
            Engine::parse(&self.engine.name)?,
        ))
    }

    /// What will have made a result of this workshop.
    fn provenance(
        &self,
        neighbours: &Neighbours,
        supersedes: Option<&Superseded>,
        generation: u32,
    ) -> Provenance {
        let (neighbours, twin) = (neighbours.text(), supersedes.map(|twin| twin.job.as_str()));
        let neighbours = neighbours.iter().map(|text| ("neighbours", text.as_str()));
        let values: Vec<_> = neighbours.chain(twin.map(|job| ("supersedes", job))).collect();
        let nets = self.engines.nets();
        let card = nets.semantic.card();
        Provenance {
            software: concat!("Sagitta ", env!("CARGO_PKG_VERSION")).to_owned(),
            model: card.name.clone(),
            model_version: card.version.clone(),
            weights_sha256: card.weights_sha256.clone(),
            instance: nets.instance.as_ref().map(|net| NetName::of(net.card())),
            patches: self.lesions.as_ref().map(Lesions::name),
            engine: self.engine.name.clone(),
            configuration_sha256: crate::identity::configuration_sha256(&values),
            generation,
            supersedes: supersedes.cloned(),
        }
    }

    /// Segments a series of which no file is made.
    pub fn answer(
        &mut self,
        series: &Series,
        neighbours: &Neighbours,
        clock: &mut StageClock,
        tell: &mut dyn FnMut(JobStage),
    ) -> Result<(Segmentation, Provenance), SegmentError> {
        self.believed()?;
        let mut begin = |stage: Stage| clock.begin(stage.into(), tell);
        let (delineated, ran) = self.engines.delineate(series, &neighbours.known(), &mut begin)?;
        self.engine = engine_report(ran, self.threads);
        begin(Stage::Measure);
        Ok((delineated.measured(), self.provenance(neighbours, None, 1)))
    }

    /// Works on a series that is still coming; see [`pipeline::look_ahead()`].
    pub fn look_ahead(&mut self, series: &Series, whole: bool, go_on: &mut dyn FnMut() -> bool) {
        self.engines.look_ahead(series, whole, go_on);
    }

    /// Segments a series from which only the levels are wanted.
    pub fn read_levels(&mut self, source: &Source) -> Result<Segmentation, SegmentError> {
        self.believed()?;
        let (levels, _) = self.engines.delineate(source.series(), &[], &mut |_| {})?;
        Ok(levels.measured())
    }

    /// Segments `source` and writes every output. `tell` hears of each stage as it begins.
    pub fn produce(
        &mut self,
        source: &Source,
        request: &Request,
        advance: &mut Advance<'_>,
        clock: &mut StageClock,
        tell: &mut dyn FnMut(JobStage),
    ) -> Result<Product, ProduceError> {
        if let Some(reason) = &self.failed {
            return Err(ProduceError::SelfTest(reason.clone()));
        }
        let series = source.series();
        let neighbours = request.neighbours.known();
        let (delineated, ran) = self.engines.delineate(series, &neighbours, &mut |stage| {
            clock.begin(stage.into(), tell);
            // Behind the nets: an association that waits for its first object must not wait for long.
            if stage == Stage::Join {
                let destinations = advance.open();
                tracing::debug!(destinations, "objects go out as they are made");
            }
        })?;
        let passed = ran.fallback.as_ref().map(Passed::try_from).transpose()?;
        self.engine = engine_report(ran, self.threads);
        let twin = request.supersedes.as_ref();
        let provenance = self.provenance(&request.neighbours, twin, request.generation);
        let mut objects = Objects::new(source, request, &provenance, advance);
        clock.begin(JobStage::Measure, tell);
        // Who looks at the overlay waits for no number.
        let (measured, shown) = std::thread::scope(|scope| {
            let measured = scope.spawn(|| delineated.measure());
            let shown = objects.images(delineated.masks());
            (measured.join(), shown)
        });
        shown?;
        let mut segmentation =
            delineated.with(measured.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        if let Some(lesions) = &self.lesions {
            clock.begin(JobStage::Lesions, tell);
            segmentation.tumours = Some(lesions.search(source, &segmentation, self.threads));
        }
        clock.begin(JobStage::Outputs, tell);
        // Pictures and masks take about as long as the DICOM objects: one core each.
        let (pictures, documents) = std::thread::scope(|scope| {
            let pictures =
                scope.spawn(|| Pictures::make(series, &segmentation, &provenance, request));
            let documents = objects.documents(&segmentation);
            (pictures.join(), documents)
        });
        let pictures = pictures.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        documents?;
        let (objects, mut written) = objects.write()?;
        written.append(pictures.written);
        let (outputs, digests) = written.commit()?;
        let mut report = Report::new(
            SeriesReport::new(&request.name, source, request.generation),
            &segmentation,
            &provenance,
            self.engine.clone(),
            Files { inputs: request.inputs.clone(), outputs, digests },
        );
        report.series.replaces = twin.map(|twin| twin.job.clone());
        report.levels_from = request.neighbours.source_of(segmentation.numbering).cloned();
        let (scene, overview) = (Arc::new(pictures.scene), pictures.overview);
        Ok(Product { segmentation, report, passed, objects, scene, overview })
    }
}

fn engine_report(ran: Ran, threads: usize) -> EngineReport {
    let fallback = ran.fallback.map(|fallback| FallbackReport {
        from: fallback.from,
        state: fallback.trouble.state.name(),
        text: fallback.trouble.text,
    });
    EngineReport {
        name: ran.engine,
        instruction_set: engine::instruction_set(),
        threads,
        reason: ran.reason,
        slices_ahead: ran.slices_ahead,
        fallback,
    }
}
