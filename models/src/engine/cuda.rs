//! Our own engine for NVIDIA GPUs, in float16 on tensor cores: it needs a driver and nothing else of NVIDIA's.
//!
//! It runs the steps that `simd` runs ([`kernels::cuda::convolution`]), and is taken only after the golden case
//! ([`super::golden`]). Nothing is built or kept beforehand: the driver compiles the kernels and keeps what it compiled.

use super::fallback::simd;
use super::golden;
use super::plan::{INPUT, Plan, Step};
use super::suited::{MAX_PIXELS, checked, planned};
use super::tensorrt::Shipped;
use super::tensorrt::plans::Proof;
use super::trouble::{State, Trouble};
use crate::weights::{ModelError, Shape, Weights};
use kernels::cuda::convolution::{Convolution, Map, Packed, Size};
use kernels::cuda::{Array, Device, DeviceError, Launcher};
use pipeline::{ModelCard, Net, NetError, Nets, TensorMut, TensorRef};
use std::sync::Arc;

/// Engine and precision, as reports and messages name them.
pub const NAME: &str = "cuda f16";

/// Where nets run: a device, shared by both.
pub type On = Arc<dyn Launcher + Send + Sync>;

/// A net on a device.
pub struct CudaNet<C = ModelCard> {
    card: C,
    plan: Plan<Convolution>,
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
        let (card, plan) = planned::<C, Packed>(weights).map_err(|error| unsuited(&error))?;
        if plan.quantised() {
            let text = "this engine computes in float16 only, and the weights are int8";
            return Err(Trouble::new(State::NotBuilt, text));
        }
        let last_read = plan.lives().into_iter().map(|[_, last]| last).collect();
        let plan = plan.with(|conv| conv.load(&**on)).map_err(|error| Trouble::from(&error))?;
        Ok(CudaNet { card, plan, last_read, on: On::clone(on) })
    }

    /// Some slices through the net, all at once: `input` and the result are `[slices, channels, rows, columns]` there.
    pub fn forward(&self, input: &Array<f32>, size: Size) -> Result<Array<f32>, DeviceError> {
        let on: &dyn Launcher = &*self.on;
        let mut maps: Vec<Option<Map>> = self.plan.maps.iter().map(|_| None).collect();
        maps[INPUT] = Some(Map::of_planar(on, input, size)?);
        for (number, step) in self.plan.steps.iter().enumerate() {
            let made = match step {
                Step::Conv { conv, sources, .. } => {
                    let read: Vec<&Map> =
                        sources.iter().filter_map(|&map| maps[map].as_ref()).collect();
                    Some(conv.run(on, &read)?)
                }
                Step::Pool { from, .. } => {
                    maps[*from].as_ref().map(|map| map.pooled(on)).transpose()?
                }
                // Of quantised nets, which `load` refuses.
                Step::Quantise { .. } | Step::Dequantise { .. } => None,
            };
            for map in step.reads() {
                if self.last_read[map] == number {
                    maps[map] = None;
                }
            }
            maps[step.writes()] = made;
        }
        match &maps[self.plan.output()] {
            Some(map) => map.planar(on),
            None => {
                let text = "a plan without result".to_owned();
                Err(DeviceError::Refused { during: "a net".to_owned(), text })
            }
        }
    }
}

impl<C: Shape + Send + Sync> Net<C> for CudaNet<C> {
    fn card(&self) -> &C {
        &self.card
    }

    fn engine(&self) -> String {
        NAME.to_owned()
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

/// Both nets on the first device, proven, and the device in words.
pub fn open(weights: &Shipped, threads: usize) -> Result<(Nets, String, Proof), Trouble> {
    let device = Device::open().map_err(|error| Trouble::from(&error))?;
    let (major, minor) = device.capability();
    let described = format!("{}, compute capability {major}.{minor}", device.name());
    let on: On = Arc::new(device);
    let mut nets = nets(weights, &on)?;
    let mut simd = simd(weights, threads).map_err(|error| unsuited(&error))?;
    let proof = golden::prove(&mut nets, &mut simd)?;
    Ok((nets, described, proof))
}

/// Both nets, not proven.
pub fn nets(weights: &Shipped, on: &On) -> Result<Nets, Trouble> {
    let Shipped { semantic, instance } = weights.clone();
    let semantic = CudaNet::load(semantic, on)?;
    let instance = CudaNet::load(instance, on)?;
    Ok(Nets { semantic: Box::new(semantic), instance: Some(Box::new(instance)) })
}

fn unsuited(error: &ModelError) -> Trouble {
    Trouble::new(State::NotBuilt, error.to_string())
}
