//! The supervisor's own image, updated by `sagitta mcu` over the link: on the board in QEMU with its boot stage, and in the
//! simulator. What is bad is refused with its reason, what hangs is taken back, and the computer notices nothing.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use firmware::bench::VENDOR_SEED;
use link::image::{HEADER, images};
use tests::board::{Limits, Supervisor, factory, programs, sign};
use tests::{Appliance, Finished, Site, TempDir, run, sagitta};

/// An update and its trial on a busy machine.
const UPDATE: Duration = Duration::from_secs(170);
const SLACK: Duration = Duration::from_secs(30);
/// Where the board's slots have their programs (`firmware/board/slot-a.x`, `slot-b.x`).
const PROGRAMS: [u32; 2] = [0x2100_1400, 0x2100_d400];

/// A host beside a supervisor, with the vendor's updates.
struct Host {
    folder: TempDir,
    config: PathBuf,
}

impl Host {
    fn new(port: &Path) -> Host {
        let folder = TempDir::new().unwrap();
        let (config, data) = (folder.join("sagitta.toml"), folder.join("data"));
        let text = format!(
            "data = '{}'\n[mqtt]\nsite = 'north'\ndevice = 'mr1'\n[mcu]\nport = '{}'\n",
            data.display(),
            port.display()
        );
        std::fs::write(&config, text).unwrap();
        Host { folder, config }
    }

    fn mcu(&self, action: &str, file: Option<&Path>) -> Finished {
        let mut command = Command::new(sagitta().unwrap());
        command.args(["mcu", action]).args(file).arg("--config").arg(&self.config);
        run(&mut command, UPDATE).unwrap()
    }

    fn update(&self, file: &[u8]) -> Finished {
        let path = self.folder.join("update");
        std::fs::write(&path, file).unwrap();
        self.mcu("update", Some(&path))
    }

    fn takes(&self, file: &[u8], version: u32) {
        let done = self.update(file).success().unwrap();
        assert!(done.stdout.contains("last update: confirmed"), "{}", done.stdout);
        self.runs(version);
    }

    /// Refused with `reason`, and the old version runs.
    fn refuses(&self, file: &[u8], reason: &str, version: u32) {
        let refused = self.update(file);
        assert_eq!(refused.status.code(), Some(3), "{}{}", refused.stdout, refused.stderr);
        assert!(refused.stderr.contains(reason), "want {reason}: {}", refused.stderr);
        self.runs(version);
    }

    fn runs(&self, version: u32) {
        let status = self.mcu("status", None).success().unwrap().stdout;
        assert!(status.starts_with(&format!("image: version {version} in slot")), "{status}");
        assert!(!status.contains("on trial"), "{status}");
    }
}

/// Good and bad updates of version 1 of a supervisor; `elves` and `hangs` are its programs.
fn story(supervisor: &Supervisor, elves: &[PathBuf; 2], hangs: &[PathBuf; 2]) {
    let host = Host::new(&supervisor.port);
    let at = supervisor.wait_for("state=Booting", 0, SLACK).unwrap();
    host.runs(1);
    host.takes(&sign(elves, 2, 2, &VENDOR_SEED).unwrap(), 2);
    let at = supervisor.wait_for("boot slot=B version=2 trial=true", at, SLACK).unwrap();

    let foreign = sign(elves, 3, 2, &[7; 32]).unwrap();
    host.refuses(&foreign, "its vendor did not sign it", 2);
    let mut flipped = sign(elves, 3, 2, &VENDOR_SEED).unwrap();
    let program = HEADER + images(&flipped).unwrap()[0].header.length as usize / 2;
    flipped[program] ^= 0x10;
    host.refuses(&flipped, "its program is not the one that was signed", 2);
    let older = sign(elves, 1, 1, &VENDOR_SEED).unwrap();
    host.refuses(&older, "it is older than the oldest version that may run", 2);
    host.refuses(&older[..older.len() - 1], "not all of one", 2);

    let hanging = sign(hangs, 3, 2, &VENDOR_SEED).unwrap();
    host.refuses(&hanging, "it did not prove itself", 2);
    let at = supervisor.wait_for("boot slot=A version=3 trial=true", at, SLACK).unwrap();
    let at = supervisor.wait_for("boot slot=B version=2 trial=false", at, SLACK).unwrap();
    host.takes(&sign(elves, 4, 2, &VENDOR_SEED).unwrap(), 4);
    supervisor.wait_for("boot slot=A version=4 trial=true", at, SLACK).unwrap();
    // Every start of the supervisor but the first found the computer running, and let it run.
    let lines = supervisor.lines();
    let first = lines.iter().position(|line| line.contains("reset=false")).unwrap();
    let later: Vec<_> = lines[first..].iter().filter(|line| line.contains("reset=")).collect();
    assert!(later.iter().all(|line| line.contains("module=true reset=false")), "{lines:#?}");
}

#[test]
fn the_board_in_qemu_is_updated_and_keeps_its_image_without_power() {
    let (programs, folder) = (programs().unwrap(), TempDir::new().unwrap());
    let flash = folder.join("flash");
    factory(&sign(&programs.slots, 1, 1, &VENDOR_SEED).unwrap(), &flash).unwrap();
    let power = || {
        let folder = TempDir::new().unwrap();
        Supervisor::powered(&programs.boot, &flash, Limits::Product, folder).unwrap()
    };
    let supervisor = power();
    supervisor.wait_for("boot slot=A version=1 trial=false", 0, SLACK).unwrap();
    let hangs = PROGRAMS.map(|address| elf(&folder, address, &hanging_program(address)));
    story(&supervisor, &programs.slots, &hangs);
    drop(supervisor);
    let again = power();
    again.wait_for("boot slot=A version=4 trial=false", 0, SLACK).unwrap();
    again.wait_for("run=1 cause=PowerOn", 0, SLACK).unwrap();
}

#[test]
fn a_board_without_a_good_image_says_so_and_runs_none() {
    let (programs, folder) = (programs().unwrap(), TempDir::new().unwrap());
    let flash = folder.join("flash");
    factory(&sign(&programs.slots, 1, 1, &[7; 32]).unwrap(), &flash).unwrap();
    let supervisor = Supervisor::powered(&programs.boot, &flash, Limits::Product, folder).unwrap();
    supervisor.wait_for("boot none a=Signature b=NotImage", 0, SLACK).unwrap();
    assert_eq!(supervisor.lines().len(), 1);
}

#[test]
fn the_simulator_is_updated_as_the_board_is() {
    let folder = TempDir::new().unwrap();
    let elves = |program: &[u8]| PROGRAMS.map(|address| elf(&folder, address, program));
    let supervisor = Supervisor::simulated(Limits::Product).unwrap();
    story(&supervisor, &elves(b"simulator, a newer one"), &elves(b"hang"));
}

#[test]
fn a_service_that_runs_holds_the_line() {
    let supervisor = Supervisor::simulated(Limits::Bench).unwrap();
    let site = Site::new().unwrap();
    let config = format!("{}\n[mcu]\nport = '{}'\n", site.config(), supervisor.port.display());
    let _appliance = Appliance::start(&site.folder, &config).unwrap();
    supervisor.wait_for("state=Running", 0, SLACK).unwrap();
    let asked = Host::new(&supervisor.port).mcu("status", None);
    assert_eq!(asked.status.code(), Some(1));
    let want = ["another program holds the line", "systemctl stop sagitta", "the site's move"];
    assert!(want.iter().all(|words| asked.stderr.contains(words)), "{}", asked.stderr);
}

#[test]
fn a_vendors_key_is_made_once_and_programs_in_the_wrong_order_are_not_signed() {
    let folder = TempDir::new().unwrap();
    let key = folder.join("vendor.key");
    let print = || {
        let mut command = Command::new(sagitta().unwrap());
        run(command.args(["mcu", "key"]).arg(&key), SLACK).unwrap().success().unwrap().stdout
    };
    let digits = print();
    assert!(digits.trim_end().len() == 64 && digits == print(), "{digits}");
    let [a, b] = PROGRAMS.map(|address| elf(&folder, address, b"program"));
    let error = sign(&[b, a], 1, 1, &VENDOR_SEED).unwrap_err();
    assert!(format!("{error:#}").contains("slot B is 49152 bytes behind slot A"), "{error:#}");
}

/// A program whose every exception, its start included, stays where it is.
fn hanging_program(address: u32) -> Vec<u8> {
    const STACK: u32 = 0x2000_7000;
    const VECTORS: u32 = 64;
    // Odd addresses: Thumb code. The instruction behind the table jumps to itself (`b .`).
    let handler = (address + 4 * VECTORS) | 1;
    let table = std::iter::once(STACK).chain((1..VECTORS).map(|_| handler));
    table.flat_map(u32::to_le_bytes).chain([0xfe, 0xe7]).collect()
}

/// A 32-bit ELF file of one loaded segment.
fn elf(folder: &TempDir, address: u32, program: &[u8]) -> PathBuf {
    const HEADERS: u32 = 52 + 32;
    let length = program.len() as u32;
    let mut file = b"\x7fELF\x01\x01\x01".to_vec();
    file.resize(16, 0);
    let halves = |file: &mut Vec<u8>, halves: &[u16]| {
        file.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
    };
    let words = |file: &mut Vec<u8>, words: &[u32]| {
        file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    };
    // An executable for Arm; entry, program headers, section headers, flags.
    halves(&mut file, &[2, 40]);
    words(&mut file, &[1, address, 52, 0, 0]);
    // Sizes of header, one program header of 32 bytes, no sections.
    halves(&mut file, &[52, 32, 1, 0, 0, 0]);
    // PT_LOAD: offset, addresses, sizes, flags, alignment.
    words(&mut file, &[1, HEADERS, address, address, length, length, 5, 4]);
    file.extend_from_slice(program);
    let path = folder.join(format!("{address:x}-{length}.elf"));
    std::fs::write(&path, file).unwrap();
    path
}
