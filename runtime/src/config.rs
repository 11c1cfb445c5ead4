//! The configuration: a TOML file, checked whole before anything starts. Unknown keys are refused.

use crate::ingest::{assemble, association};
use crate::publish::{mqtt, store};
use crate::{dashboard, jobs};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Everything a site can set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folder of everything durable: spool, results, outbox, site key.
    pub data: PathBuf,
    pub mqtt: mqtt::Settings,
    #[serde(default)]
    pub dicom: association::Settings,
    /// When a series counts as complete.
    #[serde(default)]
    pub complete: assemble::Settings,
    #[serde(default)]
    pub dashboard: dashboard::Settings,
    #[serde(default)]
    pub jobs: jobs::Settings,
    /// Where results are sent by C-STORE.
    #[serde(default, rename = "destination")]
    pub destinations: Vec<store::Destination>,
}

/// A configuration that cannot be used: the site's move.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the configuration {path} is wrong: {reason}")]
    Wrong { path: PathBuf, reason: String },
}

impl Config {
    /// Reads and checks `path`. Relative paths in it are relative to the current folder.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let wrong = |reason: String| ConfigError::Wrong { path: path.to_owned(), reason };
        let config: Config = toml::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        config.check().map_err(wrong)?;
        Ok(config)
    }

    /// What the types cannot rule out.
    fn check(&self) -> Result<(), String> {
        for (n, destination) in self.destinations.iter().enumerate() {
            if self.destinations[..n].iter().any(|other| other.name == destination.name) {
                return Err(format!("two destinations are named {:?}", destination.name));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let config: Config = toml::from_str(text).map_err(|e| e.to_string())?;
        config.check()?;
        Ok(config)
    }

    const LEAST: &str = "data = 'd'\n[mqtt]\nsite = 'north'\ndevice = 'mr1'\n";

    #[test]
    fn the_least_configuration_is_enough() {
        assert!(read(LEAST).unwrap().destinations.is_empty());
    }

    #[test]
    fn unknown_keys_and_double_names_are_refused_by_name() {
        assert!(read(&format!("colour = 'red'\n{LEAST}")).unwrap_err().contains("colour"));
        let pacs = "[[destination]]\nname = 'pacs'\naddress = 'h:104'\ncalled_ae = 'PACS'\ncalling_ae = 'BOX'\n";
        assert!(read(&format!("{LEAST}{pacs}{pacs}")).unwrap_err().contains("pacs"));
    }
}
