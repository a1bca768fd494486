//! Brings an agent up: programs and maps, gates, sockets, workers.

use anyhow::Context;
use xsteer_abi::Family;
use xsteer_abi::maps::Config;
use xsteer_dataplane::flow::FlowLimits;
use xsteer_dataplane::worker::Heartbeat;
use xsteer_dataplane::xsk::{Xsk, XskConfig};
use xsteer_xdp::{HeartbeatCell, Kernel, PinRoot};

use super::reconcile::PortIds;
use super::workers::{Start, Workers};
use super::{Agent, AgentConfig, State};
use crate::net::{self, Netlink, Uplink, gates};
use crate::publish::Publisher;

/// Largest packet a gate carries: what native XDP with fragments takes, with room to encapsulate.
const GATE_MTU: u32 = 16_000;

struct Beat(HeartbeatCell);

impl Heartbeat for Beat {
    fn stamp(&self, now_ns: u64) {
        self.0.stamp(now_ns);
    }
}

pub(super) async fn agent(config: AgentConfig) -> anyhow::Result<Agent> {
    let netlink = Netlink::connect()?;
    let snapshot = net::snapshot(&netlink).await?;
    let uplink = net::uplink(&snapshot, config.uplink.as_deref())?;
    check_queues(&config, &uplink)?;
    let root = PinRoot::new(&config.bpf_root)?;
    root.mount_if_missing()?;
    let mut kernel = Kernel::open(&root)?;
    let node_address = config
        .node_address
        .or_else(|| uplink.addresses.first().copied());
    let node_address = node_address.with_context(|| {
        format!(
            "{} has no address: give it one, or add --node-address",
            uplink.name
        )
    })?;
    let outer = if node_address.is_ipv6() {
        Family::V6
    } else {
        Family::V4
    };
    let settings = Config {
        outer_family: outer as u8,
        reserved: [0; 3],
        uplink: uplink.ifindex,
    };
    kernel.set_config(settings)?;
    let (made, starts) = workers(&config, &netlink, &uplink, &mut kernel).await?;
    let mode = kernel.attach_uplink(&uplink.name)?;
    tracing::info!(uplink = uplink.name, ?mode, "collecting");
    let publisher = Publisher::adopt(kernel)?;
    let limits = FlowLimits {
        flows: config.flows,
        ..FlowLimits::default()
    };
    let workers = Workers::start(starts, &publisher.table(), limits)?;
    let ports = PortIds::above(publisher.last_port(), config.workers);
    Ok(Agent {
        config,
        netlink,
        uplink,
        node_address,
        started: std::time::Instant::now(),
        publisher,
        workers,
        gates: made,
        ports,
        state: State::default(),
    })
}

fn check_queues(config: &AgentConfig, uplink: &Uplink) -> anyhow::Result<()> {
    anyhow::ensure!(
        u32::from(config.workers) <= uplink.tx_queues,
        "--workers {} needs as many transmit queues on {}, which has {}: use --workers {}",
        config.workers,
        uplink.name,
        uplink.tx_queues,
        uplink.tx_queues
    );
    Ok(())
}

/// A gate, two sockets and a heartbeat for each worker.
async fn workers(
    config: &AgentConfig,
    netlink: &Netlink,
    uplink: &Uplink,
    kernel: &mut Kernel,
) -> anyhow::Result<(Vec<gates::Gate>, Vec<Start>)> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let heartbeats = kernel.heartbeats();
    let mut made = Vec::new();
    let mut starts = Vec::new();
    for worker in 0..config.workers {
        let gate = gates::ensure(
            netlink,
            worker,
            &gates::GateConfig {
                mtu: GATE_MTU,
                ..gates::GateConfig::default()
            },
        )
        .await?;
        kernel.attach_gate(worker, &gate.outer.name, &gate.inner.name)?;
        let sockets = XskConfig {
            frames: config.frames,
            ..XskConfig::new(&gate.inner.name, &uplink.name, u32::from(worker))
        };
        let (io, info) = Xsk::open(&sockets).context("AF_XDP sockets not opened")?;
        kernel.set_socket(worker, io.gate_fd())?;
        tracing::info!(
            worker,
            gate = gate.outer.name,
            ?info,
            "worker has its sockets"
        );
        // From the last core down: core 0 has the machine's interrupts on most nodes.
        let core = cores.iter().rev().cycle().nth(usize::from(worker)).copied();
        let heartbeat = Box::new(Beat(heartbeats.cell(worker)?));
        starts.push(Start {
            io,
            heartbeat,
            core,
        });
        made.push(gate);
    }
    Ok((made, starts))
}
