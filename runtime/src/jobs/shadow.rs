//! A candidate model beside the active one: it segments finished jobs while nothing else is to be done, and what it says
//! otherwise is added up. Its masks go nowhere.

mod disagreement;

pub use disagreement::{Disagreement, StructureDice, Summary};

use crate::durable;
use crate::registry::{Model, Registry};
use kernels::Volume;
use models::engine::{self, EngineChoice, Engines};
use pipeline::{Neighbour, Segmentation, Series};
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Name of the summary in the folder of models.
const FILE_NAME: &str = "shadow.json";
/// After a job nothing may come for so long: the series of an examination follow one another faster.
const QUIET: Duration = Duration::from_secs(20);

/// What the active model made of a series. One waits at a time: a busy scanner leaves no idle time, and a series is some 40 MB.
struct Finished {
    series: Series,
    neighbours: Vec<Neighbour>,
    semantic: Volume<u8>,
    instances: Volume<u16>,
    at: Instant,
}

/// See the module.
pub struct Shadow {
    engines: Engines,
    waiting: Option<Finished>,
    summary: Summary,
    path: PathBuf,
}

impl std::fmt::Debug for Shadow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shadow({})", self.summary.candidate)
    }
}

impl Shadow {
    /// Opens the candidate that the registry names; none where it names none. It runs on the processor: a second model on a GPU
    /// would take memory from the active one.
    pub fn open(
        data: &Path,
        settings: &engine::Settings,
        threads: usize,
    ) -> Result<Option<Shadow>, String> {
        let registry = Registry::of(data);
        let roles = registry.roles().map_err(|error| error.to_string())?;
        let Some(candidate) = roles.shadow else { return Ok(None) };
        let forms =
            registry.forms(&candidate, settings.precision).map_err(|error| error.to_string())?;
        let settings = engine::Settings { choice: EngineChoice::Simd, ..settings.clone() };
        let mut engines =
            Engines::open(&forms, &settings, threads, None).map_err(|error| error.to_string())?;
        engines.self_test().map_err(|trouble| trouble.to_string())?;
        let path = data.join(crate::registry::FOLDER).join(FILE_NAME);
        let weights = engines.nets().semantic.card().weights_sha256.clone();
        let summary = Summary::of(&path, candidate, roles.active, weights);
        Ok(Some(Shadow { engines, waiting: None, summary, path }))
    }

    /// A job is done: it waits for idle time. One that waits already is left out, and counted.
    pub fn finished(&mut self, series: Series, neighbours: Vec<Neighbour>, made: Segmentation) {
        let Segmentation { semantic, instances, .. } = made;
        let finished = Finished { series, neighbours, semantic, instances, at: Instant::now() };
        if self.waiting.replace(finished).is_some() {
            self.summary.skipped += 1;
        }
    }

    /// How long until there is work; `None` where nothing waits.
    pub fn due(&self) -> Option<Duration> {
        self.waiting.as_ref().map(|finished| QUIET.saturating_sub(finished.at.elapsed()))
    }

    /// Segments what waits, if it is time, and adds up. `moves` is told of every stage. A fault of the candidate is counted and
    /// is nobody's alarm.
    pub fn work(&mut self, moves: &mut dyn FnMut()) {
        if self.due().is_none_or(|due| !due.is_zero()) {
            return;
        }
        let Some(finished) = self.waiting.take() else { return };
        let (series, neighbours) = (&finished.series, &finished.neighbours);
        let engines = &mut self.engines;
        let worked = std::panic::catch_unwind(AssertUnwindSafe(|| {
            engines.delineate(series, neighbours, &mut |_| moves())
        }));
        match worked {
            Ok(Ok((candidate, _))) => {
                let active = (&finished.semantic, &finished.instances);
                let candidate = candidate.masks();
                let said = Disagreement::between(active, (candidate.semantic, candidate.instances));
                tracing::info!(
                    candidate = %self.summary.candidate,
                    level_flips = said.level_flips,
                    least_dice = said.least_dice(),
                    "the candidate model was compared"
                );
                self.summary.add(&said);
            }
            Ok(Err(_)) | Err(_) => {
                tracing::warn!(candidate = %self.summary.candidate, "the candidate model has no result for a series");
                self.summary.failed += 1;
            }
        }
        if let Err(error) = self.write() {
            tracing::warn!(
                "the summary of the candidate model cannot be written: {error}; the site's move"
            );
        }
    }

    fn write(&self) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(&self.summary)?;
        durable::write(&self.path, &text)
    }
}

/// What was added up so far; `None` where no candidate ran.
pub fn summary(data: &Path) -> Option<Summary> {
    let path = data.join(crate::registry::FOLDER).join(FILE_NAME);
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// A model's word in the log.
impl Summary {
    fn of(path: &Path, candidate: Model, active: Model, weights_sha256: String) -> Summary {
        let kept: Option<Summary> =
            std::fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let same = |kept: &Summary| {
            (&kept.candidate, &kept.active, &kept.weights_sha256)
                == (&candidate, &active, &weights_sha256)
        };
        kept.filter(same).unwrap_or_else(|| Summary::new(candidate, active, weights_sha256))
    }
}
