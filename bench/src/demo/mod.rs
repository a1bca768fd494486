//! The demo: the samples' cluster on this machine, and what xsteer does in it, as text.
//!
//! Every number in the text is measured while it runs. Statements that a run can prove wrong
//! are marked `ok` or `FAIL`, and one `FAIL` fails the demo.

mod affinity;
mod observation;
mod page;
mod refused;
mod scene;
mod speed;
mod stats;
mod totals;
mod trace;
mod unselected;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::testbed::{Failure, Result};
use crate::traffic::HttpServer;
use page::Page;
use scene::Scene;

const MTU: u32 = 1500;
const LARGE_MTU: u32 = 8896;

/// How to run the demo.
#[derive(Clone, Debug)]
pub struct Options {
    /// The `xsteer` binary.
    pub xsteer: PathBuf,
    /// Short transfers, at MTU 1500 only.
    pub quick: bool,
    /// Whether the text may have colours.
    pub colour: bool,
    /// Set from outside to end the demo early: it removes what it built and fails.
    pub interrupted: Arc<AtomicBool>,
}

impl Options {
    /// Bytes of a measured transfer.
    fn bytes(&self) -> u64 {
        if self.quick { 20_000_000 } else { 200_000_000 }
    }
}

/// Runs the demo and removes everything it built, also when it fails.
///
/// # Errors
/// When something can't be built, a statement does not hold, or it was interrupted.
pub fn run(options: &Options, out: &mut dyn Write) -> Result<()> {
    let mut page = Page::new(out, options.colour, &options.interrupted);
    introduce(&mut page)?;
    let mut comparisons = vec![first_cluster(&mut page, options)?];
    page.section("Throughput")?;
    if !options.quick {
        page.say("A second cluster, pods and underlay of MTU 8896, is built and removed …")?;
        comparisons.push(speed::compare(LARGE_MTU, &options.xsteer, options.bytes())?);
    }
    speed::show(&mut page, &comparisons, options.bytes())?;
    page.conclude()
}

fn introduce(page: &mut Page) -> Result<()> {
    page.line("")?;
    page.say(
        "xsteer demo: three nodes, a firewall and a proxy on this machine. Nodes, pods, VPN clients \
         and an \"internet\" host become network namespaces; the machine's own network is not \
         touched, and everything is removed at the end, also after Ctrl-C.",
    )
}

fn first_cluster(page: &mut Page, options: &Options) -> Result<speed::Comparison> {
    page.section("Building the cluster")?;
    let mut scene = Scene::build(MTU)?;
    show_cluster(page, &scene)?;
    let server = HttpServer::start(&scene.outside(), 80)?;
    page.say("First, for comparison, one client transfers without any agent …")?;
    let unsteered = speed::measure(&scene, &server, options.bytes())?;
    page.say("Now an agent starts on each node (`xsteer agent --source dir:…`) …")?;
    scene.start_agents(&options.xsteer)?;
    show_tables(page, &scene)?;
    let way = affinity::show(page, &scene, &server)?;
    let way = way.ok_or_else(|| Failure::Unexpected("no client was steered".to_owned()))?;
    trace::show(page, &scene, &way, &server)?;
    refused::show_blocked_port(page, &scene)?;
    refused::show_forged_tunnel(page, &scene)?;
    unselected::show(page, &scene, &server, MTU)?;
    page.say("The transfers of the beginning again, steered …")?;
    let steered = speed::measure(&scene, &server, options.bytes())?;
    totals::show(page, &scene)?;
    drop(server);
    clean_up(page, scene)?;
    Ok(speed::Comparison {
        mtu: MTU,
        unsteered,
        steered,
    })
}

fn show_cluster(page: &mut Page, scene: &Scene) -> Result<()> {
    let pods = scene.testbed.pods();
    let rows: Vec<Vec<String>> = pods
        .iter()
        .map(|pod| {
            let (namespace, name) = (&pod.config().namespace, &pod.config().name);
            vec![
                format!("{namespace}/{name}"),
                pod.node().to_owned(),
                pod.address().to_string(),
                pod.node_address().to_string(),
            ]
        })
        .collect();
    page.table(&["POD", "NODE", "POD'S ADDRESS", "NODE'S ADDRESS"], &rows)?;
    page.say(&format!(
        "{} VPN clients, {} and up, stand behind the vpn pod; the internet host is {}. Firewalls \
         (nftables) count by source and block TCP port 23; proxies masquerade. The objects are \
         manifests/samples, unchanged: chains \"firewall\" and \"proxy\" with client affinity, \
         selectors vpn -> firewall and firewall -> proxy for all TCP and UDP.",
        scene.clients.len(),
        scene.clients[0].address(),
        scene.internet.address()
    ))?;
    page.say(&format!(
        "While this runs, `ip netns` lists the namespaces; they begin with {}.",
        scene.testbed.prefix()
    ))
}

fn show_tables(page: &mut Page, scene: &Scene) -> Result<()> {
    page.section("The tables, as a user sees them on a node")?;
    page.say("(Each command runs in its node's namespace, with --run-dir, left out here.)")?;
    let paths = scene.ask(1, &["sfcpath", "list"])?;
    page.command("n1", "xsteer sfcpath list", &paths)?;
    for (number, node) in scene.testbed.nodes().iter().enumerate().take(2) {
        let selected = scene.ask(number + 1, &["sfcselect", "list", "-o", "wide"])?;
        page.command(&node.name(), "xsteer sfcselect list -o wide", &selected)?;
    }
    Ok(())
}

fn clean_up(page: &mut Page, mut scene: Scene) -> Result<()> {
    page.section("Cleaning up")?;
    let ended = scene.stop_agents()?;
    page.verdict(
        ended,
        "The agents ended on SIGTERM and took their programs and maps off.",
    )?;
    let prefix = scene.testbed.prefix().to_owned();
    drop(scene);
    let names = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let left = names.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
    let left = left.count();
    page.verdict(
        left == 0,
        &format!("Network namespaces of the demo that are left: {left}."),
    )
}
