//! The supervisor MCU and the real `sagitta run`: its image in QEMU over a socket, and its simulator over a terminal, tell
//! the same story. And what the image weighs.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::path::Path;
use std::time::{Duration, Instant};

use firmware::bench::VENDOR_SEED;
use link::Slot;
use link::image::{STM32G431, images};
use serde_json::Value;
use tests::board::{Limits, Supervisor, product_programs, programs, sign};
use tests::{Appliance, Site, wait_until};

/// The bench's limits (`Limits::BENCH`), and what a busy machine may add.
const BEAT_LIMIT: Duration = Duration::from_secs(4);
const BOOT_LIMIT: Duration = Duration::from_secs(6);
const WATCHDOG: Duration = Duration::from_secs(4);
const SLACK: Duration = Duration::from_secs(30);

/// Flash and stack of the smallest MCU considered (STM32G431: 128 KiB and 32 KiB), with room for a second image and for the
/// boot stage, which has the signature to check.
const MAX_FLASH: u32 = 32 * 1024;
const MAX_BOOT: u32 = 24 * 1024;
const MAX_STACK: u32 = 8 * 1024;
const MAX_BOOT_STACK: u32 = 16 * 1024;

/// A site whose appliance has a supervisor.
struct Station {
    site: Site,
    config: String,
}

impl Station {
    fn new(supervisor: &Supervisor) -> Station {
        let site = Site::new().unwrap();
        // Tables come after the plain keys; the destinations are the last.
        let config = format!("{}\n[mcu]\nport = '{}'\n", site.config(), supervisor.port.display());
        Station { site, config }
    }

    fn start(&self) -> Appliance {
        Appliance::start(&self.site.folder, &self.config).unwrap()
    }

    /// What was said on a topic of the supervisor, in order.
    fn heard(&self, kind: &str) -> Vec<Value> {
        let end = format!("/mcu/{kind}");
        let messages = self.site.messages.messages().unwrap().into_iter();
        let payloads = messages.filter(|(topic, _)| topic.ends_with(&end)).map(|(_, text)| text);
        payloads.map(|text| serde_json::from_str(&text).unwrap()).collect()
    }

    /// Waits until the last entries of the journal are `events`.
    fn journal_ends(&self, events: &[&str]) {
        let told = || -> Vec<String> {
            let entries = self.heard("journal");
            let words = entries.iter().map(|entry| entry["event"].as_str().unwrap());
            // Bytes that were under way when the supervisor hung may be half a frame to it.
            words.filter(|word| *word != "link_noisy").map(str::to_owned).collect()
        };
        let ended = wait_until("the journal by MQTT", SLACK, || {
            told().ends_with(&strings(events)).then_some(())
        });
        ended.unwrap_or_else(|error| panic!("{error}: want {events:?}, told {:?}", told()));
    }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Heartbeats; a runtime that stands still; one that stays away; one that comes back; a supervisor that hangs.
fn story(mut supervisor: Supervisor) {
    let station = Station::new(&supervisor);
    let appliance = station.start();
    let at = supervisor.wait_for("state=Running", 0, SLACK).unwrap();
    station.journal_ends(&["started", "powered_on", "healthy"]);

    // Stopped, it keeps its port open and says nothing.
    let silent = Instant::now();
    appliance.process.signal("STOP").unwrap();
    let at = supervisor.wait_for("state=Resetting", at, BEAT_LIMIT + SLACK).unwrap();
    assert!(silent.elapsed() + Duration::from_millis(1_500) > BEAT_LIMIT, "reset too early");
    assert!(supervisor.lines()[at - 1].contains("reset=true"));
    // What the reset line does.
    appliance.kill();
    let at = supervisor.wait_for("state=Booting", at, SLACK).unwrap();

    // Nobody comes: two more resets, then it is left alone.
    let at = supervisor.wait_for("state=Recovery", at, 3 * BOOT_LIMIT + SLACK).unwrap();
    let lines = supervisor.lines();
    assert!(lines[at - 1].contains("module=true reset=false fan=100 led=Red/Steady"), "{lines:#?}");
    let resets = lines.iter().filter(|line| line.contains("state=Resetting")).count();
    assert_eq!(resets, 3, "{lines:#?}");

    // Somebody repaired it: its heartbeat ends Recovery.
    let mut appliance = station.start();
    let at = supervisor.wait_for("state=Running", at, SLACK).unwrap();
    station.journal_ends(&[
        "healthy",
        "heartbeat_lost",
        "reset",
        "boot_timed_out",
        "reset",
        "boot_timed_out",
        "reset",
        "boot_timed_out",
        "gave_up",
        "healthy",
    ]);

    supervisor.press("h").unwrap();
    let at =
        supervisor.wait_for("run=2 cause=Watchdog state=Booting", at, WATCHDOG + SLACK).unwrap();
    supervisor.wait_for("state=Running", at, SLACK).unwrap();
    station.journal_ends(&["gave_up", "healthy", "started", "healthy"]);
    assert!(appliance.process.is_running().unwrap(), "{}", appliance.log());
    let again = &supervisor.lines()[at - 1..];
    assert!(again.iter().all(|line| line.contains("reset=false")), "left alone: {again:#?}");

    told_once(&station);
    let last = station.heard("link").pop().unwrap();
    println!(
        "round trip p50 {} ms, p99 {} ms",
        last["round_trip_p50_ms"], last["round_trip_p99_ms"]
    );

    // An orderly end announces itself.
    appliance.process.signal("TERM").unwrap();
    supervisor.wait_for("state=Updating", at, SLACK).unwrap();
}

/// Every entry of the journal came, once, with its time.
fn told_once(station: &Station) {
    let mut journal = station.heard("journal");
    // A message may come twice (at least once), with its number: all that were under way when the service was stopped come
    // again together. An entry becomes one message.
    let number = |message: &Value, of: &str| message[of].as_u64().unwrap();
    journal.sort_by_key(|message| number(message, "seq"));
    journal.dedup_by_key(|message| number(message, "seq"));
    let entries: Vec<u64> = journal.iter().map(|message| number(message, "entry")).collect();
    assert_eq!(entries, (0..entries.len() as u64).collect::<Vec<_>>(), "{journal:#?}");
    assert!(journal.iter().all(|entry| entry["at"].is_string()), "{journal:#?}");
    let started: Vec<_> = journal.iter().filter(|entry| entry["event"] == "started").collect();
    let causes: Vec<_> = started.iter().map(|entry| entry["cause"].as_str().unwrap()).collect();
    assert_eq!(causes, ["power_on", "watchdog"]);
    let links = station.heard("link");
    let up = links.iter().find(|link| link["link"] == "up" && link["power"] == "running").unwrap();
    assert_eq!(up["stuck"], Value::Null);
    assert!(up["fan_rpm"].as_u64().unwrap() > 0 && up["board_c"].as_f64().unwrap() > 0.0, "{up}");
}

#[test]
fn the_image_in_qemu_guards_the_service() {
    story(Supervisor::in_qemu(&programs().unwrap()).unwrap());
}

#[test]
fn the_simulator_guards_the_service() {
    story(Supervisor::simulated(Limits::Bench).unwrap());
}

#[test]
fn the_images_fit_the_smallest_mcu() {
    for programs in [programs().unwrap(), product_programs().unwrap()] {
        fits(&programs.slots[0], MAX_FLASH, MAX_STACK);
        fits(&programs.slots[1], MAX_FLASH, MAX_STACK);
        fits(&programs.boot, MAX_BOOT, MAX_BOOT_STACK);
    }
}

/// Its programs lie where the signer knows it by, and no other board takes them.
#[test]
fn an_update_of_the_product_names_its_board() {
    let update = sign(&product_programs().unwrap().slots, 3, 2, &VENDOR_SEED).unwrap();
    let images = images(&update).unwrap();
    let headers = images.map(|image| (image.header.board, image.header.slot, image.header.version));
    assert_eq!(headers, [(STM32G431, Slot::A, 3), (STM32G431, Slot::B, 3)]);
}

fn fits(path: &Path, max_flash: u32, max_stack: u32) {
    let flash = section_bytes(path, &[".vector_table", ".text", ".rodata", ".data"]);
    let memory = section_bytes(path, &[".data", ".bss", ".uninit", ".retained"]);
    let frames = frames(path);
    // Nothing recurs, so no more than all frames together can be on the stack; a tighter bound needs the call graph.
    let stack: u32 = frames.iter().sum();
    let deepest = frames.iter().max().unwrap();
    println!(
        "{}: flash {flash} bytes, memory {memory}, stack at most {stack}, largest frame {deepest}",
        path.file_name().unwrap().display()
    );
    assert!(flash <= max_flash, "{flash} bytes of flash");
    assert!(frames.len() > 10 && stack <= max_stack, "{stack} bytes of stack: {frames:?}");
}

/// Name, size and bytes of each section of a 32-bit little-endian ELF file that holds bytes.
fn sections(path: &Path) -> Vec<(String, u32, Vec<u8>)> {
    let file = std::fs::read(path).unwrap();
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let half = |at: usize| u16::from_le_bytes(file[at..at + 2].try_into().unwrap()) as usize;
    // ELF header: section headers at 32, their count at 48, the section of their names at 50; a header has 40 bytes.
    let (headers, count, names) = (word(32), half(48), half(50));
    let names = word(headers + 40 * names + 16);
    let section = |n: usize| {
        let header = headers + 40 * n;
        let name = &file[names + word(header)..];
        let name = name.split(|byte| *byte == 0).next().unwrap();
        let (kind, offset, size) = (word(header + 4), word(header + 16), word(header + 20));
        // Kind 8 is memory without bytes.
        let bytes = if kind == 8 { Vec::new() } else { file[offset..offset + size].to_vec() };
        (String::from_utf8_lossy(name).into_owned(), size as u32, bytes)
    };
    (0..count).map(section).collect()
}

fn section_bytes(path: &Path, names: &[&str]) -> u32 {
    let sections = sections(path).into_iter();
    sections.filter(|(name, ..)| names.contains(&name.as_str())).map(|(_, size, _)| size).sum()
}

/// The stack of every function: section `.stack_sizes` holds an address and a LEB128 number for each.
fn frames(path: &Path) -> Vec<u32> {
    let sections = sections(path);
    let (_, _, bytes) = sections.iter().find(|(name, ..)| name == ".stack_sizes").unwrap();
    let mut bytes = bytes.iter();
    let mut frames = Vec::new();
    while bytes.by_ref().take(4).count() == 4 {
        let (mut frame, mut shift) = (0, 0);
        for byte in bytes.by_ref() {
            frame |= u32::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        frames.push(frame);
    }
    frames
}
