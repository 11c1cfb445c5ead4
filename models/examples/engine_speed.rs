//! Speed and memory of the shipped net on the CPU engine: `cargo run --release -p models --example
//! engine_speed`.
//!
//! Arguments: slices per batch, rows, columns, threads, instruction set (defaults 8 320 320 2, the
//! best). Prints wall and processor seconds, because on a shared machine only the latter can be
//! compared. Linux only: reads `/proc`.

use kernels::conv::InstructionSet;
use models::engine::simd::SimdNet;
use models::weights::Weights;
use pipeline::{Net, TensorMut, TensorRef};
use std::time::Instant;

/// Timed runs after the first, which also takes the memory.
const RUNS: usize = 5;

/// Clock ticks per second of `/proc/self/stat`, fixed by Linux for user space.
const TICKS: f64 = 100.0;

fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let times = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    times.skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / TICKS
}

fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or("VmHWM unknown");
    line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| {
        arguments.get(at).map_or(Ok(default), |text| text.parse::<usize>())
    };
    let (count, rows, cols, threads) =
        (number(0, 8)?, number(1, 320)?, number(2, 320)?, number(3, 2)?);
    let set = match arguments.get(4) {
        None => InstructionSet::best(),
        Some(name) => InstructionSet::available()
            .into_iter()
            .find(|set| set.name() == name)
            .ok_or_else(|| anyhow::anyhow!("this processor has no {name}"))?,
    };
    let mut net = SimdNet::new(Weights::embedded()?, set, threads)?;
    let flop = 2.0 * (count * net.multiply_adds(rows, cols)) as f64;
    let input: Vec<f32> = (0..count * 5 * rows * cols).map(|i| (i % 17) as f32 / 8.0).collect();
    let mut output = vec![0.0; count * 12 * rows * cols];
    for run in 0..=RUNS {
        let (wall, processor) = (Instant::now(), processor_seconds());
        net.run(
            TensorRef { shape: [count, 5, rows, cols], values: &input },
            TensorMut { shape: [count, 12, rows, cols], values: &mut output },
        )?;
        let (wall, processor) = (wall.elapsed().as_secs_f64(), processor_seconds() - processor);
        println!(
            "{}{} {count} x {rows} x {cols}, {threads} threads: wall {wall:.3} s, {:.1} slices/s; \
             processor {processor:.2} s, {:.1} GFLOP/s per core",
            if run == 0 { "(first) " } else { "" },
            set.name(),
            count as f64 / wall,
            flop / processor / 1e9,
        );
    }
    println!("peak memory {}", peak_memory());
    Ok(())
}
