//! Which client goes to which firewall pod.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use xsteer_bench::testbed::{Client, Result, TestbedConfig};
use xsteer_bench::traffic::{Endpoint, HttpServer};

use crate::scene::{Scene, WITHIN};

#[test]
fn thirty_clients_spread_over_the_firewalls_and_each_stays_on_its_own() -> Result<()> {
    let scene = Scene::start(TestbedConfig::default(), 1)?;
    let clients = scene.clients(30)?;
    let server = HttpServer::start(&scene.outside(), 80)?;
    let first = firewalls_after_downloads(&scene, &clients, server.address())?;
    let again = firewalls_after_downloads(&scene, &clients, server.address())?;
    assert_eq!(first, again);
    assert!(
        first.values().all(|firewalls| firewalls.len() == 1),
        "{first:?}"
    );
    let used: BTreeSet<usize> = first.values().flatten().copied().collect();
    assert_eq!(used.len(), scene.firewalls.len(), "{first:?}");
    scene.assert_frames_conserved()
}

type FirewallsByClient = BTreeMap<String, Vec<usize>>;

/// Several connections of each client, and the firewalls that have ever seen it.
fn firewalls_after_downloads(
    scene: &Scene,
    clients: &[Client],
    server: SocketAddr,
) -> Result<FirewallsByClient> {
    let mut found = BTreeMap::new();
    for client in clients.iter().map(Endpoint::from) {
        for _ in 0..3 {
            client.download(server, 1000, WITHIN)?;
        }
        let address = client.address();
        found.insert(address.to_string(), scene.firewalls_of(address)?);
    }
    Ok(found)
}
