//! Where the time of a slice goes, layer by layer; for benchmarks.

use super::{Arena, INPUT, Layout, SimdConv, SimdNet, Step, from_planar, to_planar};
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
        let mut layers = vec![layer("slice to map".to_owned())];
        layers.extend(self.plan.steps.iter().map(|step| described(step, &layout)));
        layers.push(layer("map to logits".to_owned()));
        for _ in 0..runs {
            let mut best = layers.iter_mut();
            let mut time = |work: &mut dyn FnMut()| {
                let start = Instant::now();
                work();
                let seconds = start.elapsed().as_secs_f64();
                if let Some(layer) = best.next() {
                    layer.seconds = layer.seconds.min(seconds);
                }
            };
            time(&mut || from_planar(&input, arena.maps::<_, f32>(&layout, INPUT, &[]).0));
            for step in &self.plan.steps {
                time(&mut || self.step(step, &layout, &mut arena, 1));
            }
            time(&mut || to_planar(arena.map(&layout, self.plan.output()), &mut output));
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
