//! Why an engine is not at work: a named state, the reason in words, and what to do about it.
//!
//! A state is no error: the next engine runs, and the state is told in health and outputs.

use kernels::cuda::DeviceError;
use pipeline::NetError;
use thiserror::Error;

/// What keeps an engine from working, by the part that is missing or wrong; later ones are met later on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// No library of ours stands between Sagitta and the engine's.
    NoShim,
    /// It is of another release.
    OtherShim,
    /// The vendor's library is not there.
    NoLibrary,
    /// It is of another major than the shim.
    WrongVersion,
    NoDriver,
    OldDriver,
    NoDevice,
    /// Nothing was built for this device yet.
    NoPlan,
    /// What was built is damaged, or the engine rejects it.
    CorruptPlan,
    /// It was built for another net, version, device or driver.
    ForeignPlan,
    /// It is being built.
    Building,
    /// Building failed.
    NotBuilt,
    /// The built net's result differs from that of `simd` by more than rounding.
    NotProven,
    /// The job's series is larger than the engine was built for.
    Shape,
    OutOfMemory,
    /// The device answers this process no more.
    DeviceLost,
}

impl State {
    pub const ALL: [State; 16] = [
        State::NoShim,
        State::OtherShim,
        State::NoLibrary,
        State::WrongVersion,
        State::NoDriver,
        State::OldDriver,
        State::NoDevice,
        State::NoPlan,
        State::CorruptPlan,
        State::ForeignPlan,
        State::Building,
        State::NotBuilt,
        State::NotProven,
        State::Shape,
        State::OutOfMemory,
        State::DeviceLost,
    ];

    /// The word in messages, reports and `--json`.
    pub fn name(self) -> &'static str {
        match self {
            State::NoShim => "no_shim",
            State::OtherShim => "other_shim",
            State::NoLibrary => "no_library",
            State::WrongVersion => "wrong_version",
            State::NoDriver => "no_driver",
            State::OldDriver => "old_driver",
            State::NoDevice => "no_device",
            State::NoPlan => "no_plan",
            State::CorruptPlan => "corrupt_plan",
            State::ForeignPlan => "foreign_plan",
            State::Building => "building",
            State::NotBuilt => "not_built",
            State::NotProven => "not_proven",
            State::Shape => "shape",
            State::OutOfMemory => "out_of_memory",
            State::DeviceLost => "device_lost",
        }
    }

    /// What a person does about it.
    pub fn advice(self) -> &'static str {
        match self {
            State::NoShim | State::OtherShim => {
                "nothing without an NVIDIA GPU; with one install the TensorRT package of this release, or \
                 build the shim on this machine with packaging/tensorrt-shim"
            }
            State::NoLibrary => "install TensorRT 10 or 11 with its builder and ONNX parser",
            State::WrongVersion => {
                "install the TensorRT of the shim's major, or the shim of this TensorRT"
            }
            State::NoDriver => "install the driver of the GPU; without a GPU nothing is missing",
            State::OldDriver => "install a driver at least as new as the engine asks for",
            State::NoDevice => {
                "check that the GPU is there and that this user may open its device nodes"
            }
            State::NoPlan | State::CorruptPlan | State::ForeignPlan => {
                "the service builds it by itself at its next start, `sagitta engine build` at once"
            }
            State::Building => "wait; jobs run on simd meanwhile",
            State::NotBuilt | State::NotProven => "report it to us with this text",
            State::Shape => "nothing; this series ran on the next engine",
            State::OutOfMemory => "end what else uses the GPU's memory",
            State::DeviceLost => "restart the service; if it comes again, the machine",
        }
    }

    /// Whether a plan that is built again ends it.
    pub fn wants_a_plan(self) -> bool {
        matches!(self, State::NoPlan | State::CorruptPlan | State::ForeignPlan)
    }

    /// Whether the engine is of no use for later jobs either.
    pub fn lasts(self) -> bool {
        !matches!(self, State::Shape | State::OutOfMemory)
    }
}

/// An engine that cannot be used, or no longer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text}")]
pub struct Trouble {
    pub state: State,
    /// The whole reason for a person; holds no patient data, for it comes from libraries and files of our own.
    pub text: String,
}

impl Trouble {
    pub fn new(state: State, text: impl Into<String>) -> Trouble {
        Trouble { state, text: text.into() }
    }
}

impl From<&NetError> for Trouble {
    fn from(error: &NetError) -> Trouble {
        let state = match error {
            NetError::Shape { .. } => State::Shape,
            NetError::OutOfMemory(_) => State::OutOfMemory,
            NetError::Engine(_) => State::DeviceLost,
        };
        Trouble::new(state, error.to_string())
    }
}

impl From<&DeviceError> for Trouble {
    fn from(error: &DeviceError) -> Trouble {
        let state = match error {
            DeviceError::NoDriver => State::NoDriver,
            DeviceError::OldDriver { .. } => State::OldDriver,
            DeviceError::NoDevice(_) | DeviceError::OldDevice { .. } => State::NoDevice,
            DeviceError::OutOfMemory { .. } => State::OutOfMemory,
            DeviceError::Lost { .. } => State::DeviceLost,
            DeviceError::Refused { .. } => State::NotBuilt,
        };
        Trouble::new(state, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_names_of_their_own_and_advice() {
        let names: std::collections::BTreeSet<_> = State::ALL.map(State::name).into();
        assert_eq!(names.len(), State::ALL.len());
        assert!(State::ALL.iter().all(|state| !state.advice().is_empty()));
    }

    #[test]
    fn only_what_may_pass_lets_the_engine_try_again() {
        let memory = Trouble::from(&NetError::OutOfMemory("2 GiB".to_owned()));
        let lost = Trouble::from(&NetError::Engine("CUDA error 719".to_owned()));
        assert!(!memory.state.lasts() && lost.state.lasts());
    }
}
