//! Totals of the run: steered, dropped by reason, buffers, checksums.

use super::page::Page;
use super::scene::Scene;
use super::stats::Stats;
use crate::testbed::Result;
use crate::traffic::checksum_errors;

/// Shows what all agents counted, from `xsteer stats` on every node.
pub(super) fn show(page: &mut Page, scene: &Scene) -> Result<()> {
    page.section("Totals, from `xsteer stats` on every node")?;
    let stats = scene.stats()?;
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (node, stats) in scene.testbed.nodes().iter().zip(&stats) {
        rows.push(row(&node.name(), stats));
    }
    let mut total = Stats::default();
    stats.iter().for_each(|stats| total.add(stats));
    rows.push(row("all", &total));
    let heads = [
        "NODE",
        "DIVERTED FROM PODS",
        "FROM THE WIRE",
        "SENT TO A NODE",
        "GIVEN TO A POD",
        "DROPPED",
    ];
    page.table(&heads, &rows)?;
    page.say(
        "A packet diverted from a pod may be a super-packet: the kernel cuts it on its way to the \
         worker.",
    )?;
    for (path, packets) in total.section("paths") {
        page.say(&format!(
            "Service path {path}: {packets} times a packet was sent to a node or given to a pod."
        ))?;
    }
    drops(page, &total)?;
    let lost = total.get("frames", "lost");
    page.verdict(lost == 0, &format!("Frames lost by the workers: {lost}."))?;
    checksums(page, scene)
}

fn row(name: &str, stats: &Stats) -> Vec<String> {
    let workers = |name| stats.get("workers", name);
    let numbers = [
        stats.get("kernel", "entry_diverted"),
        stats.get("kernel", "collect_redirected"),
        workers("encapsulated"),
        workers("delivered") + workers("handed_over"),
        stats.drops().values().sum(),
    ];
    let numbers = numbers.iter().map(u64::to_string);
    std::iter::once(name.to_owned()).chain(numbers).collect()
}

fn drops(page: &mut Page, total: &Stats) -> Result<()> {
    let drops = total.drops();
    if drops.is_empty() {
        return page.say("Dropped: nothing.");
    }
    let reasons = drops
        .iter()
        .map(|(reason, count)| format!("{reason} {count}"));
    let reasons = reasons.collect::<Vec<_>>().join(", ");
    page.say(&format!("Dropped, by reason: {reasons}."))?;
    if !drops.contains_key("too_big") {
        return Ok(());
    }
    page.say(
        "(too_big: answered by an ICMP error that names the MTU that fits; TCP then sends the same \
         bytes in smaller packets.)",
    )
}

fn checksums(page: &mut Page, scene: &Scene) -> Result<()> {
    let mut wrong = 0;
    for namespace in scene.testbed.namespaces() {
        wrong += checksum_errors(&namespace)?.values().sum::<u64>();
    }
    page.verdict(
        wrong == 0,
        &format!(
            "Packets with a wrong checksum, counted by the kernel of any node or pod: {wrong}."
        ),
    )
}
