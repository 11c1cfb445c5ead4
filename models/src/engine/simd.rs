//! Our own CPU engine, in f32 or, as far as the weights are int8, in whole numbers: every instruction
//! set equal to the bit, slices of a batch spread over the cores.

mod layers;

pub use layers::Layer;

use super::arena::{Arena, Layout};
use super::plan::{INPUT, Made, Plan, Step};
use super::suited::{checked, planned};
use crate::weights::{ModelError, Shape, Weights};
use kernels::conv::quantised::{self, Gives, QuantisedConv, QuantisedSpec};
use kernels::conv::{Conv, ConvSpec, InstructionSet, from_planar, max_pool, to_planar};
use kernels::threads::parallel_chunks;
use pipeline::{InstanceCard, InstanceStage, ModelCard, Net, NetError, SemanticStage};
use pipeline::{TensorMut, TensorRef};
use std::iter;
use std::sync::{Mutex, PoisonError};

/// A convolution on this processor.
#[derive(Debug)]
pub(super) enum SimdConv {
    Floats(Conv),
    Steps(QuantisedConv),
}

impl Made for SimdConv {
    fn of_floats(spec: ConvSpec<'_>) -> Result<SimdConv, String> {
        Conv::new(spec).map(SimdConv::Floats).map_err(|error| error.to_string())
    }

    fn of_steps(spec: QuantisedSpec<'_>) -> Result<SimdConv, String> {
        QuantisedConv::new(spec).map(SimdConv::Steps).map_err(|error| error.to_string())
    }
}

impl SimdConv {
    /// Multiply-adds that run per output pixel.
    fn multiply_adds(&self) -> usize {
        match self {
            SimdConv::Floats(conv) => conv.multiply_adds(),
            SimdConv::Steps(conv) => conv.multiply_adds(),
        }
    }

    /// Multiply-adds per output pixel without products saved; of whole numbers none are.
    fn textbook_multiply_adds(&self) -> usize {
        match self {
            SimdConv::Floats(conv) => conv.textbook_multiply_adds(),
            SimdConv::Steps(conv) => conv.multiply_adds(),
        }
    }
}

/// What is done with a slice, one after the other.
enum Pass<'a> {
    /// The input is laid out as a map.
    ToMap,
    /// The first convolution, which reads the input as it comes.
    FromImage {
        conv: &'a Conv,
        to: usize,
    },
    Step(&'a Step<SimdConv>),
    /// The last convolution, which writes the logits as they go.
    ToImage {
        conv: &'a Conv,
        from: usize,
    },
    /// The last map becomes the logits.
    FromMap,
}

/// A net on this processor.
#[derive(Debug)]
pub struct SimdNet<C = ModelCard> {
    card: C,
    plan: Plan<SimdConv>,
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
        let of_step = |step: &Step<SimdConv>| match step {
            Step::Conv { conv, to, .. } => {
                let level = self.plan.maps[*to].level;
                (rows >> level) * (cols >> level) * conv.multiply_adds()
            }
            _ => 0,
        };
        self.plan.steps.iter().map(of_step).sum()
    }

    /// What a slice goes through: the steps of the plan, the ends of which read and write images where they can.
    fn passes(&self) -> Vec<Pass<'_>> {
        let mut steps = self.plan.steps.as_slice();
        let first = match steps.split_first() {
            Some((Step::Conv { conv: SimdConv::Floats(conv), to, .. }, rest))
                if conv.is_pointwise() && self.plan.lives()[INPUT][1] == 0 =>
            {
                steps = rest;
                Pass::FromImage { conv, to: *to }
            }
            _ => Pass::ToMap,
        };
        let last = match steps.split_last() {
            Some((Step::Conv { conv: SimdConv::Floats(conv), sources, .. }, rest))
                if conv.is_pointwise() =>
            {
                steps = rest;
                Pass::ToImage { conv, from: sources[0] }
            }
            _ => Pass::FromMap,
        };
        let middle = steps.iter().map(Pass::Step);
        iter::once(first).chain(middle).chain(iter::once(last)).collect()
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
        for pass in self.passes() {
            self.pass(&pass, layout, arena, (input, output), threads);
        }
    }

    fn pass(
        &self,
        pass: &Pass<'_>,
        layout: &Layout,
        arena: &mut Arena,
        (input, output): (&[f32], &mut [f32]),
        threads: usize,
    ) {
        match *pass {
            Pass::ToMap => from_planar(input, arena.maps::<_, f32>(layout, INPUT, &[]).0),
            Pass::FromImage { conv, to } => {
                let (out, _) = arena.maps::<_, f32>(layout, to, &[]);
                conv.run_on_image(self.set, input, out, threads);
            }
            Pass::Step(step) => self.step(step, layout, arena, threads),
            Pass::ToImage { conv, from } => {
                conv.run_to_image(self.set, arena.map(layout, from), output, threads);
            }
            Pass::FromMap => to_planar(arena.map(layout, self.plan.output()), output),
        }
    }

    fn step(&self, step: &Step<SimdConv>, layout: &Layout, arena: &mut Arena, threads: usize) {
        let scale = |map: usize| self.plan.maps[map].scale;
        match step {
            Step::Pool { from, to } if scale(*from).is_some() => {
                let (out, maps) = arena.maps::<u8, u8>(layout, *to, &[*from]);
                max_pool(maps[0], out, threads);
            }
            Step::Pool { from, to } => {
                let (out, maps) = arena.maps::<f32, f32>(layout, *to, &[*from]);
                max_pool(maps[0], out, threads);
            }
            Step::Quantise { from, to } => {
                let (out, maps) = arena.maps(layout, *to, &[*from]);
                quantised::quantise(maps[0], scale(*to).unwrap_or(1.0), out, threads);
            }
            Step::Dequantise { from, to } => {
                let (out, maps) = arena.maps(layout, *to, &[*from]);
                quantised::dequantise(maps[0], scale(*from).unwrap_or(1.0), out, threads);
            }
            Step::Conv { conv: SimdConv::Floats(conv), sources, to } => {
                let (out, maps) = arena.maps(layout, *to, sources);
                conv.run(self.set, &maps, out, threads);
            }
            Step::Conv { conv: SimdConv::Steps(conv), sources, to } => {
                if conv.gives() == Gives::Steps {
                    let (out, maps) = arena.maps(layout, *to, sources);
                    conv.run(self.set, &maps, out, threads);
                } else {
                    let (out, maps) = arena.maps(layout, *to, sources);
                    conv.run_to_values(self.set, &maps, out, threads);
                }
            }
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
        let precision = if self.plan.quantised() { "int8" } else { "f32" };
        format!("simd {precision}")
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

impl SemanticStage for SimdNet {}

impl InstanceStage for SimdNet<InstanceCard> {}

#[cfg(test)]
mod tests;
