//! `evaluate --data DIR --json FILE`: scores the shipped net on the exams of `DIR/exams.toml`.

use anyhow::{Context, ensure};
use clap::Parser;
use models::engine::{self, EngineChoice};
use models::evaluate::{ExamScore, evaluate, read_exams, summarise};
use std::path::PathBuf;

/// Scores the shipped net on annotated exams with the service's own pipeline.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder with `exams.toml` and the exams.
    #[arg(long)]
    data: PathBuf,
    /// Where the scores go, as JSON.
    #[arg(long)]
    json: PathBuf,
    /// Score only the exams whose id contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Threads of the engine; default: all cores.
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut exams = read_exams(&arguments.data)?;
    exams.retain(|exam| exam.id.contains(&arguments.only));
    ensure!(!exams.is_empty(), "no exam's id contains {:?}", arguments.only);
    let threads = arguments.threads.unwrap_or_else(kernels::threads::available);
    let (mut nets, reason) = engine::load(EngineChoice::Auto, threads)?;
    let engine = nets.semantic.engine();
    eprintln!("engine: {engine} ({reason})");
    println!(
        "{:<16} {:<5} {:>6} {:>7} {:>7} {:>6} {:>6} {:>7} {:>7}",
        "exam", "", "body", "worst", "found", "count", "disc", "cord", "time"
    );
    let mut scores = Vec::new();
    for exam in &exams {
        let score = evaluate(&arguments.data, exam, &mut nets)?;
        println!("{}", row(&score));
        scores.push(score);
    }
    let summary = summarise(&scores);
    let json = serde_json::json!({ "engine": engine, "exams": scores, "summary": summary });
    std::fs::write(&arguments.json, serde_json::to_vec_pretty(&json)?)
        .with_context(|| format!("cannot write {}", arguments.json.display()))?;
    println!("\n{}", serde_json::to_string_pretty(&summary)?);
    Ok(())
}

/// One line of the table; `-` where nothing is annotated.
fn row(score: &ExamScore) -> String {
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.3}"));
    let of = |pair: Option<[usize; 2]>| pair.map_or("-".to_owned(), |[n, of]| format!("{n}/{of}"));
    let worst = score.body_dice.iter().flatten().map(|(_, &d)| d).reduce(f64::min);
    format!(
        "{:<16} {:<5} {:>6} {:>7} {:>7} {:>6} {:>6} {:>7} {:>6.1}s",
        score.id,
        score.contrast,
        number(score.body_mean()),
        number(worst),
        of(score.found()),
        of(score.body_count),
        number(score.disc_mean()),
        number(score.cord_dice),
        score.seconds
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_row_shows_what_is_annotated_and_nothing_else() {
        let score = ExamScore {
            id: "chu_07".into(),
            contrast: "T2w".into(),
            primary: true,
            seconds: 1.26,
            vertebrae: 9,
            body_dice: Some(BTreeMap::from([(1, 0.9), (2, 0.75), (3, 0.3)])),
            body_count: Some([4, 3]),
            disc_dice: None,
            cord_dice: None,
            sacrum_found: None,
            structure_dice: None,
            vertebra_dice: None,
        };
        let words: Vec<String> = row(&score).split_whitespace().map(str::to_owned).collect();
        assert_eq!(words, ["chu_07", "T2w", "0.650", "0.300", "2/3", "4/3", "-", "-", "1.3s"]);
    }
}
