//! The loaded programs, and the two things done with them: attach, and replace what runs.

use std::path::Path;

use aya::Ebpf;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::TcAttachOptions;
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType, Xdp, XdpMode};
use nix::net::if_::if_indextoname;

use crate::error::{AttachError, KernelError};
use crate::link::{Hook, LinkName};
use crate::maps::Maps;

const CLASSIFIERS: [&str; 5] = ["entry", "guard", "fence", "deliver", "collect_tc"];
const XDP: [&str; 2] = ["redirect", "collect"];

/// What remains of the object when its maps are taken out.
pub(crate) struct Programs {
    ebpf: Ebpf,
}

impl Programs {
    /// Brings every program into the kernel, then takes the maps out. Not before: the verifier
    /// finds maps by their descriptors, and taking one may close it.
    pub(crate) fn load(mut ebpf: Ebpf) -> Result<(Self, Maps), KernelError> {
        for program in CLASSIFIERS {
            let loaded = classifier(&mut ebpf, program)?.load();
            loaded.map_err(refused(program))?;
        }
        for program in XDP {
            let loaded = xdp(&mut ebpf, program)?.load();
            loaded.map_err(refused(program))?;
        }
        let maps = Maps::take(&mut ebpf)?;
        Ok((Self { ebpf }, maps))
    }

    /// Attaches the program of `name` to an interface and pins the link at `pin`.
    pub(crate) fn attach(
        &mut self,
        name: LinkName,
        ifindex: u32,
        pin: &Path,
    ) -> Result<(), KernelError> {
        let interface = interface_name(ifindex)?;
        let attached = match name.hook() {
            Hook::TcIngress => {
                let program = classifier(&mut self.ebpf, name.program())?;
                attach_tcx(program, &interface, TcAttachType::Ingress)
            }
            Hook::TcEgress => {
                let program = classifier(&mut self.ebpf, name.program())?;
                attach_tcx(program, &interface, TcAttachType::Egress)
            }
            Hook::NativeXdp => attach_xdp(xdp(&mut self.ebpf, name.program())?, ifindex),
        };
        attached
            .and_then(|link| Ok(link.pin(pin).map(drop)?))
            .map_err(|source| KernelError::Attach {
                program: name.program(),
                interface,
                link: name,
                source,
            })
    }

    /// Lets the link pinned at `pin` run our program from the next packet on (`BPF_LINK_UPDATE`);
    /// the link keeps its id and its place among others.
    pub(crate) fn replace(&mut self, name: LinkName, pin: &Path) -> Result<(), KernelError> {
        let result = match name.hook() {
            Hook::TcIngress | Hook::TcEgress => {
                replace_tcx(classifier(&mut self.ebpf, name.program())?, pin)
            }
            Hook::NativeXdp => replace_xdp(xdp(&mut self.ebpf, name.program())?, pin),
        };
        result.map_err(|source| KernelError::Link {
            action: "replacing the program of",
            path: pin.to_owned(),
            source,
        })
    }
}

fn attach_tcx(
    program: &mut SchedClassifier,
    interface: &str,
    side: TcAttachType,
) -> Result<FdLink, AttachError> {
    // First: a CNI's program may end the run with a verdict of its own.
    let order = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program.attach_with_options(interface, side, order)?;
    Ok(program.take_link(id)?.try_into()?)
}

/// aya falls back to netlink after EINVAL; such a link can't be pinned, `try_into` refuses it
/// and its drop detaches it.
fn attach_xdp(program: &mut Xdp, ifindex: u32) -> Result<FdLink, AttachError> {
    let id = program.attach_to_if_index(ifindex, XdpMode::Driver)?;
    Ok(program.take_link(id)?.try_into()?)
}

fn replace_tcx(program: &mut SchedClassifier, pin: &Path) -> Result<(), AttachError> {
    let link = FdLink::from(PinnedLink::from_pin(pin)?).try_into()?;
    let id = program.attach_to_link(link)?;
    // The pin keeps the link; ours is only a descriptor.
    program.take_link(id)?;
    Ok(())
}

fn replace_xdp(program: &mut Xdp, pin: &Path) -> Result<(), AttachError> {
    let link = FdLink::from(PinnedLink::from_pin(pin)?).try_into()?;
    let id = program.attach_to_link(link)?;
    program.take_link(id)?;
    Ok(())
}

fn classifier<'e>(
    ebpf: &'e mut Ebpf,
    name: &'static str,
) -> Result<&'e mut SchedClassifier, KernelError> {
    ebpf.program_mut(name)
        .and_then(|program| program.try_into().ok())
        .ok_or(KernelError::Missing {
            what: "program",
            name,
        })
}

fn xdp<'e>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<&'e mut Xdp, KernelError> {
    ebpf.program_mut(name)
        .and_then(|program| program.try_into().ok())
        .ok_or(KernelError::Missing {
            what: "program",
            name,
        })
}

fn refused(program: &'static str) -> impl Fn(aya::programs::ProgramError) -> KernelError {
    move |source| KernelError::Program {
        program,
        source: Box::new(source),
    }
}

fn interface_name(ifindex: u32) -> Result<String, KernelError> {
    if_indextoname(ifindex)
        .map(|name| name.to_string_lossy().into_owned())
        .map_err(|_| KernelError::NoInterface {
            interface: format!("number {ifindex}"),
        })
}
