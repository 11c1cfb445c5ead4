//! The primary exams together.

use super::matching::Instances;
use super::score::{ExamScore, Outcome};
use super::spread::Spread;
use std::collections::BTreeMap;

/// Mean, median and worst over exams of each figure that some of them have.
pub type Spreads = BTreeMap<String, Spread>;

/// The figures of all primary exams; `None` where nothing could be scored.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Primary exams.
    pub exams: usize,
    pub refused: usize,
    pub failed: usize,
    /// Segmented, with at least one flag.
    pub flagged: usize,
    /// Over all annotated bodies of all exams, each the same weight.
    pub body_dice: Option<Spread>,
    /// Mean over the bodies of T1w and STIR exams.
    pub body_dice_t1_stir: Option<f64>,
    /// Bodies found, annotated, and predicted where none is annotated.
    pub bodies_found: [usize; 2],
    pub bodies_spurious: usize,
    /// Exams whose body count is exact, of how many.
    pub count_exact: [usize; 2],
    /// Mean over all annotated discs.
    pub disc_dice: Option<Spread>,
    pub cord_dice: Option<Spread>,
    /// Annotated S1 that are called sacrum, of how many.
    pub sacrum_found: [usize; 2],
    /// Found vertebrae of the right level, of how many whose level is known.
    pub levels: [usize; 2],
    pub over_exams: Spreads,
    /// Number of exams and their spreads.
    pub by_contrast: BTreeMap<String, (usize, Spreads)>,
}

/// Summarises the primary exams of `scores`.
pub fn summarise(scores: &[ExamScore]) -> Summary {
    let primary: Vec<&ExamScore> = scores.iter().filter(|score| score.primary).collect();
    let of = |wanted: &dyn Fn(&ExamScore) -> bool| -> Vec<&ExamScore> {
        primary.iter().copied().filter(|score| wanted(score)).collect()
    };
    let bodies = || primary.iter().filter_map(|s| s.bodies.as_ref());
    let t1_stir = of(&|s| matches!(s.contrast.as_str(), "T1w" | "STIR"));
    let mut contrasts: BTreeMap<String, Vec<&ExamScore>> = BTreeMap::new();
    for score in &primary {
        contrasts.entry(score.contrast.clone()).or_default().push(score);
    }
    let flagged =
        |s: &ExamScore| matches!(&s.outcome, Outcome::Segmented { flags, .. } if !flags.is_empty());
    let sacra = || primary.iter().filter_map(|s| s.sacrum_found);
    let levels = || primary.iter().filter_map(|s| s.levels);
    Summary {
        exams: primary.len(),
        refused: of(&|s| matches!(s.outcome, Outcome::Refused(_))).len(),
        failed: of(&|s| matches!(s.outcome, Outcome::Failed(_))).len(),
        flagged: of(&flagged).len(),
        body_dice: pooled_dice(&primary, |s| s.bodies.as_ref()),
        body_dice_t1_stir: pooled_dice(&t1_stir, |s| s.bodies.as_ref()).map(|s| s.mean),
        bodies_found: [
            bodies().map(Instances::found).sum(),
            bodies().map(Instances::annotated).sum(),
        ],
        bodies_spurious: bodies().map(|b| b.spurious).sum(),
        count_exact: [bodies().filter(|b| b.count_exact()).count(), bodies().count()],
        disc_dice: pooled_dice(&primary, |s| s.discs.as_ref()),
        cord_dice: Spread::of(primary.iter().filter_map(|s| s.cord()).map(|cord| cord.dice)),
        sacrum_found: [sacra().filter(|&found| found).count(), sacra().count()],
        levels: [levels().map(|l| l[0]).sum(), levels().map(|l| l[1]).sum()],
        over_exams: spreads(&primary),
        by_contrast: contrasts
            .into_iter()
            .map(|(contrast, scores)| (contrast, (scores.len(), spreads(&scores))))
            .collect(),
    }
}

/// Dice of all instances of one kind in all of `scores`.
fn pooled_dice(
    scores: &[&ExamScore],
    kind: impl Fn(&ExamScore) -> Option<&Instances>,
) -> Option<Spread> {
    let instances = scores.iter().filter_map(|score| kind(score));
    Spread::of(instances.flat_map(|i| i.matches.values().map(|m| m.agreement.dice)))
}

fn spreads(scores: &[&ExamScore]) -> Spreads {
    let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (figure, value) in scores.iter().flat_map(|score| score.figures()) {
        values.entry(figure).or_default().push(value);
    }
    let spread = |figure: &str, values: Vec<f64>| match less_is_better(figure) {
        true => Spread::of_distances(values),
        false => Spread::of(values),
    };
    let spreads = values.into_iter().filter_map(|(key, values)| {
        let spread = spread(&key, values)?;
        Some((key, spread))
    });
    spreads.collect()
}

/// Distances and the share off the spine; all other figures are scores from 0 to 1.
fn less_is_better(figure: &str) -> bool {
    figure.contains("_assd_mm") || figure == "off_spine_fraction"
}
