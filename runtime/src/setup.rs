//! The first configuration of a device, from a few answers: of a file, or of a page that is there on first boot only.
//!
//! Writes nothing over a configuration that somebody made: that is changed by `sagitta config apply`.

pub mod page;

use crate::config::{Config, ConfigError};
use crate::durable;
use crate::error::Move;
use crate::secret;
use crate::users::{Role, Users, UsersError};
use schemars::JsonSchema;
use serde::Deserialize;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use thiserror::Error;
use toml::{Table, Value};

/// What the packages install before anybody has set up anything.
const EXAMPLE: &str = include_str!("../packaging/sagitta.toml");
/// Read by the service by its group, by nobody else: what `packaging/sagitta.tmpfiles` says of the configuration.
const MODE: u32 = 0o640;
/// Where the page listens when there are users: the whole site, behind a proxy with TLS.
const PAGE: &str = "127.0.0.1:8080";

/// What has to be known of a site.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// First levels of every topic: a-z, 0-9 and '-'.
    pub site: String,
    pub device: String,
    /// Our own AE title.
    #[serde(default = "own_title")]
    pub ae_title: String,
    /// The folder of everything durable.
    #[serde(default = "data_folder")]
    pub data: PathBuf,
    /// Who may send. Nobody named: everybody.
    #[serde(default, rename = "scanner")]
    pub scanners: Vec<Scanner>,
    /// Where results go.
    #[serde(default, rename = "receiver")]
    pub receivers: Vec<Receiver>,
    /// The site's broker; our own when absent.
    #[serde(default)]
    pub broker: Option<Broker>,
    /// Who may log in to the page and change the device.
    #[serde(default)]
    pub user: Option<FirstUser>,
    /// With them, connections of scanners are secured.
    #[serde(default)]
    pub certificates: Option<crate::tls::Settings>,
    /// The saved key of a device that this one takes the place of: its jobs keep their names.
    #[serde(default)]
    pub site_key: Option<PathBuf>,
}

/// A scanner or console that sends.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scanner {
    pub ae_title: String,
    /// An address or a network.
    #[serde(default)]
    pub address: Option<String>,
}

/// Who gets results.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Receiver {
    pub name: String,
    /// `host:port`.
    pub address: String,
    pub ae_title: String,
    pub kind: ReceiverKind,
    #[serde(default)]
    pub tls: bool,
}

/// What a receiver can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReceiverKind {
    /// Pictures: derived images and secondary captures.
    Console,
    /// Segmentations, measurements and outlines as well.
    Pacs,
}

/// The broker of a site.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    pub host: String,
    #[serde(default)]
    pub port: Option<u16>,
    #[serde(default)]
    pub tls: bool,
    #[serde(default)]
    pub login: Option<Login>,
}

/// A name and what proves it.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    pub name: String,
    pub password: String,
}

/// The first user.
pub type FirstUser = Login;

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("name", &self.name).finish_non_exhaustive()
    }
}

fn own_title() -> String {
    crate::ingest::association::AE_TITLE.to_owned()
}

fn data_folder() -> PathBuf {
    PathBuf::from("/var/lib/sagitta")
}

/// Why nothing was set up.
#[derive(Debug, Error)]
pub enum SetupError {
    #[error(
        "{0} is a configuration that somebody made: change it with `sagitta config apply`, or take it away first"
    )]
    Configured(PathBuf),
    #[error("the answers are wrong: {0}")]
    Answers(String),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Users(#[from] UsersError),
    #[error("the site key: {0:#}")]
    SiteKey(anyhow::Error),
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
}

impl SetupError {
    /// Whoever answers, or the disk.
    pub fn whose_move(&self) -> Move {
        Move::Site
    }
}

impl Answers {
    pub fn parse(text: &str) -> Result<Answers, SetupError> {
        toml::from_str(text).map_err(|error| SetupError::Answers(error.message().to_owned()))
    }
}

/// Whether `place` still waits for its first configuration: none is there, or the packages' example.
pub fn is_wanted(place: &Path) -> bool {
    match fs::read_to_string(place) {
        Ok(text) => text == EXAMPLE,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Writes the configuration `place` and the files it names; the configuration is the last. Nothing of it is in force before the
/// service starts again.
pub fn set_up(answers: &Answers, place: &Path) -> Result<Config, SetupError> {
    if !is_wanted(place) {
        return Err(SetupError::Configured(place.to_owned()));
    }
    let (users, password) = (place.with_file_name("users.toml"), place.with_file_name("mqtt"));
    let text = text(answers, &users, &password);
    let config = Config::parse(&text, place)?;
    if let Some(login) = answers.broker.as_ref().and_then(|broker| broker.login.as_ref()) {
        write(&password, &login.password)?;
    }
    if let Some(user) = &answers.user {
        let mut first = Users::default();
        first.set(&user.name, Role::Engineer, &user.password)?;
        write(&users, &first.text())?;
    }
    config.rehearse(place)?;
    if let Some(saved) = &answers.site_key {
        secret::adopt(&config.data, crate::service::KEY_FILE, saved)
            .map_err(SetupError::SiteKey)?;
    }
    write(place, &text)?;
    Ok(config)
}

/// The configuration that the answers mean. What is not asked keeps its default.
fn text(answers: &Answers, users: &Path, password: &Path) -> String {
    let mut root = Table::new();
    let path = |path: &Path| Value::from(path.display().to_string());
    root.insert("data".to_owned(), path(&answers.data));
    root.insert("mqtt".to_owned(), mqtt(answers, password).into());
    root.insert("dicom".to_owned(), dicom(answers).into());
    let mut dashboard = Table::from_iter([("bind".to_owned(), Value::from(PAGE))]);
    if answers.user.is_some() {
        dashboard.insert("users".to_owned(), path(users));
    }
    root.insert("dashboard".to_owned(), dashboard.into());
    if let Some(tls) = &answers.certificates {
        let files = [
            ("certificate", &tls.certificate),
            ("key", &tls.key),
            ("authorities", &tls.authorities),
        ];
        let files = files.map(|(key, file)| (key.to_owned(), path(file)));
        root.insert("tls".to_owned(), Table::from_iter(files).into());
    }
    if !answers.receivers.is_empty() {
        let receivers = answers.receivers.iter().map(|to| destination(to, &answers.ae_title));
        root.insert("destination".to_owned(), receivers.collect::<Vec<_>>().into());
    }
    let keys = toml::to_string(&root).expect("texts, numbers and tables");
    format!(
        "# Written by `sagitta setup`. What is not here has its default: docs/configuration.md.\n\n{keys}"
    )
}

fn mqtt(answers: &Answers, password: &Path) -> Table {
    let mut mqtt = Table::from_iter([
        ("site".to_owned(), Value::from(answers.site.as_str())),
        ("device".to_owned(), Value::from(answers.device.as_str())),
    ]);
    if let Some(Broker { host, port, tls, login }) = &answers.broker {
        let mut broker = Table::from_iter([
            ("kind".to_owned(), Value::from("external")),
            ("host".to_owned(), Value::from(host.as_str())),
            ("tls".to_owned(), Value::from(*tls)),
        ]);
        broker.extend(port.map(|port| ("port".to_owned(), Value::from(i64::from(port)))));
        if let Some(login) = login {
            let file = password.display().to_string();
            broker.insert("username".to_owned(), login.name.as_str().into());
            broker.insert("password_file".to_owned(), file.into());
        }
        mqtt.insert("broker".to_owned(), broker.into());
    }
    mqtt
}

fn dicom(answers: &Answers) -> Table {
    let mut dicom = Table::from_iter([
        ("ae_title".to_owned(), Value::from(answers.ae_title.as_str())),
        ("tls".to_owned(), Value::from(answers.certificates.is_some())),
    ]);
    let peers = answers.scanners.iter().map(|scanner| {
        let mut peer = Table::new();
        peer.insert("calling_ae".to_owned(), scanner.ae_title.as_str().into());
        let address = scanner.address.as_deref();
        peer.extend(address.map(|address| ("address".to_owned(), Value::from(address))));
        Value::from(peer)
    });
    if !answers.scanners.is_empty() {
        dicom.insert("peer".to_owned(), peers.collect::<Vec<_>>().into());
    }
    dicom
}

fn destination(to: &Receiver, own: &str) -> Value {
    let console = ["mr_derived", "sc_rgb"];
    let pacs = ["gsps", "seg_semantic", "seg_instances", "sr_measurements"];
    let profile: Vec<&str> = match to.kind {
        ReceiverKind::Console => console.to_vec(),
        ReceiverKind::Pacs => console.into_iter().chain(pacs).collect(),
    };
    let keys = [
        ("name", Value::from(to.name.as_str())),
        ("address", to.address.as_str().into()),
        ("called_ae", to.ae_title.as_str().into()),
        ("calling_ae", own.into()),
        ("tls", to.tls.into()),
        ("profile", profile.into()),
    ];
    Table::from_iter(keys.map(|(key, value)| (key.to_owned(), value))).into()
}

/// Writes a file that the service may read: by the group of the folder it lies in.
fn write(path: &Path, text: &str) -> Result<(), SetupError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let written = fs::metadata(folder).and_then(|folder| {
        durable::write_with(path, text.as_bytes(), &|file: &File| {
            if file.metadata()?.gid() != folder.gid() {
                fchown(file, None, Some(folder.gid()))?;
            }
            file.set_permissions(fs::Permissions::from_mode(MODE))
        })
    });
    written.map_err(|source| SetupError::Write { path: path.to_owned(), source })
}

/// Whether the page of the set-up may listen there: nobody but who is at the box, or on its cable.
pub fn is_near(address: SocketAddr) -> bool {
    match address {
        SocketAddr::V4(v4) => v4.ip().is_loopback() || v4.ip().is_link_local(),
        SocketAddr::V6(v6) => v6.ip().is_loopback() || v6.ip().is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests;
