//! The report as JSON: keys that scripts rely on, added to but never renamed.
//!
//! Where nothing is annotated a key is null, or absent from the lists of figures.

use super::matching::Instances;
use super::score::{ExamScore, Outcome};
use super::spread::Spread;
use super::summary::{Spreads, Summary};
use pipeline::ModelCard;
use serde_json::{Map, Value, json};

/// The whole report.
pub fn report(engine: &str, card: &ModelCard, scores: &[ExamScore], summary: &Summary) -> Value {
    json!({
        "engine": engine,
        "model": {
            "name": card.name,
            "version": card.version,
            "weights_sha256": card.weights_sha256,
        },
        "exams": scores.iter().map(exam).collect::<Vec<Value>>(),
        "summary": of_summary(summary),
    })
}

fn exam(score: &ExamScore) -> Value {
    let mut keys = Map::new();
    let mut add = |key: &str, value: Value| drop(keys.insert(key.to_owned(), value));
    add("id", json!(score.id));
    add("contrast", json!(score.contrast));
    add("primary", json!(score.primary));
    add("seconds", json!(score.seconds));
    let outcome = outcome(&score.outcome);
    for (key, value) in outcome {
        add(key, value);
    }
    let kinds = [("body", &score.bodies), ("disc", &score.discs), ("vertebra", &score.vertebrae)];
    for (kind, instances) in kinds {
        for (key, value) in of_instances(instances.as_ref()) {
            add(&format!("{kind}_{key}"), value);
        }
    }
    add("levels_correct", json!(score.levels));
    add("sacrum_found", json!(score.sacrum_found));
    let cord = score.cord();
    add("cord_dice", json!(cord.map(|c| c.dice)));
    add("cord_assd_mm", json!(cord.and_then(|c| c.assd_mm)));
    add("cord_nsd_1mm", json!(cord.map(|c| c.nsd)));
    let structures = &score.structures;
    let dice: Map<_, _> = structures.iter().map(|(n, a)| (n.to_string(), json!(a.dice))).collect();
    let assd: Map<_, _> =
        structures.iter().map(|(n, a)| (n.to_string(), json!(a.assd_mm))).collect();
    let nsd: Map<_, _> = structures.iter().map(|(n, a)| (n.to_string(), json!(a.nsd))).collect();
    add("structure_dice", dice.into());
    add("structure_assd_mm", assd.into());
    add("structure_nsd_1mm", nsd.into());
    add("figures", json!(score.figures()));
    Value::Object(keys)
}

/// What became of the exam; every key in every case.
fn outcome(outcome: &Outcome) -> [(&'static str, Value); 6] {
    let (name, reason, vertebrae, numbering, flags, off_spine) = match outcome {
        Outcome::Segmented { vertebrae, numbering, flags, off_spine } => (
            "segmented",
            Value::Null,
            json!(vertebrae),
            json!(numbering),
            json!(flags),
            json!(off_spine),
        ),
        Outcome::Refused(refusal) => {
            ("refused", json!(refusal), Value::Null, Value::Null, json!([]), Value::Null)
        }
        Outcome::Failed(text) => {
            ("failed", json!(text), Value::Null, Value::Null, json!([]), Value::Null)
        }
    };
    [
        ("outcome", json!(name)),
        ("reason", reason),
        ("vertebrae", vertebrae),
        ("numbering", numbering),
        ("flags", flags),
        ("off_spine_fraction", off_spine),
    ]
}

/// By annotated id, and counts; null where nothing is annotated.
fn of_instances(instances: Option<&Instances>) -> [(&'static str, Value); 8] {
    let by_id = |value: &dyn Fn(&super::Match) -> Value| {
        instances.map_or(Value::Null, |instances| {
            let entries = instances.matches.iter().map(|(id, m)| (id.to_string(), value(m)));
            Value::Object(entries.collect())
        })
    };
    let count = |value: &dyn Fn(&Instances) -> Value| instances.map_or(Value::Null, value);
    [
        ("dice", by_id(&|m| json!(m.agreement.dice))),
        ("assd_mm", by_id(&|m| json!(m.agreement.assd_mm))),
        ("nsd_1mm", by_id(&|m| json!(m.agreement.nsd))),
        ("partner", by_id(&|m| json!(m.partner))),
        ("count", count(&|i| json!([i.predicted, i.annotated()]))),
        ("found", count(&|i| json!(i.found()))),
        ("missed", count(&|i| json!(i.annotated() - i.found()))),
        ("spurious", count(&|i| json!(i.spurious))),
    ]
}

fn of_summary(summary: &Summary) -> Value {
    let fraction = |[part, of]: [usize; 2]| (of > 0).then(|| part as f64 / of as f64);
    let of_exams = |part: usize| fraction([part, summary.exams]);
    let [found, annotated] = summary.bodies_found;
    let contrasts = summary.by_contrast.iter().map(|(contrast, (exams, figures))| {
        (contrast.clone(), json!({ "exams": exams, "over_exams": spreads(figures) }))
    });
    json!({
        "body_dice_mean": summary.body_dice.map(|s| s.mean),
        "body_dice_median": summary.body_dice.map(|s| s.median),
        "body_dice_worst": summary.body_dice.map(|s| s.worst),
        "body_dice_t1_stir": summary.body_dice_t1_stir,
        "found_fraction": fraction(summary.bodies_found),
        "count_exact_fraction": fraction(summary.count_exact),
        "disc_dice_mean": summary.disc_dice.map(|s| s.mean),
        "cord_dice_mean": summary.cord_dice.map(|s| s.mean),
        "exams": summary.exams,
        "bodies_found": found,
        "bodies_missed": annotated - found,
        "bodies_spurious": summary.bodies_spurious,
        "refused_fraction": of_exams(summary.refused),
        "failed_fraction": of_exams(summary.failed),
        "flagged_fraction": of_exams(summary.flagged),
        "sacrum_found_fraction": fraction(summary.sacrum_found),
        "level_correct_fraction": fraction(summary.levels),
        "over_exams": spreads(&summary.over_exams),
        "by_contrast": contrasts.collect::<Map<_, _>>(),
    })
}

fn spreads(spreads: &Spreads) -> Value {
    let entries = spreads.iter().map(|(figure, &Spread { mean, median, worst, count })| {
        let spread = json!({ "mean": mean, "median": median, "worst": worst, "exams": count });
        (figure.clone(), spread)
    });
    Value::Object(entries.collect())
}
