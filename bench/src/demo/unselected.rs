//! Traffic that no selector takes: it stays on the kernel's path, super-packets and all.

use super::page::Page;
use super::scene::{Scene, WITHIN};
use crate::testbed::{PodConfig, Result};
use crate::traffic::{Capture, Endpoint, HttpServer, UdpEcho};

const BYTES: u64 = 5_000_000;
/// Link header in front of the MTU.
const ETHERNET_BYTES: usize = 14;

/// An upload of a pod that is no selector's subject.
pub(super) fn show(page: &mut Page, scene: &Scene, server: &HttpServer, mtu: u32) -> Result<()> {
    page.section("Unselected traffic never leaves the kernel's path")?;
    let node = scene.testbed.node(1);
    let web = node.add_pod(PodConfig::new("web", "web"))?;
    scene.testbed.manifests().write_pod(&web, true)?;
    page.say(&format!(
        "A pod \"web\" joins node n1, outside of both selectors, and uploads {} MB to the \
         internet host.",
        BYTES / 1_000_000
    ))?;
    let_steered_packets_pass(scene)?;
    let before = steered(scene)?;
    let filter = format!("tcp and src host {}", web.address());
    let folder = scene.testbed.directory();
    let capture = Capture::start(node.namespace(), web.host_interface(), &filter, folder)?;
    Endpoint::from(&web).upload(server.address(), BYTES, WITHIN)?;
    let longest = capture.finish()?.longest()?;
    let after = steered(scene)?;
    let full = mtu as usize + ETHERNET_BYTES;
    page.verdict(
        longest > full,
        &format!(
            "The largest frame on its veth had {longest} bytes, where the MTU allows {full}: the \
             kernel's segmentation offload (GSO) is kept."
        ),
    )?;
    page.verdict(
        before == after,
        &format!(
            "The workers of all nodes received no packet of it: {before} before, {after} after."
        ),
    )?;
    let own = server
        .peers()
        .last()
        .is_some_and(|peer| peer.ip() == web.address());
    page.verdict(own, "The server saw the pod's own address.")
}

/// Packets that all workers have taken in.
fn steered(scene: &Scene) -> Result<u64> {
    Ok(scene.total()?.get("workers", "received"))
}

/// Whatever the clients sent before stands in front of this datagram in every queue.
fn let_steered_packets_pass(scene: &Scene) -> Result<()> {
    let echo = UdpEcho::start(&scene.outside(), 7)?;
    for client in &scene.clients {
        Endpoint::from(client).udp_exchange(echo.address(), b"pass", WITHIN)?;
    }
    Ok(())
}
