//! `evaluate --data DIR --json FILE`: scores the shipped net on the exams of `DIR/exams.toml`.

use anyhow::Context;
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
    let threads = arguments.threads.unwrap_or_else(kernels::threads::available);
    let (mut net, reason) = engine::load(EngineChoice::Auto, threads)?;
    eprintln!("engine: {} ({reason})", net.engine());
    println!(
        "{:<16} {:<5} {:>6} {:>7} {:>9} {:>6} {:>6} {:>7} {:>7}",
        "exam", "", "body", "worst", "found", "count", "disc", "cord", "time"
    );
    let mut scores = Vec::new();
    for exam in read_exams(&arguments.data)?.iter().filter(|e| e.id.contains(&arguments.only)) {
        let score = evaluate(&arguments.data, exam, net.as_mut())?;
        println!("{}", row(&score));
        scores.push(score);
    }
    let summary = summarise(&scores);
    let json = serde_json::json!({ "engine": net.engine(), "exams": scores, "summary": summary });
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
        "{:<16} {:<5} {:>6} {:>7} {:>9} {:>6} {:>6} {:>7} {:>6.1}s",
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
