//! `sagitta order`: signs a command, for whoever brings it to the broker. Nothing is sent from here.

use super::Outcome;
use crate::commands::order::{Claims, MAX_VALIDITY_S, Order};
use crate::commands::token::SigningKey;
use crate::identity::{JobId, hexadecimal};
use crate::messages::{Name, Timestamp};
use crate::registry::Model;
use anyhow::Context;
use clap::{Args, Subcommand};
use std::io::Read;
use std::path::PathBuf;

/// Bytes of an id: nobody guesses the same twice.
const ID_BYTES: usize = 12;

/// Arguments of `sagitta order`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Your private key: a PEM file, as `openssl genpkey -algorithm ed25519` makes it.
    #[arg(long)]
    key: PathBuf,
    /// The device, SITE/DEVICE as in its topics.
    #[arg(long)]
    device: String,
    /// Seconds for which the command is good.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=MAX_VALIDITY_S))]
    valid: u64,
    #[command(subcommand)]
    order: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Test the nets now.
    SelfTest,
    /// Take no more series; finish those that are here.
    Drain,
    /// Take series again.
    Resume,
    /// Bring the result of a job to its destinations once more.
    Resend {
        #[arg(value_parser = job)]
        job: JobId,
        /// One destination of the configuration; all when absent.
        #[arg(long)]
        destination: Option<String>,
    },
    /// Make the result of a job again.
    Reprocess {
        #[arg(value_parser = job)]
        job: JobId,
    },
    /// Let a job be that has no result yet, or whose result is not delivered.
    Cancel {
        #[arg(value_parser = job)]
        job: JobId,
    },
    /// Run a model beside the active one from the next start on; without a name, none.
    ModelShadow { model: Option<Model> },
    /// Let a model make the results from the next start on.
    ModelPromote { model: Model },
    /// Let the model before this one make the results again, from the next start on.
    ModelRollback,
    /// End in order, to be started again.
    Restart,
}

fn job(text: &str) -> Result<JobId, &'static str> {
    JobId::try_from(text.to_owned())
}

impl From<What> for Order {
    fn from(what: What) -> Order {
        match what {
            What::SelfTest => Order::SelfTest {},
            What::Drain => Order::Drain {},
            What::Resume => Order::Resume {},
            What::Resend { job, destination } => Order::Resend { job, destination },
            What::Reprocess { job } => Order::Reprocess { job },
            What::Cancel { job } => Order::Cancel { job },
            What::ModelShadow { model } => Order::ModelShadow { model },
            What::ModelPromote { model } => Order::ModelPromote { model },
            What::ModelRollback => Order::ModelRollback {},
            What::Restart => Order::Restart {},
        }
    }
}

pub fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    let Arguments { key, device, valid, order } = arguments;
    let key = SigningKey::read(&key)?;
    let mut id = [0; ID_BYTES];
    let random = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut id));
    random.context("the system gives no random numbers")?;
    let iat = Timestamp::now().millis() / 1000;
    let claims = Claims {
        jti: Name::new(&hexadecimal(&id))?,
        aud: device,
        iat,
        exp: iat + valid,
        order: Order::from(order),
    };
    println!("{}", key.sign(&serde_json::to_vec(&claims)?));
    Ok(Outcome::Done)
}
