//! TCP both ways and UDP through vpn, firewall and proxy to the internet.

use std::thread;
use std::time::Duration;

use xsteer_bench::testbed::{Result, TestbedConfig, wait_until};
use xsteer_bench::traffic::{Endpoint, HttpServer, UdpEcho, expected_digest};

use crate::scene::{Scene, WITHIN};

/// Long enough that slow leaks, wraps and retransmissions show.
const BYTES: u64 = 200_000_000;

#[test]
fn tcp_is_intact_through_firewall_and_proxy_at_mtu_1500() -> Result<()> {
    tcp_is_intact(TestbedConfig::default())
}

#[test]
fn tcp_is_intact_through_firewall_and_proxy_at_mtu_8896() -> Result<()> {
    let large = TestbedConfig {
        underlay_mtu: 8896,
        pod_mtu: 8896,
        ..TestbedConfig::default()
    };
    tcp_is_intact(large)
}

fn tcp_is_intact(config: TestbedConfig) -> Result<()> {
    let scene = Scene::start(config, 1)?;
    let client = Endpoint::from(&scene.clients(1)?[0]);
    let server = HttpServer::start(&scene.outside(), 80)?;
    let expected = expected_digest(BYTES);
    assert_eq!(
        client.download(server.address(), BYTES, WITHIN)?.digest,
        expected
    );
    assert_eq!(
        client.upload(server.address(), BYTES, WITHIN)?.digest,
        expected
    );
    assert_eq!(server.peers().len(), 2);
    assert!(
        server.peers().iter().all(|peer| scene.is_proxy(peer.ip())),
        "{:?}",
        server.peers()
    );
    assert_eq!(scene.firewalls_of(client.address())?.len(), 1);
    scene.assert_no_checksum_error()?;
    scene.assert_frames_conserved()
}

#[test]
fn udp_is_answered_through_firewall_and_proxy() -> Result<()> {
    let scene = Scene::start(TestbedConfig::default(), 1)?;
    let client = Endpoint::from(&scene.clients(1)?[0]);
    let echo = UdpEcho::start(&scene.outside(), 7)?;
    for length in [0, 1, 100, 1400] {
        let payload = vec![0x5A; length];
        assert_eq!(
            client.udp_exchange(echo.address(), &payload, WITHIN)?,
            payload
        );
    }
    assert!(
        echo.peers().iter().all(|peer| scene.is_proxy(peer.ip())),
        "{:?}",
        echo.peers()
    );
    assert_eq!(scene.firewalls_of(client.address())?.len(), 1);
    scene.assert_no_checksum_error()?;
    scene.assert_frames_conserved()
}

#[test]
fn the_firewall_blocks_port_23_and_nothing_arrives() -> Result<()> {
    let scene = Scene::start(TestbedConfig::default(), 1)?;
    let client = Endpoint::from(&scene.clients(1)?[0]);
    let telnet = HttpServer::start(&scene.outside(), 23)?;
    let blocked = || {
        scene
            .firewalls
            .iter()
            .filter_map(|pod| pod.blocked().ok())
            .sum::<u64>()
    };
    thread::scope(|scope| {
        let attempt = scope.spawn(|| client.connect(telnet.address(), Duration::from_secs(1)));
        wait_until("a firewall blocks", WITHIN, || blocked() > 0)?;
        assert!(attempt.join().expect("no panic").is_err());
        Ok(())
    })?;
    assert!(telnet.peers().is_empty());
    scene.assert_frames_conserved()
}
