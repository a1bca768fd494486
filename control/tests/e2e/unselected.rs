//! What no selector takes stays on the kernel's path, at its full speed.

use std::net::Ipv4Addr;

use xsteer_bench::testbed::{Manifests, PodConfig, Result, TestbedConfig};
use xsteer_bench::traffic::{Capture, Endpoint, HttpServer};

use crate::scene::{Scene, WITHIN};

/// Frame length of a full packet at the default MTU.
const FULL_FRAME: usize = 1500 + 14;

#[test]
fn a_destination_outside_the_selectors_keeps_its_super_packets_and_the_client_its_address()
-> Result<()> {
    let scene = Scene::start_prepared(TestbedConfig::default(), 1, |manifests| {
        let selectors = Manifests::sample("TrafficSelector.yaml")?;
        let narrow = selectors.replace("0.0.0.0/0", "198.18.0.200/32");
        manifests.write("TrafficSelector.yaml", &narrow)
    })?;
    let client = Endpoint::from(&scene.clients(1)?[0]);
    let elsewhere = scene
        .testbed
        .add_host("elsewhere", Ipv4Addr::new(198, 18, 0, 201))?;
    let elsewhere = HttpServer::start(&Endpoint::from(&elsewhere), 80)?;
    let steered = HttpServer::start(&scene.outside(), 80)?;
    client.download(steered.address(), 1000, WITHIN)?;
    assert!(
        scene.is_proxy(steered.peers()[0].ip()),
        "{:?}",
        steered.peers()
    );
    let capture = capture_at_vpn(&scene)?;
    client.upload(elsewhere.address(), 5_000_000, WITHIN)?;
    let longest = capture.finish()?.longest()?;
    assert!(longest > FULL_FRAME, "longest frame {longest}");
    assert_eq!(elsewhere.peers()[0].ip(), client.address());
    scene.assert_frames_conserved()
}

fn capture_at_vpn(scene: &Scene) -> Result<Capture> {
    let node = scene.testbed.node(1).namespace();
    let folder = scene.testbed.directory();
    Capture::start(
        node,
        scene.vpn.host_interface(),
        "tcp and dst host 198.18.0.201",
        folder,
    )
}

#[test]
fn a_pod_without_the_label_is_not_steered() -> Result<()> {
    let scene = Scene::start(TestbedConfig::default(), 1)?;
    let other = scene
        .testbed
        .node(1)
        .add_pod(PodConfig::new("web", "web"))?;
    scene.testbed.manifests().write_pod(&other, true)?;
    let server = HttpServer::start(&scene.outside(), 80)?;
    Endpoint::from(&other).download(server.address(), 1000, WITHIN)?;
    assert_eq!(server.peers()[0].ip(), other.address());
    assert_eq!(scene.firewalls_of(other.address())?, Vec::<usize>::new());
    scene.assert_frames_conserved()
}
