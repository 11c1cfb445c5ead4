//! QuantizeLinear and DequantizeLinear in the one arrangement that is read: symmetric, `int8`.
//!
//! A value of the net passes both, one directly behind the other, with one scale for the whole tensor:
//! together they are [`Operator::Quantise`]. Weights are an `int8` constant behind DequantizeLinear, with a
//! scale for each output. Zero points are 0. Everything else is refused by the name of its node.

use super::constant::{Constant, Form};
use super::{Known, Node, NodeView, OnnxError, Operator};
use std::collections::HashMap;

/// What a QuantizeLinear makes, until a DequantizeLinear reads it.
pub(super) struct Steps {
    operator: String,
    name: String,
    input: String,
    scale: f32,
}

impl Known {
    /// Fails where steps were made that nothing made values of.
    pub(super) fn finish(self) -> Result<(), OnnxError> {
        match self.steps.into_values().next() {
            None => Ok(()),
            Some(Steps { operator, name, .. }) => {
                let what = "no DequantizeLinear reads its result".to_owned();
                Err(OnnxError::Node { operator, node: name, what })
            }
        }
    }
}

/// Reads a QuantizeLinear.
pub(super) fn steps(
    view: &NodeView<'_>,
    constants: &HashMap<String, Constant>,
) -> Result<Steps, OnnxError> {
    // Without a meaning where the whole tensor has one scale.
    view.only(&["axis"])?;
    let scale = one_scale(view, constants)?;
    // Without one, ONNX says, the result is `uint8`.
    if view.node.input.len() < 3 {
        return Err(view.fault("no zero point, which would say int8".to_owned()));
    }
    zero_point(view, constants)?;
    let input = view.node.input[0].clone();
    if constants.contains_key(&input) {
        return Err(view.fault("quantises a constant".to_owned()));
    }
    let (operator, name) = (view.node.op_type.clone(), view.node.name.clone());
    Ok(Steps { operator, name, input, scale })
}

/// Reads a DequantizeLinear: weights become a constant, steps of the net a node.
pub(super) fn dequantised(
    view: &NodeView<'_>,
    known: &mut Known,
    output: String,
) -> Result<Option<Node>, OnnxError> {
    view.only(&["axis"])?;
    zero_point(view, &known.constants)?;
    let input = view.node.input.first().map_or("", String::as_str);
    if known.constants.contains_key(input) {
        let constant = weights(view, &known.constants)?;
        known.constants.insert(output, constant);
        return Ok(None);
    }
    let scale = one_scale(view, &known.constants)?;
    let steps = known.steps.remove(input).ok_or_else(|| {
        view.fault("input 0 is no constant and no result of a QuantizeLinear of its own".to_owned())
    })?;
    if steps.scale != scale {
        let what = format!("scale {scale}, that of node {} is {}", steps.name, steps.scale);
        return Err(view.fault(what));
    }
    let operator = Operator::Quantise { scale };
    Ok(Some(Node { name: steps.name, operator, inputs: vec![steps.input], output }))
}

/// Weights with a scale for each output.
fn weights(
    view: &NodeView<'_>,
    constants: &HashMap<String, Constant>,
) -> Result<Constant, OnnxError> {
    let Constant { dims, values, form } = view.constant(constants, 0)?;
    if !matches!(form, Form::Int8) {
        return Err(view.fault("input 0 is a constant but not int8".to_owned()));
    }
    view.integer("axis", 0, 1)?;
    let scales = view.single(constants, 1)?;
    if dims.len() != 4 || scales.dims != dims[..1] {
        let what = format!("scales of shape {:?} for weights of shape {dims:?}", scales.dims);
        return Err(view.fault(what));
    }
    scales.values.iter().try_for_each(|&scale| usable(view, scale))?;
    let form = Form::Scaled(scales.values.clone());
    Ok(Constant { dims: dims.clone(), values: values.clone(), form })
}

/// The scale of a whole tensor.
fn one_scale(view: &NodeView<'_>, constants: &HashMap<String, Constant>) -> Result<f32, OnnxError> {
    let scale = view.single(constants, 1)?;
    match (scale.dims.as_slice(), scale.values.as_slice()) {
        ([] | [1], &[scale]) => usable(view, scale).map(|()| scale),
        (dims, _) => Err(view.fault(format!("scales of shape {dims:?}, not one for the tensor"))),
    }
}

fn usable(view: &NodeView<'_>, scale: f32) -> Result<(), OnnxError> {
    // Less would be a rounded one already.
    if scale >= f32::MIN_POSITIVE { Ok(()) } else { Err(view.fault(format!("scale {scale}"))) }
}

/// A zero point, where there is one, is `int8` and 0.
fn zero_point(view: &NodeView<'_>, constants: &HashMap<String, Constant>) -> Result<(), OnnxError> {
    if view.node.input.get(2).is_none_or(String::is_empty) {
        return Ok(());
    }
    let zero = view.constant(constants, 2)?;
    if !matches!(zero.form, Form::Int8) {
        return Err(view.fault("a zero point that is not int8".to_owned()));
    }
    match zero.values.iter().find(|&&value| value != 0.0) {
        Some(value) => Err(view.fault(format!("zero point {value}, not 0"))),
        None => Ok(()),
    }
}
