//! See [`crate::conv::quantised`]: the same operations on maps of steps, whose results are equal to the bit. Where floats are
//! read or made, they are float16: rounded once, behind all that is defined there.

use super::super::{Array, Call, DeviceError, Launcher};
use super::{Frame, Kernels, Map, stored};
use crate::conv::ConvError;
use crate::conv::quantised::{Gives, QuantisedSpec};

const KERNELS: Kernels = [
    ["convolve_steps_1x1_16", "convolve_steps_1x1_32"],
    ["convolve_steps_3x3_16", "convolve_steps_3x3_32"],
];

/// `Gives` in `convolution_s8.cu`.
const STEPS: usize = 0;
const VALUES: usize = 1;
const RECTIFIED: usize = 2;

/// Values or steps that a thread changes at once.
const AT_ONCE: usize = 4;

impl Map {
    /// Values divided by `scale` as steps.
    pub fn quantised(&self, on: &dyn Launcher, scale: f32) -> Result<Map<u8>, DeviceError> {
        let mut to = Map::new(on, self.size)?;
        let fours = self.size.stored() / AT_ONCE;
        let call = Call::of("quantise").read(&self.values).write(&mut to.values);
        call.count(fours).number(scale).over(on, fours)?;
        Ok(to)
    }
}

impl Map<u8> {
    /// Steps times `scale`.
    pub fn dequantised(&self, on: &dyn Launcher, scale: f32) -> Result<Map, DeviceError> {
        let mut to = Map::new(on, self.size)?;
        let fours = self.size.stored() / AT_ONCE;
        let call = Call::of("dequantise").read(&self.values).write(&mut to.values);
        call.count(fours).number(scale).over(on, fours)?;
        Ok(to)
    }

    /// The largest of each 2x2 pixels; an odd last row or column is left out.
    pub fn pooled(&self, on: &dyn Launcher) -> Result<Map<u8>, DeviceError> {
        self.pooled_by(on, "pool_steps", AT_ONCE)
    }
}

/// A convolution with its weights as tensor cores take them, still on the host.
#[derive(Clone)]
pub struct Packed {
    frame: Frame,
    gives: Gives,
    /// Four bytes to a word.
    weights: Vec<u32>,
    /// Of the stored outputs.
    multipliers: Vec<f32>,
    offsets: Vec<f32>,
}

impl Packed {
    pub fn new(spec: &QuantisedSpec<'_>) -> Result<Packed, ConvError> {
        spec.check()?;
        let frame = Frame::new(spec.inputs, spec.outputs, spec.window);
        let weights = frame.pack(4, |at| u32::from(spec.weights[at] as u8));
        let [multipliers, offsets] = [spec.multipliers, spec.offsets].map(stored);
        Ok(Packed { frame, gives: spec.gives, weights, multipliers, offsets })
    }

    /// Brings weights and scales to a device.
    pub fn load(&self, on: &dyn Launcher) -> Result<Convolution, DeviceError> {
        Ok(Convolution {
            frame: self.frame.clone(),
            gives: self.gives,
            weights: Array::of(on, &self.weights)?,
            multipliers: Array::of(on, &self.multipliers)?,
            offsets: Array::of(on, &self.offsets)?,
        })
    }
}

/// Without the weights: a net printed by mistake would be megabytes.
impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packed").field("frame", &self.frame).finish_non_exhaustive()
    }
}

/// A convolution on a device.
#[derive(Debug)]
pub struct Convolution {
    frame: Frame,
    gives: Gives,
    weights: Array<u32>,
    multipliers: Array<f32>,
    offsets: Array<f32>,
}

/// What a convolution of steps made.
#[derive(Debug)]
pub enum Made {
    Steps(Map<u8>),
    Values(Map),
}

impl Convolution {
    /// The result from one map per source.
    pub fn run(&self, on: &dyn Launcher, maps: &[&Map<u8>]) -> Result<Made, DeviceError> {
        let numbers =
            |call: Call| call.read(&self.weights).read(&self.multipliers).read(&self.offsets);
        let frame = &self.frame;
        let values = |kind| frame.run(on, KERNELS, maps, numbers, kind).map(Made::Values);
        match self.gives {
            Gives::Steps => frame.run(on, KERNELS, maps, numbers, STEPS).map(Made::Steps),
            Gives::Values { relu: false } => values(VALUES),
            Gives::Values { relu: true } => values(RECTIFIED),
        }
    }
}
