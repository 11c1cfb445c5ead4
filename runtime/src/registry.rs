//! The models of a device: those in the program, and folders of others that can run beside them (shadow) or in their place.
//!
//! `DATA/models/NAME/` holds cards, weights and known answers of both nets under the names of the shipped ones;
//! `DATA/models/models.toml` says what each is for. A promotion takes effect at the next start and is on trial until the first
//! self-test has passed with it: one that fails is taken back (`jobs`), and the device goes on with the model before. After that
//! a failing self-test is no fault of the model, and fails closed as ever.

use crate::durable;
use crate::error::Move;
use crate::messages::{MessageError, Name};
use models::engine::trouble::Trouble;
use models::engine::{Forms, ModelError, Precision};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Folder of the models in the data folder.
pub const FOLDER: &str = "models";
const FILE_NAME: &str = "models.toml";

/// Which model. On the disk and in messages a word: `built-in`, or the name of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Name", into = "Name")]
pub enum Model {
    /// That of the program.
    #[default]
    BuiltIn,
    Folder(Name),
}

/// The word for the model of the program; no folder can have it.
const BUILT_IN: &str = "built-in";

impl From<Name> for Model {
    fn from(name: Name) -> Model {
        if name.as_str() == BUILT_IN { Model::BuiltIn } else { Model::Folder(name) }
    }
}

impl From<Model> for Name {
    fn from(model: Model) -> Name {
        match model {
            Model::BuiltIn => Name::new(BUILT_IN).expect("small letters and a dash"),
            Model::Folder(name) => name,
        }
    }
}

impl std::fmt::Display for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(Name::from(self.clone()).as_str())
    }
}

impl std::str::FromStr for Model {
    type Err = MessageError;

    fn from_str(text: &str) -> Result<Model, MessageError> {
        Name::new(text).map(Model::from)
    }
}

/// What each model is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roles {
    /// Makes the results.
    pub active: Model,
    /// What made them before.
    pub previous: Option<Model>,
    /// The active one has passed no self-test yet.
    #[serde(default)]
    pub on_trial: bool,
    /// Runs beside it on finished jobs.
    pub shadow: Option<Model>,
}

/// Why a role was not given. Nothing has changed.
#[derive(Debug, Error)]
pub enum RegistryError {
    #[error("there is no model {} in the folder of models", .0.as_str())]
    Unknown(Name),
    #[error("the model {model} cannot be used: {reason}")]
    Unusable { model: Model, reason: String },
    #[error("{0} is the active model already")]
    Active(Model),
    #[error("there is no model before this one")]
    NoPrevious,
    #[error("the list of models {path} is wrong: {reason}")]
    Wrong { path: PathBuf, reason: String },
    #[error("cannot use {path}: {source}")]
    File { path: PathBuf, source: io::Error },
}

impl RegistryError {
    pub fn whose_move(&self) -> Move {
        Move::Site
    }
}

/// The models of one device.
#[derive(Debug, Clone)]
pub struct Registry {
    folder: PathBuf,
}

impl Registry {
    /// Of the data folder.
    pub fn of(data: &Path) -> Registry {
        Registry { folder: data.join(FOLDER) }
    }

    /// What each model is for; that of the program for everything where nobody said.
    pub fn roles(&self) -> Result<Roles, RegistryError> {
        let path = self.folder.join(FILE_NAME);
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text)
                .map_err(|e| RegistryError::Wrong { path, reason: e.message().to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Roles::default()),
            Err(source) => Err(RegistryError::File { path, source }),
        }
    }

    /// Every model that is here, that of the program first.
    pub fn models(&self) -> Result<Vec<Model>, RegistryError> {
        let mut names = Vec::new();
        let at = |source| RegistryError::File { path: self.folder.clone(), source };
        match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at(error)),
            Ok(entries) => {
                for entry in entries {
                    let path = entry.map_err(at)?.path();
                    let name = path.file_name().and_then(|name| name.to_str());
                    names.extend(name.filter(|_| path.is_dir()).and_then(|n| Name::new(n).ok()));
                }
            }
        }
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        Ok(std::iter::once(Model::BuiltIn).chain(names.into_iter().map(Model::from)).collect())
    }

    /// Weights and cards of a model, checked against each other.
    pub fn forms(&self, model: &Model, precision: Precision) -> Result<Forms, RegistryError> {
        match model {
            Model::Folder(name) if !self.folder.join(name.as_str()).is_dir() => {
                Err(RegistryError::Unknown(name.clone()))
            }
            _ => self.read(model, precision).map_err(|error| RegistryError::Unusable {
                model: model.clone(),
                reason: error.to_string(),
            }),
        }
    }

    /// The same as the engines name it.
    pub fn read(&self, model: &Model, precision: Precision) -> Result<Forms, ModelError> {
        match model {
            Model::BuiltIn => Forms::embedded(precision),
            Model::Folder(name) => Forms::from_folder(&self.folder.join(name.as_str()), precision),
        }
    }

    /// Writes down what the nets of a folder say of fixed values, for who releases them.
    pub fn freeze(folder: &Path, threads: usize) -> Result<String, Trouble> {
        models::engine::freeze(folder, threads)
    }

    /// A model runs beside the active one on finished jobs, or none does.
    pub fn shadow(&self, model: Option<Model>) -> Result<Roles, RegistryError> {
        let roles = self.roles()?;
        if let Some(model) = &model {
            if *model == roles.active {
                return Err(RegistryError::Active(model.clone()));
            }
            self.forms(model, Precision::Auto)?;
        }
        self.write(Roles { shadow: model, ..roles })
    }

    /// A model makes the results from the next start on, on trial.
    pub fn promote(&self, model: Model) -> Result<Roles, RegistryError> {
        let roles = self.roles()?;
        if model == roles.active {
            return Err(RegistryError::Active(model));
        }
        self.forms(&model, Precision::Auto)?;
        let shadow = roles.shadow.filter(|shadow| *shadow != model);
        let previous = Some(roles.active);
        self.write(Roles { active: model, previous, on_trial: true, shadow })
    }

    /// The model before this one makes the results from the next start on.
    pub fn roll_back(&self) -> Result<Roles, RegistryError> {
        let previous = self.roles()?.previous.ok_or(RegistryError::NoPrevious)?;
        self.promote(previous)
    }

    /// The active model failed on trial: the one before is active again, and nothing is before it.
    pub fn take_back(&self) -> Result<Roles, RegistryError> {
        let roles = self.roles()?;
        let active = roles.previous.unwrap_or_default();
        let shadow = roles.shadow.filter(|shadow| *shadow != active);
        self.write(Roles { active, previous: None, on_trial: false, shadow })
    }

    /// The active model passed its first self-test.
    pub fn keep(&self) -> Result<Roles, RegistryError> {
        let roles = self.roles()?;
        if roles.on_trial { self.write(Roles { on_trial: false, ..roles }) } else { Ok(roles) }
    }

    fn write(&self, roles: Roles) -> Result<Roles, RegistryError> {
        let text = toml::to_string(&roles).expect("words");
        let path = self.folder.join(FILE_NAME);
        durable::write(&path, text.as_bytes())
            .map_err(|source| RegistryError::File { path, source })?;
        Ok(roles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device with the shipped nets once more, as a folder.
    fn device(name: &str) -> (PathBuf, Registry, Model) {
        let data =
            std::env::temp_dir().join(format!("sagitta-models-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&data);
        let folder = data.join(FOLDER).join("twin");
        fs::create_dir_all(&folder).unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/weights");
        for entry in fs::read_dir(shipped).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
        (data.clone(), Registry::of(&data), "twin".parse().unwrap())
    }

    #[test]
    fn a_model_is_shadowed_promoted_kept_and_rolled_back() {
        let (data, registry, twin) = device("life");
        assert_eq!(registry.models().unwrap(), [Model::BuiltIn, twin.clone()]);
        assert_eq!(registry.shadow(Some(twin.clone())).unwrap().shadow, Some(twin.clone()));
        let roles = registry.promote(twin.clone()).unwrap();
        assert!(roles.on_trial && roles.shadow.is_none());
        assert!(matches!(registry.promote(twin.clone()), Err(RegistryError::Active(_))));
        assert!(!registry.keep().unwrap().on_trial);
        let roles = registry.roll_back().unwrap();
        assert_eq!((roles.active, roles.previous), (Model::BuiltIn, Some(twin)));
        fs::remove_dir_all(data).unwrap();
    }

    #[test]
    fn what_cannot_be_used_gets_no_role_and_a_failed_trial_goes_back() {
        let (data, registry, twin) = device("bad");
        let unknown = registry.promote("other".parse().unwrap());
        assert!(matches!(unknown, Err(RegistryError::Unknown(_))));
        assert!("../x".parse::<Model>().is_err());
        registry.promote(twin.clone()).unwrap();
        let roles = registry.take_back().unwrap();
        assert_eq!((roles.active, roles.previous, roles.on_trial), (Model::BuiltIn, None, false));
        assert!(matches!(registry.roll_back(), Err(RegistryError::NoPrevious)));
        let weights = data.join(FOLDER).join("twin/semantic.onnx");
        let mut bytes = fs::read(&weights).unwrap();
        bytes[1_000_000] ^= 1;
        fs::write(&weights, bytes).unwrap();
        let text = registry.promote(twin).unwrap_err().to_string();
        assert!(text.contains("the card says SHA-256"), "{text}");
        fs::write(data.join(FOLDER).join(FILE_NAME), "active = 'A B'").unwrap();
        assert!(matches!(registry.roles(), Err(RegistryError::Wrong { .. })));
        fs::remove_dir_all(data).unwrap();
    }
}
