//! Our own engine for NVIDIA GPUs, in float16 and in int8 on tensor cores: it needs a driver and nothing else of NVIDIA's.
//!
//! It runs the steps that `simd` runs ([`kernels::cuda::convolution`]), those in whole numbers to the bit; its maps of floats
//! are float16, also where they are made from steps or become steps. It is taken only after the golden case
//! ([`super::golden`]). Nothing is built or kept beforehand: the driver compiles the kernels and keeps what it compiled.

mod stages;

use super::fallback::simd;
use super::forms::Shipped;
use super::golden;
use super::known::{Kept, Known};
use super::plan::{INPUT, Made, Plan, Step};
use super::suited::{MAX_PIXELS, checked, planned};
use super::tensorrt::plans::Proof;
use super::trouble::{State, Trouble};
use crate::weights::{ModelError, Shape, Weights};
use kernels::conv::ConvSpec;
use kernels::conv::quantised::QuantisedSpec;
use kernels::cuda::convolution::{Convolution, Map, Packed, Size, quantised};
use kernels::cuda::{Array, Device, DeviceError, Launcher};
use pipeline::{ModelCard, Net, NetError, Nets, TensorMut, TensorRef};
use std::path::Path;
use std::sync::Arc;

/// Engine and precision, as reports and messages name them.
pub const NAME: &str = "cuda f16";

/// The same of nets that are quantised.
pub const NAME_INT8: &str = "cuda int8";

/// Where nets run: a device, shared by both.
pub type On = Arc<dyn Launcher + Send + Sync>;

/// A net on a device.
pub struct CudaNet<C = ModelCard> {
    card: C,
    plan: Plan<OnDevice>,
    /// The last step that reads each map: then its memory goes back to the pool, from which the next one takes it.
    last_read: Vec<usize>,
    on: On,
}

impl<C: std::fmt::Debug> std::fmt::Debug for CudaNet<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CudaNet").field("card", &self.card).finish_non_exhaustive()
    }
}

impl<C: Shape> CudaNet<C> {
    /// Brings a net to a device.
    pub fn load(weights: Weights<C>, on: &On) -> Result<CudaNet<C>, Trouble> {
        let (card, plan) = planned::<C, OnHost>(weights).map_err(|error| unsuited(&error))?;
        let last_read = plan.lives().into_iter().map(|[_, last]| last).collect();
        let plan = plan.with(|conv| conv.load(&**on)).map_err(|error| Trouble::from(&error))?;
        Ok(CudaNet { card, plan, last_read, on: On::clone(on) })
    }

    /// Some slices through the net, all at once: `input` and the result are `[slices, channels, rows, columns]` there.
    pub fn forward(&self, input: &Array<f32>, size: Size) -> Result<Array<f32>, DeviceError> {
        let on: &dyn Launcher = &*self.on;
        let mut maps: Vec<Option<Held>> = self.plan.maps.iter().map(|_| None).collect();
        maps[INPUT] = Some(Held::Floats(Map::of_planar(on, input, size)?));
        for (number, step) in self.plan.steps.iter().enumerate() {
            let made = self.step(step, &maps)?;
            for map in step.reads() {
                if self.last_read[map] == number {
                    maps[map] = None;
                }
            }
            maps[step.writes()] = Some(made);
        }
        floats(&maps, self.plan.output())?.planar(on)
    }

    fn step(&self, step: &Step<OnDevice>, maps: &[Option<Held>]) -> Result<Held, DeviceError> {
        let on: &dyn Launcher = &*self.on;
        let scale = |map: usize| self.plan.maps[map].scale.unwrap_or(1.0);
        Ok(match step {
            Step::Conv { conv: OnDevice::Floats(conv), sources, .. } => {
                let read = sources.iter().map(|&map| floats(maps, map));
                Held::Floats(conv.run(on, &read.collect::<Result<Vec<_>, _>>()?)?)
            }
            Step::Conv { conv: OnDevice::Steps(conv), sources, .. } => {
                let read = sources.iter().map(|&map| steps(maps, map));
                match conv.run(on, &read.collect::<Result<Vec<_>, _>>()?)? {
                    quantised::Made::Steps(map) => Held::Steps(map),
                    quantised::Made::Values(map) => Held::Floats(map),
                }
            }
            Step::Pool { from, .. } if self.plan.maps[*from].scale.is_some() => {
                Held::Steps(steps(maps, *from)?.pooled(on)?)
            }
            Step::Pool { from, .. } => Held::Floats(floats(maps, *from)?.pooled(on)?),
            Step::Quantise { from, to } => {
                Held::Steps(floats(maps, *from)?.quantised(on, scale(*to))?)
            }
            Step::Dequantise { from, .. } => {
                Held::Floats(steps(maps, *from)?.dequantised(on, scale(*from))?)
            }
        })
    }
}

/// A convolution with its weights still on the host.
#[derive(Debug)]
enum OnHost {
    Floats(Packed),
    Steps(quantised::Packed),
}

impl Made for OnHost {
    fn of_floats(spec: ConvSpec<'_>) -> Result<OnHost, String> {
        Packed::new(&spec).map(OnHost::Floats).map_err(|error| error.to_string())
    }

    fn of_steps(spec: QuantisedSpec<'_>) -> Result<OnHost, String> {
        quantised::Packed::new(&spec).map(OnHost::Steps).map_err(|error| error.to_string())
    }
}

impl OnHost {
    fn load(&self, on: &dyn Launcher) -> Result<OnDevice, DeviceError> {
        Ok(match self {
            OnHost::Floats(conv) => OnDevice::Floats(conv.load(on)?),
            OnHost::Steps(conv) => OnDevice::Steps(conv.load(on)?),
        })
    }
}

/// A convolution on the device.
#[derive(Debug)]
enum OnDevice {
    Floats(Convolution),
    Steps(quantised::Convolution),
}

/// A feature map on the device.
enum Held {
    Floats(Map),
    Steps(Map<u8>),
}

/// A map of floats that was made and not yet given back.
fn floats(maps: &[Option<Held>], map: usize) -> Result<&Map, DeviceError> {
    match &maps[map] {
        Some(Held::Floats(map)) => Ok(map),
        _ => Err(missing("floats", map)),
    }
}

/// The same of steps.
fn steps(maps: &[Option<Held>], map: usize) -> Result<&Map<u8>, DeviceError> {
    match &maps[map] {
        Some(Held::Steps(map)) => Ok(map),
        _ => Err(missing("steps", map)),
    }
}

fn missing(what: &str, map: usize) -> DeviceError {
    let text = format!("map {map} is not there in {what}");
    DeviceError::Refused { during: "a net".to_owned(), text }
}

impl<C: Shape + Send + Sync> Net<C> for CudaNet<C> {
    fn card(&self) -> &C {
        &self.card
    }

    fn engine(&self) -> String {
        if self.plan.quantised() { NAME_INT8.to_owned() } else { NAME.to_owned() }
    }

    fn run(&mut self, input: TensorRef<'_>, output: TensorMut<'_>) -> Result<(), NetError> {
        let [rows, columns] = checked(&self.card, &input, &output)?;
        let channels = self.card.input_channels();
        let (from, to) = (channels * rows * columns, self.card.output_channels() * rows * columns);
        // As many at once as one of the largest size takes.
        let most = (MAX_PIXELS / (rows * columns)).max(1);
        let parts = input.values.chunks(most * from).zip(output.values.chunks_mut(most * to));
        for (values, logits) in parts {
            let size = Size { slices: values.len() / from, rows, columns, channels };
            let on: &dyn Launcher = &*self.on;
            Array::of(on, values)
                .and_then(|input| self.forward(&input, size))
                .and_then(|output| output.download_into(on, logits))
                .map_err(failed)?;
        }
        Ok(())
    }
}

fn failed(error: DeviceError) -> NetError {
    match error {
        DeviceError::OutOfMemory { .. } => NetError::OutOfMemory(error.to_string()),
        _ => NetError::Engine(error.to_string()),
    }
}

/// Both nets on the first device, proven, and the device in words. The proof is kept in `folder`: with the same device, driver,
/// weights and software the nets are asked at later starts whether they still give the answer of that day.
pub fn open(
    weights: &Shipped,
    threads: usize,
    folder: &Path,
) -> Result<(Nets, String, Proof), Trouble> {
    let device = Device::open().map_err(|error| Trouble::from(&error))?;
    let driver = device.driver().map_err(|error| Trouble::from(&error))?.to_string();
    let (major, minor) = device.capability();
    let described = format!("{}, compute capability {major}.{minor}", device.name());
    let on: On = Arc::new(device);
    let mut nets = nets(weights, &on)?;
    let kept = Kept::of(folder, &nets, &described, &driver);
    if let Some(proof) = kept.read() {
        Known::from(&proof).check(&mut nets)?;
        return Ok((nets, described, proof));
    }
    let mut simd = simd(weights, threads).map_err(|error| unsuited(&error))?;
    let proof = golden::prove(&mut nets, &mut simd)?;
    // Where nothing can be written it is proven again at the next start.
    let _ = kept.store(&proof);
    Ok((nets, described, proof))
}

/// Both nets, not proven.
pub fn nets(weights: &Shipped, on: &On) -> Result<Nets, Trouble> {
    let Shipped { semantic, instance } = weights.clone();
    let semantic = CudaNet::load(semantic, on)?;
    let instance = CudaNet::load(instance, on)?;
    Ok(Nets::new(Box::new(semantic), Some(Box::new(instance))))
}

fn unsuited(error: &ModelError) -> Trouble {
    Trouble::new(State::NotBuilt, error.to_string())
}
