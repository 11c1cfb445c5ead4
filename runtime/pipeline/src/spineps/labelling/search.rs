//! The runs of neighbouring vertebrae that fit the evidence best.
//!
//! SPINEPS keeps one best path from each vertebra and class and judges afterwards whether it has T12 thrice, so it can miss
//! the best run, or end without one. Ours tells T12 from T13 and L5 from L6 by their class, so that no rule can be broken,
//! and keeps several paths of each.

use super::class::{C1, C2, FOLDED_L5, L1, L5, L6, T11, T12, T13};
use super::{Admitted, Axis, Evidence, exact_id};
use crate::spineps::Rules;

/// A run of vertebrae.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    pub cost: f64,
    /// Classes from the top: of the evidence's axis under SPINEPS' rules, of the exact one under ours.
    pub classes: Vec<usize>,
    /// Vertebra ids.
    pub ids: Vec<u8>,
}

/// The `count` best paths, best first; SPINEPS' rules know one. Empty where there is none, or the scores are not one a class.
pub fn paths(evidence: &Evidence, admitted: Admitted, rules: Rules, count: usize) -> Vec<Path> {
    let classes = evidence.axis.classes();
    let whole = evidence.scores.iter().all(|row| row.len() == classes);
    let finite = evidence.scores.iter().flatten().all(|score| score.is_finite());
    if evidence.scores.is_empty() || !whole || !finite {
        return Vec::new();
    }
    match rules {
        Rules::Spineps213 => Recursion { evidence, admitted }.best().into_iter().collect(),
        Rules::Sagitta => best(evidence, admitted, count),
    }
}

/// A move to the next vertebra's class, and its cost.
type Move = (usize, f64);

/// SPINEPS' search, faults included.
struct Recursion<'a> {
    evidence: &'a Evidence,
    admitted: Admitted,
}

/// Python's largest machine integer: SPINEPS' cost of what may not be.
const FORBIDDEN: f64 = 9_223_372_036_854_775_807.0;
/// Classes that may come twice come no oftener.
const REPEATS: usize = 2;

impl Recursion<'_> {
    fn best(&self) -> Option<Path> {
        let (axis, rows) = (self.evidence.axis, self.evidence.scores.len());
        // The best from each class of the row below: cost, and classes from here on.
        let mut below: Vec<(f64, Vec<usize>)> = Vec::new();
        for row in (0..rows).rev() {
            let here = (0..axis.classes()).map(|class| self.from(row, class, &below));
            below = here.collect();
        }
        let first = if self.admitted.c1 { C1 } else { C2 };
        let starts = below.into_iter().skip(first);
        let (cost, classes) = starts.reduce(|a, b| if b.0 < a.0 { b } else { a })?;
        (classes.len() == rows && cost < FORBIDDEN / 2.0).then(|| {
            let ids = spineps_ids(axis, &classes);
            Path { cost, classes, ids }
        })
    }

    fn from(&self, row: usize, class: usize, below: &[(f64, Vec<usize>)]) -> (f64, Vec<usize>) {
        let own = -self.evidence.scores[row][class];
        if below.is_empty() {
            return (own + region_cost(self.evidence, row, class, None), vec![class]);
        }
        let mut best: Option<(f64, usize)> = None;
        for (next, extra) in self.moves(row, class) {
            let cost = below.get(next).map_or(FORBIDDEN, |path| path.0) + extra;
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, next));
            }
        }
        let (least, next) = best.unwrap_or((FORBIDDEN, class + 1));
        let tail = below.get(next).map_or(&[][..], |path| &path.1);
        let classes: Vec<usize> = std::iter::once(class).chain(tail.iter().copied()).collect();
        let times = |repeated: usize| classes.iter().filter(|&&c| c == repeated).count();
        if self.repeated().into_iter().any(|c| times(c) > REPEATS) {
            return (FORBIDDEN, classes);
        }
        (least + own + region_cost(self.evidence, row, class, Some(next)), classes)
    }

    /// Classes that may come twice.
    fn repeated(&self) -> Vec<usize> {
        match (self.evidence.axis, self.admitted.variants.admitted()) {
            (Axis::Folded, true) => vec![T12, FOLDED_L5],
            (Axis::Folded, false) => vec![FOLDED_L5],
            (Axis::Exact, _) => Vec::new(),
        }
    }

    fn moves(&self, row: usize, class: usize) -> Vec<Move> {
        let mut moves = vec![(class + 1, 0.0)];
        if self.repeated().contains(&class) {
            let reward = if class == T12 { self.evidence.t13(row + 1) } else { 0.0 };
            moves.push((class, -reward));
        }
        match self.evidence.axis {
            Axis::Folded if class == T11 && self.admitted.variants.admitted() => {
                moves.push((class + 2, 0.0))
            }
            // Without variants SPINEPS forbids to pass over T13: everybody gets one.
            Axis::Exact if (class == T11 || class == T12) && self.admitted.variants.admitted() => {
                moves.push((L1, 0.0));
            }
            _ => {}
        }
        moves
    }
}

/// The rewards of a vertebra that stands first or last in its region, as cost.
fn region_cost(evidence: &Evidence, row: usize, class: usize, next: Option<usize>) -> f64 {
    let axis = evidence.axis;
    let region = axis.region(class);
    let mut cost = 0.0;
    if region > 0 && class == axis.starts()[region] {
        cost -= evidence.relation(row, 2 * region);
    }
    if next.is_some_and(|next| axis.region(next) > region) {
        cost -= evidence.relation(row, 2 * region + 1);
    }
    cost
}

fn spineps_ids(axis: Axis, classes: &[usize]) -> Vec<u8> {
    if axis == Axis::Exact {
        return classes.iter().map(|&class| exact_id(class)).collect();
    }
    let mut ids: Vec<u8> = classes.iter().map(|&class| class as u8 + 1).collect();
    let twelfth = classes.iter().position(|&class| class == T12);
    if let Some(thirteenth) = twelfth.map(|n| n + 1).filter(|&n| classes.get(n) == Some(&T12)) {
        ids[thirteenth] = crate::spineps::values::T13;
    }
    if let [.., FOLDED_L5, FOLDED_L5] = classes {
        *ids.last_mut().expect("two classes at least") += 1;
    }
    ids
}

/// One of the best ways on from a vertebra of some class.
#[derive(Clone, Copy)]
struct Way {
    cost: f64,
    /// Class of the next vertebra, and which of its ways; none at the last.
    next: Option<(usize, usize)>,
}

/// Our search: of every row and class the `count` best ways on, from the last row to the first.
fn best(evidence: &Evidence, admitted: Admitted, count: usize) -> Vec<Path> {
    let unfolded = unfolded(evidence);
    let classes = Axis::Exact.classes();
    let rows = unfolded.scores.len();
    let mut ways: Vec<Vec<Vec<Way>>> = Vec::with_capacity(rows);
    for row in (0..rows).rev() {
        let here = |class: usize| {
            let mut found = ways_on(&unfolded, admitted, row, class, ways.last());
            found.sort_by(|a, b| a.cost.total_cmp(&b.cost));
            found.truncate(count);
            found
        };
        let here = (0..classes).map(here).collect();
        ways.push(here);
    }
    ways.reverse();
    let first = if admitted.c1 { C1 } else { C2 };
    // Without a class of its own T13 is told by the T12 above it, and L6 by the L5.
    let told = |class: usize| evidence.axis == Axis::Exact || (class != T13 && class != L6);
    let variants = admitted.variants;
    let starts = (first..classes).filter(|&c| told(c) && (variants.admitted() || c != T13));
    let mut found: Vec<(f64, usize, usize)> = starts
        .flat_map(|class| {
            let rare = variants.cost(None, class);
            ways[0][class].iter().enumerate().map(move |(n, way)| (rare + way.cost, class, n))
        })
        .collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found.truncate(count);
    found.into_iter().map(|(cost, class, n)| followed(&ways, cost, class, n)).collect()
}

fn ways_on(
    evidence: &Evidence,
    admitted: Admitted,
    row: usize,
    class: usize,
    below: Option<&Vec<Vec<Way>>>,
) -> Vec<Way> {
    let thirteenth = if class == T13 { evidence.t13(row) } else { 0.0 };
    let own = -evidence.scores[row][class] - thirteenth;
    let Some(below) = below else {
        return vec![Way { cost: own + region_cost(evidence, row, class, None), next: None }];
    };
    let variants = admitted.variants;
    let nexts: &[usize] = match class {
        T11 if variants.admitted() => &[T12, L1],
        T12 if variants.admitted() => &[L1, T13],
        T12 => &[L1],
        L6 => &[],
        _ => &[class + 1],
    };
    let steps = nexts.iter().flat_map(|&next| {
        let rare = variants.cost(Some(class), next);
        let cost = own + region_cost(evidence, row, class, Some(next)) + rare;
        let ways = below[next].iter().enumerate();
        ways.map(move |(n, way)| Way { cost: cost + way.cost, next: Some((next, n)) })
    });
    steps.collect()
}

/// Evidence on the exact axis: T13 looks like T12 to who does not know it, L6 like L5.
fn unfolded(evidence: &Evidence) -> Evidence {
    let mut unfolded = evidence.clone();
    if evidence.axis == Axis::Folded {
        unfolded.axis = Axis::Exact;
        for scores in &mut unfolded.scores {
            scores.insert(T13, scores[T12]);
            scores.push(scores[L5]);
        }
    }
    unfolded
}

fn followed(ways: &[Vec<Vec<Way>>], cost: f64, class: usize, n: usize) -> Path {
    let mut classes = Vec::with_capacity(ways.len());
    let mut at = Some((class, n));
    for row in ways {
        let Some((class, n)) = at else { break };
        classes.push(class);
        at = row[class][n].next;
    }
    let ids = classes.iter().map(|&class| exact_id(class)).collect();
    Path { cost, classes, ids }
}
