//! TensorRT: the engine of a Jetson or any NVIDIA GPU, in float16.
//!
//! Nothing of NVIDIA is linked: a [shim] of ours, one for each major of TensorRT, is loaded if it is there and opens
//! TensorRT itself. Plans are built on the device they run on and kept beside a key ([`plans`]); one is used only after
//! its result on a drawn patient agreed with that of `simd` ([`super::golden`]). Whatever is missing is a
//! [`State`], for which the next engine is taken.

mod net;
pub mod plans;
pub mod shim;

pub use net::{TensorRtNet, range_of};

use super::forms::Shipped;
use super::golden;
use super::trouble::{State, Trouble};
use crate::onnx::float16;
use crate::weights::{Shape, Weights};
use pipeline::{InstanceCard, Nets};
use plans::{Cache, Key, Proof, Stored};
use shim::{Library, Range, Shim, dotted};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Engine and precision, as reports and messages name them.
pub const NAME: &str = "tensorrt fp16";
/// The same where layers are int8.
const INT8_NAME: &str = "tensorrt int8";

/// Majors of TensorRT for which there is a shim, the newest first: 10 is JetPack 6, 11 from JetPack 7.2.2 on.
const MAJORS: [u32; 2] = [11, 10];

/// Memory that a layer may take for itself while it runs: our largest layer needs a tenth.
const WORKSPACE_BYTES: u64 = 1 << 30;

/// The first GPU, as its driver names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub name: String,
    /// The CUDA version that the driver serves: 12060 is 12.6.
    pub driver: i32,
    pub memory_bytes: u64,
}

impl Device {
    /// `12.6`.
    pub fn driver_version(&self) -> String {
        format!("{}.{}", self.driver / 1000, self.driver % 1000 / 10)
    }
}

/// A TensorRT with its device, ready to load and to build.
#[derive(Debug)]
pub struct TensorRt {
    library: Library,
    pub device: Device,
}

/// How far a build is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The net that is built.
    pub net: String,
    /// The phase in TensorRT's words.
    pub phase: String,
    pub done: i32,
    pub steps: i32,
}

/// Hears of the progress of a build, from threads of TensorRT.
pub type Tell<'a> = &'a mut (dyn FnMut(Progress) + Send);

/// The nets that are built: their float16 form, and what a plan must say of it.
#[derive(Debug)]
pub struct Source {
    pub name: String,
    pub onnx: Vec<u8>,
    pub range: Range,
}

impl Source {
    fn new<C: Shape>(name: &str, sha256: &str, weights: &Weights<C>, range: Range) -> Source {
        Source { name: name.to_owned(), onnx: float16::write(&weights.graph, sha256), range }
    }

    /// Semantic and instance net.
    pub fn of(semantic: &Weights, instance: &Weights<InstanceCard>) -> [Source; 2] {
        let (one, two) = (&semantic.card, &instance.card);
        [
            Source::new(&one.name, &one.weights_sha256, semantic, range_of(one)),
            Source::new(&two.name, &two.weights_sha256, instance, range_of(two)),
        ]
    }
}

impl TensorRt {
    /// Opens the newest TensorRT for which there is a shim in `shims`, and takes the device. Without one: the state of the
    /// attempt that came furthest.
    pub fn open(shims: &Path) -> Result<TensorRt, Trouble> {
        let mut furthest: Option<Trouble> = None;
        for major in MAJORS {
            let path = shims.join(format!("libsagitta_tensorrt{major}.so"));
            if !path.exists() {
                continue;
            }
            match open_major(&path, major) {
                Ok(opened) => return Ok(opened),
                Err(trouble) if furthest.as_ref().is_some_and(|f| f.state > trouble.state) => {}
                Err(trouble) => furthest = Some(trouble),
            }
        }
        let none = || {
            let text = format!("no shim for TensorRT in {}", shims.display());
            Trouble::new(State::NoShim, text)
        };
        Err(furthest.unwrap_or_else(none))
    }

    /// `10.3.0`.
    pub fn version(&self) -> String {
        dotted(self.library.version())
    }

    /// `TensorRT 10.3.0 on Orin, driver 12.6`.
    pub fn describe(&self) -> String {
        let Device { name, .. } = &self.device;
        format!("TensorRT {} on {name}, driver {}", self.version(), self.device.driver_version())
    }

    /// What a plan of `source` for this device must say of itself.
    pub fn key(&self, source: &Source) -> Key {
        Key {
            onnx_sha256: crate::weights::sha256(&source.onnx),
            shapes: format!(
                "{:?} {:?} {:?}",
                source.range.least, source.range.usual, source.range.most
            ),
            tensorrt: self.version(),
            device: self.device.name.clone(),
            driver: self.device.driver_version(),
            shim: shim::ABI,
        }
    }

    /// The nets from plans that are ready, and how they were proven; the state of the first that is not.
    pub fn ready(
        self,
        sources: &[Source; 2],
        weights: &Shipped,
        cache: &Cache,
    ) -> Result<(Nets, Proof), Trouble> {
        let [semantic, instance] = sources;
        let semantic = cache.read(&semantic.name, &self.key(semantic))?;
        let instance = cache.read(&instance.name, &self.key(instance))?;
        Ok((self.nets([semantic.bytes, instance.bytes], weights)?, instance.proof))
    }

    /// Builds both plans, proves them on a drawn patient against `simd`, and keeps them. What was kept before stays until
    /// then.
    pub fn build(
        mut self,
        sources: &[Source; 2],
        weights: &Shipped,
        simd: &mut Nets,
        cache: &Cache,
        tell: Tell<'_>,
    ) -> Result<(Nets, Proof), Trouble> {
        cache.writable()?;
        let keys = [self.key(&sources[0]), self.key(&sources[1])];
        let plans = [
            plan(&mut self.library, &sources[0], tell)?,
            plan(&mut self.library, &sources[1], tell)?,
        ];
        let mut nets = self.nets(plans.clone(), weights)?;
        let proof = golden::prove(&mut nets, simd)?;
        for ((source, key), bytes) in sources.iter().zip(keys).zip(plans) {
            cache.store(&source.name, &Stored { key, proof: proof.clone(), bytes })?;
        }
        Ok((nets, proof))
    }

    fn nets(self, plans: [Vec<u8>; 2], weights: &Shipped) -> Result<Nets, Trouble> {
        let library = Arc::new(Mutex::new(self.library));
        let [semantic, instance] = plans;
        let semantic = TensorRtNet::load(&library, &semantic, &weights.semantic)?;
        let instance = TensorRtNet::load(&library, &instance, &weights.instance)?;
        Ok(Nets::new(Box::new(semantic), Some(Box::new(instance))))
    }
}

/// Opens TensorRT and builds, proves and keeps the plans of both nets.
pub fn build(
    weights: &Shipped,
    place: &Place,
    threads: usize,
    tell: Tell<'_>,
) -> Result<(Nets, Proof), Trouble> {
    let tensorrt = TensorRt::open(&place.shims)?;
    let mut simd = super::fallback::simd(weights, threads)
        .map_err(|error| Trouble::new(State::NotBuilt, error.to_string()))?;
    let sources = Source::of(&weights.semantic, &weights.instance);
    tensorrt.build(&sources, weights, &mut simd, &Cache::new(&place.plans), tell)
}

/// TensorRT by the names its packages give it.
fn open_major(path: &Path, major: u32) -> Result<TensorRt, Trouble> {
    let shim = Shim::load(path)?;
    let [tensorrt, parser] = ["libnvinfer", "libnvonnxparser"].map(|n| format!("{n}.so.{major}"));
    let mut library = shim.open(&tensorrt, &parser)?;
    let device = library.take_device()?;
    Ok(TensorRt { library, device })
}

/// One plan, built.
fn plan(library: &mut Library, source: &Source, tell: Tell<'_>) -> Result<Vec<u8>, Trouble> {
    let mut tell_phase = |phase: &str, done, steps| {
        let (net, phase) = (source.name.clone(), phase.to_owned());
        tell(Progress { net, phase, done, steps });
    };
    library.build(&source.onnx, &source.range, WORKSPACE_BYTES, &mut tell_phase)
}

/// Where shims and plans lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub shims: PathBuf,
    pub plans: PathBuf,
}
