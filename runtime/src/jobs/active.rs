//! The model that makes the results: opened as the registry says, and taken back where it fails on trial.

use super::produce::Workshop;
use crate::registry::{Model, Registry, RegistryError};
use anyhow::{Context, Result};
use models::engine::{self, Listener};

/// Opens the active model. One on trial has its self-test here, before its first job: where it cannot be opened or fails, the one
/// before is active again.
pub fn open(
    registry: &Registry,
    threads: Option<usize>,
    settings: &engine::Settings,
    listener: Option<Listener>,
) -> Result<Workshop> {
    let roles = registry.roles().map_err(advised)?;
    if roles.on_trial {
        // Without a listener: a plan is built when the model stays.
        match proven(registry, &roles.active, threads, settings) {
            Ok(()) => {
                registry.keep().map_err(advised)?;
                tracing::info!(model = %roles.active, "the promoted model passed its self-test: it stays");
            }
            Err(reason) => {
                let back = registry.take_back().map_err(advised)?;
                tracing::error!(
                    model = %roles.active, active = %back.active,
                    "the promoted model is taken back: {reason:#}; the site's move"
                );
            }
        }
    }
    let active = registry.roles().map_err(advised)?.active;
    with(registry, &active, threads, settings, listener)
        .with_context(|| format!("the active model {active}: `sagitta model rollback`"))
}

fn proven(
    registry: &Registry,
    model: &Model,
    threads: Option<usize>,
    settings: &engine::Settings,
) -> Result<()> {
    let mut workshop = with(registry, model, threads, settings, None)?;
    workshop.self_test().map_err(anyhow::Error::msg)
}

fn with(
    registry: &Registry,
    model: &Model,
    threads: Option<usize>,
    settings: &engine::Settings,
    listener: Option<Listener>,
) -> Result<Workshop> {
    let (registry, model, precision) = (registry.clone(), model.clone(), settings.precision);
    let read = Box::new(move || registry.read(&model, precision));
    Ok(Workshop::with(read, threads, settings, listener)?)
}

fn advised(error: RegistryError) -> anyhow::Error {
    let advice = error.whose_move().advice();
    anyhow::Error::from(error).context(advice)
}
