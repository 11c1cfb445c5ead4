//! Seconds per labelling of one label map: our side of `tests/bench/components.py`.
//!
//! `components_speed MAP NI NJ NK CONNECTIVITY RUNS LABELS`: MAP holds a byte a voxel, `i` fastest; CONNECTIVITY is 6, 18 or
//! 26. Writes the component numbers to LABELS (four bytes, little end first) and prints, a line a run, the processor seconds
//! of `label`, and of `pieces`, which writes no volume.

use kernels::components::{Connectivity, label, pieces};
use kernels::{Affine, Dims, Grid, Volume};
use std::error::Error;
use std::fs;
use std::hint::black_box;

const USAGE: &str = "usage: components_speed MAP NI NJ NK CONNECTIVITY RUNS LABELS";
/// Only the voxel counts matter here.
const UNIT_AXES: [[f64; 3]; 3] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

/// Processor seconds of this thread so far: what other programs take of the core does not count. Linux only.
fn processor_seconds() -> Result<f64, Box<dyn Error>> {
    // The kernel brings the count up to date when the thread yields, else only every few milliseconds.
    std::thread::yield_now();
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: f64 = text.split_whitespace().next().ok_or("no count")?.parse()?;
    Ok(nanoseconds / 1e9)
}

/// Seconds of some work, without those of letting its result go.
fn seconds<T>(work: impl FnOnce() -> T) -> Result<f64, Box<dyn Error>> {
    let started = processor_seconds()?;
    let result = black_box(work());
    let ended = processor_seconds()?;
    drop(result);
    Ok(ended - started)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [map, ni, nj, nk, neighbours, runs, labels] = &arguments[..] else {
        return Err(USAGE.into());
    };
    let dims = Dims::new([ni.parse()?, nj.parse()?, nk.parse()?])?;
    let grid = Grid { dims, affine: Affine::new(UNIT_AXES, [0.0; 3])? };
    let map = Volume::new(grid, fs::read(map)?)?;
    let connectivity = match neighbours.as_str() {
        "6" => Connectivity::Faces6,
        "18" => Connectivity::Edges18,
        "26" => Connectivity::Corners26,
        _ => return Err(USAGE.into()),
    };
    for _ in 0..runs.parse()? {
        let whole = seconds(|| label(black_box(&map), connectivity))?;
        let parts = seconds(|| pieces(black_box(&map), connectivity))?;
        println!("{whole:.9} {parts:.9}");
    }
    let numbers = label(&map, connectivity).labels;
    let bytes: Vec<u8> = numbers.voxels().iter().flat_map(|n| n.to_le_bytes()).collect();
    fs::write(labels, bytes)?;
    Ok(())
}
