//! Our own CPU engine: f32, every instruction set equal to the bit, slices of a batch spread over
//! the cores.

mod layers;

pub use layers::Layer;

use super::arena::{Arena, Layout};
use super::plan::{INPUT, Plan, Step};
use super::suited::{checked, planned};
use crate::weights::{ModelError, Shape, Weights};
use kernels::conv::{InstructionSet, from_planar, max_pool, to_planar};
use kernels::threads::parallel_chunks;
use pipeline::{ModelCard, Net, NetError, TensorMut, TensorRef};
use std::sync::{Mutex, PoisonError};

/// A net on this processor.
#[derive(Debug)]
pub struct SimdNet<C = ModelCard> {
    card: C,
    plan: Plan,
    set: InstructionSet,
    threads: usize,
    /// Buffers for the size of slice that came last; kept, because the next one usually has it
    /// too.
    memory: Option<Memory>,
}

#[derive(Debug)]
struct Memory {
    layout: Layout,
    /// Arenas at rest: one per thread that ever ran a slice.
    arenas: Mutex<Vec<Arena>>,
}

impl<C: Shape> SimdNet<C> {
    /// `threads` of 0 is taken as 1.
    pub fn new(
        weights: Weights<C>,
        set: InstructionSet,
        threads: usize,
    ) -> Result<SimdNet<C>, ModelError> {
        let (card, plan) = planned(weights)?;
        Ok(SimdNet { card, plan, set, threads: threads.max(1), memory: None })
    }

    /// Multiply-adds for one slice, for figures per second.
    pub fn multiply_adds(&self, rows: usize, cols: usize) -> usize {
        self.plan.multiply_adds(rows, cols)
    }

    /// One slice through the net, its rows spread over `threads`.
    fn slice(
        &self,
        layout: &Layout,
        arena: &mut Arena,
        input: &[f32],
        output: &mut [f32],
        threads: usize,
    ) {
        from_planar(input, arena.maps(layout, INPUT, []).0);
        for step in &self.plan.steps {
            self.step(step, layout, arena, threads);
        }
        to_planar(arena.map(layout, self.plan.output()), output);
    }

    fn step(&self, step: &Step, layout: &Layout, arena: &mut Arena, threads: usize) {
        match step {
            Step::Pool { from, to } => {
                let (out, [from]) = arena.maps(layout, *to, [*from]);
                max_pool(from, out, threads);
            }
            Step::Conv { conv, sources, to } => match sources[..] {
                [one] => {
                    let (out, maps) = arena.maps(layout, *to, [one]);
                    conv.run(self.set, &maps, out, threads);
                }
                [one, two] => {
                    let (out, maps) = arena.maps(layout, *to, [one, two]);
                    conv.run(self.set, &maps, out, threads);
                }
                _ => unreachable!("a convolution reads one or two maps"),
            },
        }
    }
}

impl Memory {
    fn take(&self) -> Arena {
        let resting = self.arenas.lock().unwrap_or_else(PoisonError::into_inner).pop();
        resting.unwrap_or_else(|| Arena::new(&self.layout))
    }

    fn give_back(&self, arena: Arena) {
        self.arenas.lock().unwrap_or_else(PoisonError::into_inner).push(arena);
    }
}

impl<C: Shape + Send + Sync> Net<C> for SimdNet<C> {
    fn card(&self) -> &C {
        &self.card
    }

    fn engine(&self) -> String {
        // Without the instruction set: it changes no bit, and an output must not depend on it.
        "simd f32".to_owned()
    }

    fn run(&mut self, input: TensorRef<'_>, output: TensorMut<'_>) -> Result<(), NetError> {
        let [rows, cols] = checked(&self.card, &input, &output)?;
        let count = input.shape[0];
        // Buffers of another size go before the new ones come, so that both never exist at once.
        let memory = self.memory.take().filter(|m| [m.layout.rows, m.layout.cols] == [rows, cols]);
        let memory = memory.unwrap_or_else(|| Memory {
            layout: Layout::new(&self.plan, rows, cols),
            arenas: Mutex::new(Vec::new()),
        });
        let (from, to) = (input.values.len() / count.max(1), output.values.len() / count.max(1));
        let one = |number: usize, logits: &mut [f32], threads: usize| {
            let mut arena = memory.take();
            let slice = &input.values[number * from..][..from];
            self.slice(&memory.layout, &mut arena, slice, logits, threads);
            memory.give_back(arena);
        };
        // Whole slices side by side as long as every core gets one; the few that remain are shared
        // by rows.
        let side_by_side = count - count % self.threads;
        let (first, rest) = output.values.split_at_mut(side_by_side * to);
        parallel_chunks(self.threads, first, to, |number, logits| one(number, logits, 1));
        for (i, logits) in rest.chunks_mut(to.max(1)).enumerate() {
            one(side_by_side + i, logits, self.threads);
        }
        self.memory = Some(memory);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
