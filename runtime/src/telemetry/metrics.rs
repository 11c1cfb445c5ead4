//! The same figures for Prometheus: text format 0.0.4, every number of a health report under the name it has there.

use crate::messages::{AlarmMessage, HealthReport, Percentiles};
use serde_json::Value;
use std::fmt::Write;

/// Content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text for one scrape.
pub fn text(report: &HealthReport, alarms: &[AlarmMessage]) -> String {
    let mut out = String::new();
    gauge(&mut out, "uptime_s", report.uptime_s as f64);
    for (part, values) in [
        ("machine", serde_json::to_value(&report.machine)),
        ("service", serde_json::to_value(&report.service)),
    ] {
        let Ok(Value::Object(values)) = values else { continue };
        for (name, value) in values {
            // What is not known is left out, and what is no number has no place here.
            let number = match value {
                Value::Bool(yes) => Some(f64::from(u8::from(yes))),
                Value::Number(number) => number.as_f64(),
                _ => None,
            };
            if let Some(number) = number {
                gauge(&mut out, &format!("{part}_{name}"), number);
            }
        }
    }
    latencies(&mut out, report);
    head(&mut out, "alarm_active");
    for alarm in alarms {
        let (code, active) = (alarm.code.name(), u8::from(alarm.active));
        line(&mut out, &format!("alarm_active{{code=\"{code}\"}}"), f64::from(active));
    }
    out
}

fn latencies(out: &mut String, report: &HealthReport) {
    let latencies = &report.service.latency_ms;
    head(out, "service_latency_ms");
    let stages = latencies.stages.iter().map(|(stage, of)| (stage.name(), of));
    for (stage, Percentiles { p50, p95, p99 }) in
        stages.chain(latencies.total.iter().map(|of| ("total", of)))
    {
        for (quantile, value) in [("0.5", p50), ("0.95", p95), ("0.99", p99)] {
            let labels = format!("stage=\"{stage}\",quantile=\"{quantile}\"");
            line(out, &format!("service_latency_ms{{{labels}}}"), *value);
        }
    }
}

fn gauge(out: &mut String, name: &str, value: f64) {
    head(out, name);
    line(out, name, value);
}

fn head(out: &mut String, name: &str) {
    writeln!(out, "# TYPE sagitta_{name} gauge").expect("a string takes text");
}

fn line(out: &mut String, name: &str, value: f64) {
    writeln!(out, "sagitta_{name} {value}").expect("a string takes text");
}
