//! The parts that engines are made of: models, GPU, CUDA, TensorRT with its plans, and which engine jobs run on.

use super::Finding;
use crate::jobs::plans::{self, PlanReport, READY};
use kernels::cuda::Device;
use models::engine::tensorrt::TensorRt;
use models::engine::trouble::Trouble;
use models::engine::{self, EngineChoice, Engines, Forms, Ran, Shipped};
use pipeline::Nets;
use std::path::Path;

/// What a driver leaves where programs can see it: of a card, of a Jetson's release, of its GPU.
const SIGNS: [(&str, &str); 3] = [
    ("/proc/driver/nvidia/version", "NVIDIA driver"),
    ("/etc/nv_tegra_release", "Jetson"),
    ("/dev/nvhost-gpu", "Jetson GPU"),
];

pub(super) fn findings(settings: &engine::Settings) -> Vec<Finding> {
    let threads = kernels::threads::available();
    let found = Forms::embedded(settings.precision).and_then(|weights| {
        let mut engines = Engines::open(&weights, settings, threads, None)?;
        let tested = self_test(&mut engines);
        Ok((models(engines.nets()), [chosen(&engines), tested], weights.gpu))
    });
    let (mut findings, at_work, weights) = match found {
        Ok(found) => found,
        Err(error) => {
            return vec![Finding::wrong("models", error.to_string(), "install the program again")];
        }
    };
    findings.push(gpu());
    findings.push(cuda(settings));
    let (tensorrt, opened) = tensorrt(settings);
    findings.push(tensorrt);
    if opened {
        findings.extend(plans(settings, &weights));
    }
    findings.extend(at_work);
    findings
}

/// The nets of a job that came now, in their form.
fn models(nets: &Nets) -> Vec<Finding> {
    let one = nets.semantic.card();
    let mut found = vec![(&one.name, &one.version, &one.weights_sha256)];
    if let Some(two) = nets.instance.as_ref().map(|net| net.card()) {
        found.push((&two.name, &two.version, &two.weights_sha256));
    }
    let text = |(name, version, sha256)| format!("{name} {version}, SHA-256 {sha256}");
    found.into_iter().map(|net| Finding::good("model", text(net))).collect()
}

fn gpu() -> Finding {
    let seen: Vec<String> = SIGNS
        .into_iter()
        .filter(|(path, _)| Path::new(path).exists())
        .map(|(path, what)| match std::fs::read_to_string(path) {
            Ok(text) => format!("{what}: {}", text.lines().next().unwrap_or_default().trim()),
            // A device node: it is there, and reading it tells nothing.
            Err(_) => what.to_owned(),
        })
        .collect();
    match seen.is_empty() {
        false => Finding::good("gpu", seen.join("; ")),
        true => {
            let text = "no NVIDIA GPU or no driver for it";
            Finding::absent(
                "gpu",
                text,
                "nothing; the processor runs the nets. With a GPU: install its driver",
            )
        }
    }
}

/// What TensorRT says, and whether it can be used.
fn tensorrt(settings: &engine::Settings) -> (Finding, bool) {
    match TensorRt::open(&settings.place.shims) {
        Ok(opened) => {
            let mib = opened.device.memory_bytes >> 20;
            let text = format!("{}, {mib} MiB", opened.describe());
            (Finding::good("tensorrt", text).in_state(READY), true)
        }
        Err(trouble) => {
            let asked = settings.choice == EngineChoice::TensorRt;
            (missing("tensorrt", trouble, asked), false)
        }
    }
}

/// Whether our own kernels find a device; whether they are right on it, the golden case says when an engine is chosen.
fn cuda(settings: &engine::Settings) -> Finding {
    match Device::open() {
        Ok(device) => {
            let (major, minor) = device.capability();
            let text = format!("{}, compute capability {major}.{minor}", device.name());
            Finding::good("cuda", text).in_state(READY)
        }
        Err(error) => {
            let asked = settings.choice == EngineChoice::Cuda;
            missing("cuda", Trouble::from(&error), asked)
        }
    }
}

/// An engine that is not here: wrong only where it was asked for by name.
fn missing(part: &'static str, trouble: Trouble, asked: bool) -> Finding {
    let Trouble { state, text } = trouble;
    let finding = match asked {
        true => Finding::wrong(part, text, state.advice()),
        false => Finding::absent(part, text, state.advice()),
    };
    finding.in_state(state.name())
}

fn plans(settings: &engine::Settings, weights: &Shipped) -> Vec<Finding> {
    let finding = |plan: PlanReport| match plan.text {
        None => Finding::good("plan", format!("{}: ready", plan.net)).in_state(plan.state),
        Some(text) => {
            let advice = "the service builds it at its next start, `sagitta engine build` at once";
            Finding::absent("plan", format!("{}: {text}", plan.net), advice).in_state(plan.state)
        }
    };
    plans::list(settings, weights).into_iter().map(finding).collect()
}

/// Whether every engine gives its known answers.
fn self_test(engines: &mut Engines) -> Finding {
    const PART: &str = "self-test";
    match engines.self_test() {
        Ok(()) => Finding::good(PART, "the nets give their known answers"),
        Err(trouble) => {
            let advice = "install the program again, then have the memory tested; until then no results are made";
            Finding::wrong(PART, trouble.text, advice).in_state(trouble.state.name())
        }
    }
}

/// The engine that a job would get now.
fn chosen(engines: &Engines) -> Finding {
    let Ran { engine, reason, .. } = engines.at_work();
    Finding::good("engine", format!("jobs run on {engine}; {reason}"))
}
