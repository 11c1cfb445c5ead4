//! A patch net written as the training writes it gives the scores of its patches; files that are almost one are refused.

use super::super::wire;
use super::*;
use half::f16;
use kernels::conv::InstructionSet;
use kernels::patch_net::Sweep;
use kernels::reference;
use prost::Message;

const SIDE: usize = 8;
const SIZES: [usize; 4] = [SIDE * SIDE, 12, 7, 2];

/// Small numbers without an order, the same in every run.
fn values(count: usize, seed: u64, reach: f32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        ((state >> 40) as f32 / (1u64 << 24) as f32 * 2.0 - 1.0) * reach
    };
    (0..count).map(|_| f16::from_f32(next()).to_f32()).collect()
}

fn layers() -> Vec<Layer> {
    let layer = |(n, pair): (usize, &[usize])| Layer {
        weights: values(pair[0] * pair[1], n as u64 + 1, 3.0 / (pair[0] as f32).sqrt()),
        bias: values(pair[1], n as u64 + 11, 0.1),
    };
    SIZES.windows(2).enumerate().map(layer).collect()
}

fn half_tensor(name: String, dims: &[usize], values: &[f32]) -> wire::Tensor {
    wire::Tensor {
        dims: dims.iter().map(|&n| n as i64).collect(),
        data_type: wire::FLOAT16,
        raw_data: values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
        name,
        ..Default::default()
    }
}

fn node(
    operator: &str,
    inputs: &[String],
    output: String,
    attribute: Vec<wire::Attribute>,
) -> wire::Node {
    wire::Node {
        input: inputs.to_vec(),
        name: format!("the {output}"),
        output: vec![output],
        op_type: operator.to_owned(),
        attribute,
        domain: String::new(),
    }
}

fn end(name: &str, channels: i64) -> wire::ValueInfo {
    let dim = [0, channels, 0, 0]
        .map(|dim_value| wire::Dimension { dim_value, ..Default::default() })
        .to_vec();
    let tensor = wire::TensorType { elem_type: wire::FLOAT, shape: Some(wire::Shape { dim }) };
    wire::ValueInfo { name: name.to_owned(), kind: Some(wire::Type { tensor: Some(tensor) }) }
}

/// `layers` as the training writes them.
fn file() -> wire::Model {
    let (mut casts, mut nodes, mut initializer) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = "slice".to_owned();
    for (n, Layer { weights, bias }) in layers().iter().enumerate() {
        let side = if n == 0 { SIDE } else { 1 };
        let names = ["weight", "bias"].map(|part| format!("layer.{n}.{part}"));
        let inputs = weights.len() / bias.len() / (side * side);
        let dims: [&[usize]; 2] = [&[bias.len(), inputs, side, side], &[bias.len()]];
        for ((name, dims), values) in names.iter().zip(dims).zip([weights, bias]) {
            let to = wire::Attribute { name: "to".to_owned(), i: 1, ..Default::default() };
            casts.push(node("Cast", &[format!("{name}.f16")], name.clone(), vec![to]));
            initializer.push(half_tensor(format!("{name}.f16"), dims, values));
        }
        let [weight, bias] = names;
        let shape = wire::Attribute {
            name: "kernel_shape".to_owned(),
            ints: vec![side as i64; 2],
            ..Default::default()
        };
        let sum = format!("layer.{n}.sum");
        nodes.push(node("Conv", &[last, weight, bias], sum.clone(), vec![shape]));
        last = format!("layer.{n}");
        nodes.push(node("Sigmoid", &[sum], last.clone(), vec![]));
    }
    casts.extend(nodes);
    wire::Model {
        graph: Some(wire::Graph {
            node: casts,
            initializer,
            input: vec![end("slice", 1)],
            output: vec![end(&last, 2)],
            ..Default::default()
        }),
        opset_import: vec![wire::OperatorSet { domain: String::new(), version: 17 }],
        metadata_props: vec![wire::Entry { key: "grid".to_owned(), value: "1 mm".to_owned() }],
        ..Default::default()
    }
}

/// The refusal of `file()` after `change`.
fn refusal(change: impl Fn(&mut wire::Graph)) -> String {
    let mut model = file();
    change(model.graph.as_mut().unwrap());
    PatchGraph::read(&model.encode_to_vec()).unwrap_err().to_string()
}

#[test]
fn the_file_makes_of_a_slice_what_its_layers_make_of_every_patch() {
    let PatchGraph { net, metadata } = PatchGraph::read(&file().encode_to_vec()).unwrap();
    assert_eq!((net.side(), net.outputs(), metadata["grid"].as_str()), (SIDE, 2, "1 mm"));
    assert_eq!(net.layers(), layers());
    let (columns, rows) = (37, 29);
    let plane = values(columns * rows, 5, 1.0);
    for stride in [1, 2, 4] {
        let sweep = Sweep::new(net.clone(), stride);
        let whole = sweep.scores(InstructionSet::best(), &plane, columns, 2);
        let patches = reference::patch_net::scores(&net, &plane, columns, stride);
        assert_eq!(whole.len(), patches.len());
        let far = whole.iter().zip(&patches).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far <= 1e-5, "stride {stride}: {far}");
    }
}

#[test]
fn a_file_that_is_almost_a_patch_net_is_refused_by_the_name_of_its_node() {
    let casts = 2 * (SIZES.len() - 1);
    let order = "not the next of a patch net's Conv and Sigmoid in turn";
    let node = |n: usize, what: &str| {
        let model = file();
        let node = &model.graph.as_ref().unwrap().node[n];
        let (operator, name) = (&node.op_type, &node.name);
        format!("operator {operator} of node {name}: {what}")
    };
    assert_eq!(refusal(|g| drop(g.node.remove(casts + 1))), node(casts + 2, order));
    let text = refusal(|g| g.node[casts + 3].op_type = "Relu".to_owned());
    assert!(text.ends_with(order), "{text}");
    let text = refusal(|g| g.node[casts].domain = "com.example".to_owned());
    assert!(text.starts_with("operator Conv of node the layer.0.sum"), "{text}");
    let pads = wire::Attribute { name: "pads".to_owned(), ints: vec![1; 4], ..Default::default() };
    let text = refusal(|g| g.node[casts].attribute.push(pads.clone()));
    assert_eq!(text, node(casts, "pads [1, 1, 1, 1], not [0, 0, 0, 0]"));
    let text = refusal(|g| g.node.truncate(casts + 5));
    assert_eq!(text, "the net does not end with a logistic function");
    let text = refusal(|g| g.input = vec![end("slice", 5)]);
    assert_eq!(text, "the net reads 5 channels, not the one of a slice");
    let text = refusal(|g| g.output = vec![end("layer.2", 3)]);
    assert_eq!(text, "the net names 3 outputs and has 2");
    let text = refusal(|g| g.initializer[2].dims = vec![6, 14, 1, 1]);
    assert!(text.starts_with("operator Conv of node the layer.1.sum: 6 channels"), "{text}");
}
