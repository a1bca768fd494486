//! What tests, demo and benches share: a testbed of real namespaces, and traffic through it.
//!
//! [`testbed`] builds nodes, pods and hosts as network namespaces on one underlay and runs agents
//! in them; [`traffic`] sends, receives, captures and counts; [`demo`] shows on a terminal
//! what xsteer does with both. Everything needs root.
#![forbid(unsafe_code)]

pub mod demo;
pub mod testbed;
pub mod traffic;
