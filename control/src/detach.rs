//! `xsteer detach`: takes everything of ours off the node, whether or not an agent runs.

use std::fmt;
use std::path::Path;

use xsteer_xdp::{DetachReport, PinRoot};

use crate::net::{Netlink, gates};

/// What was removed.
#[derive(Debug, Default)]
pub struct Detached {
    /// Links and maps.
    pub kernel: DetachReport,
    /// Gates.
    pub gates: usize,
}

impl fmt::Display for Detached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, gates } = self;
        write!(
            f,
            "removed {} links, {} maps, {gates} gates",
            kernel.links.len(),
            kernel.maps.len()
        )
    }
}

/// Removes links, maps, pins and gates. Doing it twice is no error.
///
/// # Errors
/// Where a pin or a gate can't be removed; what could be removed is gone.
pub async fn detach(bpf_root: &Path, netlink: &Netlink) -> anyhow::Result<Detached> {
    let kernel = xsteer_xdp::detach(&PinRoot::new(bpf_root)?)?;
    let mut removed = 0;
    for gate in gates::list(netlink).await? {
        gates::remove(netlink, gate.worker).await?;
        removed += 1;
    }
    Ok(Detached {
        kernel,
        gates: removed,
    })
}
