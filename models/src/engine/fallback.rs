//! The engines of one process in their order: the best at work, the next when it fails.
//!
//! A series never has two engines: when one fails in the middle, the whole run is repeated on the next, and the output
//! says so. An engine that failed for good is not asked again before a restart; one that ran out of memory, or for which
//! a series was too large, is asked for the next series.

use super::forms::{Forms, Shipped};
use super::golden;
use super::known::{Known, Of, not_proven};
use super::simd::SimdNet;
use super::tensorrt::plans::{Cache, Proof};
use super::tensorrt::{self, Progress, Source, TensorRt};
use super::trouble::{State, Trouble};
use super::{EngineChoice, Settings, cuda, instruction_set};
use crate::weights::ModelError;
use kernels::conv::InstructionSet;
use pipeline::{Delineated, Neighbour, Nets, SegmentError, Series, Stage, delineate, look_ahead};
use std::sync::mpsc::{Receiver, TryRecvError, channel};

/// Engines by their words.
const TENSORRT: &str = "tensorrt";
const CUDA: &str = "cuda";

/// An engine that was passed over, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    /// `tensorrt` or `cuda`.
    pub from: String,
    pub trouble: Trouble,
}

impl Fallback {
    fn told(&self) -> String {
        let Fallback { from, trouble } = self;
        format!("{from} was not taken ({}): {trouble}", trouble.state.name())
    }
}

/// What ran a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Engine and precision, `simd f32`.
    pub engine: String,
    pub reason: String,
    /// Only where another engine was asked for or had begun.
    pub fallback: Option<Fallback>,
    /// Slices that the net had seen before the series was whole.
    pub slices_ahead: usize,
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
    /// The engine and what it runs on.
    what: String,
    because: String,
    /// What it must say; the reason where nothing is known.
    known: Result<Known, Trouble>,
}

impl Engine {
    /// Whether it still gives the known answer, and all stages work together.
    fn test(&mut self) -> Result<(), Trouble> {
        let known = self.known.as_ref().map_err(Trouble::clone)?;
        known.check(&mut self.nets)?;
        let (found, known) = (golden::vertebrae(&mut self.nets)?, known.vertebrae);
        match found == known {
            true => Ok(()),
            false => Err(not_proven(format!(
                "{} finds {found} vertebrae in the golden case, known are {known}",
                self.what
            ))),
        }
    }

    fn reason(&self) -> String {
        format!("{}: {}", self.what, self.because)
    }

    /// Its word, without the precision.
    fn name(&self) -> String {
        let name = self.nets.semantic.engine();
        name.split(' ').next().unwrap_or_default().to_owned()
    }
}

/// The engines that are here, best first; the last is `simd`, which is always there.
pub struct Engines {
    line: Vec<Engine>,
    at: usize,
    fallback: Option<Fallback>,
    /// Engines that were not taken from the start, best first.
    passed: Vec<Fallback>,
    choice: EngineChoice,
    building: Option<Receiver<Built>>,
}

impl std::fmt::Debug for Engines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engines({})", self.now().reason())
    }
}

impl Engines {
    /// Opens the engines that `settings` allow. With a `listener`, plans that are missing, corrupt or foreign are built in
    /// the background, and jobs run on the next engine until they are there.
    pub fn open(
        weights: &Forms,
        settings: &Settings,
        threads: usize,
        listener: Option<Listener>,
    ) -> Result<Engines, ModelError> {
        let choice = settings.choice;
        let mut engines = Engines {
            line: Vec::new(),
            at: 0,
            fallback: None,
            passed: Vec::new(),
            choice,
            building: None,
        };
        let nets = simd(&weights.simd, threads)?;
        if matches!(choice, EngineChoice::Auto | EngineChoice::TensorRt) {
            engines.try_tensorrt(&weights.gpu, settings, threads, listener);
        }
        // Beside a TensorRT that works it would cost memory, and could not go on where the device is lost or full.
        if choice != EngineChoice::Simd && engines.line.is_empty() {
            engines.try_cuda(&weights.gpu, settings, threads);
        }
        let because = match engines.line.first() {
            Some(first) => format!("the next after {}", first.what),
            None => String::new(),
        };
        let what = format!("simd ({})", instruction_set());
        let known = Known::frozen(&Of::nets(&nets), &weights.answers);
        engines.line.push(Engine { known, nets, what, because });
        engines.explain();
        Ok(engines)
    }

    fn try_tensorrt(
        &mut self,
        weights: &Shipped,
        settings: &Settings,
        threads: usize,
        listener: Option<Listener>,
    ) {
        let trouble = match ready(weights, settings) {
            Ok((nets, because, proof)) => {
                let (what, known) = (TENSORRT.to_owned(), Ok(Known::from(&proof)));
                self.line.push(Engine { nets, what, because, known });
                return;
            }
            Err(trouble) => trouble,
        };
        let trouble = match listener.filter(|_| trouble.state.wants_a_plan()) {
            None => trouble,
            Some(listener) => {
                self.building = Some(build_aside(weights, settings, threads, listener));
                let text = format!("{trouble}; a new one is being built");
                Trouble::new(State::Building, text)
            }
        };
        self.passed.push(Fallback { from: TENSORRT.to_owned(), trouble });
    }

    fn try_cuda(&mut self, weights: &Shipped, settings: &Settings, threads: usize) {
        match cuda::open(weights, threads, &settings.place.plans) {
            Ok((nets, device, proof)) => {
                let (what, because) = (format!("{CUDA} ({device})"), String::new());
                self.line.push(Engine { nets, what, because, known: Ok(Known::from(&proof)) });
            }
            Err(trouble) => self.passed.push(Fallback { from: CUDA.to_owned(), trouble }),
        }
    }

    /// What is at work, for health.
    pub fn at_work(&self) -> Ran {
        let engine = self.now();
        let (name, reason) = (engine.nets.semantic.engine(), engine.reason());
        let slices_ahead = engine.nets.ahead.recalled();
        Ran { engine: name, reason, fallback: self.fallback.clone(), slices_ahead }
    }

    /// The nets at work.
    pub fn nets(&self) -> &Nets {
        &self.now().nets
    }

    /// Gives the nets at work away, with the reason for their engine.
    pub fn into_nets(mut self) -> (Nets, String) {
        let engine = self.line.swap_remove(self.at);
        let reason = engine.reason();
        (engine.nets, reason)
    }

    /// [`pipeline::look_ahead()`] on the engine at work. One that fails is left to the run of the series, which falls back.
    pub fn look_ahead(&mut self, series: &Series, whole: bool, go_on: &mut dyn FnMut() -> bool) {
        let nets = &mut self.line[self.at].nets;
        let _ = look_ahead(series, whole, nets, go_on);
    }

    /// [`pipeline::delineate()`] on the best engine that finishes it. `begin` hears the stages again when the run is repeated.
    pub fn delineate(
        &mut self,
        series: &Series,
        neighbours: &[Neighbour],
        begin: &mut dyn FnMut(Stage),
    ) -> Result<(Delineated, Ran), SegmentError> {
        self.take_built();
        let (first, before) = (self.at, self.fallback.clone());
        let ran = loop {
            match delineate(series, neighbours, &mut self.line[self.at].nets, begin) {
                Err(SegmentError::Net(error)) if self.at + 1 < self.line.len() => {
                    self.step_down(Trouble::from(&error));
                }
                done => break done.map(|delineated| (delineated, self.at_work())),
            }
        };
        let passing = self.fallback.as_ref().is_some_and(|f| !f.trouble.state.lasts());
        if passing && self.at != first {
            self.at = first;
            self.fallback = before;
        }
        ran
    }

    fn now(&self) -> &Engine {
        &self.line[self.at]
    }

    /// Tests every engine that a series may still run on, the best first. A device's engine that fails is taken away as one that
    /// failed in a job.
    ///
    /// # Errors
    /// `simd` failed: then nothing on this machine can be believed.
    pub fn self_test(&mut self) -> Result<(), Trouble> {
        self.take_built();
        let mut at = self.at;
        while at + 1 < self.line.len() {
            match self.line[at].test() {
                Ok(()) => at += 1,
                Err(trouble) => self.take_away(at, trouble),
            }
        }
        self.line[at].test()
    }

    /// An engine failed its test: it is never asked again.
    fn take_away(&mut self, at: usize, trouble: Trouble) {
        let from = self.line.remove(at).name();
        if at == self.at {
            self.line[at].because =
                format!("{from} failed its self-test ({}): {trouble}", trouble.state.name());
            self.fallback = Some(Fallback { from, trouble });
        }
    }

    /// The engine at work failed: the next one takes its place and says why.
    fn step_down(&mut self, trouble: Trouble) {
        let from = self.now().name();
        self.at += 1;
        self.line[self.at].because =
            format!("{from} gave up in a job ({}): {trouble}", trouble.state.name());
        self.fallback = Some(Fallback { from, trouble });
    }

    /// What was not taken from the start is why the best of the rest works; news where one was asked for by name.
    fn explain(&mut self) {
        if self.choice != EngineChoice::Auto && self.at == 0 {
            self.fallback = self.passed.first().cloned();
        }
        let passed: Vec<String> = self.passed.iter().map(Fallback::told).collect();
        let Some(first) = self.line.first_mut() else { return };
        if !passed.is_empty() {
            first.because = passed.join("; ");
        } else if first.because.is_empty() {
            first.because = "asked for".to_owned();
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
            Ok((nets, proof)) => {
                let because = "its plans were built and proven on this device".to_owned();
                let (what, known) = (TENSORRT.to_owned(), Ok(Known::from(&proof)));
                self.line.insert(0, Engine { nets, what, because, known });
                self.at = 0;
                self.fallback = None;
            }
            Err(trouble) => {
                self.passed.retain(|passed| passed.from != TENSORRT);
                self.passed.insert(0, Fallback { from: TENSORRT.to_owned(), trouble });
                self.explain();
            }
        }
    }
}

/// Both nets on our CPU engine.
pub(super) fn simd(weights: &Shipped, threads: usize) -> Result<Nets, ModelError> {
    simd_on(weights, InstructionSet::best(), threads)
}

pub(super) fn simd_on(
    weights: &Shipped,
    set: InstructionSet,
    threads: usize,
) -> Result<Nets, ModelError> {
    let Shipped { semantic, instance } = weights.clone();
    let semantic = SimdNet::new(semantic, set, threads)?;
    let instance = SimdNet::new(instance, set, threads)?;
    Ok(Nets::new(Box::new(semantic), Some(Box::new(instance))))
}

/// What a build in the background ends with.
type Built = Result<(Nets, Proof), Trouble>;

/// TensorRT with plans that are ready, and that say what they said when they were proven.
fn ready(weights: &Shipped, settings: &Settings) -> Result<(Nets, String, Proof), Trouble> {
    let tensorrt = TensorRt::open(&settings.place.shims)?;
    let reason = tensorrt.describe();
    let sources = Source::of(&weights.semantic, &weights.instance);
    let (mut nets, proof) =
        tensorrt.ready(&sources, weights, &Cache::new(&settings.place.plans))?;
    Known::from(&proof).check(&mut nets)?;
    Ok((nets, reason, proof))
}

/// Builds on a thread of its own; the nets come when they are proven.
fn build_aside(
    weights: &Shipped,
    settings: &Settings,
    threads: usize,
    mut listener: Listener,
) -> Receiver<Built> {
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
        let _ = sender.send(built);
        listener(news);
    });
    // Without a thread the sender is gone, and `take_built` says so.
    drop(started);
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Precision;
    use phantom::{Recipe, Region};
    use pipeline::{ModelCard, Net, NetError, SemanticStage, TensorMut, TensorRef};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// `simd` by another name, which fails in its third run.
    struct Failing {
        inner: Box<dyn SemanticStage>,
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

    impl SemanticStage for Failing {}

    /// An engine that fails so, and `simd` after it; how often the first was run.
    fn engines(error: fn() -> NetError) -> (Engines, Arc<AtomicUsize>) {
        let weights = Forms::embedded(Precision::Auto).unwrap();
        let mut engines =
            Engines::open(&weights, &Settings::of(EngineChoice::Simd), 2, None).unwrap();
        let runs = Arc::new(AtomicUsize::new(0));
        let Nets { semantic, instance, .. } = simd(&weights.simd, 2).unwrap();
        let semantic = Box::new(Failing { inner: semantic, error, runs: runs.clone() });
        let (what, because) = ("a test".to_owned(), String::new());
        let (nets, known) = (Nets::new(semantic, instance), engines.line[0].known.clone());
        engines.line.insert(0, Engine { nets, what, because, known });
        (engines, runs)
    }

    fn series() -> Series {
        Series::from_volume(phantom::generate(&Recipe::of(Region::Lumbar, 1)).unwrap().image)
    }

    /// Without a device `simd` runs and says why; with one the golden case was passed.
    #[test]
    fn cuda_asked_for_by_name_is_at_work_or_says_why_not() {
        let weights = Forms::embedded(Precision::Auto).unwrap();
        let settings = Settings::of(EngineChoice::Cuda);
        let ran = Engines::open(&weights, &settings, 2, None).unwrap().at_work();
        match ran.fallback {
            None => assert_eq!(ran.engine, cuda::NAME),
            Some(Fallback { from, trouble }) => {
                assert_eq!((ran.engine.as_str(), from.as_str()), ("simd int8", "cuda"));
                let words = format!("cuda was not taken ({})", trouble.state.name());
                assert!(ran.reason.contains(&words), "{}", ran.reason);
            }
        }
    }

    #[test]
    fn a_lost_device_costs_one_run_and_is_not_asked_again() {
        let (mut engines, runs) = engines(|| NetError::Engine("CUDA error 719".to_owned()));
        let (mut stages, series) = (Vec::new(), series());
        let (got, ran) = engines.delineate(&series, &[], &mut |stage| stages.push(stage)).unwrap();
        let prepared = stages.iter().filter(|&&stage| stage == Stage::Prepare).count();
        assert_eq!((ran.engine.as_str(), prepared), ("simd int8", 2), "the whole run is repeated");
        let fallback = ran.fallback.clone().unwrap();
        assert_eq!(
            (fallback.from.as_str(), fallback.trouble.state),
            ("tensorrt", State::DeviceLost)
        );
        assert!(
            ran.reason
                .contains("gave up in a job (device_lost): the engine failed: CUDA error 719")
        );
        let (again, later) = engines.delineate(&series, &[], &mut |_| {}).unwrap();
        assert_eq!(again.masks().semantic.voxels(), got.masks().semantic.voxels());
        assert_eq!((later, runs.load(Ordering::Relaxed)), (ran, 3));
    }

    #[test]
    fn after_one_series_without_memory_the_engine_is_asked_again() {
        let (mut engines, _) = engines(|| NetError::OutOfMemory("2 GiB".to_owned()));
        let series = series();
        let (_, ran) = engines.delineate(&series, &[], &mut |_| {}).unwrap();
        assert_eq!(ran.engine, "simd int8");
        assert_eq!(ran.fallback.unwrap().trouble.state, State::OutOfMemory);
        let (_, later) = engines.delineate(&series, &[], &mut |_| {}).unwrap();
        assert_eq!((later.engine.as_str(), later.fallback), (tensorrt::NAME, None));
    }
}
