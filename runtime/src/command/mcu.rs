//! `sagitta mcu`: the supervisor's own image, at the device and at its vendor.

use super::Outcome;
use crate::config::Config;
use crate::error::Move;
use crate::supervise::image::{self, ImageError};
use crate::supervise::vendor::VendorKey;
use anyhow::Context;
use clap::{Args, Subcommand};
use link::{ImageStatus, Verdict};
use std::path::{Path, PathBuf};

/// Arguments of `sagitta mcu`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Says which image the supervisor runs and what came of the last update.
    Status(Port),
    /// Gives the supervisor another image; the service must be stopped, and started again afterwards.
    Update(Update),
    /// Makes an update file of the supervisor's programs, signed by the vendor.
    Sign(Sign),
    /// Prints the public half of the vendor's key, which the boot stage is built with; makes the key where there is none.
    Key(Key),
}

#[derive(Debug, Args)]
struct Port {
    /// The configuration of the service, which names the port.
    #[arg(long, env = "SAGITTA_CONFIG", default_value = "/etc/sagitta/sagitta.toml")]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct Update {
    /// The update file of the vendor.
    image: PathBuf,
    #[command(flatten)]
    port: Port,
}

#[derive(Debug, Args)]
struct Sign {
    /// The program linked for slot A, an ELF file.
    slot_a: PathBuf,
    /// The program linked for slot B.
    slot_b: PathBuf,
    /// The update file to write.
    out: PathBuf,
    /// The file of the vendor's key.
    #[arg(long)]
    key: PathBuf,
    /// The version of the image; every release has a higher one.
    #[arg(long)]
    version: u32,
    /// The oldest version that may run once this one is confirmed: the last one with a hole that an attacker could use, plus one.
    #[arg(long)]
    oldest: u32,
}

#[derive(Debug, Args)]
struct Key {
    /// The file of the key. Whoever has it makes supervisors: keep it off the devices.
    file: PathBuf,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    match &arguments.action {
        Action::Status(port) => {
            print_status(&image::status(&port.path()?).map_err(explain)?);
            Ok(Outcome::Done)
        }
        Action::Update(update) => run_update(update),
        Action::Sign(sign) => run_sign(sign),
        Action::Key(key) => {
            println!("{}", VendorKey::keep(&key.file)?.public());
            Ok(Outcome::Done)
        }
    }
}

impl Port {
    fn path(&self) -> anyhow::Result<PathBuf> {
        let none = || format!("{} has no section [mcu]", self.config.display());
        Ok(Config::read(&self.config)?.mcu.with_context(none)?.port)
    }
}

fn run_update(update: &Update) -> anyhow::Result<Outcome> {
    let port = update.port.path()?;
    let file = read(&update.image)?;
    match image::update(&port, &file) {
        Ok(status) => {
            print_status(&status);
            println!("start the service now: the supervisor waits three minutes for its heartbeat");
            Ok(Outcome::Done)
        }
        Err(
            error @ (ImageError::NotUpdate
            | ImageError::OtherBoard { .. }
            | ImageError::Refused(_)
            | ImageError::NotConfirmed),
        ) => {
            let (image, advice) = (update.image.display(), Move::Peer.advice());
            Ok(Outcome::Refused(format!("{image}: {error}; {advice}")))
        }
        Err(error) => Err(explain(error)),
    }
}

fn run_sign(sign: &Sign) -> anyhow::Result<Outcome> {
    let key = VendorKey::read(&sign.key)?;
    let (a, b) = (read(&sign.slot_a)?, read(&sign.slot_b)?);
    let file = key.sign([&a, &b], sign.version, sign.oldest)?;
    let out = &sign.out;
    std::fs::write(out, &file).with_context(|| format!("cannot write {}", out.display()))?;
    println!("version {} for {}: {} bytes", sign.version, key.public(), file.len());
    Ok(Outcome::Done)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// An error that is no fault of the image, with what to do.
fn explain(error: ImageError) -> anyhow::Error {
    let advice = match error {
        ImageError::Held | ImageError::Line(_) => {
            "the service holds the line while it runs: stop it (systemctl stop sagitta), and look at port and cable"
        }
        ImageError::TooOldLink(_) => "program it once by its debug port",
        ImageError::Lost => {
            "it takes its old image again by itself: ask `sagitta mcu status` later"
        }
        _ => "ask `sagitta mcu status`",
    };
    anyhow::anyhow!("{error}; {advice}; {}", Move::Site.advice())
}

fn print_status(status: &ImageStatus) {
    let trial = if status.on_trial { ", on trial" } else { "" };
    println!("image: version {} in slot {:?}{trial}", status.version, status.running);
    println!("oldest version that may run: {}", status.oldest);
    let last = match status.last {
        Verdict::Open => "none, or not decided yet".to_owned(),
        Verdict::Confirmed => "confirmed".to_owned(),
        Verdict::Refused(why) => ImageError::Refused(why).to_string(),
        Verdict::NotConfirmed => ImageError::NotConfirmed.to_string(),
        Verdict::Rescued => "the image was damaged in its slot, the other slot's runs".to_owned(),
    };
    println!("last update: {last}");
}
