//! `sagitta replay`: plays invented arrivals to the completeness rules and tells how long each rule takes.

use super::Outcome;
use crate::ingest::assemble::{Assembler, Settings};
use crate::replay::{self, Report};
use anyhow::bail;
use std::fmt::Write;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How many series arrive.
    #[arg(long, default_value_t = 10_000)]
    arrivals: usize,
    /// The same seed plays the same arrivals.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The report as JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let rules = || Assembler::new(Settings::default());
    let report = replay::run(arguments.arrivals, arguments.seed, rules);
    match arguments.json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => print!("{}", table(&report)),
    }
    match report.violations {
        0 => Ok(Outcome::Done),
        count => bail!("{count} violations of the completeness rules: ours to mend"),
    }
}

fn table(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |args: std::fmt::Arguments<'_>| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{args}");
    };
    let Report { seed, series, images, early, unaware, violations, .. } = report;
    line(format_args!("{series} series of {images} images, seed {seed}"));
    line(format_args!(
        "{:<20}{:<22}{:<10}{:>8}{:>9}{:>9}{:>9}{:>9}",
        "rule", "announced", "certainty", "series", "min ms", "p50 ms", "p99 ms", "max ms"
    ));
    for row in &report.rules {
        let [rule, announced, certainty] = [
            format!("{:?}", row.reason),
            format!("{:?}", row.announced),
            format!("{:?}", row.certainty),
        ];
        let (decisions, min, p50) = (row.decisions, row.min_ms, row.p50_ms);
        let (p99, max) = (row.p99_ms, row.max_ms);
        line(format_args!(
            "{rule:<20}{announced:<22}{certainty:<10}{decisions:>8}{min:>9}{p50:>9}{p99:>9}{max:>9}"
        ));
    }
    line(format_args!("{early} presumed starts before the last image, each superseded"));
    line(format_args!("{unaware} presumed starts without last images that nobody had announced"));
    line(format_args!("{violations} violations"));
    for violation in &report.told {
        line(format_args!("  {violation:?}"));
    }
    text
}
