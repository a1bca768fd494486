//! Tables of frame -> verdict for each kernel program, run in the kernel without any interface
//! but for a few live ones.

mod bed;
mod collect;
mod deliver;
mod entry;
mod fence;
mod frame;
mod guard;
mod live;
mod redirect;
