//! Runs a command to its end, with its output and a limit of time.

use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::wait::wait_until;

/// A command that ended.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// Itself when the exit code was 0; otherwise an error that shows both outputs.
    pub fn success(self) -> Result<Finished> {
        anyhow::ensure!(
            self.status.success(),
            "{}\n--- stdout\n{}\n--- stderr\n{}",
            self.status,
            self.stdout,
            self.stderr
        );
        Ok(self)
    }
}

/// Runs `command`; kills it and fails after `limit`. Output that is no UTF-8 is replaced.
pub fn run(command: &mut Command, limit: Duration) -> Result<Finished> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {name}; tests/run installs the peers"))?;
    let stdout = drain(child.stdout.take().context("stdout is piped")?);
    let stderr = drain(child.stderr.take().context("stderr is piped")?);
    let ended = wait_until(&format!("the end of {name}"), limit, || child.try_wait().transpose());
    if ended.is_err() {
        // It may have ended in between; then there is nothing to kill.
        let _ = child.kill();
        child.wait().with_context(|| format!("wait for {name}"))?;
    }
    let (stdout, stderr) = (collect(stdout), collect(stderr));
    match ended {
        Ok(status) => {
            let status = status.with_context(|| format!("wait for {name}"))?;
            Ok(Finished { status, stdout, stderr })
        }
        Err(error) => Err(error.context(format!("--- stdout\n{stdout}\n--- stderr\n{stderr}"))),
    }
}

/// Reads a pipe on its own thread: a child that fills one pipe while we wait on another would hang.
fn drain(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // A pipe that breaks ends the output; what came before is still shown.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

fn collect(reader: JoinHandle<Vec<u8>>) -> String {
    let bytes = reader.join().expect("reading a pipe does not panic");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_status_come_back() {
        let mut command = Command::new("sh");
        let done =
            run(command.args(["-c", "echo out; echo err >&2; exit 3"]), Duration::from_secs(20));
        let done = done.unwrap();
        assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(done.status.code(), Some(3));
        assert!(done.success().unwrap_err().to_string().contains("err"));
    }

    #[test]
    fn a_command_that_hangs_is_ended_and_named() {
        let mut command = Command::new("sleep");
        let error = run(command.arg("600"), Duration::from_millis(50)).unwrap_err();
        assert!(format!("{error:#}").contains("the end of sleep"), "{error:#}");
    }
}
