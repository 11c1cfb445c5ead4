//! An update of the supervisor: what is refused and why, and what power cuts at any moment leave.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod support;

use firmware::bench::VENDOR_SEED;
use firmware::boot::{NoImage, Start, choose};
use firmware::slots::{Record, Trial, offset};
use firmware::{Event, Retained, Slots, Supervisor, Updater, VendorKey};
use link::image::{HEADER, Header, MPS2_AN386, SLOT_BYTES};
use link::{
    CHUNK, Chunk, FromSupervisor, ImageRefusal, ImageRequest, ImageStatus, Slot, ToSupervisor,
    VERSION, Verdict, Version,
};
use support::image::{Mortal, factory, header, image, program, signed};
use support::{LIMITS, Place, T, at};

/// A flash that lives as long as it takes.
const ALIVE: u32 = u32::MAX;

/// The supervisor's own memory, and how many operations its flash has left.
struct Device {
    bytes: Vec<u8>,
    left: u32,
    seed: u64,
}

impl Device {
    fn new(image: &[u8]) -> Device {
        Device { bytes: factory(image), left: ALIVE, seed: 1 }
    }

    fn slots(&mut self) -> Slots<Mortal<'_>> {
        Slots::new(Mortal { bytes: &mut self.bytes, left: &mut self.left, seed: self.seed })
    }

    fn start(&mut self) -> Result<Start, NoImage> {
        choose(&mut self.slots(), MPS2_AN386, &VendorKey::BENCH)
    }

    /// The record, where the power is on.
    fn record(&mut self) -> Record {
        self.slots().record().unwrap()
    }

    /// Starts, and talks to what runs.
    fn run<T>(&mut self, talk: impl FnOnce(&mut Running<'_, '_>) -> T) -> T {
        let start = self.start().unwrap();
        let mut retained = Retained::empty();
        let supervisor = at(Place::Running, &mut retained);
        let updater = Updater::new(self.slots(), MPS2_AN386, start.slot, &LIMITS);
        talk(&mut Running { supervisor, updater })
    }

    /// Sends a whole image; the last answer.
    fn send(&mut self, image: &[u8]) -> FromSupervisor {
        self.run(|running| running.send(image))
    }

    /// Starts what was sent and confirms it.
    fn confirm(&mut self) -> FromSupervisor {
        self.run(|running| running.ask(ImageRequest::Confirm))
    }
}

struct Running<'a, 'b> {
    supervisor: Supervisor<'a>,
    updater: Updater<Mortal<'b>>,
}

impl Running<'_, '_> {
    fn ask(&mut self, request: ImageRequest) -> FromSupervisor {
        let event = Event::Message(ToSupervisor::Image(request));
        self.updater.handle(&mut self.supervisor, T, event).unwrap()
    }

    fn status(&mut self) -> ImageStatus {
        match self.ask(ImageRequest::Status) {
            FromSupervisor::Image(status) => status,
            other => panic!("{other:?}"),
        }
    }

    fn begin(&mut self, image: &[u8]) -> FromSupervisor {
        let version = image.first_chunk().and_then(Header::parse);
        let version = version.map_or(9, |(header, _)| header.version);
        self.ask(ImageRequest::Begin { version, length: image.len() as u32 })
    }

    fn send(&mut self, image: &[u8]) -> FromSupervisor {
        let begun = self.begin(image);
        if begun != (FromSupervisor::ImageNext { offset: 0 }) {
            return begun;
        }
        for (n, part) in image.chunks(CHUNK).enumerate() {
            let (offset, bytes) = ((n * CHUNK) as u32, Chunk::new(part).unwrap());
            let answer = self.ask(ImageRequest::Chunk { offset, bytes });
            let next = FromSupervisor::ImageNext { offset: offset + part.len() as u32 };
            if answer != next {
                return answer;
            }
        }
        self.ask(ImageRequest::Finish)
    }
}

fn refused(why: ImageRefusal) -> FromSupervisor {
    FromSupervisor::ImageRefused { why }
}

#[test]
fn a_good_image_is_tried_confirmed_and_stays() {
    let mut device = Device::new(&image(Slot::A, 1, 1));
    for (slot, version, oldest) in [(Slot::B, 2, 1), (Slot::A, 3, 2), (Slot::B, 4, 4)] {
        let sent = device.send(&image(slot, version, oldest));
        assert!(matches!(sent, FromSupervisor::Image(_)), "{sent:?}");
        let status = device.run(|running| {
            assert!(running.status().on_trial);
            running.ask(ImageRequest::Confirm)
        });
        let FromSupervisor::Image(status) = status else { panic!("{status:?}") };
        let want = ImageStatus {
            board: MPS2_AN386,
            running: slot,
            version,
            on_trial: false,
            oldest,
            last: Verdict::Confirmed,
        };
        assert_eq!(status, want);
        assert_eq!(device.run(|running| running.status()), want, "it stays");
    }
}

#[test]
fn an_image_that_nobody_confirms_is_tried_once() {
    let mut device = Device::new(&image(Slot::A, 1, 1));
    device.send(&image(Slot::B, 2, 2));
    device.run(|running| {
        assert!(!running.updater.is_reset_due(LIMITS.trial_ms - 1));
        assert!(running.updater.is_reset_due(LIMITS.trial_ms));
        assert_eq!(running.begin(&image(Slot::A, 3, 1)), refused(ImageRefusal::OnTrial));
    });
    let status = device.run(|running| running.status());
    assert_eq!((status.version, status.last), (1, Verdict::NotConfirmed));
    assert_eq!(status.oldest, 1, "what never proved itself forbids nothing");
    assert!(!status.on_trial);
}

/// The verdict on an image that was sent whole, at the end of the sending or at the next start.
fn verdict(image: &[u8]) -> ImageRefusal {
    let mut device = Device::new(&support::image::image(Slot::A, 5, 3));
    match device.send(image) {
        FromSupervisor::ImageRefused { why } => {
            assert_eq!(device.record().trial, Trial::None);
            why
        }
        FromSupervisor::Image(_) => {
            let start = device.start().unwrap();
            assert_eq!((start.slot, start.header.version), (Slot::A, 5));
            match device.record().last {
                Verdict::Refused(why) => why,
                other => panic!("{other:?}"),
            }
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_bad_image_is_refused_with_its_reason() {
    let program = program(6);
    let good = header(Slot::B, 6, 3, &program);
    let of = |header: Header| signed(&header, &program, &VENDOR_SEED);
    assert_eq!(verdict(&image(Slot::B, 2, 1)), ImageRefusal::TooOld);
    assert_eq!(verdict(&image(Slot::A, 6, 3)), ImageRefusal::OtherSlot);
    assert_eq!(verdict(&of(Header { board: 7, ..good })), ImageRefusal::OtherBoard);
    assert_eq!(verdict(&signed(&good, &program, &[7; 32])), ImageRefusal::Signature);
    assert_eq!(verdict(&of(Header { digest: [0; 64], ..good })), ImageRefusal::Damaged);
    assert_eq!(verdict(&[0xff; HEADER + 9]), ImageRefusal::NotImage);
    assert_eq!(
        verdict(&of(good)[..HEADER + 8]),
        ImageRefusal::NotImage,
        "cut, and said to be whole"
    );
    assert_eq!(verdict(&[of(good), vec![1]].concat()), ImageRefusal::NotImage, "too long");
    assert_eq!(verdict(&[0; HEADER]), ImageRefusal::Length);
    assert_eq!(verdict(&vec![0; SLOT_BYTES as usize + 1]), ImageRefusal::Length);
}

#[test]
fn no_bit_of_an_image_can_be_changed() {
    let good = image(Slot::B, 6, 3);
    for bit in 0..8 * good.len() {
        // Every bit that is judged by one place of the code is like its neighbours: some of each.
        if bit >= 8 * 32 && bit % 13 != 0 {
            continue;
        }
        let mut changed = good.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        verdict(&changed);
    }
}

#[test]
fn requests_out_of_turn_change_nothing() {
    let mut device = Device::new(&image(Slot::A, 1, 1));
    device.start().unwrap();
    let (before, new) = (device.bytes.clone(), image(Slot::B, 2, 1));
    device.run(|running| {
        let chunk = |offset: usize, len: usize| ImageRequest::Chunk {
            offset: offset as u32,
            bytes: Chunk::new(&new[offset..offset + len]).unwrap(),
        };
        let next = |offset: usize| FromSupervisor::ImageNext { offset: offset as u32 };
        assert_eq!(running.ask(chunk(0, CHUNK)), refused(ImageRefusal::NotBegun));
        assert_eq!(running.ask(ImageRequest::Finish), refused(ImageRefusal::NotBegun));
        assert!(matches!(running.ask(ImageRequest::Confirm), FromSupervisor::Image(_)));
        assert_eq!(running.begin(&new), next(0));
        assert_eq!(running.ask(chunk(CHUNK, CHUNK)), next(0), "a gap");
        assert_eq!(running.ask(chunk(0, 7)), refused(ImageRefusal::Length));
    });
    assert!(device.bytes == before);
    device.run(|running| {
        let chunk = |offset: usize| ImageRequest::Chunk {
            offset: offset as u32,
            bytes: Chunk::new(&new[offset..(offset + CHUNK).min(new.len())]).unwrap(),
        };
        running.begin(&new);
        let next = |offset: usize| FromSupervisor::ImageNext { offset: offset as u32 };
        assert_eq!(running.ask(chunk(0)), next(CHUNK));
        assert_eq!(running.ask(chunk(0)), next(CHUNK), "the answer was lost");
        assert_eq!(running.begin(&new), next(CHUNK), "another host goes on");
        assert_eq!(running.ask(ImageRequest::Finish), refused(ImageRefusal::Incomplete));
        for offset in (CHUNK..new.len()).step_by(CHUNK) {
            running.ask(chunk(offset));
        }
        assert!(matches!(running.ask(ImageRequest::Finish), FromSupervisor::Image(_)));
        assert!(matches!(running.ask(ImageRequest::Finish), FromSupervisor::Image(_)), "lost too");
        assert!(running.updater.is_reset_due(u64::from(T) + 100));
        assert_eq!(running.begin(&new), refused(ImageRefusal::OnTrial));
    });
    assert_eq!(device.start().unwrap().slot, Slot::B);
}

/// A random host, which knows what a good image is: the running image, the floor and the promise to try once hold.
#[test]
fn no_requests_in_any_order_touch_the_image_that_runs() {
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut draw = move |n: u32| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 24) as u32 % n
    };
    let mut device = Device::new(&image(Slot::A, 1, 1));
    let (mut oldest, mut slots_that_ran) = (0, [0; 2]);
    for _ in 0..60 {
        let before = device.bytes.clone();
        let (candidate, version) = (if draw(2) == 0 { Slot::A } else { Slot::B }, draw(12));
        let good = image(candidate, version, 0);
        let slot = device.run(|running| {
            let slot = running.status().running;
            for step in 0..60u32 {
                let (length, offset) = (good.len() as u32, step.saturating_sub(1) * CHUNK as u32);
                let part = good.get(offset as usize..).unwrap_or_default();
                let bytes = Chunk::new(&part[..part.len().min(CHUNK)]).unwrap();
                running.ask(match draw(60) {
                    0 => ImageRequest::Begin { version: draw(12), length: draw(SLOT_BYTES * 2) },
                    1 => ImageRequest::Confirm,
                    2 => ImageRequest::Finish,
                    3 => ImageRequest::Chunk { offset: draw(u32::MAX), bytes },
                    _ if step == 0 => ImageRequest::Begin { version, length },
                    _ if part.is_empty() => ImageRequest::Finish,
                    _ => ImageRequest::Chunk { offset, bytes },
                });
                let status = running.status();
                assert!(status.oldest >= oldest && status.running == slot);
                oldest = status.oldest;
            }
            slot
        });
        let range = offset(slot) as usize..(offset(slot) + SLOT_BYTES) as usize;
        assert!(device.bytes[range.clone()] == before[range], "{slot:?}");
        slots_that_ran[usize::from(slot == Slot::B)] += 1;
    }
    assert!(slots_that_ran.iter().all(|times| *times > 5), "{slots_that_ran:?}");
}

#[test]
fn a_host_of_1_1_and_a_computer_that_is_off_have_no_image_to_speak_of() {
    let mut device = Device::new(&image(Slot::A, 1, 1));
    let start = device.start().unwrap();
    for (place, minor) in
        [(Place::Running, 1), (Place::Resetting, 2), (Place::Off(firmware::Why::Asked), 2)]
    {
        let mut retained = Retained::empty();
        let mut supervisor = at(place, &mut retained);
        let version = Version { minor, ..VERSION };
        supervisor.handle(T, Event::Message(ToSupervisor::Hello { version }));
        let mut updater = Updater::new(device.slots(), MPS2_AN386, start.slot, &LIMITS);
        let event = Event::Message(ToSupervisor::Image(ImageRequest::Status));
        let answer = updater.handle(&mut supervisor, T, event);
        assert_eq!(answer, Some(FromSupervisor::Refused), "{place:?} {minor}");
    }
}

#[test]
fn a_damaged_active_image_is_replaced_by_the_other_if_that_may_run() {
    for (oldest, rescued) in [(1, true), (2, false)] {
        let mut device = Device::new(&image(Slot::A, 1, 1));
        device.send(&image(Slot::B, 2, oldest));
        device.confirm();
        device.bytes[offset(Slot::B) as usize + HEADER + 3] ^= 1;
        match device.start() {
            Ok(start) => {
                assert!(rescued && start.slot == Slot::A && !start.on_trial);
                assert_eq!(device.record().last, Verdict::Rescued);
                let bytes = device.bytes.clone();
                device.start().unwrap();
                assert!(device.bytes == bytes, "noted once");
            }
            Err(none) => {
                assert!(!rescued);
                assert_eq!(none.why, [ImageRefusal::TooOld, ImageRefusal::Damaged]);
            }
        }
    }
}

/// One update from the image that runs to `new`, on a flash that may die in it. Whether it came to its end.
fn whole_update(device: &mut Device, new: &[u8]) -> bool {
    if device.start().is_err() || device.left == 0 {
        return false;
    }
    device.send(new);
    if device.left == 0 {
        return false;
    }
    let Ok(start) = device.start() else { return false };
    if device.left == 0 {
        return false;
    }
    let mut retained = Retained::empty();
    let supervisor = at(Place::Running, &mut retained);
    let updater = Updater::new(device.slots(), MPS2_AN386, start.slot, &LIMITS);
    Running { supervisor, updater }.ask(ImageRequest::Confirm);
    device.left > 0
}

/// Operations of keeping a record, which is all that a start writes: an erasure and three words.
const OPERATIONS_OF_A_START: u32 = 4;

/// Whatever the flash holds, one of `versions` starts, whole and signed, also when the power goes again while it starts.
fn always_starts(device: &Device, second_cut: u32, versions: &[u32], oldest: u32) {
    let bytes = device.bytes.clone();
    let mut device = Device { bytes, left: second_cut, seed: device.seed + 1 };
    // The power may go in the middle of it.
    let _ = device.start();
    device.left = ALIVE;
    let start = device.start().unwrap_or_else(|none| panic!("cut {second_cut}: {none:?}"));
    assert!(versions.contains(&start.header.version), "{start:?}");
    assert!(start.header.version >= oldest, "a downgrade: {start:?}");
    let verified = device.slots().verified(start.slot, MPS2_AN386, oldest, &VendorKey::BENCH);
    assert_eq!(verified, Ok(start.header));
    assert!(device.record().oldest >= oldest);
    // Nothing is stuck: another update comes to its end.
    let running = device.start().unwrap().slot;
    assert!(whole_update(&mut device, &image(running.other(), 9, 9)));
    assert_eq!(device.start().unwrap().header.version, 9);
}

/// How thoroughly the power is cut: states of the memory that a cut leaves, and second cuts after each first.
struct Cuts {
    seeds: u64,
    all_second: bool,
}

/// The power goes in each operation of an update: `versions` may start then. How many places there were.
fn cut_everywhere(from: &Device, new: &[u8], versions: &[u32], oldest: u32, cuts: &Cuts) -> u32 {
    let mut operations = 0;
    for seed in 1..=cuts.seeds {
        for cut in 1.. {
            let seed = (seed + u64::from(cut)) * 0x9e37_79b9;
            let mut device = Device { bytes: from.bytes.clone(), left: cut, seed };
            let finished = whole_update(&mut device, new);
            let one = cut % OPERATIONS_OF_A_START + 1;
            let second = if cuts.all_second { 1..=OPERATIONS_OF_A_START } else { one..=one };
            second.for_each(|second_cut| always_starts(&device, second_cut, versions, oldest));
            operations = operations.max(cut);
            if finished {
                break;
            }
        }
    }
    operations
}

fn power_may_go_anywhere(cuts: &Cuts) {
    // The first update of a flash that has no record yet, into slot B.
    let fresh = Device::new(&image(Slot::A, 1, 1));
    let operations = cut_everywhere(&fresh, &image(Slot::B, 2, 2), &[1, 2], 1, cuts);
    assert!(operations > 80, "{operations} places");
    // A later one. The oldest version that may run was raised by an image that is gone when the record alone knows of it.
    let mut used = Device::new(&image(Slot::A, 1, 1));
    assert!(whole_update(&mut used, &image(Slot::B, 3, 3)));
    assert!(whole_update(&mut used, &image(Slot::A, 4, 1)));
    cut_everywhere(&used, &image(Slot::B, 5, 1), &[4, 5], 3, cuts);
    // One that the vendor did not sign never starts.
    let program = program(5);
    let forged = signed(&header(Slot::B, 5, 1, &program), &program, &[7; 32]);
    cut_everywhere(&used, &forged, &[4], 3, cuts);
}

#[test]
fn power_may_go_at_any_operation_of_an_update() {
    power_may_go_anywhere(&Cuts { seeds: 1, all_second: false });
}

#[test]
#[ignore = "long: every pair of cuts, in ten ways"]
fn power_may_go_twice_at_any_two_operations_of_an_update() {
    power_may_go_anywhere(&Cuts { seeds: 10, all_second: true });
}
