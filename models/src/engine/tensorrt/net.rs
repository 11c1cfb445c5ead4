//! A net of ours as a plan on the device: shapes checked, batches cut to what the plan takes.

use super::shim::{LoadedNet, Range, Shared};
use super::{INT8_NAME, NAME};
use crate::engine::trouble::{State, Trouble};
use crate::weights::{Shape, Weights};
use pipeline::{InstanceCard, InstanceStage, ModelCard, Net, NetError, SemanticStage};
use pipeline::{TensorMut, TensorRef};

/// Slices or cutouts at once: as many as the pipeline asks for.
const ITEMS: i64 = 2;
/// Usual and largest slice in rows and columns. At 1 mm: a lumbar field, and a whole spine with room to spare; the memory
/// of a plan is that of its largest shape. What is larger runs on the next engine.
const USUAL: [i64; 2] = [320, 320];
const MOST: [i64; 2] = [1024, 512];

/// What a card says of the shapes that its net meets.
pub trait Shapes: Shape {
    /// Rows and columns: smallest, usual, largest.
    fn sides(&self) -> [[i64; 2]; 3];
}

impl Shapes for ModelCard {
    fn sides(&self) -> [[i64; 2]; 3] {
        [[self.multiple_of as i64; 2], USUAL, MOST]
    }
}

impl Shapes for InstanceCard {
    /// Every cutout is of one size.
    fn sides(&self) -> [[i64; 2]; 3] {
        let [columns, rows, _] = self.window.counts;
        [[rows as i64, columns as i64]; 3]
    }
}

/// The shapes that a plan for `card` is built for.
pub fn range_of(card: &impl Shapes) -> Range {
    let channels = card.input_channels() as i64;
    let [least, usual, most] = card.sides();
    let shape = |items, [rows, columns]: [i64; 2]| [items, channels, rows, columns];
    Range { least: shape(1, least), usual: shape(ITEMS, usual), most: shape(ITEMS, most) }
}

/// A net on the device.
#[derive(Debug)]
pub struct TensorRtNet<C = ModelCard> {
    card: C,
    name: &'static str,
    net: LoadedNet,
    range: Range,
}

impl<C: Shapes> TensorRtNet<C> {
    /// Loads a plan and compares its bindings with the card.
    pub fn load(
        library: &Shared,
        plan: &[u8],
        weights: &Weights<C>,
    ) -> Result<TensorRtNet<C>, Trouble>
    where
        C: Clone,
    {
        let net = LoadedNet::load(library, plan)?;
        let card = weights.card.clone();
        let name = if weights.graph.quantised() { INT8_NAME } else { NAME };
        let tensors = net.tensors();
        let channels = |is_input| {
            let tensor = tensors.iter().find(|t| t.is_input == is_input && t.is_float32);
            tensor.and_then(|t| t.dims.get(1).copied())
        };
        let want = [card.input_channels(), card.output_channels()].map(|n| Some(n as i64));
        if tensors.len() != 2 || [channels(true), channels(false)] != want {
            let text = format!("the plan's bindings are not those of the net: {tensors:?}");
            return Err(Trouble::new(State::CorruptPlan, text));
        }
        let range = range_of(&card);
        Ok(TensorRtNet { card, name, net, range })
    }

    /// Whether input and output are as the card says and as long as they say, and within the range of the plan.
    fn check(&self, input: &TensorRef<'_>, output: &TensorMut<'_>) -> Result<(), NetError> {
        let [items, channels, rows, columns] = input.shape;
        let wrong = |want: String, got| Err(NetError::Shape { want, got });
        let multiple = self.card.multiple_of();
        let side = |side: usize, at: usize| {
            let range = self.range.least[at]..=self.range.most[at];
            range.contains(&(side as i64)) && side.is_multiple_of(multiple)
        };
        let inputs = self.card.input_channels();
        if channels != inputs || !side(rows, 2) || !side(columns, 3) {
            let [_, _, most_rows, most_columns] = self.range.most;
            let want = format!(
                "[n, {inputs}, rows, columns] in multiples of {multiple}, at most {most_rows} x {most_columns}"
            );
            return wrong(want, input.shape);
        }
        let filled = |shape: [usize; 4], values: usize| {
            shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) == Some(values)
        };
        let shape = [items, self.card.output_channels(), rows, columns];
        if !filled(input.shape, input.values.len()) {
            return wrong(format!("a tensor for its {} values", input.values.len()), input.shape);
        }
        if output.shape != shape || !filled(shape, output.values.len()) {
            return wrong(format!("an output {shape:?} that is as long as it says"), output.shape);
        }
        Ok(())
    }
}

impl<C: Shapes + Send + Sync> Net<C> for TensorRtNet<C> {
    fn card(&self) -> &C {
        &self.card
    }

    fn engine(&self) -> String {
        self.name.to_owned()
    }

    fn run(&mut self, input: TensorRef<'_>, output: TensorMut<'_>) -> Result<(), NetError> {
        self.check(&input, &output)?;
        let [items, channels, rows, columns] = input.shape;
        if items == 0 {
            return Ok(());
        }
        let most = ITEMS as usize;
        let (from, to) = (input.values.len() / items, output.values.len() / items);
        let parts = input.values.chunks(most * from).zip(output.values.chunks_mut(most * to));
        for (values, logits) in parts {
            let shape = [values.len() / from, channels, rows, columns];
            self.net.run(values, shape, logits).map_err(|trouble| match trouble.state {
                State::OutOfMemory => NetError::OutOfMemory(trouble.text),
                State::Shape => NetError::Shape { want: trouble.text, got: shape },
                _ => NetError::Engine(trouble.text),
            })?;
        }
        Ok(())
    }
}

impl SemanticStage for TensorRtNet {}

impl InstanceStage for TensorRtNet<InstanceCard> {}
