//! The page with drawn data, to work on it without a scanner: `cargo run --release --example page`.

#[path = "../tests/support/page.rs"]
mod page;
#[path = "../tests/support/mod.rs"]
mod support;

use page::DrawnSpine;
use pipeline::Numbering;
use sagitta::dashboard::{self, Access, DEFAULT_LISTEN};
use sagitta::messages::{Completion, JobStage, JobState, Name};
use sagitta::outbox::Outbox;
use sagitta::publish::mqtt::{BrokerSettings, Endpoint, Publisher, Settings, subscribe};
use std::sync::Arc;
use support::{Folder, job, result, status};
use tokio::sync::{broadcast, watch};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = Folder::new("page");
    let settings = Settings {
        site: Name::new("north")?,
        device: Name::new("mr1")?,
        broker: BrokerSettings::Embedded { listen: "127.0.0.1:0".parse()? },
    };
    let endpoint = Endpoint::open(&settings.broker, None)?;
    let (live, messages) = broadcast::channel(64);
    subscribe(&settings, endpoint.clone(), live);
    let outbox = Arc::new(Outbox::open(&folder.path().join("outbox.redb"))?);
    let publisher = Publisher::start(&settings, endpoint, outbox);
    let job = job("1.2.3");
    for state in [
        JobState::Receiving,
        JobState::Complete { reason: Completion::CountKnown },
        JobState::Running { stage: JobStage::Semantic },
        JobState::Running { stage: JobStage::Vertebrae },
        JobState::Sending,
        JobState::Done,
    ] {
        publisher.status(&status(&job, state))?;
    }
    publisher.end(&result(&job, Numbering::FromSacrum), None)?;
    let (stop, stopped) = watch::channel(false);
    let listener = dashboard::bind(DEFAULT_LISTEN).await?;
    println!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        stop.send_replace(true);
    });
    dashboard::serve(listener, Access::ThisMachine, Arc::new(DrawnSpine), messages, stopped)
        .await?;
    publisher.shutdown().await;
    Ok(())
}
