//! Objects in: the DICOM listener, the durable spool, and the rule by which a series is complete.

pub mod assemble;
pub mod association;
pub mod dimse;
pub mod spool;
