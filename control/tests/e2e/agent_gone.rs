//! The agent stopped or killed: the chain's failure policy decides, on untouched packets.

use std::time::Duration;

use nix::sys::signal::Signal;
use xsteer_bench::testbed::{Manifests, Result, TestbedConfig, wait_until};
use xsteer_bench::traffic::{Endpoint, UdpEcho};

use crate::scene::{Scene, WITHIN, assert_frames_conserved};

/// One attempt; longer than a heartbeat takes to be stale.
const ATTEMPT: Duration = Duration::from_secs(1);

#[test]
fn closed_drops_while_the_agent_is_frozen_and_steers_again_after() -> Result<()> {
    let scene = Scene::start(TestbedConfig::default(), 1)?;
    let client = Endpoint::from(&scene.clients(1)?[0]);
    let echo = UdpEcho::start(&scene.outside(), 7)?;
    let answered = |payload| {
        client
            .udp_exchange(echo.address(), payload, ATTEMPT)
            .is_ok()
    };
    client.udp_exchange(echo.address(), b"steered", WITHIN)?;
    scene.agents[0].freeze()?;
    for _ in 0..3 {
        assert!(!answered(b"closed"));
    }
    scene.agents[0].thaw()?;
    let mut attempts = 0;
    wait_until("the thawed agent steers", WITHIN, || {
        attempts += 1;
        answered(b"again")
    })?;
    // What came while the heartbeat was fresh has waited for the worker: the first, at the most.
    let received = echo.datagrams();
    assert!(received <= 2 + attempts, "{received} after {attempts}");
    let peers = echo.peers();
    assert!(
        peers.iter().all(|peer| scene.is_proxy(peer.ip())),
        "{peers:?}"
    );
    scene.assert_frames_conserved()
}

#[test]
fn open_passes_unsteered_when_the_agent_is_killed() -> Result<()> {
    let scene = Scene::start_prepared(TestbedConfig::default(), 1, |manifests| {
        let chains = Manifests::sample("ServiceFunctionChain.yaml")?;
        let open = chains.replace("spec:\n", "spec:\n  failurePolicy: Open\n");
        manifests.write("ServiceFunctionChain.yaml", &open)
    })?;
    let client = Endpoint::from(&scene.clients(1)?[0]);
    let echo = UdpEcho::start(&scene.outside(), 7)?;
    client.udp_exchange(echo.address(), b"steered", WITHIN)?;
    assert!(scene.is_proxy(echo.peers()[0].ip()), "{:?}", echo.peers());
    scene.agents[0].signal(Signal::SIGKILL)?;
    wait_until("the client's own address arrives", WITHIN, || {
        client
            .udp_exchange(echo.address(), b"open", ATTEMPT)
            .is_ok()
            && echo
                .peers()
                .iter()
                .any(|peer| peer.ip() == client.address())
    })?;
    assert_frames_conserved(&scene.agents[1..])
}
