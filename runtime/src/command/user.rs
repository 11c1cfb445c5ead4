//! `sagitta user`: who may log in to the page.

use super::Outcome;
use crate::users::{Role, Users};
use clap::{Args, Subcommand};
use std::io::Read;
use std::path::PathBuf;

/// Arguments of `sagitta user`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Adds a user, or gives one another role and password; the password is read from standard input.
    Add {
        name: String,
        #[arg(long)]
        role: Role,
        /// The file that `[dashboard] users` names. The service reads it when it starts.
        #[arg(long, default_value = "/etc/sagitta/users.toml")]
        file: PathBuf,
    },
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let Command::Add { name, role, file } = &arguments.command;
    let mut users = Users::read(file)?;
    let mut password = String::new();
    std::io::stdin().read_to_string(&mut password)?;
    users.set(name, *role, password.trim_end_matches(['\r', '\n']))?;
    users.write(file)?;
    println!("{name} may log in to the page as {role:?}, from the next start of the service on");
    Ok(Outcome::Done)
}
