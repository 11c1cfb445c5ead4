//! Which feature map lies in which buffer: buffers are taken over as soon as nobody reads their map
//! any more, so that a slice needs a few of them instead of one per layer.

use super::plan::{Map, Plan};
use kernels::conv::MapSize;

/// Sizes and places of the maps for one size of input.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Size of each map.
    pub(super) sizes: Vec<MapSize>,
    /// Buffer of each map.
    pub(super) buffers: Vec<usize>,
    /// Values of each buffer.
    lengths: Vec<usize>,
}

impl Layout {
    pub(super) fn new(plan: &Plan, rows: usize, cols: usize) -> Layout {
        let size = |map: &Map| MapSize {
            rows: rows >> map.level,
            cols: cols >> map.level,
            channels: map.channels.stored,
        };
        let sizes: Vec<MapSize> = plan.maps.iter().map(size).collect();
        let mut last_read = vec![0; sizes.len()];
        for (number, step) in plan.steps.iter().enumerate() {
            for map in step.reads() {
                last_read[map] = number;
            }
        }
        // The input is there before the first step.
        let mut buffers = vec![0; sizes.len()];
        let mut lengths = vec![sizes[0].values()];
        let mut free: Vec<usize> = Vec::new();
        for (number, step) in plan.steps.iter().enumerate() {
            let to = step.writes();
            buffers[to] = choose(&mut free, &mut lengths, sizes[to].values());
            let mut read = step.reads();
            read.sort_unstable();
            read.dedup();
            free.extend(
                read.iter().filter(|&&map| last_read[map] == number).map(|&map| buffers[map]),
            );
        }
        Layout { rows, cols, sizes, buffers, lengths }
    }
}

/// The smallest free buffer that is large enough, else the largest made larger, else a new one.
fn choose(free: &mut Vec<usize>, lengths: &mut Vec<usize>, need: usize) -> usize {
    let fitting = free.iter().enumerate().filter(|(_, b)| lengths[**b] >= need);
    let best = fitting.min_by_key(|(_, b)| lengths[**b]).map(|(at, _)| at);
    let largest = || free.iter().enumerate().max_by_key(|(_, b)| lengths[**b]).map(|(at, _)| at);
    match best.or_else(largest) {
        Some(at) => {
            let buffer = free.swap_remove(at);
            lengths[buffer] = lengths[buffer].max(need);
            buffer
        }
        None => {
            lengths.push(need);
            lengths.len() - 1
        }
    }
}

/// The buffers of one thread.
#[derive(Debug)]
pub(super) struct Arena {
    pub(super) buffers: Vec<Vec<f32>>,
}

impl Arena {
    pub(super) fn new(layout: &Layout) -> Arena {
        Arena { buffers: layout.lengths.iter().map(|&length| vec![0.0; length]).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Weights;

    #[test]
    fn no_step_overwrites_what_is_still_read_and_few_buffers_do() {
        let plan = Plan::new(&Weights::embedded().unwrap().graph).unwrap();
        let layout = Layout::new(&plan, 320, 320);
        let mut holds = vec![usize::MAX; layout.lengths.len()];
        holds[layout.buffers[0]] = 0;
        for step in &plan.steps {
            for map in step.reads() {
                assert_eq!(holds[layout.buffers[map]], map, "map {map} is still there");
            }
            let to = step.writes();
            assert!(!step.reads().iter().any(|&m| layout.buffers[m] == layout.buffers[to]));
            assert!(layout.lengths[layout.buffers[to]] >= layout.sizes[to].values());
            holds[layout.buffers[to]] = to;
        }
        let megabytes = layout.lengths.iter().sum::<usize>() * 4 / 1_000_000;
        assert!(megabytes <= 25, "{megabytes} MB in {} buffers", layout.lengths.len());
    }
}
