//! One series -> its outputs in a folder: segmentation, DICOM objects, masks, pictures, report.
//!
//! The service and `sagitta segment` both run this, so that they give the same bytes.

use super::clock::StageClock;
use super::lesions::Lesions;
use super::levels::Neighbours;
use super::source::Source;
use crate::error::Move;
use crate::identity::{JobId, NetName, Provenance};
use crate::messages::{
    Engine, FailureCode, JobStage, MessageError, ModelTag, OutputKind as Published, Passed,
};
use crate::objects::{self, Made, ObjectError, OutputKind};
use crate::outbox::OutboxError;
use crate::render::{self, Scene};
use crate::report::{EngineReport, FallbackReport, Files, Outputs, Report, SeriesReport};
use crate::seal::{Digest, Digests};
use crate::{durable, files};
use models::engine::{self, Engines, Forms, Listener, ModelError, Ran};
use models::nifti::NiftiError;
use pipeline::{NetError, Refusal, SegmentError, Segmentation, Series};
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
    /// The job whose result this one is better than.
    pub replaces: Option<JobId>,
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

impl Request {
    /// Writes a file of the result durably, except for its name: [`sync_folders`] does that for all. What a delivery refers
    /// to must be there after a power cut, and whole at any time: one of an earlier run may be reading it.
    fn write(
        &self,
        name: String,
        bytes: &[u8],
        digests: &mut Digests,
    ) -> Result<PathBuf, ProduceError> {
        let path = self.folder.join(&name);
        durable::place(&path, bytes)
            .map_err(|source| ProduceError::Write { path: path.clone(), source })?;
        digests.insert(name, Digest::of(bytes));
        Ok(path)
    }
}

/// One object a slice, in a folder of their own.
fn is_series(kind: OutputKind) -> bool {
    matches!(kind, OutputKind::DerivedMr | OutputKind::SecondaryCapture)
}

/// Where a kind of object lies in the folder of a result.
fn place(kind: OutputKind) -> &'static str {
    match kind {
        OutputKind::DerivedMr => "derived",
        OutputKind::SecondaryCapture => "capture",
        OutputKind::SemanticSegmentation => "seg.dcm",
        OutputKind::InstanceSegmentation => "seg-vert.dcm",
        OutputKind::Measurements => "sr.dcm",
        OutputKind::PresentationState => "gsps.dcm",
        OutputKind::Labelmap => "seg-labelmap.dcm",
        OutputKind::Lesions => "seg-lesions.dcm",
    }
}

/// The loaded nets and what they are called in outputs.
pub struct Workshop {
    engines: Engines,
    precision: engine::Precision,
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
        let threads = threads.unwrap_or_else(kernels::threads::available);
        let weights = Forms::embedded(settings.precision)?;
        let engines = Engines::open(&weights, settings, threads, listener)?;
        let engine = engine_report(engines.at_work(), threads);
        let precision = settings.precision;
        Ok(Workshop { engines, precision, threads, lesions: None, failed: None, engine })
    }

    /// The same that also looks for enhancing lesions: experimental.
    pub fn with_lesions(self) -> Result<Workshop, ModelError> {
        Ok(Workshop { lesions: Some(Lesions::open()?), ..self })
    }

    pub fn engine(&self) -> &EngineReport {
        &self.engine
    }

    /// Whether the weights in the program have their checksums and every engine still gives its known answers. After one that
    /// failed no series is segmented.
    pub fn self_test(&mut self) -> Result<(), String> {
        let weights = Forms::embedded(self.precision).map_err(|error| error.to_string());
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

    /// Model and engine as messages name them.
    pub fn tags(&self) -> Result<(ModelTag, Engine), MessageError> {
        Ok((
            ModelTag::from_card(self.engines.nets().semantic.card())?,
            Engine::parse(&self.engine.name)?,
        ))
    }

    /// What will have made a result of this workshop.
    fn provenance(&self, neighbours: &Neighbours, generation: u32) -> Provenance {
        let neighbours = neighbours.text();
        let values: Vec<_> = neighbours.iter().map(|text| ("neighbours", text.as_str())).collect();
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
        }
    }

    /// Segments a series of which no file is made: nobody knows its study, and it has one generation.
    pub fn answer(
        &mut self,
        series: &Series,
        tell: &mut dyn FnMut(),
    ) -> Result<(Segmentation, Provenance), SegmentError> {
        self.believed()?;
        let (segmentation, ran) = self.engines.segment(series, &[], &mut |_| tell())?;
        self.engine = engine_report(ran, self.threads);
        Ok((segmentation, self.provenance(&Neighbours::default(), 1)))
    }

    /// Works on a series that is still coming; see [`pipeline::look_ahead()`].
    pub fn look_ahead(&mut self, series: &Series, whole: bool, go_on: &mut dyn FnMut() -> bool) {
        self.engines.look_ahead(series, whole, go_on);
    }

    /// Segments a series from which only the levels are wanted.
    pub fn read_levels(&mut self, source: &Source) -> Result<Segmentation, SegmentError> {
        self.believed()?;
        let (levels, _) = self.engines.segment(source.series(), &[], &mut |_| {})?;
        Ok(levels)
    }

    /// Segments `source` and writes every output. `tell` hears of each stage as it begins.
    pub fn produce(
        &mut self,
        source: &Source,
        request: &Request,
        clock: &mut StageClock,
        tell: &mut dyn FnMut(JobStage),
    ) -> Result<Product, ProduceError> {
        if let Some(reason) = &self.failed {
            return Err(ProduceError::SelfTest(reason.clone()));
        }
        let series = source.series();
        let neighbours = request.neighbours.known();
        let (mut segmentation, ran) = self.engines.segment(series, &neighbours, &mut |stage| {
            clock.begin(stage.into(), tell);
        })?;
        if let Some(lesions) = &self.lesions {
            clock.begin(JobStage::Lesions, tell);
            segmentation.tumours = Some(lesions.search(source, &segmentation, self.threads));
        }
        let passed = ran.fallback.as_ref().map(Passed::try_from).transpose()?;
        self.engine = engine_report(ran, self.threads);
        clock.begin(JobStage::Outputs, tell);
        let provenance = self.provenance(&request.neighbours, request.generation);
        // Pictures and masks take about as long as the DICOM objects: one core each.
        let (pictures, objects) = std::thread::scope(|scope| {
            let pictures = scope.spawn(|| pictures(series, &segmentation, &provenance, request));
            let objects = dicom_objects(source, &segmentation, &provenance, request);
            (pictures.join(), objects)
        });
        let pictures = pictures.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let Written { objects, mut outputs, mut digests } = objects?;
        outputs.extend(pictures.outputs);
        digests.extend(pictures.digests);
        sync_folders(request, &outputs)?;
        let mut report = Report::new(
            SeriesReport::new(&request.name, source, request.generation),
            &segmentation,
            &provenance,
            self.engine.clone(),
            Files { inputs: request.inputs.clone(), outputs, digests },
        );
        report.series.replaces = request.replaces.clone();
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

/// What people look at, and the files that are no DICOM.
struct Pictures {
    scene: Scene,
    overview: Vec<u8>,
    outputs: Outputs,
    digests: Digests,
}

fn pictures(
    series: &Series,
    segmentation: &Segmentation,
    provenance: &Provenance,
    request: &Request,
) -> Result<Pictures, ProduceError> {
    let scene = Scene::new(&series.volume, segmentation, provenance, None);
    let overview = scene.overlay_png();
    let (mut outputs, mut digests) = (Outputs::default(), Digests::default());
    for file in files::build(series, segmentation, provenance, &request.name, &overview)? {
        outputs.add(file.kind, request.write(file.name, &file.bytes, &mut digests)?);
    }
    Ok(Pictures { scene, overview, outputs, digests })
}

/// The DICOM objects as files.
#[derive(Default)]
struct Written {
    /// In the order in which a destination wants them.
    objects: Vec<(OutputKind, PathBuf)>,
    outputs: Outputs,
    digests: Digests,
}

/// Builds and writes the DICOM objects of a DICOM source.
fn dicom_objects(
    source: &Source,
    segmentation: &Segmentation,
    provenance: &Provenance,
    request: &Request,
) -> Result<Written, ProduceError> {
    let mut written = Written::default();
    let Source::Dicom(dicom) = source else { return Ok(written) };
    let captures = render::captures(&dicom.series, segmentation, provenance);
    let mut objects = objects::build(dicom, segmentation, provenance, &request.made, &captures)?;
    if request.labelmap {
        objects.extend(objects::labelmap(dicom, segmentation, provenance, &request.made)?);
    }
    for object in objects {
        let place = place(object.kind);
        written.outputs.add(Published::from(object.kind), request.folder.join(place));
        let name = match is_series(object.kind) {
            true => format!("{place}/{}", object.file_name),
            false => place.to_owned(),
        };
        let path = request.write(name, &object.bytes, &mut written.digests)?;
        written.objects.push((object.kind, path));
    }
    Ok(written)
}

/// Makes the names of the outputs durable, once for all files of a folder.
fn sync_folders(request: &Request, outputs: &Outputs) -> Result<(), ProduceError> {
    let folders = outputs.paths().filter(|path| path.is_dir());
    for folder in folders.chain([&request.folder]) {
        durable::sync_folder(folder)
            .map_err(|source| ProduceError::Write { path: folder.clone(), source })?;
    }
    Ok(())
}
