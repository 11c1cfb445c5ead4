//! Files that are almost a net of ours, each wrong in one place.

use super::*;
use half::f16;

fn value(name: &str, channels: i64) -> wire::ValueInfo {
    let dim = [0, channels, 0, 0]
        .map(|dim_value| wire::Dimension { dim_value, ..Default::default() })
        .to_vec();
    let tensor = wire::TensorType { elem_type: wire::FLOAT, shape: Some(wire::Shape { dim }) };
    wire::ValueInfo { name: name.to_owned(), kind: Some(wire::Type { tensor: Some(tensor) }) }
}

fn half_tensor(name: &str, dims: &[i64]) -> wire::Tensor {
    let count = dims.iter().product::<i64>() as usize;
    wire::Tensor {
        dims: dims.to_vec(),
        data_type: wire::FLOAT16,
        raw_data: f16::from_f32(0.5).to_le_bytes().repeat(count),
        name: name.to_owned(),
        ..Default::default()
    }
}

fn ints(name: &str, ints: &[i64]) -> wire::Attribute {
    wire::Attribute { name: name.to_owned(), ints: ints.to_vec(), ..Default::default() }
}

fn integer(name: &str, i: i64) -> wire::Attribute {
    wire::Attribute { name: name.to_owned(), i, ..Default::default() }
}

fn node(
    operator: &str,
    inputs: &[&str],
    output: &str,
    attribute: Vec<wire::Attribute>,
) -> wire::Node {
    wire::Node {
        input: inputs.iter().map(|&s| s.to_owned()).collect(),
        output: vec![output.to_owned()],
        name: format!("the {operator}"),
        op_type: operator.to_owned(),
        attribute,
        domain: String::new(),
    }
}

/// Cast of the weights, a 3x3 convolution of 2 channels to 3, ReLU.
fn small() -> wire::Model {
    let conv = node(
        "Conv",
        &["in", "w", "b"],
        "sum",
        vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1; 4]), integer("group", 1)],
    );
    let single = wire::Tensor {
        dims: vec![3],
        data_type: wire::FLOAT,
        float_data: vec![1.0, 2.0, 3.0],
        name: "b".to_owned(),
        ..Default::default()
    };
    wire::Model {
        graph: Some(wire::Graph {
            node: vec![
                node("Cast", &["w.f16"], "w", vec![integer("to", 1)]),
                conv,
                node("Relu", &["sum"], "out", vec![]),
            ],
            initializer: vec![half_tensor("w.f16", &[3, 2, 3, 3]), single],
            input: vec![value("in", 2)],
            output: vec![value("out", 3)],
            ..Default::default()
        }),
        opset_import: vec![wire::OperatorSet { domain: String::new(), version: 17 }],
        ..Default::default()
    }
}

/// The refusal of `small()` after `change`.
fn refusal(change: impl Fn(&mut wire::Model, fn(&mut wire::Model) -> &mut wire::Graph)) -> String {
    let mut model = small();
    change(&mut model, |m| m.graph.as_mut().unwrap());
    Graph::read(&model.encode_to_vec()).unwrap_err().to_string()
}

#[test]
fn a_small_net_is_read_with_its_half_floats_made_single() {
    let graph = Graph::read(&small().encode_to_vec()).unwrap();
    assert_eq!((graph.input_channels, graph.output_channels), (2, 3));
    assert_eq!(graph.nodes.len(), 2);
    let Operator::Conv { window, outputs, inputs, weights, bias } = &graph.nodes[0].operator else {
        panic!("a convolution");
    };
    assert_eq!((*window, *outputs, *inputs), (Window::Three, 3, 2));
    assert!(*weights == ConvWeights::Float(vec![0.5; 54]));
    assert_eq!(*bias, [1.0, 2.0, 3.0]);
    assert_eq!(graph.nodes[1].operator, Operator::Relu);
}

#[test]
fn what_the_training_wrote_beside_the_weights_is_read() {
    let mut model = small();
    model.metadata_props = vec![wire::Entry { key: "grid".to_owned(), value: "1 mm".to_owned() }];
    assert_eq!(Graph::read(&model.encode_to_vec()).unwrap().metadata["grid"], "1 mm");
}

#[test]
fn an_unknown_operator_is_named_with_its_node() {
    let text = refusal(|m, graph| graph(m).node[2].op_type = "Sigmoid".to_owned());
    assert!(text.starts_with("operator Sigmoid of node the Relu is not one of Conv"), "{text}");
    let text = refusal(|m, graph| graph(m).node[2].domain = "com.example".to_owned());
    assert!(text.starts_with("operator Relu of node the Relu"), "{text}");
}

#[test]
fn wrong_attributes_are_named() {
    let expect = |attribute: wire::Attribute, want: &str| {
        let text = refusal(|m, graph| graph(m).node[1].attribute.insert(0, attribute.clone()));
        assert_eq!(text, format!("operator Conv of node the Conv: {want}"));
    };
    expect(ints("strides", &[2, 2]), "strides [2, 2], not [1, 1]");
    expect(integer("group", 2), "group 2, not 1");
    expect(integer("new_meaning", 2), "attribute new_meaning is not known");
    expect(ints("pads", &[0; 4]), "pads [0, 0, 0, 0], not [1, 1, 1, 1]");
}

#[test]
fn tensors_that_do_not_hold_what_they_say_are_refused() {
    let text = refusal(|m, graph| graph(m).initializer[0].dims[0] = 4);
    assert_eq!(text, "tensor w.f16: 54 values for the shape [4, 2, 3, 3]");
    let text = refusal(|m, graph| graph(m).initializer[0].raw_data.push(0));
    assert!(text.starts_with("tensor w.f16: 54 values"), "{text}");
    let text = refusal(|m, graph| graph(m).initializer[0].dims = vec![i64::MAX, i64::MAX, 3, 3]);
    assert!(text.starts_with("tensor w.f16: 54 values"), "{text}");
    let text = refusal(|m, graph| graph(m).initializer[1].float_data[1] = f32::NAN);
    assert_eq!(text, "tensor b: holds a value that is not a finite number");
    let text = refusal(|m, graph| graph(m).initializer[1].data_location = 1);
    assert_eq!(text, "tensor b: its values are in another file");
    let text = refusal(|m, graph| graph(m).node[1].input[1] = "w.f16".to_owned());
    assert!(text.ends_with("input 1 is float16 without a Cast"), "{text}");
}

#[test]
fn other_files_are_refused_in_a_sentence() {
    let text = refusal(|m, _| m.opset_import[0].version = 9);
    assert_eq!(text, "the net uses operator set 9; 13 to 17 are read");
    let text = refusal(|m, _| m.graph = None);
    assert_eq!(text, "the net has no graph");
    let text = refusal(|m, graph| graph(m).input.push(value("more", 1)));
    assert_eq!(text, "the net has 2 inputs, not one");
    let text = refusal(|m, graph| graph(m).node[2].input.clear());
    assert_eq!(text, "operator Relu of node the Relu: too few inputs");
}

#[test]
fn every_truncation_is_an_error_or_a_smaller_net_but_never_a_panic() {
    let bytes = small().encode_to_vec();
    let whole = Graph::read(&bytes).unwrap();
    for length in 0..bytes.len() {
        if let Ok(graph) = Graph::read(&bytes[..length]) {
            assert_eq!(graph, whole, "only trailing fields may be missing");
        }
    }
}

fn scalar(name: &str, value: f32) -> wire::Tensor {
    wire::Tensor {
        data_type: wire::FLOAT,
        float_data: vec![value],
        name: name.to_owned(),
        ..Default::default()
    }
}

fn int8_tensor(name: &str, dims: &[i64], value: i8) -> wire::Tensor {
    wire::Tensor {
        dims: dims.to_vec(),
        data_type: wire::INT8,
        raw_data: vec![value as u8; dims.iter().product::<i64>() as usize],
        name: name.to_owned(),
        ..Default::default()
    }
}

/// [`small`] with `int8` weights and a result on steps. Nodes: weights, convolution, ReLU, both of Q/DQ.
fn rounded() -> wire::Model {
    let mut model = small();
    let graph = model.graph.as_mut().unwrap();
    graph.initializer[0] = int8_tensor("w.int8", &[3, 2, 3, 3], -5);
    let mut scales = scalar("w.scale", 0.5);
    (scales.dims, scales.float_data) = (vec![3], vec![0.5, 0.25, 2.0]);
    let zeros = int8_tensor("w.zero", &[3], 0);
    // By values, as some writers have short ones.
    let mut zero = int8_tensor("zero", &[], 0);
    (zero.raw_data, zero.int32_data) = (Vec::new(), vec![0]);
    graph.initializer.extend([scales, zeros, scalar("scale", 0.125), zero]);
    let inputs = ["w.int8", "w.scale", "w.zero"];
    graph.node[0] = node("DequantizeLinear", &inputs, "w", vec![integer("axis", 0)]);
    graph.node[2].output[0] = "high".to_owned();
    graph.node.push(node("QuantizeLinear", &["high", "scale", "zero"], "steps", vec![]));
    graph.node.push(node("DequantizeLinear", &["steps", "scale", "zero"], "out", vec![]));
    model
}

#[test]
fn int8_weights_keep_their_scales_and_a_pair_of_qdq_is_one_node() {
    let graph = Graph::read(&rounded().encode_to_vec()).unwrap();
    let [conv, relu, quantise] = graph.nodes.as_slice() else { panic!("{:?}", graph.nodes) };
    let Operator::Conv { weights: ConvWeights::Int8 { steps, scales }, bias, .. } = &conv.operator
    else {
        panic!("{conv:?}");
    };
    assert_eq!(
        (steps.as_slice(), scales.as_slice()),
        ([-5; 54].as_slice(), [0.5, 0.25, 2.0].as_slice())
    );
    assert_eq!((bias.as_slice(), &relu.operator), ([1.0, 2.0, 3.0].as_slice(), &Operator::Relu));
    assert_eq!(quantise.operator, Operator::Quantise { scale: 0.125 });
    assert_eq!((quantise.name.as_str(), quantise.output.as_str()), ("the QuantizeLinear", "out"));
    assert_eq!(quantise.inputs, ["high"]);
}

#[test]
fn other_arrangements_of_qdq_are_refused_by_the_name_of_the_node() {
    let refusal = |change: fn(&mut wire::Graph)| {
        let mut model = rounded();
        change(model.graph.as_mut().unwrap());
        let text = Graph::read(&model.encode_to_vec()).unwrap_err().to_string();
        text.strip_prefix("operator ").unwrap_or(&text).to_owned()
    };
    let quantise = "QuantizeLinear of node the QuantizeLinear: ";
    let dequantise = "DequantizeLinear of node the DequantizeLinear: ";
    let expect = |start: &str, what: &str, change: fn(&mut wire::Graph)| {
        assert_eq!(refusal(change), format!("{start}{what}"));
    };
    expect(quantise, "zero point 3, not 0", |g| g.initializer[5].int32_data = vec![3]);
    expect(quantise, "a zero point that is not int8", |g| {
        g.initializer[5] = scalar("zero", 0.0);
    });
    expect(quantise, "no zero point, which would say int8", |g| g.node[3].input.truncate(2));
    expect(quantise, "scales of shape [3], not one for the tensor", |g| {
        g.node[3].input[1] = "w.scale".to_owned();
    });
    expect(quantise, "input 1 is not a constant", |g| g.node[3].input[1] = "absent".to_owned());
    expect(quantise, "scale 0", |g| g.initializer[4].float_data = vec![0.0]);
    expect(quantise, "scale -1", |g| g.initializer[4].float_data = vec![-1.0]);
    expect(quantise, "quantises a constant", |g| g.node[3].input[0] = "b".to_owned());
    expect(quantise, "attribute saturate is not known", |g| {
        g.node[3].attribute.push(integer("saturate", 0));
    });
    expect(quantise, "no DequantizeLinear reads its result", |g| {
        g.node.pop();
    });
    expect(dequantise, "scale 0.5, that of node the QuantizeLinear is 0.125", |g| {
        g.initializer.push(scalar("other", 0.5));
        g.node[4].input[1] = "other".to_owned();
    });
    let unread = "input 0 is no constant and no result of a QuantizeLinear of its own";
    expect(dequantise, unread, |g| g.node[4].input[0] = "high".to_owned());
    expect(dequantise, "axis 1, not 0", |g| g.node[0].attribute.clear());
    expect(dequantise, "scales of shape [] for weights of shape [3, 2, 3, 3]", |g| {
        g.node[0].input[1] = "scale".to_owned();
    });
    expect(dequantise, "input 0 is a constant but not int8", |g| {
        g.node[0].input[0] = "b".to_owned();
    });
    expect(dequantise, "zero point 1, not 0", |g| {
        g.initializer[3] = int8_tensor("w.zero", &[3], 1);
    });
    expect("Conv of node the Conv: ", "input 1 is int8 without a DequantizeLinear", |g| {
        g.node[1].input[1] = "w.int8".to_owned();
    });
    expect("Conv of node the Conv: ", "input 2 is int8, not float", |g| {
        g.node[1].input[2] = "w".to_owned();
    });
    let text = refusal(|g| g.initializer[5].data_type = 2);
    assert_eq!(text, "tensor zero: data type 2 is not float, float16 or int8");
}
