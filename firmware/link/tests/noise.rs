//! What a line does to frames: every bit of every message, bursts, cuts, joints, floods. Nothing wrong is ever taken for a
//! message, and the next whole frame is read.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use link::{
    CHUNK, Chunk, Command, FromSupervisor, ImageRefusal, ImageRequest, ImageStatus, JournalEvent,
    PowerState, Reader, ResetCause, Sensors, Slot, ToSupervisor, VERSION, Verdict, encode,
};

/// Damaged frames in each direction: a few seconds of work.
const FRAMES: u32 = 1_000_000;
/// CRC-32C finds every burst up to this length.
const BURST_BITS: usize = 32;

/// The bytes of one message of every form, by their direction.
fn to_supervisor() -> Vec<Vec<u8>> {
    // As a program is: many zeros, and a body as long as it can be.
    let program: Vec<u8> = (0..CHUNK as u8).map(|n| if n % 3 == 0 { 0 } else { n }).collect();
    let bytes = Chunk::new(&program).unwrap();
    let messages = [
        ToSupervisor::Hello { version: VERSION },
        ToSupervisor::Heartbeat { sequence: 0x0102_0304 },
        ToSupervisor::GetStatus,
        ToSupervisor::GetJournal { from: 300 },
        ToSupervisor::Command(Command::FanDuty { percent: 55 }),
        ToSupervisor::Command(Command::Restart),
        ToSupervisor::Command(Command::PowerOff),
        ToSupervisor::Command(Command::BeginUpdate { seconds: 900 }),
        ToSupervisor::Command(Command::EndUpdate),
        ToSupervisor::GetClock,
        ToSupervisor::GetSensors,
        ToSupervisor::GetEntry { from: 0 },
        ToSupervisor::Image(ImageRequest::Status),
        ToSupervisor::Image(ImageRequest::Begin { version: 7, length: 24_000 }),
        ToSupervisor::Image(ImageRequest::Chunk { offset: 11_200, bytes }),
        ToSupervisor::Image(ImageRequest::Finish),
        ToSupervisor::Image(ImageRequest::Confirm),
    ];
    messages.iter().map(|m| encode(m).unwrap().as_bytes().to_vec()).collect()
}

fn from_supervisor() -> Vec<Vec<u8>> {
    let event = JournalEvent::Started { cause: ResetCause::Watchdog };
    let state = PowerState::Running;
    let status = ImageStatus {
        board: link::image::MPS2_AN386,
        running: Slot::B,
        version: u32::MAX,
        on_trial: true,
        oldest: 5,
        last: Verdict::Refused(ImageRefusal::Signature),
    };
    let messages = [
        FromSupervisor::Hello { version: VERSION, reset_cause: ResetCause::PowerOn },
        FromSupervisor::HeartbeatSeen { sequence: 255 },
        FromSupervisor::Status {
            uptime_ms: u32::MAX,
            state,
            resets: 2,
            bad_frames: 0,
            fan_percent: 30,
        },
        FromSupervisor::Journal { sequence: 1, at_ms: 2, event: JournalEvent::Reset },
        FromSupervisor::JournalEnd { next: 12 },
        FromSupervisor::Done,
        FromSupervisor::Refused,
        FromSupervisor::Clock { run: 1, uptime_ms: u64::MAX },
        FromSupervisor::Sensors(Sensors::default()),
        FromSupervisor::Entry { sequence: u32::MAX, run: u32::MAX, at_ms: u64::MAX, event },
        FromSupervisor::Image(status),
        FromSupervisor::ImageNext { offset: 11_200 },
        FromSupervisor::ImageRefused { why: ImageRefusal::OnTrial },
    ];
    messages.iter().map(|m| encode(m).unwrap().as_bytes().to_vec()).collect()
}

/// Sends `line`, then a delimiter and `good`: `good` alone may come out. A burst may also make an end inside the frame.
fn nothing_but<T>(line: &[u8], good: &[u8], what: &str)
where
    T: serde::Serialize + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let mut reader = Reader::default();
    let bytes = line.iter().chain(&[0]).chain(good);
    let taken: Vec<T> =
        bytes.filter_map(|&byte| reader.push(byte)).filter_map(Result::ok).collect();
    let frames: Vec<_> = taken.iter().map(|m| encode(m).unwrap().as_bytes().to_vec()).collect();
    assert_eq!(frames, [good], "{what} was taken for {taken:?}");
}

fn for_both_directions(check: impl Fn(&[Vec<u8>], fn(&[u8], &[u8], &str))) {
    check(&to_supervisor(), nothing_but::<ToSupervisor>);
    check(&from_supervisor(), nothing_but::<FromSupervisor>);
}

fn flip(frame: &[u8], bits: impl Iterator<Item = usize>) -> Vec<u8> {
    let mut damaged = frame.to_vec();
    bits.for_each(|bit| damaged[bit / 8] ^= 1 << (bit % 8));
    damaged
}

#[test]
fn every_bit_of_every_message() {
    for_both_directions(|frames, nothing_but| {
        for frame in frames {
            // Not the delimiter's: `framing.rs` has those.
            for bit in 0..(frame.len() - 1) * 8 {
                nothing_but(&flip(frame, [bit].into_iter()), frame, &format!("bit {bit}"));
            }
        }
    });
}

#[test]
fn every_two_bits_of_every_message() {
    for_both_directions(|frames, nothing_but| {
        for frame in frames {
            let bits = (frame.len() - 1) * 8;
            for (a, b) in (0..bits).flat_map(|a| (a + 1..bits).map(move |b| (a, b))) {
                nothing_but(&flip(frame, [a, b].into_iter()), frame, &format!("bits {a}, {b}"));
            }
        }
    });
}

#[test]
fn bursts_at_every_place() {
    for_both_directions(|frames, nothing_but| {
        let mut random = Random(0x1234_5678_9abc_def1);
        for frame in frames {
            let bits = (frame.len() - 1) * 8;
            for first in 0..bits {
                for length in 2..=BURST_BITS.min(bits - first) {
                    // A burst begins and ends with a wrong bit.
                    let inside = random.next();
                    let wrong =
                        |bit: usize| bit == 0 || bit == length - 1 || inside >> (bit % 64) & 1 == 1;
                    let burst = (0..length).filter(|&bit| wrong(bit)).map(|bit| first + bit);
                    nothing_but(&flip(frame, burst), frame, &format!("{length} bits at {first}"));
                }
            }
        }
    });
}

#[test]
fn a_million_damaged_frames_of_any_kind() {
    for_both_directions(damage);
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 24) as usize % n
    }
}

/// Damages frames in every way a line has; a result that is one of the good frames again is none.
fn damage(frames: &[Vec<u8>], nothing_but: fn(&[u8], &[u8], &str)) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for n in 0..FRAMES {
        let frame = frames[random.below(frames.len())].clone();
        let other = frames[random.below(frames.len())].clone();
        let mut line = frame[..frame.len() - 1].to_vec();
        match random.below(7) {
            0 => (0..=random.below(12)).for_each(|_| flip_one(&mut line, &mut random)),
            1 => line.truncate(random.below(line.len())),
            2 => drop(line.drain(..random.below(line.len()))),
            3 => line.insert(random.below(line.len()), random.next() as u8),
            4 => line.extend_from_slice(&other[random.below(other.len())..other.len() - 1]),
            5 => line = (0..random.below(300)).map(|_| random.next() as u8).collect(),
            _ => {
                let (a, b) = (random.below(line.len()), random.below(line.len()));
                line.swap(a, b);
            }
        }
        // A cut that left nothing, a swap of equal bytes, an even number of flips: no damage, or a whole frame.
        let whole = |part: &[u8]| frames.iter().any(|f| f[..f.len() - 1] == *part);
        if line.split(|byte| *byte == 0).any(whole) {
            continue;
        }
        nothing_but(&line, &frame, &format!("frame {n}: {line:02x?}"));
    }
}

fn flip_one(line: &mut [u8], random: &mut Random) {
    let bit = random.below(line.len() * 8);
    line[bit / 8] ^= 1 << (bit % 8);
}
