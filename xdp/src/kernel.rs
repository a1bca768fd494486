//! The kernel side as its one writer sees it.

use std::os::fd::BorrowedFd;

use aya::EbpfLoader;
use aya::maps::xdp::XdpMapError;
use nix::net::if_::if_nametoindex;
use xsteer_abi::MAX_WORKERS;
use xsteer_abi::counters::Counter;
use xsteer_abi::maps::{Address, Config, ConnectionKey, PortRecord, RuleSet, Target};

use crate::OBJECT;
use crate::error::KernelError;
use crate::heartbeat::Heartbeats;
use crate::link::{Attached, LinkName};
use crate::maps::{Exempt, Maps, NAMES, Raw, Records, Selectors, check, failed};
use crate::pins::LinkPins;
use crate::programs::Programs;
use crate::root::PinRoot;

/// Where collect runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollectMode {
    /// As XDP in the uplink's driver.
    Xdp,
    /// At tc ingress: the driver refuses XDP, or another XDP program has the place.
    Tc,
}

/// Programs and maps. Dropping it leaves all that is attached, and every map, as it is.
pub struct Kernel {
    links: LinkPins,
    programs: Programs,
    maps: Maps,
}

impl Kernel {
    /// Loads the programs and adopts what is pinned under `root`.
    ///
    /// Pinned maps keep their contents. Pinned links run the new programs when this returns,
    /// without a gap; those whose interface is gone are removed. No memory limit is raised:
    /// since Linux 5.11 BPF memory counts to the cgroup.
    ///
    /// # Errors
    ///
    /// [`KernelError::IncompatibleMap`] where another version's maps are in the way,
    /// [`KernelError::Root`], [`KernelError::Load`], [`KernelError::Program`] otherwise.
    pub fn open(root: &PinRoot) -> Result<Self, KernelError> {
        root.make()?;
        check(root)?;
        let mut loader = EbpfLoader::new();
        for name in NAMES {
            loader.map_pin_path(name, root.maps().join(name));
        }
        let ebpf = loader
            .load(OBJECT)
            .map_err(|e| KernelError::Load(Box::new(e)))?;
        let (mut programs, maps) = Programs::load(ebpf)?;
        let links = LinkPins::new(root.links());
        links.adopt(&mut programs)?;
        Ok(Self {
            links,
            programs,
            maps,
        })
    }

    /// Every link that is attached, those of a former agent included.
    ///
    /// # Errors
    ///
    /// [`KernelError::Link`], [`KernelError::Root`].
    pub fn attached(&self) -> Result<Vec<Attached>, KernelError> {
        self.links.list()
    }

    /// Puts deliver on the kernel end of a worker's gate, redirect in the driver of the worker
    /// end, and the gate into `GATES` and `GATE_IFINDEX`. Doing it twice is no failure.
    ///
    /// # Errors
    ///
    /// [`KernelError::WorkerOutOfRange`], [`KernelError::NoInterface`], [`KernelError::Attach`].
    pub fn attach_gate(&mut self, worker: u8, gate: &str, inner: &str) -> Result<(), KernelError> {
        let slot = slot(worker)?;
        let (gate, inner) = (ifindex(gate)?, ifindex(inner)?);
        self.ensure(LinkName::GateRedirect(slot), inner)?;
        self.ensure(LinkName::GateDeliver(slot), gate)?;
        self.set_gate(slot, gate)
    }

    /// Takes a worker's gate out of `GATES` and `GATE_IFINDEX`, then its links away; answers whether there was one.
    ///
    /// # Errors
    ///
    /// [`KernelError::WorkerOutOfRange`], [`KernelError::Map`], [`KernelError::Root`].
    pub fn detach_gate(&mut self, worker: u8) -> Result<bool, KernelError> {
        let slot = slot(worker)?;
        // The kernel empties the place for ifindex 0 (kernel/bpf/devmap.c).
        self.set_gate(slot, 0)?;
        let deliver = self.links.remove(LinkName::GateDeliver(slot))?;
        let redirect = self.links.remove(LinkName::GateRedirect(slot))?;
        Ok(deliver || redirect)
    }

    /// Puts guard and entry on a pod's host interface, before all programs of others. Without a
    /// record in [`Kernel::ports`] they do nothing. Doing it twice is no failure.
    ///
    /// # Errors
    ///
    /// [`KernelError::NoInterface`], [`KernelError::Attach`].
    pub fn attach_port(&mut self, ifindex: u32) -> Result<(), KernelError> {
        // Guard first: entry asks it which packets are replies.
        self.ensure(LinkName::PortGuard(ifindex), ifindex)?;
        self.ensure(LinkName::PortEntry(ifindex), ifindex)
    }

    /// Takes the links of a port away, and its record; answers whether there were links.
    ///
    /// # Errors
    ///
    /// [`KernelError::Root`], [`KernelError::Map`].
    pub fn detach_port(&mut self, ifindex: u32) -> Result<bool, KernelError> {
        let entry = self.links.remove(LinkName::PortEntry(ifindex))?;
        let guard = self.links.remove(LinkName::PortGuard(ifindex))?;
        self.maps.ports.remove(ifindex)?;
        Ok(entry || guard)
    }

    /// Puts fence and collect on the uplink; links of a former uplink go.
    ///
    /// # Errors
    ///
    /// [`KernelError::NoInterface`], [`KernelError::Attach`].
    pub fn attach_uplink(&mut self, uplink: &str) -> Result<CollectMode, KernelError> {
        let ifindex = ifindex(uplink)?;
        self.leave_uplinks(Some(ifindex))?;
        self.ensure(LinkName::UplinkFence(ifindex), ifindex)?;
        match self.ensure(LinkName::UplinkCollect(ifindex), ifindex) {
            Ok(()) => {
                self.links.remove(LinkName::UplinkCollectTc(ifindex))?;
                Ok(CollectMode::Xdp)
            }
            Err(KernelError::Attach { source, .. }) if source.is_refusal() => {
                self.ensure(LinkName::UplinkCollectTc(ifindex), ifindex)?;
                Ok(CollectMode::Tc)
            }
            Err(e) => Err(e),
        }
    }

    /// Takes the links of every uplink away.
    ///
    /// # Errors
    ///
    /// [`KernelError::Link`], [`KernelError::Root`].
    pub fn detach_uplink(&mut self) -> Result<(), KernelError> {
        self.leave_uplinks(None)
    }

    /// Makes redirect send a worker's frames to an AF_XDP socket, which must be bound to the
    /// worker end of its gate. The kernel forgets it when the socket is closed.
    ///
    /// # Errors
    ///
    /// [`KernelError::WorkerOutOfRange`], [`KernelError::Map`].
    pub fn set_socket(&mut self, worker: u8, socket: BorrowedFd<'_>) -> Result<(), KernelError> {
        self.maps
            .sockets
            .set(slot(worker)?, socket, 0)
            .map_err(failed("SOCKETS", "writing"))
    }

    /// Makes redirect drop and count a worker's frames; without a socket nothing changes.
    ///
    /// # Errors
    ///
    /// [`KernelError::WorkerOutOfRange`], [`KernelError::Map`].
    pub fn clear_socket(&mut self, worker: u8) -> Result<(), KernelError> {
        self.maps
            .sockets
            .unset(slot(worker)?)
            .map_err(failed("SOCKETS", "removing from"))
    }

    /// The workers' signs of life.
    #[must_use]
    pub fn heartbeats(&self) -> Heartbeats {
        self.maps.heartbeats.clone()
    }

    /// Writes the node-wide settings.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`].
    pub fn set_config(&mut self, config: Config) -> Result<(), KernelError> {
        self.maps
            .config
            .set(0, Raw(config), 0)
            .map_err(failed("CONFIG", "writing"))
    }

    /// `PORTS`: ifindex of the host interface to its record.
    pub fn ports(&mut self) -> &mut Records<u32, PortRecord> {
        &mut self.maps.ports
    }

    /// `SELECTORS`: the classifiers' prefixes.
    pub fn selectors(&mut self) -> &mut Selectors {
        &mut self.maps.selectors
    }

    /// `RULE_SETS`, by id.
    pub fn rule_sets(&mut self) -> &mut Records<u32, RuleSet> {
        &mut self.maps.rule_sets
    }

    /// `EXEMPT`: destinations that are never steered.
    pub fn exempt(&mut self) -> &mut Exempt {
        &mut self.maps.exempt
    }

    /// `NODES`: the cluster's node addresses to flags.
    pub fn nodes(&mut self) -> &mut Records<Address, u32> {
        &mut self.maps.nodes
    }

    /// `TARGETS`: the pods of this node.
    pub fn targets(&mut self) -> &mut Records<Address, Target> {
        &mut self.maps.targets
    }

    /// Connections opened towards pods, with the time in nanoseconds of the coarse clock.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`].
    pub fn opened(&self) -> Result<Vec<(ConnectionKey, u64)>, KernelError> {
        self.maps.opened.list()
    }

    /// What the programs counted, summed over the CPUs.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`].
    pub fn counters(&self) -> Result<Vec<(Counter, u64)>, KernelError> {
        let mut sums = Vec::with_capacity(Counter::ALL.len());
        for &counter in Counter::ALL {
            let values = self
                .maps
                .counters
                .get(&(counter as u32), 0)
                .map_err(failed("COUNTERS", "reading"))?;
            sums.push((counter, values.iter().sum()));
        }
        Ok(sums)
    }

    fn ensure(&mut self, name: LinkName, ifindex: u32) -> Result<(), KernelError> {
        self.links.ensure(&mut self.programs, name, ifindex)
    }

    /// Both maps name the same gate: collect reads one as XDP, the other as tc.
    fn set_gate(&mut self, slot: u32, ifindex: u32) -> Result<(), KernelError> {
        self.maps
            .gate_ifindex
            .set(slot, ifindex, 0)
            .map_err(failed("GATE_IFINDEX", "writing"))?;
        self.maps
            .gates
            .set(slot, ifindex, None, 0)
            .map_err(|e| match e {
                XdpMapError::MapError(e) => failed("GATES", "writing")(e),
                XdpMapError::ChainedProgramNotSupported => KernelError::Missing {
                    what: "map",
                    name: "GATES",
                },
            })
    }

    fn leave_uplinks(&mut self, but: Option<u32>) -> Result<(), KernelError> {
        for link in self.links.list()? {
            let (LinkName::UplinkFence(of)
            | LinkName::UplinkCollect(of)
            | LinkName::UplinkCollectTc(of)) = link.name
            else {
                continue;
            };
            if but != Some(of) {
                self.links.remove(link.name)?;
            }
        }
        Ok(())
    }
}

/// The worker's place in `GATES`, `SOCKETS` and `HEARTBEATS`.
fn slot(worker: u8) -> Result<u32, KernelError> {
    let slot = u32::from(worker);
    if slot >= MAX_WORKERS {
        return Err(KernelError::WorkerOutOfRange { worker });
    }
    Ok(slot)
}

fn ifindex(name: &str) -> Result<u32, KernelError> {
    if_nametoindex(name).map_err(|_| KernelError::NoInterface {
        interface: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heartbeat::HeartbeatCell;

    #[test]
    fn kernel_and_heartbeats_may_move_to_another_thread() {
        fn moves<T: Send + 'static>() {}
        moves::<Kernel>();
        moves::<HeartbeatCell>();
    }
}
