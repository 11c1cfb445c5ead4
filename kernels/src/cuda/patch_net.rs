//! See [`crate::patch_net`]; within 1e-5 of its definition.

use super::call::THREADS;
use super::{Array, Call, DeviceError, Launcher, Shape};
use crate::patch_net;

/// A net in the memory of a launcher.
#[derive(Debug)]
pub struct PatchNet {
    net: patch_net::PatchNet,
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    weights: Array<f32>,
    bias: Array<f32>,
}

/// Where the values of a layer lie, as `patch_net.cu` says.
#[derive(Debug, Clone, Copy)]
struct Reading {
    first: usize,
    across: usize,
    row_step: usize,
    column_step: usize,
    side: usize,
    side_step: usize,
}

/// Positions and outputs of a block of threads, `TILE_POSITIONS` and `TILE_OUTPUTS` in `patch_net.cu`.
const TILE_POSITIONS: usize = 64;
const TILE_OUTPUTS: usize = 112;
/// Positions whose hidden values exist at once: 50 MB for 200 of them, and work enough for every device.
const POSITIONS_AT_ONCE: usize = 1 << 16;

impl PatchNet {
    pub fn new(on: &dyn Launcher, net: patch_net::PatchNet) -> Result<PatchNet, DeviceError> {
        let layer = |layer: &patch_net::Layer| {
            Ok(Layer { weights: Array::of(on, &layer.weights)?, bias: Array::of(on, &layer.bias)? })
        };
        let layers = net.layers().iter().map(layer).collect::<Result<_, DeviceError>>()?;
        Ok(PatchNet { net, layers })
    }

    /// See [`patch_net::Sweep::scores`].
    pub fn scores(
        &self,
        on: &dyn Launcher,
        slice: &Array<f32>,
        columns: usize,
        stride: usize,
    ) -> Result<Array<f32>, DeviceError> {
        let [across, down] = self.net.positions([columns, slice.len() / columns.max(1)], stride);
        let mut scores = Array::new(on, across * down * self.net.outputs())?;
        let rows_at_once = (POSITIONS_AT_ONCE / across.max(1)).max(1);
        for row in (0..down).step_by(rows_at_once) {
            let positions = across * rows_at_once.min(down - row);
            let reading = Reading {
                first: row * stride * columns,
                across,
                row_step: stride * columns,
                column_step: stride,
                side: self.net.side(),
                side_step: columns,
            };
            let (last, hidden) = (self.layers.len() - 1, &self.layers[..self.layers.len() - 1]);
            let mut values: Option<Array<f32>> = None;
            let mut reading = reading;
            for layer in hidden {
                let mut next = Array::new(on, positions * layer.bias.len())?;
                let from = values.as_ref().unwrap_or(slice);
                layer.run(on, (from, reading), positions, (&mut next, 0))?;
                reading = Reading::rows_of(layer.bias.len(), positions);
                values = Some(next);
            }
            let from = values.as_ref().unwrap_or(slice);
            let to = (&mut scores, row * across);
            self.layers[last].run(on, (from, reading), positions, to)?;
        }
        Ok(scores)
    }
}

impl Reading {
    /// The values of `positions` one after the other.
    fn rows_of(values: usize, positions: usize) -> Reading {
        Reading {
            first: 0,
            across: positions,
            row_step: 0,
            column_step: values,
            side: values,
            side_step: 0,
        }
    }
}

impl Layer {
    /// Writes what the layer makes of `positions` behind as many positions of `to` as are said beside it.
    fn run(
        &self,
        on: &dyn Launcher,
        (from, reading): (&Array<f32>, Reading),
        positions: usize,
        (to, written): (&mut Array<f32>, usize),
    ) -> Result<(), DeviceError> {
        let outputs = self.bias.len();
        let tiles = [positions.div_ceil(TILE_POSITIONS), outputs.div_ceil(TILE_OUTPUTS)];
        let blocks = [tiles[0] as u32, tiles[1] as u32, 1];
        Call::of("dense_layer")
            .read(from)
            .read(&self.weights)
            .read(&self.bias)
            .write(to)
            .counts([reading.first, reading.across, reading.row_step])
            .counts([reading.column_step, reading.side, reading.side_step])
            .counts([positions, self.weights.len() / outputs, outputs])
            .count(written)
            .launch(on, Shape { blocks, threads: THREADS, shared_bytes: 0 })
    }
}
