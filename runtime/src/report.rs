//! The report of one series: what `report.json` holds and `--json` prints (architecture: machine-readable contracts).

use crate::decode::selection::Selection;
use crate::identity::{JobId, Provenance};
use crate::jobs::source::Source;
use crate::messages::{OutputKind, Receipt, Timings};
use crate::seal::{self, DeviceKey, Digest, Digests};
use pipeline::measure::{Curvature, Quality, VertebraMeasures};
use pipeline::penn::{self, Compartment, Lesion, Tumours, Unseen};
use pipeline::{Flag, LikelyLevels, Numbering, Plane, Segmentation, VertebraId};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Name of the report in the folder of a result. It is the last file: where it is, all that is left is to tell of it.
pub const FILE_NAME: &str = "report.json";

/// One series, from last byte to last acknowledgement. Holds no patient data.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub series: SeriesReport,
    /// Stage -> milliseconds, in the order in which they ran.
    pub stages: Timings,
    /// Last byte received to last acknowledgement, milliseconds.
    pub total_ms: f64,
    pub engine: EngineReport,
    pub models: Vec<ModelReport>,
    pub software: String,
    pub configuration_sha256: String,
    /// Top to bottom.
    pub vertebrae: Vec<VertebraReport>,
    pub sacrum: bool,
    pub numbering: Numbering,
    /// The job whose levels these are, where another series of the study names them.
    pub levels_from: Option<JobId>,
    /// The best run of levels and the one to mistake it for, by shapes and sizes alone.
    pub likely_levels: Vec<LikelyReport>,
    pub flags: Vec<Flag>,
    /// What was found of enhancing lesions; null where the site does not have them looked for.
    pub lesions: Option<LesionReport>,
    pub curvature: Curvature,
    pub quality: Quality,
    pub confidence: f32,
    /// Most memory this process has held, MiB; `None` where the system does not tell.
    pub peak_memory_mib: Option<u64>,
    pub outputs: Outputs,
    /// What every destination has of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<Receipt>,
    /// Of the files that the series was read from, sorted.
    pub inputs: Vec<Digest>,
    /// Of every file that was made but this one.
    pub files: Digests,
}

#[derive(Debug, Clone, Serialize)]
pub struct SeriesReport {
    /// The job id, or the name of the input file.
    pub name: String,
    pub generation: u32,
    /// DICOM instances it was made of; 0 for a volume read from a file.
    pub instances: usize,
    pub plane: Plane,
    /// What it was taken as; nothing where no header tells.
    #[serde(flatten)]
    pub selection: Option<Selection>,
    /// The job that had a less corrected image of the same acquisition.
    pub replaces: Option<JobId>,
    pub dims: [usize; 3],
    pub spacing_mm: [f64; 3],
    /// Why the series counted as complete.
    pub complete: Option<crate::messages::Completion>,
}

impl SeriesReport {
    pub fn new(name: &str, source: &Source, generation: u32) -> SeriesReport {
        let series = source.series();
        let grid = series.volume.grid();
        SeriesReport {
            name: name.to_owned(),
            generation,
            instances: source.instances(),
            plane: pipeline::series::plane(&grid.affine, series.slice_axis),
            selection: source.selection().cloned(),
            replaces: None,
            dims: grid.dims.counts(),
            spacing_mm: grid.affine.spacing(),
            complete: None,
        }
    }
}

/// Which engine ran and why it was chosen.
#[derive(Debug, Clone, Serialize)]
pub struct EngineReport {
    pub name: String,
    pub instruction_set: &'static str,
    pub threads: usize,
    pub reason: String,
    /// Slices that the net had seen before the series was whole.
    pub slices_ahead: usize,
    /// The engine that was asked for, or had begun, and did not make the result.
    pub fallback: Option<FallbackReport>,
}

/// An engine that was passed over. The text comes from libraries and files of our own and holds no patient data.
#[derive(Debug, Clone, Serialize)]
pub struct FallbackReport {
    pub from: String,
    /// `device_lost`: one of the words of `models::engine::trouble::State`.
    pub state: &'static str,
    pub text: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct ModelReport {
    pub name: String,
    pub version: String,
    pub weights_sha256: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct VertebraReport {
    pub id: u8,
    /// `L4`; `None` where no landmark fixes the numbers.
    pub level: Option<String>,
    pub body_ml: f64,
    pub body_centroid_mm: [f64; 3],
    pub truncated: bool,
    /// Of the body, the disc and step below it, and the canal behind both; in the units of their names.
    pub measures: Option<VertebraMeasures>,
}

/// A run of levels that fits the shapes and sizes of the vertebrae: a hint, never a level.
#[derive(Debug, Clone, Serialize)]
pub struct LikelyReport {
    /// Top to bottom, `T12`.
    pub levels: Vec<String>,
    /// By how much its log-likelihood is below that of the best run.
    pub behind: f64,
}

impl LikelyReport {
    fn new(run: &LikelyLevels) -> LikelyReport {
        LikelyReport { levels: run.levels.iter().map(|id| id.name()).collect(), behind: run.behind }
    }
}

/// What was found of enhancing lesions, or why nothing can be said. Of a method validated on drawn patients only.
#[derive(Debug, Clone, Serialize)]
pub struct LesionReport {
    /// `experimental, synthetic-validated, not for diagnosis`.
    pub status: &'static str,
    /// A round lesion of a smaller diameter is invisible to the method, as is a long one of a smaller width.
    pub least_round_mm: f64,
    pub least_long_mm: f64,
    /// Null where the series was looked through.
    pub unseen: Option<UnseenReport>,
    /// Largest first, numbered from 1 on as the segments are; null where nothing can be said.
    pub found: Option<Vec<LesionEntry>>,
    /// Parts that were called lesion further than 10 mm from the spine, and left out.
    pub elsewhere: Option<usize>,
}

/// Why nothing is said.
#[derive(Debug, Clone, Serialize)]
pub struct UnseenReport {
    pub code: Unseen,
    pub text: String,
}

/// One lesion.
#[derive(Debug, Clone, Serialize)]
pub struct LesionEntry {
    /// Of its segment.
    pub number: usize,
    pub volume_mm3: f64,
    /// Of the box around it: from front to back, from top to bottom, across the slices.
    pub extent_mm: [f64; 3],
    /// Centre of mass, LPS millimetres.
    pub centre_mm: [f64; 3],
    pub compartment: Compartment,
    /// SPINEPS' number of the vertebra it is in, or nearest to.
    pub vertebra: Option<u8>,
    /// `T7`; `None` where no landmark fixes the numbers.
    pub level: Option<String>,
}

impl LesionReport {
    fn new(said: &Result<Tumours, Unseen>, known: bool) -> LesionReport {
        let tumours = said.as_ref().ok();
        let entry = |(n, lesion): (usize, &Lesion)| LesionEntry {
            number: n + 1,
            volume_mm3: lesion.volume_mm3,
            extent_mm: lesion.extent_mm,
            centre_mm: lesion.centre_mm,
            compartment: lesion.compartment,
            vertebra: lesion.level.map(VertebraId::value),
            level: lesion.level.filter(|_| known).map(VertebraId::name),
        };
        let unseen = said.as_ref().err();
        LesionReport {
            status: penn::STATUS,
            least_round_mm: penn::LEAST_ROUND_MM,
            least_long_mm: penn::LEAST_LONG_MM,
            unseen: unseen.map(|&code| UnseenReport { code, text: code.to_string() }),
            found: tumours.map(|t| t.lesions.iter().enumerate().map(entry).collect()),
            elsewhere: tumours.map(|t| t.elsewhere),
        }
    }
}

/// What was written: kind -> path; a kind of several files has its own folder.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub struct Outputs(BTreeMap<OutputKind, PathBuf>);

impl Outputs {
    pub fn add(&mut self, kind: OutputKind, path: PathBuf) {
        self.0.insert(kind, path);
    }

    pub fn extend(&mut self, other: Outputs) {
        self.0.extend(other.0);
    }

    pub fn kinds(&self) -> Vec<OutputKind> {
        self.0.keys().copied().collect()
    }

    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.0.values()
    }

    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.0.values_mut()
    }
}

/// The files of one series.
#[derive(Debug, Default)]
pub struct Files {
    /// Of those it was read from, sorted.
    pub inputs: Vec<Digest>,
    pub outputs: Outputs,
    /// Of those that were written.
    pub digests: Digests,
}

impl Report {
    /// A report without times; [`Report::timed`] adds them when the last stage is over.
    pub fn new(
        series: SeriesReport,
        segmentation: &Segmentation,
        provenance: &Provenance,
        engine: EngineReport,
        files: Files,
    ) -> Report {
        let known = segmentation.numbering.is_verified();
        let measures = &segmentation.measures;
        let of = |id| measures.vertebrae.iter().find(|measured| measured.id == id).cloned();
        let vertebrae = segmentation.vertebrae.iter().map(|v| VertebraReport {
            measures: of(v.id),
            id: v.id.value(),
            level: known.then(|| v.id.name()),
            body_ml: v.body_ml,
            body_centroid_mm: v.body_centroid_mm,
            truncated: v.truncated,
        });
        Report {
            series,
            stages: Timings::default(),
            total_ms: 0.0,
            engine,
            models: models(provenance),
            software: provenance.software.clone(),
            configuration_sha256: provenance.configuration_sha256.clone(),
            vertebrae: vertebrae.collect(),
            sacrum: segmentation.sacrum,
            numbering: segmentation.numbering,
            levels_from: None,
            likely_levels: segmentation.likely.iter().map(LikelyReport::new).collect(),
            flags: segmentation.flags.clone(),
            lesions: segmentation.tumours.as_ref().map(|said| LesionReport::new(said, known)),
            curvature: measures.curvature.clone(),
            quality: measures.quality.clone(),
            confidence: segmentation.confidence,
            peak_memory_mib: None,
            outputs: files.outputs,
            destinations: Vec::new(),
            inputs: files.inputs,
            files: files.digests,
        }
    }

    /// The same report with the times of all stages and the peak memory so far.
    pub fn timed(mut self, stages: Timings) -> Report {
        self.total_ms = stages.total_ms();
        self.stages = stages;
        self.peak_memory_mib = peak_memory_mib();
        self
    }

    /// The same report with what the destinations have.
    pub fn received(mut self, receipts: &[Receipt]) -> Report {
        self.destinations = receipts.to_vec();
        self
    }
}

/// The nets in the order in which they ran.
fn models(provenance: &Provenance) -> Vec<ModelReport> {
    let semantic = ModelReport {
        name: provenance.model.clone(),
        version: provenance.model_version.clone(),
        weights_sha256: provenance.weights_sha256.clone(),
    };
    let others = provenance.instance.iter().chain(&provenance.patches).map(|net| ModelReport {
        name: net.model.clone(),
        version: net.version.clone(),
        weights_sha256: net.weights_sha256.clone(),
    });
    std::iter::once(semantic).chain(others).collect()
}

impl Report {
    /// What `report.json` holds: with a `key`, sealed by it.
    pub fn text(&self, key: Option<&DeviceKey>) -> String {
        let text = serde_json::to_string_pretty(self).expect("strings and finite numbers");
        match key {
            Some(key) => seal::sealed(&text, key),
            None => text,
        }
    }

    /// Writes [`Report::text`] as `report.json` into `folder`, whole or not at all.
    pub fn write(&self, folder: &Path, key: Option<&DeviceKey>) -> std::io::Result<()> {
        crate::durable::write(&folder.join(FILE_NAME), self.text(key).as_bytes())
    }
}

/// `VmHWM` of this process.
fn peak_memory_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}
