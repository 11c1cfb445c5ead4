//! What the system tests share: real peers as child processes, waiting for conditions, finding data and tools.
//!
//! Holds no assertions about Sagitta: those are in `tests/`. Everything here fails loudly, with one sentence that says
//! what is missing and what to do.

pub mod board;
pub mod certificates;
pub mod debian;
pub mod peers;
pub mod place;
pub mod series;
pub mod shell;
pub mod site;
pub mod source;
pub mod wait;

pub use peers::{Broker, Guard, StoreScp, Subscriber};
pub use place::{TempDir, mock_shim, python, root, sagitta, shared};
pub use series::{peer, phantom, send};
pub use shell::{Finished, run};
pub use site::{Appliance, Site};
pub use wait::{free_port, wait_until};
