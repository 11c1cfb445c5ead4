//! The engines of one process in their order: the best at work, the next when it fails.
//!
//! A series never has two engines: when one fails in the middle, the whole run is repeated on the next, and the output
//! says so. An engine that failed for good is not asked again before a restart; one that ran out of memory, or for which
//! a series was too large, is asked for the next series.

use super::simd::SimdNet;
use super::tensorrt::plans::{Cache, Proof};
use super::tensorrt::{self, Progress, Shipped, Source, TensorRt};
use super::trouble::{State, Trouble};
use super::{EngineChoice, Settings, instruction_set};
use crate::weights::ModelError;
use kernels::conv::InstructionSet;
use pipeline::{Neighbour, Nets, SegmentError, Segmentation, Series, Stage, segment};
use std::sync::mpsc::{Receiver, TryRecvError, channel};

/// An engine that was passed over, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    /// `tensorrt`.
    pub from: String,
    pub trouble: Trouble,
}

/// What ran a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Engine and precision, `simd f32`.
    pub engine: String,
    pub reason: String,
    /// Only where another engine was asked for or had begun.
    pub fallback: Option<Fallback>,
}

/// What a build in the background tells.
#[derive(Debug)]
pub enum News {
    Progress(Progress),
    Ready(Proof),
    Failed(Trouble),
}

/// Hears [`News`], from another thread.
pub type Listener = Box<dyn FnMut(News) + Send>;

/// Loaded nets and why they are at this place.
struct Engine {
    nets: Nets,
    reason: String,
}

/// The engines that are here, best first; the last is `simd`, which is always there.
pub struct Engines {
    line: Vec<Engine>,
    at: usize,
    fallback: Option<Fallback>,
    /// Whether an engine was asked for by name, so that another one is news.
    named: bool,
    building: Option<Receiver<Result<Nets, Trouble>>>,
}

impl std::fmt::Debug for Engines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engines({})", self.now().reason)
    }
}

impl Engines {
    /// Opens the engines that `settings` allow. With a `listener`, plans that are missing, corrupt or foreign are built in
    /// the background, and jobs run on the next engine until they are there.
    pub fn open(
        weights: &Shipped,
        settings: &Settings,
        threads: usize,
        listener: Option<Listener>,
    ) -> Result<Engines, ModelError> {
        let named = settings.choice == EngineChoice::TensorRt;
        let mut engines =
            Engines { line: Vec::new(), at: 0, fallback: None, named, building: None };
        let nets = simd(weights, threads)?;
        if settings.choice == EngineChoice::Simd {
            let reason = format!("simd ({}): asked for", instruction_set());
            engines.line.push(Engine { nets, reason });
            return Ok(engines);
        }
        engines.line.push(Engine { nets, reason: String::new() });
        match ready(weights, settings) {
            Ok((nets, reason)) => engines.line.insert(0, Engine { nets, reason }),
            Err(trouble) => {
                let build = listener.filter(|_| trouble.state.wants_a_plan());
                let trouble = match build {
                    None => trouble,
                    Some(listener) => {
                        engines.building = Some(build_aside(weights, settings, threads, listener));
                        let text = format!("{trouble}; a new one is being built");
                        Trouble::new(State::Building, text)
                    }
                };
                engines.pass_over(trouble);
            }
        }
        if let [_, last] = engines.line.as_mut_slice() {
            last.reason = format!("simd ({}): the next after tensorrt", instruction_set());
        }
        Ok(engines)
    }

    /// What is at work, for health.
    pub fn at_work(&self) -> Ran {
        let Engine { nets, reason } = self.now();
        let (engine, reason) = (nets.semantic.engine(), reason.clone());
        Ran { engine, reason, fallback: self.fallback.clone() }
    }

    /// The nets at work.
    pub fn nets(&self) -> &Nets {
        &self.now().nets
    }

    /// Gives the nets at work away, with the reason for their engine.
    pub fn into_nets(mut self) -> (Nets, String) {
        let Engine { nets, reason } = self.line.swap_remove(self.at);
        (nets, reason)
    }

    /// [`pipeline::segment()`] on the best engine that finishes it. `begin` hears the stages again when the run is repeated.
    pub fn segment(
        &mut self,
        series: &Series,
        neighbours: &[Neighbour],
        begin: &mut dyn FnMut(Stage),
    ) -> Result<(Segmentation, Ran), SegmentError> {
        self.take_built();
        let first = self.at;
        let ran = loop {
            match segment(series, neighbours, &mut self.line[self.at].nets, begin) {
                Err(SegmentError::Net(error)) if self.at + 1 < self.line.len() => {
                    self.step_down(Trouble::from(&error));
                }
                done => break done.map(|segmentation| (segmentation, self.at_work())),
            }
        };
        let passing = self.fallback.as_ref().is_some_and(|f| !f.trouble.state.lasts());
        if passing && self.at != first {
            self.at = first;
            self.fallback = None;
        }
        ran
    }

    fn now(&self) -> &Engine {
        &self.line[self.at]
    }

    /// The engine at work failed: the next one takes its place and says why.
    fn step_down(&mut self, trouble: Trouble) {
        let name = self.now().nets.semantic.engine();
        let from = name.split(' ').next().unwrap_or_default().to_owned();
        self.at += 1;
        let reason = format!(
            "simd ({}): {from} gave up in a job ({}): {trouble}",
            instruction_set(),
            trouble.state.name()
        );
        self.line[self.at].reason = reason;
        self.fallback = Some(Fallback { from, trouble });
    }

    /// TensorRT is not taken: `simd` says why.
    fn pass_over(&mut self, trouble: Trouble) {
        let Some(last) = self.line.last_mut() else { return };
        last.reason = format!(
            "simd ({}): tensorrt was not taken ({}): {trouble}; cuda is not built into this version",
            instruction_set(),
            trouble.state.name()
        );
        if self.named {
            self.fallback = Some(Fallback { from: "tensorrt".to_owned(), trouble });
        }
    }

    /// Takes what was built since the last series.
    fn take_built(&mut self) {
        let Some(building) = &self.building else { return };
        let built = match building.try_recv() {
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => {
                Err(Trouble::new(State::NotBuilt, "the build ended without an answer"))
            }
            Ok(built) => built,
        };
        self.building = None;
        match built {
            Ok(nets) => {
                let reason = "tensorrt: its plans were built and proven on this device".to_owned();
                self.line.insert(0, Engine { nets, reason });
                self.fallback = None;
            }
            Err(trouble) => self.pass_over(trouble),
        }
    }
}

/// Both nets on our CPU engine.
pub(super) fn simd(weights: &Shipped, threads: usize) -> Result<Nets, ModelError> {
    let Shipped { semantic, instance } = weights.clone();
    let semantic = SimdNet::new(semantic, InstructionSet::best(), threads)?;
    let instance = SimdNet::new(instance, InstructionSet::best(), threads)?;
    Ok(Nets { semantic: Box::new(semantic), instance: Some(Box::new(instance)) })
}

/// TensorRT with plans that are ready.
fn ready(weights: &Shipped, settings: &Settings) -> Result<(Nets, String), Trouble> {
    let tensorrt = TensorRt::open(&settings.place.shims)?;
    let reason = format!("tensorrt: {}", tensorrt.describe());
    let sources = Source::of(&weights.semantic, &weights.instance);
    let nets = tensorrt.ready(&sources, weights, &Cache::new(&settings.place.plans))?;
    Ok((nets, reason))
}

/// Builds on a thread of its own; the nets come when they are proven.
fn build_aside(
    weights: &Shipped,
    settings: &Settings,
    threads: usize,
    mut listener: Listener,
) -> Receiver<Result<Nets, Trouble>> {
    let (sender, receiver) = channel();
    let (weights, place) = (weights.clone(), settings.place.clone());
    let thread = std::thread::Builder::new().name("build".to_owned());
    let started = thread.spawn(move || {
        let mut tell = |progress| listener(News::Progress(progress));
        let built = tensorrt::build(&weights, &place, threads, &mut tell);
        let news = match &built {
            Ok((_, proof)) => News::Ready(proof.clone()),
            Err(trouble) => News::Failed(trouble.clone()),
        };
        // Sent before it is told: who hears of it may count on it. Nobody waits any more at the end of the process.
        let _ = sender.send(built.map(|(nets, _)| nets));
        listener(news);
    });
    // Without a thread the sender is gone, and `take_built` says so.
    drop(started);
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;
    use phantom::{Recipe, Region};
    use pipeline::{ModelCard, Net, NetError, TensorMut, TensorRef};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// `simd` by another name, which fails in its third run.
    struct Failing {
        inner: Box<dyn Net>,
        error: fn() -> NetError,
        runs: Arc<AtomicUsize>,
    }

    impl Net for Failing {
        fn card(&self) -> &ModelCard {
            self.inner.card()
        }

        fn engine(&self) -> String {
            tensorrt::NAME.to_owned()
        }

        fn run(&mut self, input: TensorRef<'_>, output: TensorMut<'_>) -> Result<(), NetError> {
            match self.runs.fetch_add(1, Ordering::Relaxed) {
                2 => Err((self.error)()),
                _ => self.inner.run(input, output),
            }
        }
    }

    /// An engine that fails so, and `simd` after it; how often the first was run.
    fn engines(error: fn() -> NetError) -> (Engines, Arc<AtomicUsize>) {
        let weights = Shipped::embedded().unwrap();
        let mut engines =
            Engines::open(&weights, &Settings::of(EngineChoice::Simd), 2, None).unwrap();
        let runs = Arc::new(AtomicUsize::new(0));
        let Nets { semantic, instance } = simd(&weights, 2).unwrap();
        let semantic = Box::new(Failing { inner: semantic, error, runs: runs.clone() });
        let reason = "a test".to_owned();
        engines.line.insert(0, Engine { nets: Nets { semantic, instance }, reason });
        (engines, runs)
    }

    fn series() -> Series {
        Series::from_volume(phantom::generate(&Recipe::of(Region::Lumbar, 1)).unwrap().image)
    }

    #[test]
    fn a_lost_device_costs_one_run_and_is_not_asked_again() {
        let (mut engines, runs) = engines(|| NetError::Engine("CUDA error 719".to_owned()));
        let (mut stages, series) = (Vec::new(), series());
        let (got, ran) = engines.segment(&series, &[], &mut |stage| stages.push(stage)).unwrap();
        let prepared = stages.iter().filter(|&&stage| stage == Stage::Prepare).count();
        assert_eq!((ran.engine.as_str(), prepared), ("simd f32", 2), "the whole run is repeated");
        let fallback = ran.fallback.clone().unwrap();
        assert_eq!(
            (fallback.from.as_str(), fallback.trouble.state),
            ("tensorrt", State::DeviceLost)
        );
        assert!(
            ran.reason
                .contains("gave up in a job (device_lost): the engine failed: CUDA error 719")
        );
        let (again, later) = engines.segment(&series, &[], &mut |_| {}).unwrap();
        assert_eq!(again.semantic.voxels(), got.semantic.voxels());
        assert_eq!((later, runs.load(Ordering::Relaxed)), (ran, 3));
    }

    #[test]
    fn after_one_series_without_memory_the_engine_is_asked_again() {
        let (mut engines, _) = engines(|| NetError::OutOfMemory("2 GiB".to_owned()));
        let series = series();
        let (_, ran) = engines.segment(&series, &[], &mut |_| {}).unwrap();
        assert_eq!(ran.engine, "simd f32");
        assert_eq!(ran.fallback.unwrap().trouble.state, State::OutOfMemory);
        let (_, later) = engines.segment(&series, &[], &mut |_| {}).unwrap();
        assert_eq!((later.engine.as_str(), later.fallback), (tensorrt::NAME, None));
    }
}
