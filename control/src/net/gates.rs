//! A worker's gate: the veth pair that steered packets go through (`docs/ARCHITECTURE.md`).
//!
//! `xstN` faces the kernel, `xstNw` the worker. Offloads are off on `xstN`, so that the kernel
//! completes checksums and cuts super-packets before the worker sees them. One queue per end: all
//! packets come in by queue 0, where the worker's socket is.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rtnetlink::{
    LinkMessageBuilder, LinkUnspec, LinkVeth,
    packet_route::link::{
        AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoVeth, LinkAttribute, LinkMessage,
    },
};

use super::{Link, LinkKind, NetError, Netlink, ethtool, neighbours::is_gone, read};

/// The largest MTU of a veth. Native XDP on the other end takes it when the program takes fragments,
/// and is refused ("Peer MTU is too large to set XDP") when it does not (drivers/net/veth.c,
/// `veth_xdp_set`; both seen on Linux 6.18).
pub const MAX_MTU: u32 = 65535;

/// Whether a feature of `xstN` must be off: every checksum and segmentation offload, by the names
/// of net/ethtool/common.c. A rule and no list, since kernels add some
/// (`tx-tcp-accecn-segmentation` is younger than our oldest kernel).
fn is_offload(feature: &str) -> bool {
    let transmits = feature.starts_with("tx-checksum-") || feature.starts_with("tx-gso-");
    transmits || (feature.starts_with("tx-") && feature.ends_with("-segmentation"))
}

/// How gates are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateConfig {
    /// MTU of both ends, at most [`MAX_MTU`].
    pub mtu: u32,
    /// Where `/proc/sys` is seen (`/host/proc/sys` in a DaemonSet): IPv6 is turned off there on
    /// both ends. None leaves it at `addr_gen_mode none`, which also gives no address.
    pub sysctl_root: Option<PathBuf>,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self {
            mtu: MAX_MTU,
            sysctl_root: Some(PathBuf::from("/proc/sys")),
        }
    }
}

/// A gate that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// The worker it belongs to.
    pub worker: u8,
    /// The kernel's end, `xstN`.
    pub outer: GateEnd,
    /// The worker's end, `xstNw`.
    pub inner: GateEnd,
}

/// One end of a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateEnd {
    /// Interface index.
    pub ifindex: u32,
    /// Interface name.
    pub name: String,
}

/// Makes the gate of a worker, or repairs the one that is there; writes nothing when all is well.
///
/// A pair with other queues or another peer is made anew, with new indexes.
///
/// # Errors
/// [`NetError`]: a name is taken, the kernel refuses, an offload stays on.
pub async fn ensure(netlink: &Netlink, worker: u8, config: &GateConfig) -> Result<Gate, NetError> {
    let (outer, inner) = names(worker);
    let links = read::links(netlink).await?;
    if !is_sound(&links, &outer, &inner)? {
        create(netlink, &links, &outer, &inner).await?;
    }
    let links = read::links(netlink).await?;
    for name in [&outer, &inner] {
        repair(netlink, named(&links, name)?, config).await?;
    }
    let (kernel_end, worker_end) = (named(&links, &outer)?, named(&links, &inner)?);
    let changed =
        ethtool::turn_off(kernel_end.index, is_offload).map_err(|source| NetError::Features {
            name: outer.clone(),
            source,
        })?;
    if changed {
        tracing::info!(interface = outer, "turned transmit offloads off");
    }
    Ok(Gate {
        worker,
        outer: end(kernel_end),
        inner: end(worker_end),
    })
}

/// Deletes the gate of a worker; one that is gone already is fine.
///
/// # Errors
/// [`NetError::NameTaken`] when the name is another kind of interface, [`NetError::Request`].
pub async fn remove(netlink: &Netlink, worker: u8) -> Result<(), NetError> {
    let links = read::links(netlink).await?;
    let (outer, inner) = names(worker);
    for name in [outer, inner] {
        delete(netlink, &links, &name).await?;
    }
    Ok(())
}

/// The gates that are there, by worker, whoever made them.
///
/// # Errors
/// [`NetError::Request`] when the interfaces cannot be read.
pub async fn list(netlink: &Netlink) -> Result<Vec<Gate>, NetError> {
    let links = read::links(netlink).await?;
    let gate = |worker| {
        let (outer, inner) = names(worker);
        let outer = links.iter().find(|link| link.name == outer)?;
        let inner = links.iter().find(|link| link.name == inner)?;
        let paired = outer.kind == LinkKind::Veth && outer.link == Some(inner.index);
        paired.then(|| Gate {
            worker,
            outer: end(outer),
            inner: end(inner),
        })
    };
    Ok((0..=u8::MAX).filter_map(gate).collect())
}

fn names(worker: u8) -> (String, String) {
    (format!("xst{worker}"), format!("xst{worker}w"))
}

fn end(link: &Link) -> GateEnd {
    GateEnd {
        ifindex: link.index,
        name: link.name.clone(),
    }
}

fn named<'l>(links: &'l [Link], name: &str) -> Result<&'l Link, NetError> {
    let found = links.iter().find(|link| link.name == name);
    found.ok_or_else(|| NetError::Vanished {
        name: name.to_owned(),
    })
}

/// Whether both ends are there, each other's peer, with one queue each.
fn is_sound(links: &[Link], outer: &str, inner: &str) -> Result<bool, NetError> {
    let ends: Vec<&Link> = links
        .iter()
        .filter(|link| link.name == outer || link.name == inner)
        .collect();
    for link in &ends {
        check_kind(link)?;
    }
    let [a, b] = ends[..] else { return Ok(false) };
    let one_queue = |link: &Link| link.rx_queues == 1 && link.tx_queues == 1;
    Ok(a.link == Some(b.index) && b.link == Some(a.index) && one_queue(a) && one_queue(b))
}

fn check_kind(link: &Link) -> Result<(), NetError> {
    match &link.kind {
        LinkKind::Veth => Ok(()),
        kind => Err(NetError::NameTaken {
            name: link.name.clone(),
            kind: kind.to_string(),
        }),
    }
}

async fn create(
    netlink: &Netlink,
    links: &[Link],
    outer: &str,
    inner: &str,
) -> Result<(), NetError> {
    for name in [outer, inner] {
        delete(netlink, links, name).await?;
    }
    let peer = one_queue(LinkUnspec::new_with_name(inner)).build();
    let pair = one_queue(LinkVeth::new(outer, inner))
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .build();
    let made = netlink.handle().link().add(pair).execute().await;
    made.map_err(|source| NetError::request(format!("make the gate {outer}"), source))?;
    tracing::info!(interface = outer, "made a gate");
    Ok(())
}

fn one_queue<T>(link: LinkMessageBuilder<T>) -> LinkMessageBuilder<T> {
    link.append_extra_attribute(LinkAttribute::NumTxQueues(1))
        .append_extra_attribute(LinkAttribute::NumRxQueues(1))
}

/// Deletes an interface by name; its peer goes with it, so `links` may name one that is gone.
async fn delete(netlink: &Netlink, links: &[Link], name: &str) -> Result<(), NetError> {
    let Some(link) = links.iter().find(|link| link.name == name) else {
        return Ok(());
    };
    check_kind(link)?;
    match netlink.handle().link().del(link.index).execute().await {
        Err(source) if !is_gone(&source) => {
            Err(NetError::request(format!("delete {name}"), source))
        }
        _ => Ok(()),
    }
}

/// Brings one end to what it should be: settings first, up last, so that it never comes up with an
/// IPv6 address.
async fn repair(netlink: &Netlink, link: &Link, config: &GateConfig) -> Result<(), NetError> {
    let wrong = link.mtu != config.mtu || link.arp || link.ipv6_link_local;
    if wrong {
        let mut wanted = LinkUnspec::new_with_index(link.index)
            .mtu(config.mtu)
            .arp(false);
        if link.ipv6_link_local {
            wanted = wanted.append_extra_attribute(no_link_local());
        }
        set(netlink, link, wanted.build()).await?;
    }
    if let Some(root) = &config.sysctl_root {
        disable_ipv6(root, &link.name)?;
    }
    if !link.up {
        set(
            netlink,
            link,
            LinkUnspec::new_with_index(link.index).up().build(),
        )
        .await?;
    }
    if wrong || !link.up {
        tracing::info!(
            interface = link.name,
            mtu = config.mtu,
            "set up an end of a gate"
        );
    }
    Ok(())
}

async fn set(netlink: &Netlink, link: &Link, wanted: LinkMessage) -> Result<(), NetError> {
    let done = netlink.handle().link().set(wanted).execute().await;
    done.map_err(|source| NetError::request(format!("set up {}", link.name), source))
}

fn no_link_local() -> LinkAttribute {
    let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![none])])
}

/// A missing file is a kernel without IPv6: nothing to turn off.
fn disable_ipv6(root: &Path, name: &str) -> Result<(), NetError> {
    let path = root.join("net/ipv6/conf").join(name).join("disable_ipv6");
    let written = match fs::read_to_string(&path) {
        Ok(value) if value.trim() == "1" => Ok(()),
        Ok(_) => fs::write(&path, "1"),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(source),
    };
    written.map_err(|source| NetError::Sysctl {
        path,
        value: "1".to_owned(),
        source,
    })
}
