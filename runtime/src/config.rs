//! The configuration: a TOML file, checked whole before anything starts. Unknown keys are refused.

use crate::ingest::{assemble, association};
use crate::publish::{mqtt, store};
use crate::{dashboard, jobs, supervise};
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
    /// The supervisor MCU, where there is one.
    #[serde(default)]
    pub mcu: Option<supervise::Settings>,
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
        let config: Config = toml::from_str(&text).map_err(|e| wrong(located(&e, &text)))?;
        config.check().map_err(wrong)?;
        Ok(config)
    }

    /// What the types cannot rule out.
    fn check(&self) -> Result<(), String> {
        let positive = [
            ("jobs.threads", self.jobs.threads.unwrap_or(1)),
            ("dicom.max_associations", self.dicom.max_associations),
        ];
        if let Some((key, _)) = positive.into_iter().find(|&(_, value)| value == 0) {
            return Err(format!("{key} must be at least 1"));
        }
        ae_title("dicom.ae_title", &self.dicom.ae_title)?;
        for (n, destination) in self.destinations.iter().enumerate() {
            let name = &destination.name;
            if self.destinations[..n].iter().any(|other| other.name == *name) {
                return Err(format!("two destinations are named {name:?}"));
            }
            ae_title(&format!("called_ae of destination {name:?}"), &destination.called_ae)?;
            ae_title(&format!("calling_ae of destination {name:?}"), &destination.calling_ae)?;
            let port = destination.address.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(1..))) {
                return Err(format!("the address of destination {name:?} must be host:port"));
            }
            profile(destination)?;
        }
        Ok(())
    }
}

/// A profile names at least one kind of output, each once: a slip of the pen would go unseen until
/// a result is missed.
fn profile(destination: &store::Destination) -> Result<(), String> {
    let store::Destination { name, profile, .. } = destination;
    if profile.is_empty() {
        return Err(format!("the profile of destination {name:?} is empty: it would get nothing"));
    }
    let twice = (1..profile.len()).find(|&n| profile[..n].contains(&profile[n]));
    match twice {
        Some(n) => {
            Err(format!("the profile of destination {name:?} has {} twice", profile[n].name()))
        }
        None => Ok(()),
    }
}

fn ae_title(key: &str, title: &str) -> Result<(), String> {
    match store::is_ae_title(title) {
        true => Ok(()),
        false => Err(format!("{key} must be 1 to 16 plain characters, it is {title:?}")),
    }
}

/// The fault and its line, on one line: toml's own message draws the place over several.
fn located(error: &toml::de::Error, text: &str) -> String {
    let reason = error.message().trim();
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {reason}", before.matches('\n').count() + 1),
        None => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let config: Config = toml::from_str(text).map_err(|e| located(&e, text))?;
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
        let error = read(&format!("{LEAST}colour = 'red'\n")).unwrap_err();
        assert!(error.starts_with("line 5: ") && error.contains("colour"), "{error}");
        let pacs = "[[destination]]\nname = 'pacs'\naddress = 'h:104'\ncalled_ae = 'PACS'\n";
        assert!(read(&format!("{LEAST}{pacs}")).is_ok());
        assert!(read(&format!("{LEAST}{pacs}{pacs}")).unwrap_err().contains("two destinations"));
    }

    #[test]
    fn a_profile_names_every_kind_and_the_default_is_what_every_console_takes() {
        use crate::objects::OutputKind;
        let pacs = "[[destination]]\nname = 'pacs'\naddress = 'h:104'\ncalled_ae = 'PACS'\n";
        let with = |profile: &str| read(&format!("{LEAST}{pacs}profile = [{profile}]\n"));
        let names = OutputKind::ALL.map(|kind| format!("'{}'", kind.name())).join(", ");
        assert_eq!(with(&names).unwrap().destinations[0].profile, OutputKind::ALL);
        let default = read(&format!("{LEAST}{pacs}")).unwrap().destinations[0].profile.clone();
        assert_eq!(default, [OutputKind::DerivedMr, OutputKind::SecondaryCapture]);
        for (profile, named) in [
            ("", "is empty"),
            ("'gsps', 'sr_measurements', 'gsps'", "gsps twice"),
            ("'rtstruct'", "rtstruct"),
        ] {
            let error = with(profile).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn values_that_could_never_work_are_found_before_the_start() {
        for (wrong, named) in [
            ("[jobs]\nthreads = 0", "jobs.threads"),
            ("[dicom]\nae_title = 'A TITLE THAT IS TOO LONG'", "dicom.ae_title"),
            ("[[destination]]\nname = 'p'\naddress = 'h'\ncalled_ae = 'P'", "host:port"),
            ("[[destination]]\nname = 'p'\naddress = 'h:104'\ncalled_ae = ''", "called_ae"),
        ] {
            let error = read(&format!("{LEAST}{wrong}\n")).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
