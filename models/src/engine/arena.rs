//! Which feature map lies where in the memory of a slice: maps that are needed at the same time lie
//! apart, all others share, so that a slice needs little more than its largest step. Memory is counted
//! in floats; a map of steps takes a fourth of its values.

use super::plan::{Map, Plan};
use bytemuck::{Pod, cast_slice, cast_slice_mut};
use kernels::conv::{FeatureMap, FeatureMapMut, MapSize};

/// Maps begin at multiples of so many floats, a cache line: no register of the kernels spans two.
const LINE: usize = 16;

/// Sizes and places of the maps for one size of input.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Size of each map.
    pub(super) sizes: Vec<MapSize>,
    /// Floats that each map takes.
    lengths: Vec<usize>,
    /// Where each map begins.
    starts: Vec<usize>,
    /// Floats of all.
    floats: usize,
}

impl Layout {
    pub(super) fn new<M>(plan: &Plan<M>, rows: usize, cols: usize) -> Layout {
        let size = |map: &Map| MapSize {
            rows: rows >> map.level,
            cols: cols >> map.level,
            channels: map.channels.stored,
        };
        let sizes: Vec<MapSize> = plan.maps.iter().map(size).collect();
        let length = |(map, size): (&Map, &MapSize)| {
            let of_value = if map.scale.is_some() { size_of::<u8>() } else { size_of::<f32>() };
            (size.values() * of_value).div_ceil(size_of::<f32>()).next_multiple_of(LINE)
        };
        let lengths: Vec<usize> = plan.maps.iter().zip(&sizes).map(length).collect();
        let starts = places(&plan.lives(), &lengths);
        let floats = starts.iter().zip(&lengths).map(|(start, length)| start + length).max();
        Layout { rows, cols, sizes, lengths, starts, floats: floats.unwrap_or(0) }
    }
}

/// Where each map begins: the largest are placed first, each at the lowest place where it is free
/// of those that live at the same time.
fn places(lives: &[[usize; 2]], lengths: &[usize]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&map| (std::cmp::Reverse(lengths[map]), map));
    let mut starts = vec![0; lengths.len()];
    for (number, &map) in order.iter().enumerate() {
        let meets = |other: &&usize| {
            lives[map][0] <= lives[**other][1] && lives[**other][0] <= lives[map][1]
        };
        let mut taken: Vec<[usize; 2]> = order[..number]
            .iter()
            .filter(meets)
            .map(|&other| [starts[other], starts[other] + lengths[other]])
            .collect();
        taken.sort_unstable();
        for [from, to] in taken {
            if starts[map] + lengths[map] <= from {
                break;
            }
            starts[map] = starts[map].max(to);
        }
    }
    starts
}

/// The memory of one thread.
#[derive(Debug)]
pub(super) struct Arena {
    buffer: Vec<f32>,
    /// Where the first cache line of the buffer begins.
    start: usize,
}

impl Arena {
    pub(super) fn new(layout: &Layout) -> Arena {
        let buffer = vec![0.0; layout.floats + LINE];
        let start = buffer.as_ptr().align_offset(LINE * size_of::<f32>());
        Arena { buffer, start }
    }

    /// The map `to` for writing, with `reads`, which are there at the same time; each of bytes or floats,
    /// as the plan has it.
    pub(super) fn maps<W: Pod + Default, R: Pod>(
        &mut self,
        layout: &Layout,
        to: usize,
        reads: &[usize],
    ) -> (FeatureMapMut<'_, W>, Vec<FeatureMap<'_, R>>) {
        let (start, length) = (layout.starts[to], layout.lengths[to]);
        let (before, rest) = self.buffer[self.start..].split_at_mut(start);
        let (out, after) = rest.split_at_mut(length);
        let (before, after): (&[f32], &[f32]) = (before, after);
        let read = |&map: &usize| {
            let (from, size) = (layout.starts[map], layout.sizes[map]);
            let values = match from.checked_sub(start + length) {
                Some(from) => &after[from..],
                None => &before[from..],
            };
            FeatureMap::new(size, cast_slice(values))
        };
        let reads = reads.iter().map(read).collect();
        (FeatureMapMut::new(layout.sizes[to], cast_slice_mut(out)), reads)
    }

    /// A map of floats for reading.
    pub(super) fn map(&self, layout: &Layout, map: usize) -> FeatureMap<'_> {
        FeatureMap::new(layout.sizes[map], &self.buffer[self.start + layout.starts[map]..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::simd::SimdConv;
    use crate::weights::Weights;

    type Plan = super::Plan<SimdConv>;

    /// The shipped nets with the sizes of a lumbar exam and of a cutout.
    fn shipped() -> [(Plan, [usize; 2]); 2] {
        let instance = Weights::embedded_instance().unwrap();
        [
            (Plan::of(&Weights::embedded().unwrap().graph).unwrap(), [384, 384]),
            (Plan::of(&instance.graph).unwrap(), [96, 80]),
        ]
    }

    #[test]
    fn maps_that_are_needed_together_lie_apart() {
        for (plan, [rows, cols]) in shipped() {
            let layout = Layout::new(&plan, rows, cols);
            let lives = plan.lives();
            for (a, b) in (0..lives.len()).flat_map(|a| (0..a).map(move |b| (a, b))) {
                let together = lives[a][0] <= lives[b][1] && lives[b][0] <= lives[a][1];
                let end = |map: usize| layout.starts[map] + layout.lengths[map];
                let apart = end(a) <= layout.starts[b] || end(b) <= layout.starts[a];
                assert!(apart || !together, "maps {a} and {b} at {rows} x {cols}");
            }
        }
    }

    #[test]
    fn the_memory_is_little_more_than_the_two_largest_maps_that_are_needed_together() {
        for (plan, [rows, cols]) in shipped() {
            let layout = Layout::new(&plan, rows, cols);
            let lives = plan.lives();
            let two_largest = |step: usize| {
                let there =
                    (0..lives.len()).filter(|&m| (lives[m][0]..=lives[m][1]).contains(&step));
                let mut values: Vec<usize> = there.map(|map| layout.lengths[map]).collect();
                values.sort_unstable_by(|a, b| b.cmp(a));
                values.iter().take(2).sum::<usize>()
            };
            let largest = (0..plan.steps.len()).map(two_largest).max().unwrap();
            let ratio = layout.floats as f64 / largest as f64;
            println!("{rows} x {cols}: {} floats, {ratio:.3} of the two largest", layout.floats);
            assert!(ratio <= 1.3, "{ratio} at {rows} x {cols}");
        }
    }
}
