//! What the supervisor answers, by the version of who asks.

use super::Supervisor;
use crate::state::State;
use link::{FromSupervisor, JournalEvent, PowerState, Sensors, ToSupervisor, VERSION};

impl Supervisor<'_> {
    pub(super) fn message(&mut self, message: ToSupervisor) -> FromSupervisor {
        // Off or in reset, nobody sane is at the other end.
        if matches!(self.state, State::Off { .. } | State::Resetting { .. }) {
            return FromSupervisor::Refused;
        }
        let minor = match (message, self.greeted) {
            (ToSupervisor::Hello { version }, _) => {
                self.greeted = VERSION.speaks(version).then_some(version.minor);
                // A runtime that starts anew counts its beats anew.
                self.beat = None;
                let reset_cause = self.reset_cause;
                return FromSupervisor::Hello { version: VERSION, reset_cause };
            }
            (_, None) => return FromSupervisor::Refused,
            (_, Some(minor)) => minor,
        };
        match message {
            ToSupervisor::Heartbeat { sequence } => self.beat(sequence),
            ToSupervisor::GetStatus => self.status(minor),
            ToSupervisor::GetJournal { from } => self.event_of_1_0(from),
            ToSupervisor::Command(command) => self.command(command),
            ToSupervisor::GetClock => {
                FromSupervisor::Clock { run: self.journal.run(), uptime_ms: self.now_ms }
            }
            ToSupervisor::GetSensors => FromSupervisor::Sensors(Sensors {
                board_deci_c: self.inputs.board_deci_c,
                input_mv: self.inputs.input_mv,
                fan_rpm: self.inputs.fan_rpm,
                door_open: self.inputs.door_open,
            }),
            ToSupervisor::GetEntry { from } => match self.journal.first_from(from) {
                Some(e) => FromSupervisor::Entry {
                    sequence: e.sequence,
                    run: e.run,
                    at_ms: e.at_ms,
                    event: e.event,
                },
                None => FromSupervisor::JournalEnd { next: self.journal.next() },
            },
            // Answered above, and by the updater where there is one (`hears_of_images`).
            ToSupervisor::Hello { .. } | ToSupervisor::Image(_) => FromSupervisor::Refused,
        }
    }

    /// Whether the runtime that greeted us may speak of images: it knows 1.2, and its computer is up.
    pub fn hears_of_images(&self) -> bool {
        let up = !matches!(self.state, State::Off { .. } | State::Resetting { .. });
        up && self.greeted.is_some_and(|minor| minor >= 2)
    }

    fn status(&self, minor: u8) -> FromSupervisor {
        let state = match self.state.power() {
            PowerState::Updating if minor == 0 => PowerState::Running,
            state => state,
        };
        FromSupervisor::Status {
            // 32 bits on the wire: it wraps after 49 days, the clock of 1.1 does not.
            uptime_ms: self.now_ms as u32,
            state,
            resets: self.resets,
            bad_frames: self.bad_frames,
            fan_percent: self.outputs().fan_percent,
        }
    }

    /// The oldest event from `from` on that an end of 1.0 can read.
    fn event_of_1_0(&self, mut from: u32) -> FromSupervisor {
        while let Some(entry) = self.journal.first_from(from) {
            if JournalEvent::is_of_1_0(entry.event) {
                let (sequence, at_ms) = (entry.sequence, entry.at_ms as u32);
                return FromSupervisor::Journal { sequence, at_ms, event: entry.event };
            }
            from = entry.sequence.saturating_add(1);
        }
        FromSupervisor::JournalEnd { next: self.journal.next() }
    }
}
