//! The simulator of the supervisor MCU as a process of its own: program `firmware`, which lies beside this one.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// For its start on a busy machine.
const START: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A running simulator. It ends with this process: its standard input closes.
#[derive(Debug)]
pub(super) struct Simulator {
    child: Child,
    /// Its serial port.
    pub(super) port: PathBuf,
}

impl Simulator {
    /// Starts it with its port in `folder`, its lines in `mcu.log` there.
    pub(super) fn start(folder: &Path) -> Result<Simulator> {
        let program = std::env::current_exe()?.with_file_name("firmware");
        let port = folder.join("mcu");
        // A port of an earlier demo leads nowhere.
        if port.is_symlink() {
            std::fs::remove_file(&port)?;
        }
        let log = std::fs::File::create(folder.join("mcu.log"))?;
        let mut command = Command::new(&program);
        let child =
            command.arg(&port).stdin(Stdio::piped()).stdout(log).spawn().with_context(|| {
                let program = program.display();
                format!("cannot start {program}: build it with `cargo build --release -p firmware`")
            })?;
        let simulator = Simulator { child, port };
        let started = Instant::now();
        while !simulator.port.exists() {
            anyhow::ensure!(started.elapsed() < START, "the simulator of the MCU does not start");
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(simulator)
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It may have ended by itself.
        let _ = self.child.wait();
    }
}
