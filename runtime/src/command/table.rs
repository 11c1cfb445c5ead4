//! The summary a person reads at the end.

use crate::report::Report;
use std::fmt::Write;

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
