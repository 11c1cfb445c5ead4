//! From a graph to the steps that our own engines run: ReLU joins its convolution; upsampling and
//! concat become the way a convolution reads its sources; what remains is convolutions and pools
//! over numbered feature maps, of floats or of whole numbers, and the changes from one to the other.

mod builder;
mod lowering;

use crate::onnx::Graph;
use kernels::conv::quantised::QuantisedSpec;
use kernels::conv::{ConvSpec, InputChannels};

/// Number of the map that holds the input.
pub(super) const INPUT: usize = 0;

/// A feature map of the plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Map {
    /// Channels with a meaning, and channels in memory.
    pub(super) channels: InputChannels,
    /// Rows and columns are those of the input divided by `2^level`.
    pub(super) level: u32,
    /// Of a map of steps ([`kernels::conv::quantised`]); `None`: it holds floats.
    pub(super) scale: Option<f32>,
}

/// A map as a convolution reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SourceMap {
    pub(super) map: usize,
    pub(super) upsampled: bool,
}

/// What an engine makes of a convolution; a sentence where it cannot.
pub(super) trait Made: Sized {
    /// Floats to floats.
    fn of_floats(spec: ConvSpec<'_>) -> Result<Self, String>;

    /// Steps to steps, or to floats.
    fn of_steps(spec: QuantisedSpec<'_>) -> Result<Self, String>;
}

/// One step; maps by number.
#[derive(Debug)]
pub(super) enum Step<M> {
    Conv {
        conv: M,
        sources: Vec<usize>,
        to: usize,
    },
    Pool {
        from: usize,
        to: usize,
    },
    /// Floats to steps of the scale of `to`.
    Quantise {
        from: usize,
        to: usize,
    },
    /// Steps of the scale of `from` to floats.
    Dequantise {
        from: usize,
        to: usize,
    },
}

impl<M> Step<M> {
    pub(super) fn writes(&self) -> usize {
        match self {
            Step::Conv { to, .. }
            | Step::Pool { to, .. }
            | Step::Quantise { to, .. }
            | Step::Dequantise { to, .. } => *to,
        }
    }

    pub(super) fn reads(&self) -> Vec<usize> {
        match self {
            Step::Conv { sources, .. } => sources.clone(),
            Step::Pool { from, .. }
            | Step::Quantise { from, .. }
            | Step::Dequantise { from, .. } => vec![*from],
        }
    }
}

/// Map 0 is the input, the map written by the last step the output; both hold floats.
#[derive(Debug)]
pub(super) struct Plan<M> {
    pub(super) maps: Vec<Map>,
    pub(super) steps: Vec<Step<M>>,
    /// Rows and columns of an input must be multiples of this.
    pub(super) multiple_of: usize,
}

impl<M: Made> Plan<M> {
    /// Fails with a sentence that names the node.
    pub(super) fn of(graph: &Graph) -> Result<Plan<M>, String> {
        lowering::lower(builder::Outline::of(graph)?)
    }
}

impl<M> Plan<M> {
    /// Number of the map that holds the output.
    pub(super) fn output(&self) -> usize {
        self.steps.last().map_or(INPUT, Step::writes)
    }

    /// Whether a part of it is computed in whole numbers.
    pub(super) fn quantised(&self) -> bool {
        self.maps.iter().any(|map| map.scale.is_some())
    }

    /// First and last step at which each map must be there; the input is there before the first.
    pub(super) fn lives(&self) -> Vec<[usize; 2]> {
        let mut lives = vec![[0, 0]; self.maps.len()];
        for (number, step) in self.steps.iter().enumerate() {
            lives[step.writes()] = [number; 2];
            for map in step.reads() {
                lives[map][1] = number;
            }
        }
        lives
    }

    /// The same plan with other convolutions, say those that were brought to a device.
    pub(super) fn with<N, E>(self, mut make: impl FnMut(M) -> Result<N, E>) -> Result<Plan<N>, E> {
        let change = |step| {
            Ok(match step {
                Step::Conv { conv, sources, to } => Step::Conv { conv: make(conv)?, sources, to },
                Step::Pool { from, to } => Step::Pool { from, to },
                Step::Quantise { from, to } => Step::Quantise { from, to },
                Step::Dequantise { from, to } => Step::Dequantise { from, to },
            })
        };
        let steps = self.steps.into_iter().map(change).collect::<Result<_, E>>()?;
        Ok(Plan { maps: self.maps, steps, multiple_of: self.multiple_of })
    }
}

#[cfg(test)]
pub(super) mod tests;
