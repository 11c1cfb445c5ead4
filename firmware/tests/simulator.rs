//! The simulator speaks the link over its real pseudo-terminal, and does what its bench says.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use link::{
    FromSupervisor, JournalEvent, PowerState, Reader, ResetCause, ToSupervisor, VERSION, encode,
};

struct Simulator {
    child: Child,
    path: PathBuf,
    bench: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Simulator {
    fn start(name: &str) -> Simulator {
        let path = std::env::temp_dir().join(format!("sagitta-mcu-{}-{name}", std::process::id()));
        let mut child = Command::new(env!("CARGO_BIN_EXE_firmware"))
            .arg(&path)
            .arg("--bench")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (bench, out) = (child.stdin.take(), child.stdout.take().unwrap());
        let mut simulator = Simulator { child, path, bench, lines: BufReader::new(out).lines() };
        simulator.wait_for("state=Booting");
        simulator
    }

    /// Reads lines of the bench until one holds `text`.
    fn wait_for(&mut self, text: &str) -> String {
        let mut lines = self.lines.by_ref().map(Result::unwrap);
        lines.find(|line| line.contains(text)).unwrap_or_else(|| panic!("no {text}"))
    }

    fn press(&mut self, letters: &str) {
        self.bench.as_mut().unwrap().write_all(letters.as_bytes()).unwrap();
    }

    fn open(&self) -> Port {
        let file = OpenOptions::new().read(true).write(true).open(&self.path).unwrap();
        Port { file, reader: Reader::default() }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // The end of its standard input ends it.
        drop(self.bench.take());
        assert!(self.child.wait().unwrap().success());
        assert!(!self.path.is_symlink(), "it takes its link away");
    }
}

struct Port {
    file: File,
    reader: Reader,
}

impl Port {
    fn ask(&mut self, message: ToSupervisor) -> FromSupervisor {
        self.file.write_all(encode(&message).unwrap().as_bytes()).unwrap();
        let mut byte = [0];
        loop {
            self.file.read_exact(&mut byte).unwrap();
            if let Some(answer) = self.reader.push(byte[0]) {
                return answer.unwrap();
            }
        }
    }

    fn state(&mut self) -> (PowerState, u32) {
        match self.ask(ToSupervisor::GetStatus) {
            FromSupervisor::Status { state, bad_frames, .. } => (state, bad_frames),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn answers_over_its_uart() {
    let simulator = Simulator::start("uart");
    let mut port = simulator.open();
    // Noise first: the link must find its place.
    port.file.write_all(&[0x55, 0xaa, 0x00]).unwrap();
    let hello = port.ask(ToSupervisor::Hello { version: VERSION });
    assert_eq!(hello, FromSupervisor::Hello { version: VERSION, reset_cause: ResetCause::PowerOn });
    let seen = port.ask(ToSupervisor::Heartbeat { sequence: 41 });
    assert_eq!(seen, FromSupervisor::HeartbeatSeen { sequence: 41 });
    assert_eq!(port.state(), (PowerState::Running, 1));
    // Closed and opened again, as by a runtime that starts anew.
    drop(port);
    let mut port = simulator.open();
    assert_eq!(port.state(), (PowerState::Running, 1));
}

#[test]
fn its_bench_presses_heats_and_hangs() {
    let mut simulator = Simulator::start("bench");
    simulator.press("t");
    simulator.wait_for("state=Off carrier=false module=false reset=true fan=100");
    simulator.press("t");
    simulator.wait_for("state=Booting carrier=true module=true reset=false");
    let mut port = simulator.open();
    simulator.press("h");
    simulator.wait_for("run=2 cause=Watchdog");
    port.ask(ToSupervisor::Hello { version: VERSION });
    let mut heard = Vec::new();
    while let FromSupervisor::Entry { sequence, run, event, .. } =
        port.ask(ToSupervisor::GetEntry { from: heard.len() as u32 })
    {
        assert_eq!(sequence as usize, heard.len());
        heard.push((run, event));
    }
    assert!(heard.contains(&(1, JournalEvent::TooHot)), "{heard:?}");
    let started = JournalEvent::Started { cause: ResetCause::Watchdog };
    assert_eq!(heard.last(), Some(&(2, started)), "the journal survived");
}
