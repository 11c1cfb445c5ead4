//! How long the measures of a lumbar exam of 384 x 384 x 17 take, and what they are, as JSON.

use phantom::{Recipe, Region, generate};
use pipeline::{Numbering, VertebraId, measure};
use std::time::Instant;

/// Enough runs for a median.
const RUNS: usize = 15;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let made = generate(&Recipe::of(Region::Lumbar, 1))?;
    let ids: Vec<VertebraId> = (1..=25).filter_map(VertebraId::new).collect();
    let found = measure::vertebrae(&made.semantic, &made.vertebrae, &ids, &[]);
    let mut times = Vec::new();
    for run in 0..RUNS {
        let begin = Instant::now();
        let measures = measure::measurements(
            &made.semantic,
            &made.vertebrae,
            &found,
            Numbering::FromSacrum,
            (&[], 0.95),
        );
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
        if run == 0 {
            println!("{}", serde_json::to_string_pretty(&measures)?);
        }
    }
    times.sort_by(f64::total_cmp);
    eprintln!("{:.1} ms in the median of {RUNS}, {:.1} ms at best", times[RUNS / 2], times[0]);
    Ok(())
}
