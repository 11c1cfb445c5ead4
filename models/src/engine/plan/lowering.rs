//! From the layers of a graph to the steps of a plan: which convolution is one of floats, which one of
//! whole numbers, and what must be changed from one to the other between them.

use super::builder::{Layer, Outline, named};
use super::{Made, Map, Plan, SourceMap, Step};
use crate::onnx::{ConvWeights, Node, Operator};
use kernels::conv::quantised::{Gives, QuantisedSpec};
use kernels::conv::{ConvSpec, Input};
use std::collections::HashMap;

/// Fails with a sentence that names the node.
pub(super) fn lower<M: Made>(outline: Outline<'_>) -> Result<Plan<M>, String> {
    let mut lowering = Lowering { maps: outline.maps, floats: HashMap::new(), steps: Vec::new() };
    for layer in outline.layers {
        match layer {
            Layer::Pool { from, to } => lowering.steps.push(Step::Pool { from, to }),
            Layer::Conv { node, sources, relu, to } => {
                lowering.conv(node, &sources, relu, to).map_err(|what| named(node, &what))?;
            }
        }
    }
    let deepest = lowering.maps.iter().map(|map| map.level).max().unwrap_or(0);
    Ok(Plan { maps: lowering.maps, steps: lowering.steps, multiple_of: 1 << deepest })
}

struct Lowering<M> {
    maps: Vec<Map>,
    /// The same map in floats, of maps of steps that a convolution of floats read.
    floats: HashMap<usize, usize>,
    steps: Vec<Step<M>>,
}

impl<M: Made> Lowering<M> {
    fn conv(
        &mut self,
        node: &Node,
        sources: &[SourceMap],
        relu: bool,
        to: usize,
    ) -> Result<(), String> {
        let Operator::Conv { window, outputs, weights, bias, .. } = &node.operator else {
            return Err("not a convolution".to_owned());
        };
        let (window, outputs) = (*window, *outputs);
        let inputs: Vec<Input> = sources.iter().map(|source| self.input(*source)).collect();
        match weights {
            ConvWeights::Int8 { steps, scales } => {
                let from = self.common_scale(sources)?;
                let gives = match self.maps[to].scale {
                    Some(_) => Gives::Steps,
                    None => Gives::Values { relu },
                };
                let [multipliers, offsets] = epilogue(from, scales, bias, self.maps[to].scale);
                let conv = M::of_steps(QuantisedSpec {
                    inputs: &inputs,
                    outputs,
                    window,
                    weights: steps,
                    multipliers: &multipliers,
                    offsets: &offsets,
                    gives,
                })?;
                let sources = sources.iter().map(|source| source.map).collect();
                self.steps.push(Step::Conv { conv, sources, to });
            }
            ConvWeights::Float(weights) => {
                let conv = M::of_floats(ConvSpec {
                    inputs: &inputs,
                    outputs,
                    window,
                    weights,
                    bias,
                    relu,
                })?;
                let sources = sources.iter().map(|source| self.in_floats(source.map)).collect();
                let result = match self.maps[to].scale {
                    Some(_) => self.new_map(Map { scale: None, ..self.maps[to] }),
                    None => to,
                };
                self.steps.push(Step::Conv { conv, sources, to: result });
                if result != to {
                    self.steps.push(Step::Quantise { from: result, to });
                }
            }
        }
        Ok(())
    }

    fn input(&self, source: SourceMap) -> Input {
        Input { channels: self.maps[source.map].channels, upsampled: source.upsampled }
    }

    /// The scale of all sources.
    fn common_scale(&self, sources: &[SourceMap]) -> Result<f32, String> {
        let scales: Vec<Option<f32>> = sources.iter().map(|s| self.maps[s.map].scale).collect();
        match scales.as_slice() {
            [Some(first), rest @ ..] if rest.iter().all(|scale| *scale == Some(*first)) => {
                Ok(*first)
            }
            _ => {
                let told = |scale: &Option<f32>| match scale {
                    Some(scale) => format!("scale {scale}"),
                    None => "floats".to_owned(),
                };
                let told: Vec<String> = scales.iter().map(told).collect();
                Err(format!("int8 weights for maps of {}", told.join(" and ")))
            }
        }
    }

    /// The number of a map in floats; what makes them comes before its first reader.
    fn in_floats(&mut self, map: usize) -> usize {
        if self.maps[map].scale.is_none() {
            return map;
        }
        if let Some(&there) = self.floats.get(&map) {
            return there;
        }
        let to = self.new_map(Map { scale: None, ..self.maps[map] });
        self.steps.push(Step::Dequantise { from: map, to });
        self.floats.insert(map, to);
        to
    }

    fn new_map(&mut self, map: Map) -> usize {
        self.maps.push(map);
        self.maps.len() - 1
    }
}

/// Multipliers and offsets of a convolution of steps, each rounded once.
fn epilogue(from: f32, scales: &[f32], bias: &[f32], to: Option<f32>) -> [Vec<f32>; 2] {
    let to = f64::from(to.unwrap_or(1.0));
    let multiplier = |&scale: &f32| (f64::from(from) * f64::from(scale) / to) as f32;
    let offset = |&bias: &f32| (f64::from(bias) / to) as f32;
    [scales.iter().map(multiplier).collect(), bias.iter().map(offset).collect()]
}
