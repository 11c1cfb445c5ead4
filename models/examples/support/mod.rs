//! What the measuring examples share.

use std::time::Instant;

/// Milliseconds of the median of `runs` runs, after one that allocates.
pub(crate) fn median(runs: usize, work: &mut dyn FnMut()) -> f64 {
    work();
    let mut times: Vec<f64> = (0..runs)
        .map(|_| {
            let started = Instant::now();
            work();
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[runs / 2]
}
