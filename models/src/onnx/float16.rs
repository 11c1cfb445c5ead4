//! Writes a [`Graph`] as ONNX whose arithmetic is float16, for engines that take every type from the file (TensorRT's
//! strongly typed networks).
//!
//! Our weights are stored as float16, so nothing is rounded here but values an engine computes; of an int8 form also its
//! scales, by less than a thousandth, and the biases of its layers. Q/DQ stay as they are. Input and output stay `float`:
//! the cast is the net's first and last node, and the pipeline knows one type only. The same graph always gives the same
//! bytes, because plans are known by their SHA-256.

use super::wire;
use super::{ConvWeights, Graph, Node, Operator};
use half::f16;
use kernels::conv::Window;
use prost::Message;

/// Version of the file format and of the operator set: those of our training's export.
const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;
/// The first in which QuantizeLinear takes float16; written where it is needed, so that all other files stay as they are.
const QUANTISED_OPSET: i64 = 19;

/// Key of the metadata that names the weights a file was made from, by their SHA-256.
pub const WEIGHTS_SHA256: &str = "weights_sha256";

/// The bytes of `graph` in float16, made from weights of this SHA-256.
pub fn write(graph: &Graph, weights_sha256: &str) -> Vec<u8> {
    let mut writer = Writer::default();
    let (inside, last) = (format!("{}.half", graph.input), format!("{}.half", graph.output));
    writer.cast(&graph.input, &inside, wire::FLOAT16);
    for node in &graph.nodes {
        let renamed = |name: &String| match name {
            name if *name == graph.input => inside.clone(),
            name if *name == graph.output => last.clone(),
            name => name.clone(),
        };
        let inputs = node.inputs.iter().map(renamed).collect();
        writer.node(node, inputs, renamed(&node.output));
    }
    writer.cast(&last, &graph.output, wire::FLOAT);
    let image = |name: &str, channels: usize| wire::ValueInfo {
        name: name.to_owned(),
        kind: Some(wire::Type { tensor: Some(image_type(channels)) }),
    };
    let (input, output) =
        (image(&graph.input, graph.input_channels), image(&graph.output, graph.output_channels));
    let version = if graph.quantised() { QUANTISED_OPSET } else { OPSET };
    let entry = wire::Entry { key: WEIGHTS_SHA256.to_owned(), value: weights_sha256.to_owned() };
    wire::Model {
        ir_version: IR_VERSION,
        graph: Some(wire::Graph {
            node: writer.nodes,
            name: "sagitta-half".to_owned(),
            initializer: writer.tensors,
            input: vec![input],
            output: vec![output],
        }),
        opset_import: vec![wire::OperatorSet { domain: String::new(), version }],
        metadata_props: vec![entry],
    }
    .encode_to_vec()
}

/// `float [n, channels, rows, columns]`, all but the channels open.
fn image_type(channels: usize) -> wire::TensorType {
    let open = |name: &str| wire::Dimension { dim_param: name.to_owned(), ..Default::default() };
    let channels = wire::Dimension { dim_value: channels as i64, ..Default::default() };
    let dim = vec![open("N"), channels, open("H"), open("W")];
    wire::TensorType { elem_type: wire::FLOAT, shape: Some(wire::Shape { dim }) }
}

#[derive(Default)]
struct Writer {
    nodes: Vec<wire::Node>,
    tensors: Vec<wire::Tensor>,
}

impl Writer {
    fn cast(&mut self, from: &str, to: &str, kind: i32) {
        let attributes = vec![integer("to", kind.into())];
        self.push("Cast", to, vec![from.to_owned()], to.to_owned(), attributes);
    }

    fn node(&mut self, node: &Node, mut inputs: Vec<String>, output: String) {
        let mut name = node.name.clone();
        let (operator, attributes) = match &node.operator {
            Operator::Conv { window, outputs, inputs: channels, weights, bias } => {
                let (side, pad) = match window {
                    Window::One => (1, 0),
                    Window::Three => (3, 1),
                };
                let (weight, offset) = (format!("{output}.weight"), format!("{output}.bias"));
                self.weights(&weight, [*outputs, *channels, side, side], weights);
                self.half(&offset, &[*outputs], bias);
                inputs.extend([weight, offset]);
                let side = side as i64;
                ("Conv", vec![integers("kernel_shape", &[side; 2]), integers("pads", &[pad; 4])])
            }
            Operator::Relu => ("Relu", Vec::new()),
            Operator::Quantise { scale } => {
                let steps = format!("{output}.steps");
                let [scale, zero] = self.scale(&output, &[], &[*scale]);
                inputs.extend([scale.clone(), zero.clone()]);
                self.push("QuantizeLinear", &name, inputs, steps.clone(), Vec::new());
                (inputs, name) = (vec![steps, scale, zero], format!("{name}.values"));
                ("DequantizeLinear", Vec::new())
            }
            Operator::MaxPool => {
                ("MaxPool", vec![integers("kernel_shape", &[2; 2]), integers("strides", &[2; 2])])
            }
            Operator::Upsample => {
                let scales = format!("{output}.scales");
                self.tensors.push(wire::Tensor {
                    dims: vec![4],
                    data_type: wire::FLOAT,
                    float_data: vec![1.0, 1.0, 2.0, 2.0],
                    name: scales.clone(),
                    ..Default::default()
                });
                // The region of interest between them is for another mode.
                inputs.extend([String::new(), scales]);
                let attributes = [
                    ("mode", "nearest"),
                    ("coordinate_transformation_mode", "asymmetric"),
                    ("nearest_mode", "floor"),
                ];
                ("Resize", attributes.map(|(name, value)| text(name, value)).to_vec())
            }
            Operator::Concat => ("Concat", vec![integer("axis", 1)]),
        };
        self.push(operator, &name, inputs, output, attributes);
    }

    fn push(
        &mut self,
        operator: &str,
        name: &str,
        input: Vec<String>,
        output: String,
        attribute: Vec<wire::Attribute>,
    ) {
        self.nodes.push(wire::Node {
            input,
            output: vec![output],
            name: name.to_owned(),
            op_type: operator.to_owned(),
            attribute,
            domain: String::new(),
        });
    }

    /// Weights as the graph has them: float16, or `int8` behind a DequantizeLinear.
    fn weights(&mut self, name: &str, dims: [usize; 4], weights: &ConvWeights) {
        let (steps, scales) = match weights {
            ConvWeights::Float(values) => return self.half(name, &dims, values),
            ConvWeights::Int8 { steps, scales } => (steps, scales),
        };
        let whole = format!("{name}.steps");
        self.int8(&whole, &dims, steps);
        let [scale, zero] = self.scale(name, &dims[..1], scales);
        let inputs = vec![whole, scale, zero];
        self.push("DequantizeLinear", name, inputs, name.to_owned(), vec![integer("axis", 0)]);
    }

    /// Scales with their zero points; the names of both.
    fn scale(&mut self, of: &str, dims: &[usize], scales: &[f32]) -> [String; 2] {
        let names = [format!("{of}.scale"), format!("{of}.zero")];
        self.half(&names[0], dims, scales);
        self.int8(&names[1], dims, &vec![0; scales.len()]);
        names
    }

    fn int8(&mut self, name: &str, dims: &[usize], values: &[i8]) {
        let raw_data = values.iter().map(|&v| v as u8).collect();
        self.tensor(name, dims, wire::INT8, raw_data);
    }

    fn half(&mut self, name: &str, dims: &[usize], values: &[f32]) {
        let raw_data = values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
        self.tensor(name, dims, wire::FLOAT16, raw_data);
    }

    fn tensor(&mut self, name: &str, dims: &[usize], data_type: i32, raw_data: Vec<u8>) {
        self.tensors.push(wire::Tensor {
            dims: dims.iter().map(|&d| d as i64).collect(),
            data_type,
            name: name.to_owned(),
            raw_data,
            ..Default::default()
        });
    }
}

fn integer(name: &str, i: i64) -> wire::Attribute {
    wire::Attribute { name: name.to_owned(), i, kind: wire::KIND_INT, ..Default::default() }
}

fn integers(name: &str, values: &[i64]) -> wire::Attribute {
    let (ints, kind) = (values.to_vec(), wire::KIND_INTS);
    wire::Attribute { name: name.to_owned(), ints, kind, ..Default::default() }
}

fn text(name: &str, value: &str) -> wire::Attribute {
    let (s, kind) = (value.as_bytes().to_vec(), wire::KIND_STRING);
    wire::Attribute { name: name.to_owned(), s, kind, ..Default::default() }
}

/// The SHA-256 of the weights that a file of [`write()`] was made from; `None` in any other file.
pub fn origin(bytes: &[u8]) -> Option<String> {
    let model = wire::Model::decode(bytes).ok()?;
    let mut entries = model.metadata_props.into_iter();
    entries.find(|entry| entry.key == WEIGHTS_SHA256).map(|entry| entry.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Weights;

    #[test]
    fn weights_and_their_order_survive_and_nothing_is_rounded() {
        let weights = Weights::embedded().unwrap();
        let bytes = write(&weights.graph, &weights.card.weights_sha256);
        assert_eq!(origin(&bytes), Some(weights.card.weights_sha256));
        assert_eq!(bytes, write(&weights.graph, &origin(&bytes).unwrap()));
        let graph = wire::Model::decode(bytes.as_slice()).unwrap().graph.unwrap();
        let mut stored = graph.initializer.iter().filter(|t| t.data_type == wire::FLOAT16);
        for node in &weights.graph.nodes {
            let Operator::Conv { weights, bias, .. } = &node.operator else { continue };
            let ConvWeights::Float(weights) = weights else { panic!("floats") };
            for want in [weights, bias] {
                let (words, _) = stored.next().unwrap().raw_data.as_chunks::<2>();
                let got: Vec<f32> = words.iter().map(|&w| f16::from_le_bytes(w).to_f32()).collect();
                assert_eq!(got, *want, "{}", node.name);
            }
        }
        let casts = graph.node.iter().filter(|node| node.op_type == "Cast").count();
        assert_eq!((stored.next(), casts), (None, 2));
    }
}
