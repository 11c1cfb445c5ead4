//! The bias field of one image estimated and divided out, timed: our side of `tests/bench/bias.py`.
//!
//! `bias FOLDER RUNS`: FOLDER holds `grid` (three counts, then millimetres) and `image` (four bytes a voxel, little end first,
//! first axis fastest). Writes `corrected` in the same form, and prints the seconds of each run as a list.

use kernels::{Affine, Dims, Grid, Volume, bias, threads};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

fn read(folder: &Path) -> Result<Volume<f32>, Box<dyn Error>> {
    let text = fs::read_to_string(folder.join("grid"))?;
    let numbers: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let &[i, j, k, zi, zj, zk] = numbers.as_slice() else { return Err("six numbers".into()) };
    let axes = [[0.0, zi, 0.0], [0.0, 0.0, -zj], [-zk, 0.0, 0.0]];
    let dims = Dims::new([i, j, k].map(|n| n as usize))?;
    let bytes = fs::read(folder.join("image"))?;
    let values = bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    Ok(Volume::new(Grid { dims, affine: Affine::new(axes, [0.0; 3])? }, values)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, runs] = arguments.as_slice() else { return Err("bias FOLDER RUNS".into()) };
    let (folder, runs) = (PathBuf::from(folder), runs.parse::<usize>()?);
    let image = read(&folder)?;
    let (mut corrected, mut seconds) = (image.clone(), Vec::new());
    for _ in 0..runs {
        corrected.voxels_mut().copy_from_slice(image.voxels());
        let start = Instant::now();
        bias::correct(&mut corrected, threads::available());
        seconds.push(start.elapsed().as_secs_f64());
    }
    let bytes: Vec<u8> = corrected.voxels().iter().flat_map(|value| value.to_le_bytes()).collect();
    fs::write(folder.join("corrected"), bytes)?;
    println!("{seconds:?}");
    Ok(())
}
