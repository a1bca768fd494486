//! Where the desired state comes from. Each source ends in the same thing: a stream of
//! [`crate::inventory::Inventory`] snapshots.

pub mod assign;
pub mod directory;
pub(crate) mod documents;
pub(crate) mod objects;
