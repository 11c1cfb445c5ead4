//! The plans of TensorRT that are kept on this device, and what they are good for.

use models::engine::tensorrt::plans::{Cache, Key, Proof};
use models::engine::tensorrt::{Source, TensorRt};
use models::engine::trouble::Trouble;
use models::engine::{self, Shipped};
use serde::Serialize;

/// The state of a plan that can be used.
pub const READY: &str = "ready";

/// One net's plan.
#[derive(Debug, Serialize)]
pub struct PlanReport {
    pub net: String,
    /// `ready`, or a word of `models::engine::trouble::State`.
    pub state: &'static str,
    /// Why it is not ready.
    pub text: Option<String>,
    pub built_for: Option<Key>,
    pub proof: Option<Proof>,
}

/// The plans of the nets. Where TensorRT cannot be opened, what is kept can only be looked at.
pub fn list(settings: &engine::Settings, weights: &Shipped) -> Vec<PlanReport> {
    let opened = TensorRt::open(&settings.place.shims);
    let cache = Cache::new(&settings.place.plans);
    let sources = Source::of(&weights.semantic, &weights.instance);
    sources.iter().map(|source| report(source, &cache, opened.as_ref())).collect()
}

fn report(source: &Source, cache: &Cache, opened: Result<&TensorRt, &Trouble>) -> PlanReport {
    let kept = cache.kept(&source.name);
    let stored = match (opened, &kept) {
        (Ok(tensorrt), _) => cache.read(&source.name, &tensorrt.key(source)),
        (Err(_), Err(trouble)) => Err(trouble.clone()),
        (Err(trouble), Ok(_)) => Err(trouble.clone()),
    };
    let (state, text) = match stored {
        Ok(_) => (READY, None),
        Err(trouble) => (trouble.state.name(), Some(trouble.text)),
    };
    let (built_for, proof) = kept.ok().map(|kept| (kept.key, kept.proof)).unzip();
    PlanReport { net: source.name.clone(), state, text, built_for, proof }
}
