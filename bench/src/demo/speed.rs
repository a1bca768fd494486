//! Throughput of one TCP connection, steered and not, measured in the same run.

use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;

use super::page::Page;
use super::scene::{Scene, WITHIN};
use crate::testbed::{Failure, Result};
use crate::traffic::{Endpoint, HttpServer, Transfer, expected_digest};

/// One connection each way, in bits per second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    download: f64,
    upload: f64,
}

/// Rates at one MTU.
pub(super) struct Comparison {
    pub(super) mtu: u32,
    pub(super) unsteered: Rates,
    pub(super) steered: Rates,
}

/// One download and one upload of the first client; the bytes are checked.
pub(super) fn measure(scene: &Scene, server: &HttpServer, bytes: u64) -> Result<Rates> {
    let client = Endpoint::from(&scene.clients[0]);
    let expected = expected_digest(bytes);
    let rate = |transfer: Transfer| {
        if transfer.digest == expected {
            return Ok(transfer.bits_per_second());
        }
        Err(Failure::Unexpected(
            "a transfer changed its bytes".to_owned(),
        ))
    };
    Ok(Rates {
        download: rate(client.download(server.address(), bytes, WITHIN)?)?,
        upload: rate(client.upload(server.address(), bytes, WITHIN)?)?,
    })
}

/// Builds a cluster of another MTU, measures before and after its agents start, and removes it.
pub(super) fn compare(mtu: u32, xsteer: &Path, bytes: u64) -> Result<Comparison> {
    let mut scene = Scene::build(mtu)?;
    let server = HttpServer::start(&scene.outside(), 80)?;
    let unsteered = measure(&scene, &server, bytes)?;
    scene.start_agents(xsteer)?;
    let steered = measure(&scene, &server, bytes)?;
    scene.stop_agents()?;
    Ok(Comparison {
        mtu,
        unsteered,
        steered,
    })
}

/// Shows what was measured and what it means.
pub(super) fn show(page: &mut Page, comparisons: &[Comparison], bytes: u64) -> Result<()> {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    page.say(&format!(
        "One connection, {} MB each way, by the same client to the same server, one worker per \
         node: first before the agents started (unsteered: the kernel's way, no function), then \
         steered through a firewall and a proxy pod. Client, server, SHA-256 of every byte and all \
         nodes share the {cores} cores of this machine.",
        bytes / 1_000_000
    ))?;
    let rows: Vec<Vec<String>> = comparisons.iter().flat_map(rows).collect();
    let heads = ["MTU", "DIRECTION", "UNSTEERED", "STEERED", "RATIO"];
    page.table(&heads, &rows)?;
    page.say(
        "Upload: every data packet goes through both pods. Download: its requests and \
         acknowledgements do, the data come back on the kernel's way (the return path through \
         the same pods is not in this version).",
    )?;
    page.verdict(
        true,
        "Every transfer arrived with the SHA-256 it was sent with.",
    )
}

fn rows(comparison: &Comparison) -> [Vec<String>; 2] {
    let row = |direction: &str, rate: fn(Rates) -> f64| {
        let (unsteered, steered) = (rate(comparison.unsteered), rate(comparison.steered));
        vec![
            comparison.mtu.to_string(),
            direction.to_owned(),
            gigabits(unsteered),
            gigabits(steered),
            format!("{:.2}", steered / unsteered),
        ]
    };
    [
        row("download", |rates| rates.download),
        row("upload", |rates| rates.upload),
    ]
}

fn gigabits(bits_per_second: f64) -> String {
    format!("{:.2} Gbit/s", bits_per_second / 1e9)
}
