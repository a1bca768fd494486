//! What does not get through: a port that the firewall blocks, and a forged tunnel packet.

use std::thread;
use std::time::Duration;

use super::page::Page;
use super::scene::{Scene, WITHIN};
use crate::testbed::{During as _, Pod, Result, wait_until};
use crate::traffic::{Endpoint, HttpServer};

/// The client's patience with a port that nobody answers.
const ATTEMPT: Duration = Duration::from_secs(1);

/// A connection to port 23, which the firewall pods block.
pub(super) fn show_blocked_port(page: &mut Page, scene: &Scene) -> Result<()> {
    page.section("The firewall blocks TCP port 23")?;
    let telnet = HttpServer::start(&scene.outside(), 23)?;
    let client = Endpoint::from(&scene.clients[0]);
    let blocked = || {
        let counts = scene.firewalls.iter().map(Pod::blocked);
        counts.sum::<Result<u64>>()
    };
    let before = blocked()?;
    let refused = thread::scope(|scope| {
        let attempt = scope.spawn(|| client.connect(telnet.address(), ATTEMPT).is_err());
        wait_until("a firewall blocks port 23", WITHIN, || {
            page.go_on().is_err() || blocked().is_ok_and(|count| count > before)
        })?;
        Ok(attempt.join().unwrap_or(false))
    })?;
    page.go_on()?;
    page.verdict(
        refused && telnet.peers().is_empty(),
        &format!(
            "{} could not connect to {}: the firewalls' nftables counter \"blocked\" went from \
             {before} to {}, and nothing reached the server, which listens.",
            client.address(),
            telnet.address(),
            blocked()?
        ),
    )
}

/// A datagram of a VPN client to a node's tunnel port.
pub(super) fn show_forged_tunnel(page: &mut Page, scene: &Scene) -> Result<()> {
    page.section("A pod can't inject into the tunnel")?;
    let client = Endpoint::from(&scene.clients[0]);
    let node = scene.testbed.node(2).address();
    let dropped = || {
        Ok::<u64, crate::testbed::Failure>(scene.total()?.get("kernel", "entry_dropped_spoofed"))
    };
    let before = dropped()?;
    let sent = client
        .udp(ATTEMPT)?
        .send_to(b"no Geneve of ours", (node, 7081));
    sent.during(|| format!("send to {node}"))?;
    wait_until("the forged packet is dropped", WITHIN, || {
        page.go_on().is_err() || dropped().is_ok_and(|count| count > before)
    })?;
    page.go_on()?;
    page.verdict(
        true,
        &format!(
            "A datagram of {} to {node} port 7081 was dropped at the vpn pod's veth: \
             entry_dropped_spoofed went from {before} to {}.",
            client.address(),
            dropped()?
        ),
    )
}
