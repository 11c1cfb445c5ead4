//! From a graph to the steps that our own engines run: ReLU joins its convolution; upsampling and
//! concat become the way a convolution reads its sources; what remains is convolutions and pools
//! over numbered feature maps.

use crate::onnx::{Graph, Node, Operator};
use kernels::conv::{Conv, ConvError, ConvSpec, Input, InputChannels, stored_channels};
use kernels::cuda::convolution::Packed;
use std::collections::HashMap;

/// Most times a net may halve its input: 2^8 = 256 pixels, the largest multiple a card may ask for.
const MAX_LEVEL: u32 = 8;

/// Most maps that a convolution reads one behind the other.
const MAX_JOINED: usize = 2;

/// Number of the map that holds the input.
pub(super) const INPUT: usize = 0;

/// A feature map of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Map {
    /// Channels with a meaning, and channels in memory.
    pub(super) channels: InputChannels,
    /// Rows and columns are those of the input divided by `2^level`.
    pub(super) level: u32,
}

/// A map as a convolution reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SourceMap {
    pub(super) map: usize,
    pub(super) upsampled: bool,
}

/// What an engine makes of a convolution.
pub(super) trait Made: Sized {
    fn from_spec(spec: ConvSpec<'_>) -> Result<Self, ConvError>;

    fn add_relu(&mut self);
}

impl Made for Conv {
    fn from_spec(spec: ConvSpec<'_>) -> Result<Conv, ConvError> {
        Conv::new(spec)
    }

    fn add_relu(&mut self) {
        Conv::add_relu(self);
    }
}

impl Made for Packed {
    fn from_spec(spec: ConvSpec<'_>) -> Result<Packed, ConvError> {
        Packed::new(&spec)
    }

    fn add_relu(&mut self) {
        Packed::add_relu(self);
    }
}

/// One step; maps by number.
#[derive(Debug)]
pub(super) enum Step<M = Conv> {
    Conv { conv: M, sources: Vec<usize>, to: usize },
    Pool { from: usize, to: usize },
}

impl<M> Step<M> {
    pub(super) fn writes(&self) -> usize {
        match self {
            Step::Conv { to, .. } | Step::Pool { to, .. } => *to,
        }
    }

    pub(super) fn reads(&self) -> Vec<usize> {
        match self {
            Step::Conv { sources, .. } => sources.clone(),
            Step::Pool { from, .. } => vec![*from],
        }
    }
}

/// Map 0 is the input, the map written by the last step the output.
#[derive(Debug)]
pub(super) struct Plan<M = Conv> {
    pub(super) maps: Vec<Map>,
    pub(super) steps: Vec<Step<M>>,
    /// Rows and columns of an input must be multiples of this.
    pub(super) multiple_of: usize,
}

impl<M: Made> Plan<M> {
    /// Fails with a sentence that names the node.
    pub(super) fn of(graph: &Graph) -> Result<Plan<M>, String> {
        let mut uses: HashMap<&str, usize> = HashMap::from([(graph.output.as_str(), 1)]);
        for input in graph.nodes.iter().flat_map(|node| &node.inputs) {
            *uses.entry(input).or_default() += 1;
        }
        let used = graph.input_channels;
        let channels = InputChannels { used, stored: used };
        let mut builder = Builder {
            values: HashMap::from([(
                graph.input.as_str(),
                vec![SourceMap { map: INPUT, upsampled: false }],
            )]),
            maps: vec![Map { channels, level: 0 }],
            steps: Vec::new(),
        };
        for node in &graph.nodes {
            let value =
                builder.add(node, &uses).map_err(|what| format!("node {}: {what}", node.name))?;
            if builder.values.insert(&node.output, value).is_some() {
                return Err(format!("node {}: its output exists already", node.name));
            }
        }
        builder.finish(graph)
    }
}

impl<M> Plan<M> {
    /// Number of the map that holds the output.
    pub(super) fn output(&self) -> usize {
        self.steps.last().map_or(INPUT, Step::writes)
    }

    /// First and last step at which each map must be there; the input is there before the first.
    pub(super) fn lives(&self) -> Vec<[usize; 2]> {
        let mut lives = vec![[0, 0]; self.maps.len()];
        for (number, step) in self.steps.iter().enumerate() {
            lives[step.writes()] = [number; 2];
            for map in step.reads() {
                lives[map][1] = number;
            }
        }
        lives
    }

    /// The same plan with other convolutions, say those that were brought to a device.
    pub(super) fn with<N, E>(self, mut make: impl FnMut(M) -> Result<N, E>) -> Result<Plan<N>, E> {
        let change = |step| {
            Ok(match step {
                Step::Conv { conv, sources, to } => Step::Conv { conv: make(conv)?, sources, to },
                Step::Pool { from, to } => Step::Pool { from, to },
            })
        };
        let steps = self.steps.into_iter().map(change).collect::<Result<_, E>>()?;
        Ok(Plan { maps: self.maps, steps, multiple_of: self.multiple_of })
    }
}

impl Plan {
    #[cfg(test)]
    pub(super) fn new(graph: &Graph) -> Result<Plan, String> {
        Plan::of(graph)
    }

    /// Multiply-adds for one slice of `rows` x `cols`.
    pub(super) fn multiply_adds(&self, rows: usize, cols: usize) -> usize {
        let of_step = |step: &Step| match step {
            Step::Conv { conv, to, .. } => {
                let level = self.maps[*to].level;
                (rows >> level) * (cols >> level) * conv.multiply_adds()
            }
            Step::Pool { .. } => 0,
        };
        self.steps.iter().map(of_step).sum()
    }
}

/// What has been read so far: every value is one or several maps, one behind the other along the
/// channels.
struct Builder<'a, M> {
    values: HashMap<&'a str, Vec<SourceMap>>,
    maps: Vec<Map>,
    steps: Vec<Step<M>>,
}

impl<'a, M: Made> Builder<'a, M> {
    fn add(&mut self, node: &Node, uses: &HashMap<&str, usize>) -> Result<Vec<SourceMap>, String> {
        let mut inputs = Vec::new();
        for name in &node.inputs {
            let value = self.values.get(name.as_str());
            let value = value.ok_or_else(|| format!("input {name} is not computed before"))?;
            inputs.push(value.as_slice());
        }
        match &node.operator {
            Operator::Conv { .. } => {
                let sources = inputs.concat();
                self.conv(&node.operator, sources)
            }
            Operator::Relu => {
                let map = plain(inputs[0])?;
                let alone = uses.get(node.inputs[0].as_str()) == Some(&1);
                match self.steps.iter_mut().find(|step| step.writes() == map) {
                    Some(Step::Conv { conv, .. }) if alone => conv.add_relu(),
                    _ => {
                        return Err("ReLU must follow a convolution that nothing else reads".into());
                    }
                }
                Ok(vec![SourceMap { map, upsampled: false }])
            }
            Operator::MaxPool => {
                let from = plain(inputs[0])?;
                let Map { channels, level } = self.maps[from];
                if level == MAX_LEVEL {
                    return Err(format!("more than {MAX_LEVEL} halvings"));
                }
                let to = self.new_map(Map { channels, level: level + 1 });
                self.steps.push(Step::Pool { from, to });
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

    fn conv(
        &mut self,
        operator: &Operator,
        sources: Vec<SourceMap>,
    ) -> Result<Vec<SourceMap>, String> {
        let Operator::Conv { window, outputs, inputs, weights, bias } = operator else {
            return Err("not a convolution".to_owned());
        };
        let level = |s: &SourceMap| self.maps[s.map].level - u32::from(s.upsampled);
        let levels: Vec<u32> = sources.iter().map(level).collect();
        if levels.iter().any(|&l| l != levels[0]) {
            return Err("joins maps of different sizes".to_owned());
        }
        let input =
            |s: &SourceMap| Input { channels: self.maps[s.map].channels, upsampled: s.upsampled };
        let read: Vec<Input> = sources.iter().map(input).collect();
        let used: usize = read.iter().map(|i| i.channels.used).sum();
        if used != *inputs {
            return Err(format!("weights for {inputs} channels, the sources have {used}"));
        }
        let conv = M::from_spec(ConvSpec {
            inputs: &read,
            outputs: *outputs,
            window: *window,
            weights,
            bias,
            relu: false,
        })
        .map_err(|e| e.to_string())?;
        let channels = InputChannels { used: *outputs, stored: stored_channels(*outputs) };
        let to = self.new_map(Map { channels, level: levels[0] });
        let sources = sources.iter().map(|s| s.map).collect();
        self.steps.push(Step::Conv { conv, sources, to });
        Ok(vec![SourceMap { map: to, upsampled: false }])
    }

    fn new_map(&mut self, map: Map) -> usize {
        self.maps.push(map);
        self.maps.len() - 1
    }

    fn finish(self, graph: &Graph) -> Result<Plan<M>, String> {
        let output = self.values.get(graph.output.as_str());
        let last = self.steps.last().map(Step::writes);
        let map = match output.map(Vec::as_slice) {
            Some(&[SourceMap { map, upsampled: false }]) if Some(map) == last => self.maps[map],
            _ => return Err("the output is not the result of the last layer".to_owned()),
        };
        if map.level != 0 || map.channels.used != graph.output_channels {
            return Err("the output has not the size and channels that the file says".to_owned());
        }
        let deepest = self.maps.iter().map(|m| m.level).max().unwrap_or(0);
        Ok(Plan { maps: self.maps, steps: self.steps, multiple_of: 1 << deepest })
    }
}

/// The one map of a value that is neither upsampled nor joined.
fn plain(value: &[SourceMap]) -> Result<usize, String> {
    match value {
        [SourceMap { map, upsampled: false }] => Ok(*map),
        _ => Err("only a convolution may read an upsampled or joined map".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Weights;
    use kernels::conv::Window;

    fn shipped() -> Graph {
        Weights::embedded().unwrap().graph
    }

    #[test]
    fn the_shipped_net_becomes_convolutions_and_pools() {
        let plan = Plan::new(&shipped()).unwrap();
        let pools = plan.steps.iter().filter(|s| matches!(s, Step::Pool { .. })).count();
        assert_eq!((plan.steps.len(), pools, plan.multiple_of), (28, 5, 32));
        // training.md: 46 kMAC per pixel, of which pairs of rows and doubled pixels leave so many.
        assert_eq!(plan.multiply_adds(320, 320) / (320 * 320) / 1000, 27);
    }

    #[test]
    fn a_graph_the_kernels_cannot_run_is_refused_by_node() {
        let refusal = |change: fn(&mut Graph)| {
            let mut graph = shipped();
            change(&mut graph);
            Plan::new(&graph).unwrap_err()
        };
        let text = refusal(|g| g.input_channels = 4);
        assert!(text.ends_with("weights for 5 channels, the sources have 4"), "{text}");
        let text = refusal(|g| {
            for node in &mut g.nodes {
                if node.operator == Operator::Upsample {
                    node.operator = Operator::Concat;
                }
            }
        });
        assert!(text.ends_with("joins maps of different sizes"), "{text}");
        let text = refusal(|g| g.nodes[1].operator = Operator::MaxPool);
        assert_eq!(text, "the output has not the size and channels that the file says");
        let text = refusal(|g| g.nodes[3].inputs[0] = "elsewhere".to_owned());
        assert!(text.contains("input elsewhere is not computed before"), "{text}");
        let text = refusal(|g| g.nodes[0].operator = Operator::Upsample);
        assert!(text.contains("upsampling beyond the size of the input"), "{text}");
        let text = refusal(|g| {
            g.nodes.pop();
        });
        assert_eq!(text, "the output is not the result of the last layer");
    }

    #[test]
    fn relu_of_a_value_with_two_readers_is_not_fused() {
        let conv = Node {
            name: "c".to_owned(),
            operator: Operator::Conv {
                window: Window::One,
                outputs: 1,
                inputs: 1,
                weights: vec![1.0],
                bias: vec![0.0],
            },
            inputs: vec!["in".to_owned()],
            output: "sum".to_owned(),
        };
        let relu = Node {
            name: "r".to_owned(),
            operator: Operator::Relu,
            inputs: vec!["sum".to_owned()],
            output: "out".to_owned(),
        };
        let graph = Graph {
            input: "in".to_owned(),
            input_channels: 1,
            output: "out".to_owned(),
            output_channels: 1,
            nodes: vec![conv, relu],
            metadata: HashMap::new(),
        };
        assert!(Plan::new(&graph).is_ok());
        let text = Plan::new(&Graph { output: "sum".to_owned(), ..graph }).unwrap_err();
        assert!(text.starts_with("node r: ReLU must follow"), "{text}");
    }
}
