//! Where the time of the shipped nets goes on one core, as a share of what the processor can do: `cargo run --release -p
//! models --example roofline`, or `tests/bench/infer.py --roofline`. Two arguments are ONNX files of other forms of the nets.
//!
//! For each layer its best time, the share of the measured rate of fused multiply-adds that its own multiply-adds reach, and
//! the same for those of the textbook, which is above 100 % where products are saved. The roof is that of floats, also for
//! layers of whole numbers, of which a processor has up to four times as many.

use kernels::conv::{InstructionSet, peak};
use models::engine::simd::{Layer, SimdNet};
use models::onnx::Graph;
use models::weights::{Shape, Weights};
use std::time::Instant;

/// Runs of every layer; the best counts, for the machine may be shared.
const RUNS: usize = 60;

/// Multiply-adds per register and sample: some milliseconds, shorter than a time slice of a shared machine.
const PEAK_ROUNDS: usize = 2_000_000;
const PEAK_SAMPLES: usize = 60;

/// Multiply-adds per second of one core.
fn roof(set: InstructionSet) -> f64 {
    let rate = |_| {
        let start = Instant::now();
        let count = peak::multiply_adds(set, PEAK_ROUNDS);
        count as f64 / start.elapsed().as_secs_f64()
    };
    (0..PEAK_SAMPLES).map(rate).fold(0.0, f64::max)
}

fn table(name: &str, set: InstructionSet, roof: f64, layers: &[Layer]) {
    println!("{name}, {}: layer, ms, % of the roof run, % of the roof by the textbook", set.name());
    let line = |what: &str, seconds: f64, run: usize, textbook: usize| {
        let share = |count: usize| count as f64 / seconds / roof * 100.0;
        println!("  {what:34} {:8.3} {:6.1} {:6.1}", seconds * 1e3, share(run), share(textbook));
    };
    for layer in layers {
        line(&layer.what, layer.seconds, layer.multiply_adds, layer.textbook);
    }
    let sum = |of: fn(&Layer) -> usize| layers.iter().map(of).sum::<usize>();
    let seconds = layers.iter().map(|layer| layer.seconds).sum();
    line("whole", seconds, sum(|l| l.multiply_adds), sum(|l| l.textbook));
}

fn measure<C: Shape>(
    name: &str,
    set: InstructionSet,
    roof: f64,
    mut weights: Weights<C>,
    [rows, cols]: [usize; 2],
    onnx: Option<&String>,
) -> anyhow::Result<()> {
    if let Some(path) = onnx {
        weights.graph = Graph::read(&std::fs::read(path)?)?;
    }
    let net = SimdNet::new(weights, set, 1)?;
    table(name, set, roof, &net.layers(rows, cols, RUNS));
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let forms: Vec<String> = std::env::args().skip(1).collect();
    for set in InstructionSet::available() {
        if set == InstructionSet::SCALAR {
            continue;
        }
        let roof = roof(set);
        println!("{}: {:.1} GFLOP/s of fused multiply-adds on one core", set.name(), roof * 2e-9);
        measure("semantic", set, roof, Weights::embedded()?, [384, 384], forms.first())?;
        measure("instance", set, roof, Weights::embedded_instance()?, [96, 80], forms.get(1))?;
    }
    Ok(())
}
