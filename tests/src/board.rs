//! The supervisor MCU as a peer: its image in QEMU, or its simulator. Both have a link for the runtime and a test bench.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use firmware::bench::VENDOR_SEED;
use firmware::flash::ERASED;
use firmware::slots::{FLASH_BYTES, offset};
use link::Slot;

use crate::place::{TempDir, root, sagitta};
use crate::shell::run;
use crate::wait::wait_until;

/// Building `core` and the image on a busy machine.
const BUILD: Duration = Duration::from_secs(1_500);
/// For QEMU or the simulator to start.
const START: Duration = Duration::from_secs(30);
/// The word that tells the image that it is on a bench (`firmware/board/src/marks.rs`): limits in seconds.
const ON_THE_BENCH: &str = "loader,addr=0x20100000,data=0xbe9c0001,data-len=4";

/// Bytes of the board's PSRAM, in which its flash is.
const PSRAM: u64 = 16 << 20;

/// How long a supervisor waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limits {
    /// Seconds.
    Bench,
    /// Minutes.
    Product,
}

/// The programs of a board, as ELF files.
#[derive(Debug)]
pub struct Programs {
    pub boot: PathBuf,
    /// The supervisor, linked for slots A and B.
    pub slots: [PathBuf; 2],
}

/// Builds the programs of QEMU's board.
pub fn programs() -> Result<Programs> {
    programs_of("board")
}

/// Builds the programs of the product's microcontroller, which nothing here runs.
pub fn product_programs() -> Result<Programs> {
    programs_of("board-stm32g4")
}

/// Builds the programs of a board, a folder of `firmware`, with Debian's compiler, which brings the source of `core`.
fn programs_of(board: &str) -> Result<Programs> {
    let sagitta = sagitta()?;
    // target/PROFILE/sagitta -> target/BOARD
    let target = sagitta.ancestors().nth(2).context("sagitta lies in target/PROFILE")?.join(board);
    let mut command = Command::new("/usr/bin/cargo");
    command
        .args(["build", "--release", "--locked"])
        .current_dir(root().join("firmware").join(board));
    // What Cargo and rustup set for this test is of another compiler.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO", "RUST"].iter().any(|start| text.starts_with(start)) && text != "CARGO_HOME" {
            command.env_remove(&name);
        }
    }
    command.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
    // A test trusts the bench.
    command.env_remove("SAGITTA_VENDOR_KEY").env("CARGO_TARGET_DIR", &target);
    run(&mut command, BUILD)?.success().context(
        "the image needs Debian's rustc-web, cargo-web, rust-web-src and lld-19; tests/run installs them",
    )?;
    let program = |name: &str| target.join("thumbv7em-none-eabihf/release").join(name);
    Ok(Programs { boot: program("boot"), slots: ["slot-a", "slot-b"].map(program) })
}

/// Signs the update `version` with the vendor's key `seed`; its bytes.
pub fn sign(elves: &[PathBuf; 2], version: u32, oldest: u32, seed: &[u8; 32]) -> Result<Vec<u8>> {
    let folder = TempDir::new()?;
    let (key, out) = (folder.join("vendor.key"), folder.join("update"));
    std::fs::write(&key, seed).context("write the vendor's key")?;
    let mut command = Command::new(sagitta()?);
    command.args(["mcu", "sign", "--version", &version.to_string()]);
    command.args(["--oldest", &oldest.to_string(), "--key"]).arg(&key).args(elves).arg(&out);
    run(&mut command, START)?.success().context("sign an update")?;
    std::fs::read(&out).context("read the update")
}

/// The file that QEMU keeps the board's flash in, as it leaves the factory: `update`'s image in slot A.
pub fn factory(update: &[u8], path: &Path) -> Result<()> {
    let [a, _] = link::image::images(update).context("an update has two images")?;
    let file = std::fs::File::create(path).context("make the board's flash")?;
    file.set_len(PSRAM).context("make the board's flash")?;
    file.write_all_at(&vec![ERASED; FLASH_BYTES as usize], 0).context("erase the board's flash")?;
    file.write_all_at(a.bytes, offset(Slot::A).into()).context("program the board")
}

/// A running supervisor.
pub struct Supervisor {
    child: Child,
    /// What the configuration names as its port.
    pub port: PathBuf,
    letters: Box<dyn Write + Send>,
    lines: Arc<Mutex<Vec<String>>>,
    _folder: TempDir,
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Supervisor({})", self.port.display())
    }
}

impl Supervisor {
    /// Version 1 of the image on QEMU's mps2-an386, with the limits of the bench.
    pub fn in_qemu(programs: &Programs) -> Result<Supervisor> {
        let folder = TempDir::new()?;
        let flash = folder.join("flash");
        factory(&sign(&programs.slots, 1, 1, &VENDOR_SEED)?, &flash)?;
        Supervisor::powered(&programs.boot, &flash, Limits::Bench, folder)
    }

    /// QEMU's mps2-an386 with the boot stage and what its flash holds: UART 0 and UART 1 are sockets in `folder`.
    pub fn powered(
        boot: &Path,
        flash: &Path,
        limits: Limits,
        folder: TempDir,
    ) -> Result<Supervisor> {
        let (port, bench) = (folder.join("link"), folder.join("bench"));
        let socket = |id: &str, path: &Path, wait: &str| {
            format!("socket,id={id},path={},server=on,wait={wait}", path.display())
        };
        let memory = format!(
            "memory-backend-file,id=flash,size={PSRAM},share=on,mem-path={}",
            flash.display()
        );
        let mut command = Command::new("qemu-system-arm");
        command.args(["-M", "mps2-an386,memory-backend=flash", "-object", &memory]);
        command.args(["-display", "none", "-monitor", "none", "-kernel"]).arg(boot);
        if limits == Limits::Bench {
            command.args(["-device", ON_THE_BENCH]);
        }
        // It starts when the bench is connected, so that no line is lost; the runtime comes and goes.
        command.args(["-chardev", &socket("link", &port, "off"), "-serial", "chardev:link"]);
        command.args(["-chardev", &socket("bench", &bench, "on"), "-serial", "chardev:bench"]);
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .context("start qemu-system-arm; tests/run installs the peers")?;
        let connect = || UnixStream::connect(&bench).ok();
        let stream = wait_until("the bench of QEMU", START, connect)?;
        let lines = keep_lines(stream.try_clone()?);
        Ok(Supervisor { child, port, letters: Box::new(stream), lines, _folder: folder })
    }

    /// The simulator, program `firmware` beside `sagitta`.
    pub fn simulated(limits: Limits) -> Result<Supervisor> {
        let folder = TempDir::new()?;
        let (port, program) = (folder.join("link"), sagitta()?.with_file_name("firmware"));
        let mut command = Command::new(&program);
        command.arg(&port).stdin(Stdio::piped()).stdout(Stdio::piped());
        if limits == Limits::Bench {
            command.arg("--bench");
        }
        let mut child = command.spawn().with_context(|| format!("start {}", program.display()))?;
        let letters = Box::new(child.stdin.take().context("its input is piped")?);
        let lines = keep_lines(child.stdout.take().context("its output is piped")?);
        wait_until("the port of the simulator", START, || port.exists().then_some(()))?;
        Ok(Supervisor { child, port, letters, lines, _folder: folder })
    }

    /// Does at the bench what `letters` say (`firmware/src/bench.rs`).
    pub fn press(&mut self, letters: &str) -> Result<()> {
        self.letters.write_all(letters.as_bytes()).context("write to the bench")?;
        self.letters.flush().context("write to the bench")
    }

    /// Every line of the bench so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a line from number `from` on that holds `text`; the number of the next line.
    pub fn wait_for(&self, text: &str, from: usize, limit: Duration) -> Result<usize> {
        let found = wait_until(&format!("{text} at the bench"), limit, || {
            let lines = self.lines();
            let place = lines.get(from..)?.iter().position(|line| line.contains(text))?;
            Some(from + place + 1)
        });
        found.with_context(|| format!("lines: {:#?}", self.lines()))
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines on a thread of its own, for as long as they come.
fn keep_lines(from: impl Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = lines.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    });
    lines
}
