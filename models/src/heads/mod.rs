//! Task heads, and what heads are made of. A head reads the network's last states at the entity markers, of the class token,
//! or of each word's first piece; [`crate::networks::Network::read`] computes these alone.

mod class;
mod crf;
mod entity;
mod joint;
mod joint_marker;
mod marker;
mod memory_network;
mod relation;
mod states;

pub use class::ClassHead;
pub use crf::{Crf, UNKNOWN};
pub use entity::EntityHead;
pub use joint::{JointEntityHead, JointRelationHead, StreamSizes};
pub use joint_marker::JointMarkerHead;
pub use marker::MarkerHead;
pub use memory_network::MemoryNetwork;
pub use relation::RelationHead;
