//! One turn of a board's main loop: what the link received, a look at the pins, what they must be now.

use crate::slots::Slots;
use crate::state::{Inputs, Limits, Outputs};
use crate::supervisor::{Event, Supervisor};
use crate::update::Updater;
use embedded_storage::nor_flash::NorFlash;
use link::{Reader, Slot, ToSupervisor, encode};

/// What the supervisor senses and drives, and how it speaks with the computer.
pub trait Board {
    /// Milliseconds since the reset; wraps.
    fn uptime_ms(&mut self) -> u32;
    /// The next byte that the link received.
    fn received(&mut self) -> Option<u8>;
    /// Sends a frame, and waits until the line has it.
    fn send(&mut self, frame: &[u8]);
    /// What the pins say, given what drives them.
    fn inputs(&mut self, now_ms: u64, outputs: &Outputs) -> Inputs;
    /// Makes the pins what they must be.
    fn drive(&mut self, supervisor: &Supervisor<'_>);
}

/// The supervisor and the updater of its images, on a board whose flash is `F`.
#[derive(Debug)]
pub struct Turns<'a, F> {
    supervisor: Supervisor<'a>,
    updater: Updater<F>,
    reader: Reader,
}

/// What comes after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The watchdog is fed, and the next turn comes within a millisecond.
    Turn,
    /// The board leaves the cause `Software` and resets itself: another image is to run.
    StartAnew,
}

impl<'a, F: NorFlash> Turns<'a, F> {
    /// For the image in slot `running` of the kind `board`, whose flash holds `slots`.
    pub fn new(
        supervisor: Supervisor<'a>,
        slots: Slots<F>,
        board: u32,
        running: Slot,
        limits: &Limits,
    ) -> Turns<'a, F> {
        let updater = Updater::new(slots, board, running, limits);
        Turns { supervisor, updater, reader: Reader::default() }
    }

    pub fn turn(&mut self, board: &mut impl Board) -> Next {
        while let Some(byte) = board.received() {
            self.receive(board, byte);
        }
        let inputs = board.inputs(self.supervisor.now_ms(), &self.supervisor.outputs());
        self.supervisor.handle(board.uptime_ms(), Event::Tick(inputs));
        board.drive(&self.supervisor);
        match self.updater.is_reset_due(self.supervisor.now_ms()) {
            true => Next::StartAnew,
            false => Next::Turn,
        }
    }

    /// Takes one byte of the link, and sends the answer where it ended a message.
    fn receive(&mut self, board: &mut impl Board, byte: u8) {
        let event = match self.reader.push::<ToSupervisor>(byte) {
            Some(Ok(message)) => Event::Message(message),
            Some(Err(_)) => Event::BadFrame,
            None => return,
        };
        let now_ms = board.uptime_ms();
        if let Some(answer) = self.updater.handle(&mut self.supervisor, now_ms, event) {
            let frame = encode(&answer).expect("every answer is shorter than a frame");
            board.send(frame.as_bytes());
        }
    }
}
