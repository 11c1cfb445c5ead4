//! SPINEPS' heads -> evidence: what several answers about one vertebra say together.

use super::{Axis, Evidence, REGIONS, RELATIONS};
use crate::spineps::Rules;

/// A question that the labelling net answers, with probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// C, T or L.
    Region,
    /// C1 to L5.
    Vertebra,
    /// C1 to L6, with T13.
    Exact,
    /// Ordinary or T13.
    Thirteenth,
    /// What it is to its region.
    Relation,
    /// Small groups of neighbours.
    Group,
    /// Cut by the field of view, or whole.
    Visible,
}

impl Head {
    pub const ALL: [Head; 7] = [
        Head::Region,
        Head::Vertebra,
        Head::Exact,
        Head::Thirteenth,
        Head::Relation,
        Head::Group,
        Head::Visible,
    ];

    /// The head of a name in SPINEPS' files. Its training calls one `VT13`, its solver asks for `VERTT13` and so never
    /// finds it.
    pub fn named(name: &str, rules: Rules) -> Option<Head> {
        match name {
            "REGION" => Some(Head::Region),
            "VERT" => Some(Head::Vertebra),
            "VERTEX" | "VERTEXACT" => Some(Head::Exact),
            "VERTT13" => Some(Head::Thirteenth),
            "VT13" => (rules == Rules::Sagitta).then_some(Head::Thirteenth),
            "VERTREL" => Some(Head::Relation),
            "VERTGRP" => Some(Head::Group),
            "FULLYVISIBLE" => Some(Head::Visible),
            _ => None,
        }
    }

    pub fn answers(self) -> usize {
        match self {
            Head::Region => REGIONS,
            Head::Vertebra => Axis::Folded.classes(),
            Head::Exact => Axis::Exact.classes(),
            Head::Thirteenth | Head::Visible => 2,
            Head::Relation => RELATIONS,
            Head::Group => GROUPS.len(),
        }
    }
}

/// The answers of a net, each head one row a vertebra from the top.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Heads {
    rows: usize,
    answers: [Option<Vec<Vec<f64>>>; Head::ALL.len()],
}

impl Heads {
    /// Heads for so many vertebrae, without an answer yet.
    pub fn new(rows: usize) -> Heads {
        Heads { rows, ..Heads::default() }
    }

    /// Adds the answers of one head; false, and nothing added, if they are not one finite row a vertebra.
    pub fn add(&mut self, head: Head, rows: Vec<Vec<f64>>) -> bool {
        let whole = rows.len() == self.rows
            && rows.iter().all(|row| row.len() == head.answers())
            && rows.iter().flatten().all(|v| v.is_finite());
        if whole {
            self.answers[head as usize] = Some(rows);
        }
        whole
    }

    fn get(&self, head: Head) -> Option<&[Vec<f64>]> {
        self.answers[head as usize].as_deref()
    }
}

/// Groups of neighbours on the folded axis: first class of each, and how many.
const GROUPS: [(usize, usize); 12] = [
    (0, 2),
    (2, 3),
    (5, 2),
    (7, 2),
    (9, 2),
    (11, 3),
    (14, 2),
    (16, 2),
    (18, 1),
    (19, 2),
    (21, 2),
    (23, 1),
];

/// Weights of the answers in a vertebra's score (SPINEPS).
const VERTEBRA_WEIGHT: f64 = 0.9;
const GROUP_WEIGHT: f64 = 0.8;
const REGION_WEIGHT: f64 = 1.1;
/// Weights of the rewards that depend on neighbours (SPINEPS).
const RELATION_WEIGHT: f64 = 0.6;
const THIRTEENTH_WEIGHT: f64 = 0.4;
/// How much of its score a vertebra that is not in view at all loses.
const HIDDEN_LOSS: f64 = 0.5;
/// Widths of the smoothing, in classes or vertebrae: a net is often wrong by one.
const CLASS_BLUR: Blur = Blur { sigma: 0.8, radius: 2 };
const RELATION_BLUR: Blur = Blur { sigma: 0.6, radius: 1 };
/// Keeps sums of nothing from dividing.
const TINY: f64 = 1e-8;

/// The evidence in `heads`, on the exact axis where only an exact head tells vertebrae apart.
pub fn evidence(heads: &Heads) -> Evidence {
    let exact = heads.get(Head::Exact).is_some() && heads.get(Head::Vertebra).is_none();
    let axis = if exact { Axis::Exact } else { Axis::Folded };
    let visible = visibility(heads);
    let scores = (0..heads.rows).map(|row| score(heads, axis, row, visible[row])).collect();
    Evidence { axis, scores, relations: relations(heads), t13: thirteenth(heads) }
}

fn score(heads: &Heads, axis: Axis, row: usize, visible: f64) -> Vec<f64> {
    let mut sum = vec![0.0; axis.classes()];
    let mut add = |values: Vec<f64>, weight: f64| {
        let total = values.iter().sum::<f64>() + TINY;
        sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value / total * weight);
    };
    if let Some(regions) = heads.get(Head::Region) {
        let spread = (0..axis.classes()).map(|class| regions[row][axis.region(class)]);
        add(spread.collect(), REGION_WEIGHT);
    }
    match axis {
        Axis::Exact => {
            if let Some(exact) = heads.get(Head::Exact) {
                add(blurred(axis, exact[row].clone()), VERTEBRA_WEIGHT);
            }
        }
        Axis::Folded => {
            if let Some(vertebra) = heads.get(Head::Vertebra) {
                add(blurred(axis, vertebra[row].clone()), VERTEBRA_WEIGHT);
            }
            if let Some(exact) = heads.get(Head::Exact) {
                add(blurred(axis, folded(&exact[row])), VERTEBRA_WEIGHT);
            }
            if let Some(groups) = heads.get(Head::Group) {
                let members = GROUPS.iter().zip(&groups[row]);
                let spread = members.flat_map(|(&(_, n), &value)| std::iter::repeat_n(value, n));
                add(blurred(axis, spread.collect()), GROUP_WEIGHT);
            }
        }
    }
    let total = sum.iter().sum::<f64>() + TINY;
    sum.into_iter().map(|value| value / total * visible).collect()
}

/// T13 counted as T12, L6 as L5.
fn folded(exact: &[f64]) -> Vec<f64> {
    use super::class::{L5, L6, T12, T13};
    let mut folded = exact.to_vec();
    folded[T12] += exact[T13];
    folded[L5] += exact[L6];
    folded.remove(L6);
    folded.remove(T13);
    folded
}

/// Smoothed within each region.
fn blurred(axis: Axis, mut values: Vec<f64>) -> Vec<f64> {
    for region in axis.regions() {
        let smooth = CLASS_BLUR.over(&values[region.clone()], Edge::Nearest);
        values[region].copy_from_slice(&smooth);
    }
    values
}

/// What each vertebra's score counts. Beyond the ends SPINEPS sees nothing, so the first and last count less.
fn visibility(heads: &Heads) -> Vec<f64> {
    let seen: Vec<f64> = match heads.get(Head::Visible) {
        Some(rows) => rows.iter().map(|row| row[1]).collect(),
        None => vec![1.0; heads.rows],
    };
    let smooth = CLASS_BLUR.over(&seen, Edge::Zero);
    let rounded = smooth.into_iter().map(|v| (v * 1000.0).round_ties_even() / 1000.0);
    rounded.map(|v| (1.0 - (1.0 - v) * HIDDEN_LOSS).clamp(0.0, 1.0)).collect()
}

fn relations(heads: &Heads) -> Vec<[f64; RELATIONS]> {
    let Some(rows) = heads.get(Head::Relation) else { return Vec::new() };
    let mut rewards = vec![[0.0; RELATIONS]; rows.len()];
    for relation in 1..RELATIONS {
        let column: Vec<f64> = rows.iter().map(|row| row[relation]).collect();
        let column = RELATION_BLUR.over(&column, Edge::Nearest);
        let sum = column.iter().sum::<f64>() + TINY;
        let scale = if sum > 1.0 { sum } else { 1.0 + sum };
        for (reward, value) in rewards.iter_mut().zip(column) {
            reward[relation] = value / scale * RELATION_WEIGHT;
        }
    }
    rewards
}

fn thirteenth(heads: &Heads) -> Vec<f64> {
    let Some(rows) = heads.get(Head::Thirteenth) else { return Vec::new() };
    let sum = rows.iter().map(|row| row[1]).sum::<f64>() + TINY;
    rows.iter().map(|row| row[1] / sum * THIRTEENTH_WEIGHT).collect()
}

/// A Gaussian of so many steps to each side.
struct Blur {
    sigma: f64,
    radius: isize,
}

/// What lies beyond the ends of a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    Nearest,
    Zero,
}

impl Blur {
    fn over(&self, values: &[f64], edge: Edge) -> Vec<f64> {
        let weight = |step: isize| (-0.5 * (step as f64 / self.sigma).powi(2)).exp();
        let steps = -self.radius..=self.radius;
        let total: f64 = steps.clone().map(weight).sum();
        let last = values.len() as isize - 1;
        let at = |n: isize| match edge {
            Edge::Zero if n < 0 || n > last => 0.0,
            _ => values[n.clamp(0, last) as usize],
        };
        let smooth = (0..=last)
            .map(|n| steps.clone().map(|step| weight(step) / total * at(n + step)).sum::<f64>());
        smooth.collect()
    }
}
