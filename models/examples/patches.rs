//! The patch net at every position of a slice, run on request: our side of `tests/bench/penn.py`, which has the clocks.
//!
//! `patches ONNX SIZE STRIDE THREADS SET IN OUT`: SET is an instruction set, IN a square slice of little-endian f32, OUT gets its
//! scores. One run fills OUT; then every line on standard input makes another. Each is answered by a line.

use anyhow::{Context, bail};
use kernels::conv::InstructionSet;
use kernels::patch_net::Sweep;
use models::onnx::patch_net::PatchGraph;
use std::hint::black_box;
use std::io::BufRead;
use std::{env, fs, io};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [onnx, size, stride, threads, set, from, to] = arguments.as_slice() else {
        bail!("usage: patches ONNX SIZE STRIDE THREADS SET IN OUT");
    };
    let [size, stride, threads]: [usize; 3] = [size.parse()?, stride.parse()?, threads.parse()?];
    let set = InstructionSet::available().into_iter().find(|known| known.name() == set);
    let set = set.context("this processor has no such instruction set")?;
    let graph = PatchGraph::read(&fs::read(onnx).with_context(|| format!("read {onnx}"))?)?;
    let sweep = Sweep::new(graph.net, stride);
    let bytes = fs::read(from).with_context(|| format!("read {from}"))?;
    let slice: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    let scores = sweep.scores(set, &slice, size, threads);
    let bytes: Vec<u8> = scores.iter().flat_map(|score| score.to_le_bytes()).collect();
    fs::write(to, bytes).with_context(|| format!("write {to}"))?;
    println!("ready");
    for line in io::stdin().lock().lines() {
        line?;
        black_box(sweep.scores(set, &slice, size, threads));
        println!("done");
    }
    Ok(())
}
