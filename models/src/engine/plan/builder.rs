//! What a graph computes, map by map: nodes joined to convolutions and pools, before anything is said of
//! how an engine runs them.

use super::{INPUT, Map, SourceMap};
use crate::onnx::{Graph, Node, Operator};
use kernels::conv::{InputChannels, stored_channels};
use std::collections::HashMap;

/// Most times a net may halve its input: 2^8 = 256 pixels, the largest multiple a card may ask for.
const MAX_LEVEL: u32 = 8;

/// Most maps that a convolution reads one behind the other.
const MAX_JOINED: usize = 2;

/// A layer; maps by number.
pub(super) enum Layer<'a> {
    /// Of a node with [`Operator::Conv`].
    Conv {
        node: &'a Node,
        sources: Vec<SourceMap>,
        relu: bool,
        to: usize,
    },
    Pool {
        from: usize,
        to: usize,
    },
}

impl Layer<'_> {
    fn writes(&self) -> usize {
        match self {
            Layer::Conv { to, .. } | Layer::Pool { to, .. } => *to,
        }
    }
}

/// The layers of a graph in their order; map [`INPUT`] is the input, that of the last layer the output.
pub(super) struct Outline<'a> {
    pub(super) maps: Vec<Map>,
    pub(super) layers: Vec<Layer<'a>>,
}

impl<'a> Outline<'a> {
    /// Fails with a sentence that names the node.
    pub(super) fn of(graph: &'a Graph) -> Result<Outline<'a>, String> {
        let mut uses: HashMap<&str, usize> = HashMap::from([(graph.output.as_str(), 1)]);
        for input in graph.nodes.iter().flat_map(|node| &node.inputs) {
            *uses.entry(input).or_default() += 1;
        }
        let used = graph.input_channels;
        let channels = InputChannels { used, stored: used };
        let input = vec![SourceMap { map: INPUT, upsampled: false }];
        let mut builder = Builder {
            uses,
            values: HashMap::from([(graph.input.as_str(), input)]),
            maps: vec![Map { channels, level: 0, scale: None }],
            layers: Vec::new(),
        };
        for node in &graph.nodes {
            let value = builder.add(node).map_err(|what| named(node, &what))?;
            if builder.values.insert(&node.output, value).is_some() {
                return Err(named(node, "its output exists already"));
            }
        }
        builder.finish(graph)
    }
}

/// What is wrong, with the name of the node.
pub(super) fn named(node: &Node, what: &str) -> String {
    format!("node {}: {what}", node.name)
}

/// What has been read so far: every value is one or several maps, one behind the other along the
/// channels.
struct Builder<'a> {
    /// How often each value is read.
    uses: HashMap<&'a str, usize>,
    values: HashMap<&'a str, Vec<SourceMap>>,
    maps: Vec<Map>,
    layers: Vec<Layer<'a>>,
}

impl<'a> Builder<'a> {
    fn add(&mut self, node: &'a Node) -> Result<Vec<SourceMap>, String> {
        let mut inputs = Vec::new();
        for name in &node.inputs {
            let value = self.values.get(name.as_str());
            let value = value.ok_or_else(|| format!("input {name} is not computed before"))?;
            inputs.push(value.as_slice());
        }
        match node.operator {
            Operator::Conv { outputs, inputs: weighted, .. } => {
                let sources = inputs.concat();
                self.conv(node, sources, outputs, weighted)
            }
            Operator::Relu => {
                let map = plain(inputs[0])?;
                let alone = self.alone(node);
                match self.layers.iter_mut().find(|layer| layer.writes() == map) {
                    Some(Layer::Conv { relu, .. }) if alone => *relu = true,
                    _ => {
                        return Err("ReLU must follow a convolution that nothing else reads".into());
                    }
                }
                Ok(vec![SourceMap { map, upsampled: false }])
            }
            Operator::Quantise { scale } => {
                let map = plain(inputs[0])?;
                self.quantise(node, map, scale)
            }
            Operator::MaxPool => {
                let from = plain(inputs[0])?;
                let Map { level, .. } = self.maps[from];
                if level == MAX_LEVEL {
                    return Err(format!("more than {MAX_LEVEL} halvings"));
                }
                let to = self.new_map(Map { level: level + 1, ..self.maps[from] });
                self.layers.push(Layer::Pool { from, to });
                Ok(vec![SourceMap { map: to, upsampled: false }])
            }
            Operator::Upsample => {
                let map = plain(inputs[0])?;
                if self.maps[map].level == 0 {
                    return Err("upsampling beyond the size of the input".to_owned());
                }
                Ok(vec![SourceMap { map, upsampled: true }])
            }
            // Bounded here, so that a chain of joins cannot double the list at every node.
            Operator::Concat if inputs.iter().map(|i| i.len()).sum::<usize>() > MAX_JOINED => {
                Err(format!("joins more than {MAX_JOINED} maps"))
            }
            Operator::Concat => Ok(inputs.concat()),
        }
    }

    /// Whether nothing else reads what a node reads first.
    fn alone(&self, node: &Node) -> bool {
        self.uses.get(node.inputs[0].as_str()) == Some(&1)
    }

    fn conv(
        &mut self,
        node: &'a Node,
        sources: Vec<SourceMap>,
        outputs: usize,
        inputs: usize,
    ) -> Result<Vec<SourceMap>, String> {
        let level = |s: &SourceMap| self.maps[s.map].level - u32::from(s.upsampled);
        let levels: Vec<u32> = sources.iter().map(level).collect();
        if levels.iter().any(|&l| l != levels[0]) {
            return Err("joins maps of different sizes".to_owned());
        }
        let used: usize = sources.iter().map(|s| self.maps[s.map].channels.used).sum();
        if used != inputs {
            return Err(format!("weights for {inputs} channels, the sources have {used}"));
        }
        let channels = InputChannels { used: outputs, stored: stored_channels(outputs) };
        let to = self.new_map(Map { channels, level: levels[0], scale: None });
        self.layers.push(Layer::Conv { node, sources, relu: false, to });
        Ok(vec![SourceMap { map: to, upsampled: false }])
    }

    /// A map becomes one of steps, for all that read it.
    fn quantise(&mut self, node: &Node, map: usize, scale: f32) -> Result<Vec<SourceMap>, String> {
        let relu = |layer: &Layer<'_>| match layer {
            Layer::Conv { relu, to, .. } => *relu && *to == map,
            Layer::Pool { .. } => false,
        };
        if !self.layers.iter().any(relu) {
            return Err("only what comes from a ReLU is quantised: steps have no sign".to_owned());
        }
        if !self.alone(node) || self.maps[map].scale.is_some() {
            return Err("the map is also read as it was before, or quantised twice".to_owned());
        }
        self.maps[map].scale = Some(scale);
        Ok(vec![SourceMap { map, upsampled: false }])
    }

    fn new_map(&mut self, map: Map) -> usize {
        self.maps.push(map);
        self.maps.len() - 1
    }

    fn finish(self, graph: &Graph) -> Result<Outline<'a>, String> {
        let output = self.values.get(graph.output.as_str());
        let last = self.layers.last().map(Layer::writes);
        let map = match output.map(Vec::as_slice) {
            Some(&[SourceMap { map, upsampled: false }]) if Some(map) == last => self.maps[map],
            _ => return Err("the output is not the result of the last layer".to_owned()),
        };
        if map.level != 0 || map.channels.used != graph.output_channels {
            return Err("the output has not the size and channels that the file says".to_owned());
        }
        if map.scale.is_some() {
            return Err("the output is quantised".to_owned());
        }
        Ok(Outline { maps: self.maps, layers: self.layers })
    }
}

/// The one map of a value that is neither upsampled nor joined.
fn plain(value: &[SourceMap]) -> Result<usize, String> {
    match value {
        [SourceMap { map, upsampled: false }] => Ok(*map),
        _ => Err("only a convolution may read an upsampled or joined map".to_owned()),
    }
}
