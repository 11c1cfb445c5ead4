//! The service: DICOM in, segmentation, DICOM, files and MQTT out. [`service::run`] is where all parts meet.

pub mod broker;
pub mod command;
pub mod config;
pub mod dashboard;
pub mod decode;
pub mod dimse;
pub mod dress;
pub mod durable;
pub mod error;
pub mod files;
pub mod health;
pub mod identity;
pub mod ingest;
pub mod jobs;
pub mod messages;
pub mod objects;
pub mod outbox;
pub mod page;
pub mod part10;
pub mod publish;
pub mod render;
pub mod report;
pub mod service;
pub mod supervise;
pub mod tls;
pub mod wire;
