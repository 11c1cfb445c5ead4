//! Seconds per labelling of one label map: our side of `tests/bench/components.py`.
//!
//! `components_speed MAP NI NJ NK CONNECTIVITY RUNS NUMBERS`: MAP holds a byte a voxel, `i` fastest; CONNECTIVITY is 6, 18 or
//! 26. Writes the component number of each voxel to NUMBERS (four bytes, little end first) and prints, a line a run, the
//! processor seconds of `label`, and of `label` with its numbers painted into a new volume.

use kernels::components::{Connectivity, label};
use kernels::{Affine, Dims, Grid, Volume};
use std::error::Error;
use std::fs;
use std::hint::black_box;

const USAGE: &str = "usage: components_speed MAP NI NJ NK CONNECTIVITY RUNS NUMBERS";
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

/// The number of each voxel's component, in the type that cc3d would give.
enum Numbers {
    Narrow(Volume<u16>),
    Wide(Volume<u32>),
}

/// Labels a map and paints the numbers into a new volume.
fn numbers(map: &Volume<u8>, connectivity: Connectivity) -> Numbers {
    let found = label(map, connectivity);
    if found.parts.len() <= usize::from(u16::MAX) {
        let mut volume = Volume::filled(*map.grid(), 0u16);
        found.runs().for_each(|(n, range)| volume.voxels_mut()[range].fill(n as u16 + 1));
        Numbers::Narrow(volume)
    } else {
        let mut volume = Volume::filled(*map.grid(), 0u32);
        found.runs().for_each(|(n, range)| volume.voxels_mut()[range].fill(n as u32 + 1));
        Numbers::Wide(volume)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [map, ni, nj, nk, neighbours, runs, told] = &arguments[..] else {
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
        let runs = seconds(|| label(black_box(&map), connectivity))?;
        let volume = seconds(|| numbers(black_box(&map), connectivity))?;
        println!("{runs:.9} {volume:.9}");
    }
    let volume = match numbers(&map, connectivity) {
        Numbers::Narrow(volume) => volume.map(u32::from),
        Numbers::Wide(volume) => volume,
    };
    let bytes: Vec<u8> = volume.voxels().iter().flat_map(|n| n.to_le_bytes()).collect();
    fs::write(told, bytes)?;
    Ok(())
}
