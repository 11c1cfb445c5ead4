//! What our own engines ask of weights before they take them, and of a batch before they run it.

use super::plan::{Made, Plan};
use crate::weights::{ModelError, Shape, Weights};
use pipeline::{NetError, TensorMut, TensorRef};

/// Most pixels of one slice: 2048 x 2048, twice the largest matrix of a scanner in each direction; on the processor about
/// 0.7 GB per thread.
pub(super) const MAX_PIXELS: usize = 1 << 22;

/// The card and the steps of a net whose card and graph agree on the sizes of an input.
pub(super) fn planned<C: Shape, M: Made>(weights: Weights<C>) -> Result<(C, Plan<M>), ModelError> {
    let Weights { file, card, graph, .. } = weights;
    let plan = match Plan::of(&graph) {
        Ok(plan) => plan,
        Err(what) => return Err(ModelError::Unsupported { file, what }),
    };
    if !card.multiple_of().is_multiple_of(plan.multiple_of) {
        return Err(ModelError::Mismatch {
            file,
            what: "sizes in multiples of",
            card: card.multiple_of().to_string(),
            weights: plan.multiple_of.to_string(),
        });
    }
    Ok((card, plan))
}

/// Whether a net takes an input of this shape.
pub(super) fn fits(card: &impl Shape, shape: [usize; 4]) -> Result<(), NetError> {
    let ([_, channels, rows, cols], multiple) = (shape, card.multiple_of());
    let want_in = card.input_channels();
    let pixels = rows.saturating_mul(cols);
    let side = |n: usize| n > 0 && n.is_multiple_of(multiple);
    if channels == want_in && side(rows) && side(cols) && pixels <= MAX_PIXELS {
        return Ok(());
    }
    let want = format!(
        "[n, {want_in}, rows, columns] in multiples of {multiple}, at most {MAX_PIXELS} pixels"
    );
    Err(NetError::Shape { want, got: shape })
}

/// Rows and columns of a batch whose shapes are right.
pub(super) fn checked(
    card: &impl Shape,
    input: &TensorRef<'_>,
    output: &TensorMut<'_>,
) -> Result<[usize; 2], NetError> {
    fits(card, input.shape)?;
    let ([count, _, rows, cols], classes) = (input.shape, card.output_channels());
    let filled = |shape: [usize; 4], values: usize| {
        shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) == Some(values)
    };
    if !filled(input.shape, input.values.len()) {
        let want = format!("a tensor for its {} values", input.values.len());
        return Err(NetError::Shape { want, got: input.shape });
    }
    let shape = [count, classes, rows, cols];
    if output.shape != shape || !filled(shape, output.values.len()) {
        let want = format!("an output {shape:?} that is as long as it says");
        return Err(NetError::Shape { want, got: output.shape });
    }
    Ok([rows, cols])
}
