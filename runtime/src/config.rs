//! The configuration: a TOML file, checked whole before anything starts. Unknown keys are refused. How one gets into force is
//! `trial`'s.

pub mod change;
pub mod schema;
pub mod trial;

use crate::commands::{Operator, Operators};
use crate::decode::selection;
use crate::error::Move;
use crate::ingest::peers::Peer;
use crate::ingest::{assemble, association, stow};
use crate::publish::mqtt::BrokerSettings;
use crate::publish::{mqtt, store};
use crate::tls::Tls;
use crate::{dashboard, jobs, mrd, retention, supervise, tls};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Where the packages put it.
pub const PLACE: &str = "/etc/sagitta/sagitta.toml";
/// Of a fingerprint.
const SHA256_DIGITS: usize = 64;

/// Everything a site can set.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folder of everything durable: spool, results, outbox, site key.
    pub data: PathBuf,
    pub mqtt: mqtt::Settings,
    #[serde(default)]
    pub dicom: association::Settings,
    #[serde(default)]
    pub dicomweb: stow::Settings,
    /// Images and results on one connection (ISMRMRD streaming), for scanners that reconstruct with it.
    #[serde(default)]
    pub mrd: mrd::Settings,
    /// Our certificate and whom we believe, for what says `tls = true`.
    #[serde(default)]
    pub tls: Option<tls::Settings>,
    /// Which series are taken, and as what.
    #[serde(default)]
    pub selection: selection::Settings,
    /// When a series counts as complete.
    #[serde(default)]
    pub complete: assemble::Settings,
    /// What is deleted, and when.
    #[serde(default)]
    pub retention: retention::Settings,
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
    /// Whose commands are obeyed.
    #[serde(default, rename = "operator")]
    pub operators: Vec<Operator>,
}

/// A configuration that cannot be used: the site's move.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the configuration {path} is wrong: {reason}")]
    Wrong { path: PathBuf, reason: String },
}

impl ConfigError {
    /// Whoever writes the file mends it.
    pub fn whose_move(&self) -> Move {
        Move::Site
    }
}

impl Config {
    /// Reads and checks `path`. Relative paths in it are relative to the current folder.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Config::parse(&text, path)
    }

    /// Checks `text`; `path` names it in errors.
    pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        let wrong = |reason: String| ConfigError::Wrong { path: path.to_owned(), reason };
        let config: Config = toml::from_str(text).map_err(|e| wrong(located(&e, text)))?;
        config.check().map_err(wrong)?;
        Ok(config)
    }

    /// Opens what a start would open besides: certificates, users, the broker's password. What can fail by other programs alone
    /// (a port in use, a peer that is away) is left to the start.
    pub fn rehearse(&self, path: &Path) -> Result<(), ConfigError> {
        let wrong = |reason: String| ConfigError::Wrong { path: path.to_owned(), reason };
        if let Some(settings) = &self.tls {
            Tls::open(settings).map_err(|error| wrong(error.to_string()))?;
        }
        self.dashboard.access().map_err(|error| wrong(error.to_string()))?;
        self.mqtt.broker.check_login().map_err(|error| wrong(error.to_string()))
    }

    /// What the types cannot rule out.
    fn check(&self) -> Result<(), String> {
        let positive = [
            ("jobs.threads", self.jobs.threads.unwrap_or(1)),
            ("dicom.max_associations", self.dicom.max_associations),
            ("dicom.max_associations_per_peer", self.dicom.max_associations_per_peer),
        ];
        if let Some((key, _)) = positive.into_iter().find(|&(_, value)| value == 0) {
            return Err(format!("{key} must be at least 1"));
        }
        ae_title("dicom.ae_title", &self.dicom.ae_title)?;
        self.retention.check()?;
        self.selection.check()?;
        if self.dicom.tls && self.tls.is_none() {
            return Err("[dicom] has tls = true, but there is no [tls]".to_owned());
        }
        let wants_tls =
            |broker: &BrokerSettings| matches!(broker, BrokerSettings::External(site) if site.tls);
        if wants_tls(&self.mqtt.broker) && self.tls.is_none() {
            return Err("the broker of [mqtt] has tls = true, but there is no [tls]".to_owned());
        }
        for listed in &self.dicom.peers {
            peer(listed, &self.dicom)?;
        }
        operators(&self.operators)?;
        for (n, destination) in self.destinations.iter().enumerate() {
            let name = &destination.name;
            if self.destinations[..n].iter().any(|other| other.name == *name) {
                return Err(format!("two destinations are named {name:?}"));
            }
            ae_title(&format!("called_ae of destination {name:?}"), &destination.called_ae)?;
            ae_title(&format!("calling_ae of destination {name:?}"), &destination.calling_ae)?;
            host_and_port(&format!("the address of destination {name:?}"), &destination.address)?;
            if destination.tls && self.tls.is_none() {
                return Err(format!("destination {name:?} has tls = true, but there is no [tls]"));
            }
            if destination.tls {
                destination.server_name()?;
            }
            profile(destination)?;
        }
        Ok(())
    }
}

/// An entry of the allow list that could let nobody in would be found out by the first patient.
fn peer(listed: &Peer, dicom: &association::Settings) -> Result<(), String> {
    let title = &listed.calling_ae;
    ae_title("calling_ae of a [[dicom.peer]]", title)?;
    let named = listed.certificate_name.is_some() || listed.certificate_sha256.is_some();
    if named && !dicom.tls {
        return Err(format!("peer {title:?} names a certificate, but [dicom] has no tls = true"));
    }
    let digits = |text: &String| {
        text.len() == SHA256_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    if !listed.certificate_sha256.as_ref().is_none_or(digits) {
        return Err(format!(
            "certificate_sha256 of peer {title:?} must be {SHA256_DIGITS} hexadecimal digits without colons"
        ));
    }
    if let Some(address) = &listed.report_to {
        host_and_port(&format!("report_to of peer {title:?}"), address)?;
        if !dicom.commitment {
            return Err(format!(
                "peer {title:?} has report_to, but [dicom] has no commitment = true"
            ));
        }
    }
    match listed.max_associations {
        Some(0) => Err(format!("max_associations of peer {title:?} must be at least 1")),
        _ => Ok(()),
    }
}

/// Two of one name could not be told apart in the audit log, nor two of one key in a command.
fn operators(operators: &[Operator]) -> Result<(), String> {
    for (n, operator) in operators.iter().enumerate() {
        let (name, before) = (operator.name.as_str(), &operators[..n]);
        if before.iter().any(|other| other.name == operator.name) {
            return Err(format!("two operators are named {name:?}"));
        }
        if operator.may.is_empty() {
            return Err(format!("operator {name:?} may order nothing: list orders under `may`"));
        }
    }
    match Operators::open(operators) {
        Ok(opened) if opened.share_a_key() => Err("two operators have the same key".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(format!("the key of an operator: {error}")),
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

fn host_and_port(key: &str, address: &str) -> Result<(), String> {
    match address.rsplit_once(':').map(|(_, port)| port.parse::<u16>()) {
        Some(Ok(1..)) => Ok(()),
        _ => Err(format!("{key} must be host:port, it is {address:?}")),
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
            ("[dicom]\ntls = true", "no [tls]"),
            (
                "[[destination]]\nname = 'p'\naddress = 'h:1'\ncalled_ae = 'P'\ntls = true",
                "no [tls]",
            ),
            (
                "[[destination]]\nname = 'p'\naddress = 'a b:1'\ncalled_ae = 'P'\ntls = true\n\
                 [tls]\ncertificate = 'c'\nkey = 'k'\nauthorities = 'a'",
                "no host name",
            ),
            ("[dicom]\nmax_associations_per_peer = 0", "per_peer"),
            ("[[dicom.peer]]\ncalling_ae = ''", "calling_ae"),
            ("[[dicom.peer]]\ncalling_ae = 'MR1'\naddress = '10.0.0.0/40'", "10.0.0.0/40"),
            ("[[dicom.peer]]\ncalling_ae = 'MR1'\ncertificate_name = 'mr1'", "no tls"),
            ("[[dicom.peer]]\ncalling_ae = 'MR1'\nmax_associations = 0", "max_associations"),
            ("[[dicom.peer]]\ncalling_ae = 'MR1'\nreport_to = 'h:104'", "no commitment"),
            (
                "[dicom]\ncommitment = true\n[[dicom.peer]]\ncalling_ae = 'M'\nreport_to = 'h'",
                "host:port",
            ),
            ("[retention]\nhigh_water_percent = 99", "high_water_percent"),
            ("[tls]\ncertificate = 'c'\nkey = 'k'", "authorities"),
        ] {
            let error = read(&format!("{LEAST}{wrong}\n")).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
