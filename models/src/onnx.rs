//! Reads a network from ONNX: the few operators our nets are made of, every attribute checked.
//!
//! What comes out is a [`Graph`] that holds no surprise: constants resolved, weights as `f32`, one
//! input, one output. Anything else is refused with the name of the operator and of the node. How a
//! graph is run is `engine`'s matter.

mod constant;
pub mod float16;
pub mod patch_net;
mod quantised;
mod wire;

use constant::{Constant, Form};
use kernels::conv::Window;
use prost::Message;
use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use thiserror::Error;

/// Largest file read: three times all shipped weights together (20 MB), so that a wrong file is
/// refused before it is decoded.
pub const MAX_BYTES: usize = 64 << 20;
/// Most nodes: our nets have about 100.
const MAX_NODES: usize = 4096;
/// Most channels of a layer: ours have up to 160; bounds the memory of a feature map.
const MAX_CHANNELS: usize = 2048;
/// Versions of the operator set in which the operators below have the meaning implemented here.
const OPSETS: RangeInclusive<i64> = 13..=17;

/// Why a file is not a network that our engines can run. The move is the site's: install released
/// weights.
#[derive(Debug, Error)]
pub enum OnnxError {
    #[error("{0} bytes is more than a net of ours may have ({MAX_BYTES})")]
    TooLarge(usize),
    #[error("not an ONNX file: {0}")]
    NotOnnx(#[from] prost::DecodeError),
    #[error("the net {0}")]
    Graph(String),
    #[error(
        "operator {operator} of node {node} is not one of Conv, Relu, MaxPool, Resize, Concat, \
         Cast, Constant, QuantizeLinear, DequantizeLinear"
    )]
    Operator { operator: String, node: String },
    #[error("operator {operator} of node {node}: {what}")]
    Node { operator: String, node: String, what: String },
    #[error("tensor {tensor}: {what}")]
    Tensor { tensor: String, what: String },
}

/// What a node computes.
#[derive(Clone, PartialEq)]
pub enum Operator {
    /// Stride 1, output of the input's size. `weights` are `[outputs, inputs, window, window]`,
    /// columns fastest.
    Conv {
        window: Window,
        outputs: usize,
        inputs: usize,
        weights: ConvWeights,
        bias: Vec<f32>,
    },
    Relu,
    /// QuantizeLinear and DequantizeLinear, one behind the other: the value rounded to steps of
    /// `scale`, of which an `int8` counts -128 to 127.
    Quantise {
        scale: f32,
    },
    /// 2x2, stride 2.
    MaxPool,
    /// Nearest, twice the rows and columns.
    Upsample,
    /// Along the channels.
    Concat,
}

/// Weights as a file has them.
#[derive(Clone, PartialEq)]
pub enum ConvWeights {
    Float(Vec<f32>),
    /// Each is `steps` times the scale of its output.
    Int8 {
        steps: Vec<i8>,
        scales: Vec<f32>,
    },
}

/// Without the weights: a net printed by mistake would be megabytes.
impl fmt::Debug for ConvWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConvWeights::Float(_) => "Float",
            ConvWeights::Int8 { .. } => "Int8",
        })
    }
}

/// Without the weights: a net printed by mistake would be megabytes.
impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operator::Conv { window, outputs, inputs, weights, .. } => {
                write!(f, "Conv {window:?} {weights:?} {inputs} -> {outputs}")
            }
            Operator::Relu => f.write_str("Relu"),
            Operator::Quantise { scale } => write!(f, "Quantise {scale}"),
            Operator::MaxPool => f.write_str("MaxPool"),
            Operator::Upsample => f.write_str("Upsample"),
            Operator::Concat => f.write_str("Concat"),
        }
    }
}

/// One node; values have names.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub name: String,
    pub operator: Operator,
    pub inputs: Vec<String>,
    pub output: String,
}

/// A network: nodes in an order in which every input is there before it is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    pub input: String,
    pub input_channels: usize,
    pub output: String,
    pub output_channels: usize,
    pub nodes: Vec<Node>,
    /// What the training wrote beside the weights, by key: what a card is compared with.
    pub metadata: HashMap<String, String>,
}

impl Graph {
    /// Decodes and checks a file's bytes.
    pub fn read(bytes: &[u8]) -> Result<Graph, OnnxError> {
        let (graph, metadata) = opened(bytes)?;
        let (input, input_channels) = image(&graph.input, "input")?;
        let (output, output_channels) = image(&graph.output, "output")?;
        let mut known = Known::default();
        for tensor in graph.initializer {
            known.constants.insert(tensor.name.clone(), Constant::read(tensor)?);
        }
        let mut nodes = Vec::new();
        for node in graph.node {
            nodes.extend(resolve(node, &mut known)?);
        }
        known.finish()?;
        Ok(Graph { input, input_channels, output, output_channels, nodes, metadata })
    }

    /// Whether a part of it is in whole numbers.
    pub fn quantised(&self) -> bool {
        self.nodes.iter().any(|node| matches!(node.operator, Operator::Quantise { .. }))
    }
}

/// The graph of a file and its metadata, nothing in it looked at yet.
fn opened(bytes: &[u8]) -> Result<(wire::Graph, HashMap<String, String>), OnnxError> {
    if bytes.len() > MAX_BYTES {
        return Err(OnnxError::TooLarge(bytes.len()));
    }
    let model = wire::Model::decode(bytes)?;
    let graph = model.graph.ok_or_else(|| OnnxError::Graph("has no graph".to_owned()))?;
    let version = model.opset_import.iter().find(|o| o.domain.is_empty()).map(|o| o.version);
    if !version.is_some_and(|v| OPSETS.contains(&v)) {
        let found = version.map_or("none".to_owned(), |v| v.to_string());
        return Err(OnnxError::Graph(format!(
            "uses operator set {found}; {} to {} are read",
            OPSETS.start(),
            OPSETS.end()
        )));
    }
    if graph.node.len() > MAX_NODES {
        return Err(OnnxError::Graph(format!("has more than {MAX_NODES} nodes")));
    }
    let metadata = model.metadata_props.into_iter().map(|e| (e.key, e.value)).collect();
    Ok((graph, metadata))
}

/// Name and channels of the only input or output, `float [n, channels, rows, columns]`.
fn image(values: &[wire::ValueInfo], what: &str) -> Result<(String, usize), OnnxError> {
    let [value] = values else {
        return Err(OnnxError::Graph(format!("has {} {what}s, not one", values.len())));
    };
    let tensor = value.kind.as_ref().and_then(|k| k.tensor.as_ref());
    let dims = tensor
        .filter(|t| t.elem_type == wire::FLOAT)
        .and_then(|t| t.shape.as_ref())
        .map(|shape| shape.dim.iter().map(|d| d.dim_value).collect::<Vec<_>>());
    match dims.as_deref() {
        Some(&[_, channels, _, _]) if (1..=MAX_CHANNELS as i64).contains(&channels) => {
            Ok((value.name.clone(), channels as usize))
        }
        _ => Err(OnnxError::Graph(format!(
            "has an {what} that is not float [n, channels, rows, columns] with fixed channels"
        ))),
    }
}

/// What the nodes so far have made beside values of the net.
#[derive(Default)]
struct Known {
    constants: HashMap<String, Constant>,
    /// Results of QuantizeLinear that no DequantizeLinear has read yet, by name.
    steps: HashMap<String, quantised::Steps>,
}

/// Gives a node its meaning; `None` when it is only a part of another, as a constant is.
fn resolve(mut node: wire::Node, known: &mut Known) -> Result<Option<Node>, OnnxError> {
    let view = NodeView::new(&node);
    if !node.domain.is_empty() {
        return Err(view.unknown());
    }
    let [output] = node.output.as_slice() else {
        return Err(view.fault(format!("{} outputs, not one", node.output.len())));
    };
    let output = output.clone();
    let constants = &mut known.constants;
    let (operator, inputs) = match node.op_type.as_str() {
        "Constant" => {
            view.only(&["value"])?;
            let tensor = node.attribute.pop().and_then(|a| a.t);
            let tensor =
                tensor.ok_or_else(|| NodeView::new(&node).fault("no tensor".to_owned()))?;
            constants.insert(output, Constant::read(tensor)?);
            return Ok(None);
        }
        "Cast" => {
            let constant = cast(&view, constants)?;
            constants.insert(output, constant);
            return Ok(None);
        }
        "QuantizeLinear" => {
            let steps = quantised::steps(&view, constants)?;
            known.steps.insert(output, steps);
            return Ok(None);
        }
        "DequantizeLinear" => return quantised::dequantised(&view, known, output),
        "Conv" => (conv(&view, constants)?, 1),
        "Relu" => {
            view.only(&[])?;
            (Operator::Relu, 1)
        }
        "MaxPool" => {
            max_pool(&view)?;
            (Operator::MaxPool, 1)
        }
        "Resize" => {
            resize(&view, constants)?;
            (Operator::Upsample, 1)
        }
        "Concat" => {
            view.only(&["axis"])?;
            view.integer("axis", 1, i64::MIN)?;
            (Operator::Concat, node.input.len())
        }
        _ => return Err(view.unknown()),
    };
    if inputs == 0 || node.input.len() < inputs {
        return Err(view.fault("too few inputs".to_owned()));
    }
    node.input.truncate(inputs);
    Ok(Some(Node { name: node.name, operator, inputs: node.input, output }))
}

/// Half floats, or floats, as floats.
fn cast(view: &NodeView<'_>, constants: &HashMap<String, Constant>) -> Result<Constant, OnnxError> {
    view.only(&["to"])?;
    view.integer("to", wire::FLOAT.into(), 0)?;
    let Constant { dims, values, form } = view.constant(constants, 0)?;
    if !matches!(form, Form::Half | Form::Single) {
        return Err(view.fault("input 0 is neither float nor float16".to_owned()));
    }
    Ok(Constant { dims: dims.clone(), values: values.clone(), form: Form::Single })
}

fn conv(view: &NodeView<'_>, constants: &HashMap<String, Constant>) -> Result<Operator, OnnxError> {
    view.only(&["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"])?;
    let weights = view.constant(constants, 1)?;
    let bias = view.single(constants, 2)?;
    let &[outputs, inputs, rows, cols] = weights.dims.as_slice() else {
        return Err(view.fault(format!("weights of shape {:?}", weights.dims)));
    };
    let (window, pad) = match [rows, cols] {
        [1, 1] => (Window::One, 0),
        [3, 3] => (Window::Three, 1),
        other => return Err(view.fault(format!("a window of {other:?}, not 1x1 or 3x3"))),
    };
    let channels = 1..=MAX_CHANNELS;
    if !channels.contains(&outputs) || !channels.contains(&inputs) || bias.dims != [outputs] {
        return Err(view.fault(format!("{inputs} -> {outputs} channels, bias {:?}", bias.dims)));
    }
    view.text("auto_pad", "NOTSET", "NOTSET")?;
    view.integer("group", 1, 1)?;
    view.integers("dilations", &[1, 1], &[1, 1])?;
    view.integers("kernel_shape", &[rows as i64, cols as i64], &[rows as i64, cols as i64])?;
    view.integers("pads", &[pad; 4], &[0; 4])?;
    view.integers("strides", &[1, 1], &[1, 1])?;
    let bias = bias.values.clone();
    let weights = match &weights.form {
        Form::Scaled(scales) => {
            let steps = weights.values.iter().map(|&v| v as i8).collect();
            ConvWeights::Int8 { steps, scales: scales.clone() }
        }
        _ => ConvWeights::Float(view.single(constants, 1)?.values.clone()),
    };
    Ok(Operator::Conv { window, outputs, inputs, weights, bias })
}

fn max_pool(view: &NodeView<'_>) -> Result<(), OnnxError> {
    let known =
        ["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides"];
    view.only(&known)?;
    view.text("auto_pad", "NOTSET", "NOTSET")?;
    view.integer("ceil_mode", 0, 0)?;
    view.integer("storage_order", 0, 0)?;
    view.integers("dilations", &[1, 1], &[1, 1])?;
    view.integers("kernel_shape", &[2, 2], &[])?;
    view.integers("pads", &[0; 4], &[0; 4])?;
    view.integers("strides", &[2, 2], &[1, 1])
}

fn resize(view: &NodeView<'_>, constants: &HashMap<String, Constant>) -> Result<(), OnnxError> {
    // The last two only matter in modes that are refused here.
    let known = ["coordinate_transformation_mode", "mode", "nearest_mode", "cubic_coeff_a"];
    view.only(&known)?;
    view.text("mode", "nearest", "nearest")?;
    view.text("coordinate_transformation_mode", "asymmetric", "half_pixel")?;
    view.text("nearest_mode", "floor", "round_prefer_floor")?;
    let sizes = view.node.input.get(3).is_some_and(|name| !name.is_empty());
    if sizes || view.single(constants, 2)?.values != [1.0, 1.0, 2.0, 2.0] {
        return Err(view.fault("only twice the rows and columns is known".to_owned()));
    }
    Ok(())
}

/// A node with the questions asked of it; each answers with an error that names the node.
struct NodeView<'a> {
    node: &'a wire::Node,
}

impl<'a> NodeView<'a> {
    fn new(node: &'a wire::Node) -> Self {
        NodeView { node }
    }

    fn unknown(&self) -> OnnxError {
        OnnxError::Operator { operator: self.node.op_type.clone(), node: self.node.name.clone() }
    }

    fn fault(&self, what: String) -> OnnxError {
        let (operator, node) = (self.node.op_type.clone(), self.node.name.clone());
        OnnxError::Node { operator, node, what }
    }

    fn attribute(&self, name: &str) -> Option<&wire::Attribute> {
        self.node.attribute.iter().find(|a| a.name == name)
    }

    /// Refuses attributes whose meaning nobody looked up.
    fn only(&self, known: &[&str]) -> Result<(), OnnxError> {
        match self.node.attribute.iter().find(|a| !known.contains(&a.name.as_str())) {
            Some(other) => Err(self.fault(format!("attribute {} is not known", other.name))),
            None => Ok(()),
        }
    }

    fn integer(&self, name: &str, want: i64, default: i64) -> Result<(), OnnxError> {
        let got = self.attribute(name).map_or(default, |a| a.i);
        if got == want { Ok(()) } else { Err(self.fault(format!("{name} {got}, not {want}"))) }
    }

    fn integers(&self, name: &str, want: &[i64], default: &[i64]) -> Result<(), OnnxError> {
        let got = self.attribute(name).map_or(default, |a| &a.ints);
        if got == want { Ok(()) } else { Err(self.fault(format!("{name} {got:?}, not {want:?}"))) }
    }

    fn text(&self, name: &str, want: &str, default: &str) -> Result<(), OnnxError> {
        let got = self.attribute(name).map_or(default.as_bytes(), |a| &a.s);
        if got == want.as_bytes() {
            return Ok(());
        }
        Err(self.fault(format!("{name} {:?}, not {want:?}", String::from_utf8_lossy(got))))
    }

    /// The constant at an input.
    fn constant<'c>(
        &self,
        constants: &'c HashMap<String, Constant>,
        input: usize,
    ) -> Result<&'c Constant, OnnxError> {
        let name = self.node.input.get(input);
        name.and_then(|name| constants.get(name))
            .ok_or_else(|| self.fault(format!("input {input} is not a constant")))
    }

    /// The `float` constant at an input.
    fn single<'c>(
        &self,
        constants: &'c HashMap<String, Constant>,
        input: usize,
    ) -> Result<&'c Constant, OnnxError> {
        let constant = self.constant(constants, input)?;
        match constant.form {
            Form::Single => Ok(constant),
            Form::Half => Err(self.fault(format!("input {input} is float16 without a Cast"))),
            Form::Int8 => {
                Err(self.fault(format!("input {input} is int8 without a DequantizeLinear")))
            }
            Form::Scaled(_) => Err(self.fault(format!("input {input} is int8, not float"))),
        }
    }
}

#[cfg(test)]
mod tests;
