//! `sagitta model`: which models are here and what each is for.

use super::Outcome;
use crate::config::{self, Config};
use crate::jobs::shadow;
use crate::registry::{Model, Registry, RegistryError, Roles};
use clap::{Args, Subcommand};
use models::engine::Precision;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Arguments of `sagitta model`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists the models of this device, what each is for, and in what the candidate disagrees.
    List {
        #[command(flatten)]
        place: Place,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Runs a model beside the active one from the next start on, on finished jobs; without a name, none.
    Shadow {
        model: Option<Model>,
        #[command(flatten)]
        place: Place,
    },
    /// Lets a model make the results from the next start on; it is taken back where its self-test fails.
    Promote {
        model: Model,
        #[command(flatten)]
        place: Place,
    },
    /// Lets the model before this one make the results again.
    Rollback {
        #[command(flatten)]
        place: Place,
    },
    /// For who releases a model: asks its nets and writes down what they say (`answers.toml`), for every later self-test.
    Freeze { folder: PathBuf },
}

/// Where the models are.
#[derive(Debug, Args)]
struct Place {
    /// The configuration of the service, whose data folder holds them.
    #[arg(long, env = "SAGITTA_CONFIG", default_value = config::PLACE)]
    config: PathBuf,
}

impl Place {
    fn data(&self) -> anyhow::Result<PathBuf> {
        Ok(Config::read(&self.config)?.data)
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let registry = |place: &Place| Ok::<_, anyhow::Error>(Registry::of(&place.data()?));
    match &arguments.action {
        Action::List { place, json } => list(place, *json),
        Action::Shadow { model, place } => told(registry(place)?.shadow(model.clone())),
        Action::Promote { model, place } => told(registry(place)?.promote(model.clone())),
        Action::Rollback { place } => told(registry(place)?.roll_back()),
        Action::Freeze { folder } => {
            let threads = kernels::threads::available();
            let text = Registry::freeze(folder, threads);
            print!("{}", text.map_err(|trouble| anyhow::anyhow!("{trouble}"))?);
            Ok(Outcome::Done)
        }
    }
}

fn told(roles: Result<Roles, RegistryError>) -> anyhow::Result<Outcome> {
    let roles = roles.map_err(|e| anyhow::anyhow!("{e}; {}", e.whose_move().advice()))?;
    let shadow = roles.shadow.map_or_else(|| "none".to_owned(), |model| model.to_string());
    println!("from the next start of the service on: active {}, beside it {shadow}", roles.active);
    Ok(Outcome::Done)
}

fn list(place: &Place, json: bool) -> anyhow::Result<Outcome> {
    let data = place.data()?;
    let registry = Registry::of(&data);
    let roles = registry.roles()?;
    let models: Vec<Value> = registry.models()?.iter().map(|m| row(&registry, &roles, m)).collect();
    let summary = shadow::summary(&data);
    if json {
        let all = json!({ "models": models, "on_trial": roles.on_trial, "shadow": summary });
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(Outcome::Done);
    }
    for model in &models {
        let word = |key: &str| model[key].as_str().unwrap_or_default().to_owned();
        println!("{:<16}{:<10}{} {}", word("model"), word("role"), word("version"), word("fault"));
    }
    if let Some(sum) = summary {
        println!(
            "{} beside {}: {} series, {} of {} vertebrae at another level, {} lost, {} new",
            sum.candidate,
            sum.active,
            sum.series,
            sum.level_flips,
            sum.vertebrae,
            sum.lost,
            sum.added
        );
        for (name, dice) in &sum.structures {
            println!("  {name:<34}Dice {:.4}, least {:.4}", dice.mean, dice.least);
        }
    }
    Ok(Outcome::Done)
}

fn row(registry: &Registry, roles: &Roles, model: &Model) -> Value {
    let role = match model {
        _ if *model == roles.active => Some("active"),
        _ if roles.shadow.as_ref() == Some(model) => Some("shadow"),
        _ if roles.previous.as_ref() == Some(model) => Some("previous"),
        _ => None,
    };
    let (version, sha256, fault) = match registry.forms(model, Precision::Auto) {
        Ok(forms) => {
            let card = forms.simd.semantic.card;
            (Some(card.version), Some(card.weights_sha256), None)
        }
        Err(error) => (None, None, Some(error.to_string())),
    };
    json!({ "model": model, "role": role, "version": version, "weights_sha256": sha256, "fault": fault })
}
