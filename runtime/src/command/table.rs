//! The summary a person reads at the end.

use crate::report::Report;
use std::fmt::Write;
use std::io::IsTerminal;

/// Narrowest terminal worth fitting to; below, lines wrap as they like.
const NARROWEST: usize = 40;

/// `line` cut to `width` columns, if there is such a limit.
pub(super) fn fitted(line: &str, width: Option<usize>) -> String {
    match width.filter(|&width| line.chars().count() > width) {
        Some(width) => line.chars().take(width.saturating_sub(3)).chain("...".chars()).collect(),
        None => line.to_owned(),
    }
}

/// Columns of the terminal that standard output is; `None` for a file, a pipe, or where nobody knows. `stty` is in every
/// POSIX system and asks the terminal of standard input.
pub(super) fn terminal_width() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let mut stty = std::process::Command::new("stty");
    let answer = stty.arg("size").stdin(std::process::Stdio::inherit()).output().ok()?;
    let columns = std::str::from_utf8(&answer.stdout).ok()?.split_whitespace().nth(1)?;
    columns.parse().ok().filter(|&columns| columns >= NARROWEST)
}

/// Stages, vertebrae and outputs of one series as text.
pub(super) fn of(report: &Report) -> String {
    let mut text = String::new();
    let series = &report.series;
    let [columns, rows, slices] = series.dims;
    let [x, y, z] = series.spacing_mm;
    let mut line = |args: std::fmt::Arguments<'_>| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{args}");
    };
    line(format_args!(
        "series {}  {columns}x{rows}x{slices} voxels of {x:.2}x{y:.2}x{z:.2} mm",
        series.name
    ));
    line(format_args!(
        "engine {} on {} ({} threads)",
        report.engine.name, report.engine.instruction_set, report.engine.threads
    ));
    if let Some(fallback) = &report.engine.fallback {
        line(format_args!("  not {} ({}): {}", fallback.from, fallback.state, fallback.text));
    }
    line(format_args!(""));
    for (stage, ms) in report.stages.stages() {
        line(format_args!("  {:<12}{ms:>9.1} ms", stage.name()));
    }
    line(format_args!("  {:<12}{:>9.1} ms", "total", report.total_ms));
    line(format_args!(""));
    let names: Vec<String> = report
        .vertebrae
        .iter()
        .map(|v| v.level.clone().unwrap_or_else(|| format!("#{} (level unverified)", v.id)))
        .collect();
    line(format_args!("{} vertebrae: {}", names.len(), names.join(" ")));
    for path in report.outputs.paths() {
        line(format_args!("  {}", path.display()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_only_where_there_is_a_limit() {
        assert_eq!(fitted("größer als", None), "größer als");
        assert_eq!(fitted("größer als", Some(10)), "größer als");
        assert_eq!(fitted("größer als", Some(8)), "größe...");
    }
}
