//! Streams anatomies for training to standard output, one frame for each seed.
//!
//! `cargo run --release -p phantom --bin anatomy -- FIRST_SEED COUNT [STEP]` writes seeds FIRST_SEED, FIRST_SEED + STEP,
//! and so on. A frame is one line of JSON and four arrays of one byte a voxel, in the order `tissue`, `part`,
//! `structure`, `vertebra` (`phantom::Anatomy`): columns fastest, then rows, thin slices slowest. A slice of the exam is
//! the sum of its `thin_slices` by `thin_weights`.

use phantom::{Recipe, Studio, THIN_WEIGHTS, TISSUES};
use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write, stdout};
use std::os::fd::AsFd;

const USAGE: &str = "usage: anatomy FIRST_SEED COUNT [STEP]";

fn main() -> Result<(), Box<dyn Error>> {
    let numbers: Result<Vec<u64>, _> = std::env::args().skip(1).map(|text| text.parse()).collect();
    let (first, count, step) = match numbers.map_err(|e| format!("{e}; {USAGE}"))?[..] {
        [first, count] => (first, count, 1),
        [first, count, step] => (first, count, step),
        _ => return Err(USAGE.into()),
    };
    // The descriptor itself: `Stdout` looks for line ends in all that passes it.
    let mut out = BufWriter::new(File::from(stdout().as_fd().try_clone_to_owned()?));
    let mut studio = Studio::default();
    for seed in (0..count).map(|n| first + n * step) {
        write_frame(&mut out, &mut studio, &Recipe::for_training(seed))?;
    }
    Ok(out.flush()?)
}

fn write_frame(
    out: &mut impl Write,
    studio: &mut Studio,
    recipe: &Recipe,
) -> Result<(), Box<dyn Error>> {
    let made = studio.draw(recipe)?;
    let [columns, rows, slices] = made.counts;
    writeln!(
        out,
        "{{\"seed\": {}, \"region\": \"{:?}\", \"shape\": [{slices}, {rows}, {columns}], \"thin_slices\": {}, \
         \"thin_weights\": {THIN_WEIGHTS:?}, \"in_plane_mm\": {}, \"slice_mm\": {}, \"tissues\": {TISSUES:?}}}",
        recipe.seed, recipe.region, made.thin_slices, recipe.in_plane_mm, recipe.slice_mm,
    )?;
    for bytes in [&made.tissue, &made.part, &made.structure, &made.vertebra] {
        out.write_all(bytes)?;
    }
    Ok(())
}
