//! A shipped net on the CPU engine, run on request: our side of `tests/bench/infer.py`, which has the clocks.
//!
//! `infer NET ONNX COUNT ROWS COLUMNS THREADS SET IN OUT`: NET is `semantic` or `instance`, ONNX the form of its weights, SET
//! an instruction set, IN and OUT files of little-endian f32 `[COUNT, channels, ROWS, COLUMNS]`. One run fills OUT; then
//! every line on standard input makes another. Each is answered by a line.

use anyhow::{Context, bail};
use kernels::conv::InstructionSet;
use models::engine::simd::SimdNet;
use models::onnx::Graph;
use models::weights::{Shape, Weights};
use pipeline::{Net, TensorMut, TensorRef};
use std::io::BufRead;
use std::{env, fs, io};

/// Answers until the input ends.
fn serve<C: Shape + Send + Sync>(
    mut weights: Weights<C>,
    onnx: &str,
    (set, threads): (InstructionSet, usize),
    [count, rows, cols]: [usize; 3],
    [from, to]: [&str; 2],
) -> anyhow::Result<()> {
    let [channels, outputs] = [weights.card.input_channels(), weights.card.output_channels()];
    let bytes = fs::read(onnx).with_context(|| format!("read {onnx}"))?;
    weights.graph = Graph::read(&bytes)?;
    let mut net = SimdNet::new(weights, set, threads)?;
    let bytes = fs::read(from).with_context(|| format!("read {from}"))?;
    let input: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    let mut output = vec![0.0f32; count * outputs * rows * cols];
    let mut run = |output: &mut [f32]| {
        net.run(
            TensorRef { shape: [count, channels, rows, cols], values: &input },
            TensorMut { shape: [count, outputs, rows, cols], values: output },
        )
    };
    run(&mut output)?;
    let bytes: Vec<u8> = output.iter().flat_map(|v| v.to_le_bytes()).collect();
    fs::write(to, bytes).with_context(|| format!("write {to}"))?;
    println!("ready");
    for line in io::stdin().lock().lines() {
        line?;
        run(&mut output)?;
        println!("done");
    }
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [net, onnx, count, rows, cols, threads, set, from, to] = arguments.as_slice() else {
        bail!("usage: infer NET ONNX COUNT ROWS COLUMNS THREADS SET IN OUT");
    };
    let shape = [count.parse()?, rows.parse()?, cols.parse()?];
    let set = InstructionSet::available().into_iter().find(|known| known.name() == set);
    let how = (set.context("this processor has no such instruction set")?, threads.parse()?);
    match net.as_str() {
        "semantic" => serve(Weights::embedded()?, onnx, how, shape, [from, to]),
        "instance" => serve(Weights::embedded_instance()?, onnx, how, shape, [from, to]),
        other => bail!("no net {other}"),
    }
}
