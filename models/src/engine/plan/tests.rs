//! Plans of the shipped net, and graphs that cannot be one.

use super::*;
use crate::engine::simd::SimdConv;
use crate::onnx::{ConvWeights, Node, Operator};
use crate::weights::Weights;
use kernels::conv::Window;
use std::collections::HashMap;

type Plan = super::Plan<SimdConv>;

fn shipped() -> Graph {
    Weights::embedded().unwrap().graph
}

#[test]
fn the_shipped_net_becomes_convolutions_and_pools() {
    let plan = Plan::of(&shipped()).unwrap();
    let pools = plan.steps.iter().filter(|s| matches!(s, Step::Pool { .. })).count();
    assert_eq!((plan.steps.len(), pools, plan.multiple_of), (28, 5, 32));
    assert!(!plan.quantised());
}

#[test]
fn a_graph_the_kernels_cannot_run_is_refused_by_node() {
    let refusal = |change: fn(&mut Graph)| {
        let mut graph = shipped();
        change(&mut graph);
        Plan::of(&graph).unwrap_err()
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
            weights: ConvWeights::Float(vec![1.0]),
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
    assert!(Plan::of(&graph).is_ok());
    let text = Plan::of(&Graph { output: "sum".to_owned(), ..graph }).unwrap_err();
    assert!(text.starts_with("node r: ReLU must follow"), "{text}");
}

/// The net with the result of every ReLU on steps and all convolutions between the first and the last
/// `int8`, all scales and biases such that no sum in `f32` is rounded.
pub(crate) fn int8(mut graph: Graph) -> Graph {
    let convolutions: Vec<usize> = (0..graph.nodes.len())
        .filter(|&n| matches!(graph.nodes[n].operator, Operator::Conv { .. }))
        .collect();
    for &number in &convolutions[1..convolutions.len() - 1] {
        if let Operator::Conv { weights, bias, .. } = &mut graph.nodes[number].operator {
            rounded(weights, bias);
        }
    }
    let mut nodes = Vec::new();
    for mut node in graph.nodes {
        let relu = node.operator == Operator::Relu;
        let (input, output) = (format!("{}.float", node.output), node.output.clone());
        if relu {
            node.output = input.clone();
        }
        let name = format!("quantise/{}", node.name);
        nodes.push(node);
        if relu {
            let operator = Operator::Quantise { scale: MAP_SCALE };
            nodes.push(Node { name, operator, inputs: vec![input], output });
        }
    }
    Graph { nodes, ..graph }
}

const MAP_SCALE: f32 = 1.0 / 32.0;

/// Weights on steps of a power of two of each output, biases on multiples of what a sum of 1 stands for.
fn rounded(weights: &mut ConvWeights, bias: &mut [f32]) {
    let ConvWeights::Float(values) = weights else { panic!("weights of a float net") };
    let (mut steps, mut scales) = (Vec::new(), Vec::new());
    for (filter, bias) in values.chunks_exact(values.len() / bias.len()).zip(&mut *bias) {
        let largest = filter.iter().fold(f32::MIN_POSITIVE, |most, v| most.max(v.abs()));
        let scale = (largest / 127.0).log2().ceil().exp2();
        steps.extend(filter.iter().map(|v| (v / scale).round_ties_even() as i8));
        scales.push(scale);
        *bias = (*bias / (scale * MAP_SCALE)).round() * scale * MAP_SCALE;
    }
    *weights = ConvWeights::Int8 { steps, scales };
}

fn count(plan: &Plan, of: fn(&Step<SimdConv>) -> bool) -> usize {
    plan.steps.iter().filter(|step| of(step)).count()
}

#[test]
fn a_quantised_net_stays_in_whole_numbers_between_the_first_layer_and_the_last() {
    let plan = Plan::of(&int8(shipped())).unwrap();
    assert!(plan.quantised());
    let steps = |step: &Step<SimdConv>| matches!(step, Step::Conv { conv: SimdConv::Steps(_), .. });
    let floats =
        |step: &Step<SimdConv>| matches!(step, Step::Conv { conv: SimdConv::Floats(_), .. });
    assert_eq!((count(&plan, steps), count(&plan, floats)), (21, 2));
    assert_eq!(count(&plan, |step| matches!(step, Step::Quantise { .. })), 1);
    assert_eq!(count(&plan, |step| matches!(step, Step::Dequantise { .. })), 1);
    let halves = plan.steps.iter().filter_map(|step| match step {
        Step::Pool { from, to } => Some([*from, *to]),
        _ => None,
    });
    assert!(halves.flatten().all(|map| plan.maps[map].scale == Some(MAP_SCALE)));
}

#[test]
fn a_map_that_is_not_quantised_and_read_by_floats_alone_is_made_in_floats() {
    let mut graph = int8(shipped());
    let last = graph.nodes.iter().rposition(|n| matches!(n.operator, Operator::Quantise { .. }));
    let node = graph.nodes.remove(last.unwrap());
    let reader = graph.nodes.last_mut().unwrap();
    reader.inputs = node.inputs;
    let plan = Plan::of(&graph).unwrap();
    assert_eq!(count(&plan, |step| matches!(step, Step::Dequantise { .. })), 0);
    assert_eq!(plan.maps[plan.steps.last().unwrap().reads()[0]].scale, None);
}

#[test]
fn what_steps_cannot_be_is_refused_by_node() {
    let refusal = |change: fn(&mut Graph)| {
        let mut graph = int8(shipped());
        change(&mut graph);
        Plan::of(&graph).unwrap_err()
    };
    let text = refusal(|g| g.nodes[2].inputs = vec![g.input.clone()]);
    let signed = "only what comes from a ReLU is quantised: steps have no sign";
    assert!(text.starts_with("node quantise/") && text.ends_with(signed), "{text}");
    // Of the second layer, whose convolution is read as it is.
    let text = refusal(|g| {
        let sum = g.nodes[3].output.clone();
        g.nodes[5].inputs = vec![sum];
        g.nodes.remove(4);
    });
    assert!(text.starts_with("node quantise/") && text.ends_with(signed), "{text}");
    let text = refusal(|g| {
        let (high, reader) = (g.nodes[1].output.clone(), &mut g.nodes[3]);
        reader.inputs = vec![high];
    });
    assert!(text.ends_with("the map is also read as it was before, or quantised twice"), "{text}");
    let text = refusal(|g| {
        g.nodes.remove(2);
        g.nodes[2].inputs = vec![g.nodes[1].output.clone()];
    });
    assert!(text.ends_with("int8 weights for maps of floats"), "{text}");
    let text = refusal(|g| {
        let first = |n: &Node| matches!(n.operator, Operator::Quantise { .. });
        for node in g.nodes.iter_mut().filter(|node| first(node)).take(2) {
            node.operator = Operator::Quantise { scale: 0.5 };
        }
    });
    assert!(text.contains("int8 weights for maps of scale ") && text.contains(" and "), "{text}");
}
