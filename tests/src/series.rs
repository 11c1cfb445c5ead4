//! Series to send: made by `sagitta phantom`, changed and checked by Python peers, sent by DCMTK's `storescu`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::place::{python, root, sagitta};
use crate::shell::{Finished, run};

/// Longest a phantom, a transfer or a check may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Writes a DICOM series into `out` with `sagitta phantom` and these arguments besides.
pub fn phantom(out: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(sagitta()?);
    command.arg("phantom").args(arguments).arg("--out").arg(out);
    run(&mut command, LIMIT)?.success().map(drop)
}

/// Runs a Python peer of `tests/peers`.
pub fn peer(script: &str, arguments: &[&Path]) -> Result<Finished> {
    let mut command = Command::new(python()?);
    command.arg(root().join("tests/peers").join(script)).args(arguments);
    run(&mut command, LIMIT)?.success()
}

/// How DCMTK's `storescu` writes to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nagle {
    /// Its default: small packets wait for acknowledgements.
    On,
    /// `TCP_NODELAY=1`.
    Off,
}

/// Sends every file of `folder` with `storescu` over one association. Says what it did; a failure is in its status.
pub fn send(port: u16, folder: &Path, nagle: Nagle) -> Result<Finished> {
    let mut command = Command::new("storescu");
    command.args(["-v", "+sd", "+r", "-R", "-aec", "SAGITTA", "-aet", "SCANNER"]);
    command.args(["127.0.0.1", &port.to_string()]).arg(folder);
    if nagle == Nagle::Off {
        command.env("TCP_NODELAY", "1");
    }
    run(&mut command, LIMIT)
}
