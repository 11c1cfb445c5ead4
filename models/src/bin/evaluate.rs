//! `evaluate --data DIR --json FILE`: scores a net on the exams of `DIR/exams.toml`.
//!
//! Rows appear as exams are done; on a terminal a line below says which one is being scored.

use anyhow::{Context, ensure};
use clap::Parser;
use models::engine::{self, EngineChoice, Forms, Precision, Shipped};
use models::evaluate::sheet::Sheet;
use models::evaluate::{Exam, Table, evaluate, json, read_exams, summarise};
use models::weights::{Form, ModelError, Weights};
use pipeline::Nets;
use std::io::{IsTerminal, Write, stderr};
use std::path::{Path, PathBuf};

/// Scores the shipped net, or another, on annotated exams with the service's own pipeline.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder with `exams.toml` and the exams.
    #[arg(long)]
    data: PathBuf,
    /// Where the scores go, as JSON.
    #[arg(long)]
    json: PathBuf,
    /// Folder for a page with pictures of every exam, for example `target/evaluate`; keep it out of git.
    #[arg(long)]
    sheet: Option<PathBuf>,
    /// Card (`NAME.toml`) of other weights, which lie beside it as `NAME.onnx`; default: the shipped net.
    #[arg(long)]
    weights: Option<PathBuf>,
    /// The numbers that both nets are computed in.
    #[arg(long, value_enum, default_value_t)]
    precision: Precision,
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
    let weights = weights(arguments.weights.as_deref(), arguments.precision)?;
    let (mut nets, reason) = engine::start(&weights, EngineChoice::Auto, threads)?;
    println!("engine: {} ({reason})", nets.semantic.engine());
    run(&arguments, &exams, &mut nets)
}

/// The shipped weights, those of the semantic net from a card where one is named.
fn weights(card: Option<&Path>, precision: Precision) -> anyhow::Result<Forms> {
    let Some(card) = card else { return Ok(Forms::embedded(precision)?) };
    ensure!(
        card.extension().is_some_and(|ending| ending == "toml"),
        "--weights names a card (NAME.toml), not {}",
        card.display()
    );
    let folder = card.parent().unwrap_or(Path::new(""));
    let name = card.file_stem().and_then(|name| name.to_str()).context("the card has no name")?;
    let read = |form: Form| -> Result<Shipped, ModelError> {
        let semantic = Weights::from_folder(folder, name, form)?;
        Ok(Shipped { semantic, instance: Weights::embedded_instance_in(form)? })
    };
    Ok(Forms::read(precision, read)?)
}

fn run(arguments: &Arguments, exams: &[Exam], nets: &mut Nets) -> anyhow::Result<()> {
    let table = Table::new(exams.iter().map(|exam| exam.id.as_str()));
    let mut sheet = arguments.sheet.as_deref().map(begin_sheet).transpose()?;
    println!("{}", table.head());
    let mut scores = Vec::new();
    for (n, exam) in exams.iter().enumerate() {
        progress(&format!("{} ({} of {})", exam.id, n + 1, exams.len()));
        let evaluated = evaluate(&arguments.data, exam, nets)?;
        progress("");
        println!("{}", table.row(&evaluated.score));
        if let Some(sheet) = &mut sheet {
            sheet.add(&evaluated).with_context(|| format!("cannot draw exam {}", exam.id))?;
        }
        scores.push(evaluated.score);
    }
    let summary = summarise(&scores);
    println!("{}", table.foot(&scores, &summary));
    let report = json::report(&nets.semantic.engine(), nets.semantic.card(), &scores, &summary);
    std::fs::write(&arguments.json, serde_json::to_vec_pretty(&report)?)
        .with_context(|| format!("cannot write {}", arguments.json.display()))?;
    if let Some(sheet) = sheet {
        let page = sheet
            .finish(nets.semantic.card(), &summary)
            .context("cannot write the contact sheet")?;
        println!("contact sheet: {}", page.display());
    }
    let failed = scores.iter().filter(|score| score.failed()).count();
    ensure!(failed == 0, "the net failed on {failed} of {} exams; see the report", scores.len());
    Ok(())
}

fn begin_sheet(folder: &Path) -> anyhow::Result<Sheet> {
    Sheet::new(folder).with_context(|| format!("cannot make the folder {}", folder.display()))
}

/// Replaces the line that says what is going on; nothing in a pipe.
fn progress(text: &str) {
    let mut terminal = stderr();
    if terminal.is_terminal() {
        // Clears the line first. A terminal that went away is no reason to stop scoring.
        let _ = write!(terminal, "\r\x1b[2K{text}").and_then(|()| terminal.flush());
    }
}
