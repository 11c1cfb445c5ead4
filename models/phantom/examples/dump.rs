//! Writes one phantom as raw files, for a look at it with any tool.
//!
//! `cargo run --release -p phantom --example dump -- OUT_PREFIX [SEED] [lumbar|thoracic|cervical|whole]` writes
//! `OUT_PREFIX.image.f32`, `.semantic.u8` and `.vertebrae.u16` (little endian, columns fastest, slices slowest) and
//! `OUT_PREFIX.json` with the counts, the voxel axes and the origin in LPS millimetres, and the seconds it took.

use phantom::{Phantom, Recipe, Region, generate};
use std::error::Error;
use std::time::Instant;

const USAGE: &str = "usage: dump OUT_PREFIX [SEED] [lumbar|thoracic|cervical|whole]";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let prefix = arguments.next().ok_or(USAGE)?;
    let seed = arguments.next().map_or(Ok(1), |seed| seed.parse())?;
    let region = match arguments.next().as_deref() {
        None | Some("lumbar") => Region::Lumbar,
        Some("thoracic") => Region::Thoracic,
        Some("cervical") => Region::Cervical,
        Some("whole") => Region::Whole,
        Some(_) => return Err(USAGE.into()),
    };
    let start = Instant::now();
    let Phantom { image, semantic, vertebrae } = generate(&Recipe::of(region, seed))?;
    let seconds = start.elapsed().as_secs_f64();
    let image_bytes: Vec<u8> = image.voxels().iter().flat_map(|v| v.to_le_bytes()).collect();
    let vertebra_bytes: Vec<u8> = vertebrae.voxels().iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(format!("{prefix}.image.f32"), image_bytes)?;
    std::fs::write(format!("{prefix}.semantic.u8"), semantic.voxels())?;
    std::fs::write(format!("{prefix}.vertebrae.u16"), vertebra_bytes)?;
    let (counts, affine) = (image.dims().counts(), image.grid().affine);
    let header = format!(
        "{{\"counts\": {counts:?}, \"axes\": {:?}, \"origin\": {:?}, \"seed\": {seed}, \"seconds\": {seconds:.3}}}\n",
        affine.axes(),
        affine.origin(),
    );
    std::fs::write(format!("{prefix}.json"), header)?;
    Ok(())
}
