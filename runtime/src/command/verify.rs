//! `sagitta verify`: is a file what a device made? Needs the file, its report and the device's public key, and no device.

use super::Outcome;
use crate::objects::TRANSFER_SYNTAX;
use crate::report::FILE_NAME;
use crate::seal::{self, Covers, Digest, PublicKey, SealError, Statement};
use crate::{durable, part10};
use anyhow::Context;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Arguments of `sagitta verify`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Files that a device made or read, or folders of results: of a folder, its report and every file that it names.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The public key of the device, as `sagitta key` prints it.
    #[arg(long, conflicts_with = "trust")]
    key: Option<PathBuf>,
    /// A folder of public keys (*.pem), one for each device that is trusted.
    #[arg(long, default_value = "/etc/sagitta/trust")]
    trust: PathBuf,
    /// The report; the one beside a file, or in the folder above, when absent.
    #[arg(long)]
    report: Option<PathBuf>,
    /// SHA-256 of the weights of a model that may have made it; any model when absent.
    #[arg(long = "model", value_name = "SHA256")]
    models: Vec<String>,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

/// What is wrong with a file.
#[derive(Debug, Error)]
enum Fault {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    #[error("there is no {FILE_NAME} beside it or in the folder above: name it with --report")]
    NoReport,
    #[error("its report {path} proves nothing: {source}")]
    Report { path: PathBuf, source: SealError },
    #[error("it was made by model {0}, which is not the one that --model names")]
    OtherModel(String),
    #[error("it is not what the device wrote as {0}: it was changed")]
    Changed(String),
    #[error(
        "its transfer syntax is not {TRANSFER_SYNTAX}, in which the device wrote it: it was changed"
    )]
    OtherSyntax,
    #[error("its report names no such file")]
    NotNamed,
}

impl Fault {
    /// The word for scripts.
    fn word(&self) -> &'static str {
        match self {
            Fault::Unreadable(_) => "unreadable",
            Fault::NoReport => "no_report",
            Fault::Report { source: SealError::NotReport(_), .. } => "not_a_report",
            Fault::Report { source: SealError::Unsigned, .. } => "unsigned",
            Fault::Report { source: SealError::ForeignKey(_), .. } => "foreign_key",
            Fault::Report { source: SealError::Changed, .. } => "report_changed",
            Fault::OtherModel(_) => "other_model",
            Fault::Changed(_) | Fault::OtherSyntax => "changed",
            Fault::NotNamed => "not_named",
        }
    }
}

/// What a file is to its report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    Report,
    /// It was made.
    Output,
    /// It was read.
    Input,
}

/// What is known of one file.
#[derive(Debug, Serialize)]
struct Verdict {
    file: PathBuf,
    genuine: bool,
    role: Option<Role>,
    fault: Option<&'static str>,
    text: String,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let trusted = trusted(arguments)?;
    let mut verdicts = Vec::new();
    for file in &arguments.files {
        match file.is_dir() {
            true => verdicts.extend(folder(file, arguments, &trusted)),
            false => verdicts.push(verdict(file, one(file, arguments, &trusted))),
        }
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&verdicts)?);
    } else {
        for Verdict { file, genuine, text, .. } in &verdicts {
            println!("{:<3}{}: {text}", if *genuine { "ok" } else { "!!" }, file.display());
        }
    }
    let wrong = verdicts.iter().filter(|verdict| !verdict.genuine).count();
    anyhow::ensure!(wrong == 0, "{wrong} of {} files are not proven", verdicts.len());
    Ok(Outcome::Done)
}

/// The keys to check against; none is an error, since nothing could be proven.
fn trusted(arguments: &Arguments) -> anyhow::Result<Vec<PublicKey>> {
    if let Some(path) = &arguments.key {
        return Ok(vec![PublicKey::read(path)?]);
    }
    let folder = arguments.trust.display();
    let paths = durable::files(&arguments.trust, "pem");
    let paths = paths.with_context(|| format!("cannot read the trust folder {folder}"))?;
    anyhow::ensure!(
        !paths.is_empty(),
        "there is no public key (*.pem) in {folder}: put the device's there, or name it with --key"
    );
    Ok(paths.iter().map(|path| PublicKey::read(path)).collect::<Result<_, _>>()?)
}

/// A folder of a result: its report, then every file that the report names.
fn folder(folder: &Path, arguments: &Arguments, trusted: &[PublicKey]) -> Vec<Verdict> {
    let report = arguments.report.clone().unwrap_or_else(|| folder.join(FILE_NAME));
    let statement = match opened(&report, arguments, trusted) {
        Ok(statement) => statement,
        Err(fault) => return vec![verdict(&report, Err(fault))],
    };
    let mut verdicts = vec![verdict(&report, Ok((Role::Report, statement.clone())))];
    for (name, digest) in &statement.files {
        let path = folder.join(name);
        let checked = std::fs::read(&path).map_err(Fault::from);
        let checked = checked.and_then(|bytes| same(&bytes, name, digest));
        verdicts.push(verdict(&path, checked.map(|()| (Role::Output, statement.clone()))));
    }
    verdicts
}

fn one(
    file: &Path,
    arguments: &Arguments,
    trusted: &[PublicKey],
) -> Result<(Role, Statement), Fault> {
    let bytes = std::fs::read(file)?;
    if file.file_name().is_some_and(|name| name == FILE_NAME) {
        return Ok((Role::Report, opened(file, arguments, trusted)?));
    }
    let report = arguments.report.clone().or_else(|| report_of(file)).ok_or(Fault::NoReport)?;
    let statement = opened(&report, arguments, trusted)?;
    Ok((role(file, &bytes, &statement)?, statement))
}

/// The report beside a file, or in the folder above: the slices of a series have a folder of their own.
fn report_of(file: &Path) -> Option<PathBuf> {
    let file = std::path::absolute(file).ok()?;
    let folders = file.ancestors().skip(1).take(2);
    folders.map(|folder| folder.join(FILE_NAME)).find(|report| report.is_file())
}

fn opened(report: &Path, arguments: &Arguments, trusted: &[PublicKey]) -> Result<Statement, Fault> {
    let proves_nothing = |source| Fault::Report { path: report.to_owned(), source };
    let statement = seal::open(&std::fs::read(report)?, trusted).map_err(proves_nothing)?;
    let known = |sha256: &String| arguments.models.is_empty() || arguments.models.contains(sha256);
    match statement.models.iter().find(|model| !known(&model.weights_sha256)) {
        Some(model) => {
            let named =
                format!("{} {}, SHA-256 {}", model.name, model.version, model.weights_sha256);
            Err(Fault::OtherModel(named))
        }
        None => Ok(statement),
    }
}

/// What a file is to the report. By its name where the report has that, so that two outputs cannot change places; otherwise by
/// what it holds: an archive gives files names of its own.
fn role(file: &Path, bytes: &[u8], statement: &Statement) -> Result<Role, Fault> {
    let digest = Digest::of(bytes);
    let mut files = statement.files.iter();
    let called = |name: &str| Path::new(name).file_name() == file.file_name();
    let found = files.clone().find(|(name, _)| called(name));
    let found = found.or_else(|| files.find(|(_, written)| **written == digest));
    match found {
        Some((name, written)) => same(bytes, name, written).map(|()| Role::Output),
        None if statement.inputs.contains(&digest) => Ok(Role::Input),
        None => Err(Fault::NotNamed),
    }
}

/// Whether these bytes are what was written under `name`.
fn same(bytes: &[u8], name: &str, written: &Digest) -> Result<(), Fault> {
    if Digest::of(bytes) != *written {
        return Err(Fault::Changed(name.to_owned()));
    }
    // The digest does not cover in what form the data set says that it is.
    let form = part10::File::read(bytes).and_then(|file| file.transfer_syntax());
    match written.covers {
        Covers::DataSet if form.as_deref() != Ok(TRANSFER_SYNTAX) => Err(Fault::OtherSyntax),
        _ => Ok(()),
    }
}

fn verdict(file: &Path, checked: Result<(Role, Statement), Fault>) -> Verdict {
    let file = file.to_owned();
    match checked {
        Ok((role, statement)) => {
            let text = told(role, &statement);
            Verdict { file, genuine: true, role: Some(role), fault: None, text }
        }
        Err(fault) => {
            let text = fault.to_string();
            Verdict { file, genuine: false, role: None, fault: Some(fault.word()), text }
        }
    }
}

fn told(role: Role, statement: &Statement) -> String {
    let Statement { series, software, engine, models, configuration_sha256, .. } = statement;
    let what = match role {
        Role::Report => "report",
        Role::Output => "output",
        Role::Input => "input",
    };
    let models: Vec<String> = models
        .iter()
        .map(|model| format!("{} {} (SHA-256 {})", model.name, model.version, model.weights_sha256))
        .collect();
    format!(
        "{what} of {}, result {}; {software}, {}, {}, configuration {configuration_sha256}",
        series.name,
        series.generation,
        engine.name,
        models.join(", ")
    )
}
