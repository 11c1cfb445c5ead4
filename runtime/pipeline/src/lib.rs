//! The pure core: one checked series in, one segmentation out.
//!
//! No sockets, files, clock or async runtime: the service, the evaluation and the tests run exactly this code. The
//! stages stand in [`segment()`] in the order in which they run.

pub mod card;
pub mod clean;
pub mod contour;
pub mod course;
pub mod cutout;
pub mod instances;
pub mod join;
pub mod labels;
pub mod measure;
pub mod net;
pub mod numbering;
pub mod overlay;
pub mod penn;
pub mod posterior;
pub mod prepare;
pub mod refusal;
pub mod restore;
pub mod result;
pub mod segment;
pub mod semantic;
pub mod series;
pub mod spine;
pub mod spineps;
pub mod stages;
pub mod vertebrae;

pub use card::{InstanceCard, ModelCard, PatchCard};
pub use labels::{Structure, VertebraId};
pub use net::{Net, NetError, Nets, TensorMut, TensorRef};
pub use numbering::{KnownLevel, Neighbour};
pub use refusal::{Plane, Refusal, RefusalCode};
pub use result::{Flag, LikelyLevels, Masks, Numbering, Segmentation, Stage, Support, Vertebra};
pub use segment::{Delineated, SegmentError, delineate, segment};
pub use semantic::look_ahead;
pub use series::{Series, SourceImage, Use};
pub use stages::{InstanceStage, SemanticStage};
