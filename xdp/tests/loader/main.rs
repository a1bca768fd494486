//! The loader against the real kernel: attach, end, adopt, detach. Needs root.

mod adopt;
mod bed;
mod collect;
mod links;
mod live_frames;
mod maps;
mod mount;
