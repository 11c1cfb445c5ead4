//! Reads a patch net from ONNX: a convolution over a square window without padding, then some of 1x1, each with its logistic
//! function, as `models/train/penn/export.py` writes them.
//!
//! The file is the net in its fully convolutional form; [`PatchNet`] is that at any stride.

use super::constant::Constant;
use super::{MAX_CHANNELS, NodeView, OnnxError, cast, image, opened, wire};
use kernels::patch_net::{Layer, PatchNet};
use std::collections::HashMap;

/// Widest window: twice ours.
const MAX_SIDE: usize = 64;

/// A patch net with what its training wrote beside it.
#[derive(Debug, Clone)]
pub struct PatchGraph {
    pub net: PatchNet,
    pub metadata: HashMap<String, String>,
}

impl PatchGraph {
    /// Decodes and checks a file's bytes.
    pub fn read(bytes: &[u8]) -> Result<PatchGraph, OnnxError> {
        let (graph, metadata) = opened(bytes)?;
        let (input, channels) = image(&graph.input, "input")?;
        let (output, outputs) = image(&graph.output, "output")?;
        let fault = |what: String| OnnxError::Graph(what);
        if channels != 1 {
            return Err(fault(format!("reads {channels} channels, not the one of a slice")));
        }
        let mut reader = Reader { constants: HashMap::new(), layers: Vec::new(), side: 0 };
        for tensor in graph.initializer {
            reader.constants.insert(tensor.name.clone(), Constant::read(tensor)?);
        }
        // The value that the next node must read, and whether it is a sum that waits for its logistic function.
        let mut at = (input, false);
        for node in &graph.node {
            at = reader.node(node, at)?;
        }
        if at != (output, false) {
            return Err(fault("does not end with a logistic function".to_owned()));
        }
        let net =
            PatchNet::new(reader.side, reader.layers).map_err(|e| fault(format!("has {e}")))?;
        if net.outputs() != outputs {
            return Err(fault(format!("names {outputs} outputs and has {}", net.outputs())));
        }
        Ok(PatchGraph { net, metadata })
    }
}

/// What was read so far.
struct Reader {
    constants: HashMap<String, Constant>,
    layers: Vec<Layer>,
    side: usize,
}

impl Reader {
    fn node(&mut self, node: &wire::Node, at: (String, bool)) -> Result<(String, bool), OnnxError> {
        let view = NodeView::new(node);
        let [output] = node.output.as_slice() else {
            return Err(view.fault(format!("{} outputs, not one", node.output.len())));
        };
        let reads_last = node.input.first() == Some(&at.0);
        match (node.op_type.as_str(), at.1) {
            _ if !node.domain.is_empty() => Err(view.unknown()),
            ("Cast", _) => {
                let constant = cast(&view, &self.constants)?;
                self.constants.insert(output.clone(), constant);
                Ok(at)
            }
            ("Conv", false) if reads_last => {
                self.convolution(&view)?;
                Ok((output.clone(), true))
            }
            ("Sigmoid", true) if reads_last => {
                view.only(&[])?;
                Ok((output.clone(), false))
            }
            _ => {
                Err(view.fault("not the next of a patch net's Conv and Sigmoid in turn".to_owned()))
            }
        }
    }

    fn convolution(&mut self, view: &NodeView<'_>) -> Result<(), OnnxError> {
        view.only(&["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"])?;
        let (weights, bias) = (view.single(&self.constants, 1)?, view.single(&self.constants, 2)?);
        let &[outputs, _, rows, columns] = weights.dims.as_slice() else {
            return Err(view.fault(format!("weights of shape {:?}", weights.dims)));
        };
        let widest = if self.layers.is_empty() { MAX_SIDE } else { 1 };
        if rows != columns || !(1..=widest).contains(&rows) {
            return Err(view.fault(format!("a window of {rows}x{columns}, {widest} at most")));
        }
        if !(1..=MAX_CHANNELS).contains(&outputs) || bias.dims != [outputs] {
            return Err(view.fault(format!("{outputs} channels, bias {:?}", bias.dims)));
        }
        view.text("auto_pad", "NOTSET", "NOTSET")?;
        view.integer("group", 1, 1)?;
        view.integers("dilations", &[1, 1], &[1, 1])?;
        view.integers("kernel_shape", &[rows as i64; 2], &[rows as i64; 2])?;
        view.integers("pads", &[0; 4], &[0; 4])?;
        view.integers("strides", &[1, 1], &[1, 1])?;
        if self.layers.is_empty() {
            self.side = rows;
        }
        self.layers.push(Layer { weights: weights.values.clone(), bias: bias.values.clone() });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
