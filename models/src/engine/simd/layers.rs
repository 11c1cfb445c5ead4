//! Where the time of a slice goes, layer by layer; for benchmarks.

use super::{Arena, Layout, Pass, SimdConv, SimdNet, Step};
use crate::weights::Shape;
use kernels::conv::MapSize;
use std::time::Instant;

/// One step of the net, on one slice.
#[derive(Debug, Clone)]
pub struct Layer {
    /// What it does: channels and size.
    pub what: String,
    /// Multiply-adds that run, counted over the stored channels; none but in convolutions.
    pub multiply_adds: usize,
    /// Those of the same convolution without products saved.
    pub textbook: usize,
    /// Best of the runs.
    pub seconds: f64,
}

impl<C: Shape> SimdNet<C> {
    /// Every layer on this thread alone, for a slice of `rows` x `columns`, the best of `runs`. Sizes must be multiples of
    /// what the card names.
    pub fn layers(&self, rows: usize, cols: usize, runs: usize) -> Vec<Layer> {
        let layout = Layout::new(&self.plan, rows, cols);
        let mut arena = Arena::new(&layout);
        let input: Vec<f32> = vec![0.5; self.card.input_channels() * rows * cols];
        let mut output = vec![0.0; self.card.output_channels() * rows * cols];
        let passes = self.passes();
        let steps = &self.plan.steps;
        let describe = |pass: &Pass<'_>| match pass {
            Pass::ToMap => layer("slice to map".to_owned()),
            Pass::FromImage { .. } => described(&steps[0], &layout),
            Pass::Step(step) => described(step, &layout),
            Pass::ToImage { .. } => described(&steps[steps.len() - 1], &layout),
            Pass::FromMap => layer("map to logits".to_owned()),
        };
        let mut layers: Vec<Layer> = passes.iter().map(describe).collect();
        for _ in 0..runs {
            for (pass, layer) in passes.iter().zip(&mut layers) {
                let start = Instant::now();
                self.pass(pass, &layout, &mut arena, (&input, &mut output), 1);
                layer.seconds = layer.seconds.min(start.elapsed().as_secs_f64());
            }
        }
        layers
    }
}

fn layer(what: String) -> Layer {
    Layer { what, multiply_adds: 0, textbook: 0, seconds: f64::INFINITY }
}

fn described(step: &Step<SimdConv>, layout: &Layout) -> Layer {
    let MapSize { rows, cols, channels } = layout.sizes[step.writes()];
    let pixels = rows * cols;
    match step {
        Step::Pool { .. } => layer(format!("pool {channels} to {rows} x {cols}")),
        Step::Quantise { .. } => layer(format!("quantise {channels}, {rows} x {cols}")),
        Step::Dequantise { .. } => layer(format!("dequantise {channels}, {rows} x {cols}")),
        Step::Conv { conv, sources, .. } => {
            let kind = match conv {
                SimdConv::Floats(_) => "conv",
                SimdConv::Steps(_) => "int8",
            };
            let read: Vec<String> =
                sources.iter().map(|&map| layout.sizes[map].channels.to_string()).collect();
            Layer {
                multiply_adds: pixels * conv.multiply_adds(),
                textbook: pixels * conv.textbook_multiply_adds(),
                ..layer(format!("{kind} {} -> {channels}, {rows} x {cols}", read.join(" + ")))
            }
        }
    }
}
