//! entry: tc ingress on the host veth of a pod. Diverts what the pod's classifier selects to the
//! worker's gate and leaves everything else untouched, super-packets and all.

use aya_ebpf::programs::TcContext;
use xsteer_abi::{
    CONTINUE_MARK, Family, GENEVE_PORT, HEARTBEAT_STALE_NS,
    counters::Counter,
    maps::{ACTION_DROP, POLICY_OPEN, PROTOCOL_ANY, PortRecord, Rule, RuleSet},
    tag::{Tag, TagKind},
};

use crate::{
    keys,
    maps::{HEARTBEATS, PORTS, RULE_SETS},
    packet::{Packet, UDP, Unread},
    skb::{self, PASS, pass, shot},
};

/// Judges one packet that leaves a pod.
#[inline(always)]
pub fn entry(ctx: &TcContext) -> i32 {
    if skb::mark(ctx) == CONTINUE_MARK {
        ctx.set_mark(0);
        return pass(Counter::EntryContinued);
    }
    // SAFETY: a record is replaced as a whole; the copy is made at once.
    let Some(port) = unsafe { PORTS.get(skb::ifindex(ctx)) }.copied() else {
        return PASS;
    };
    let packet = match skb::headers(ctx) {
        Ok(packet) => packet,
        Err(Unread::Malformed) if port.classifier != 0 => return shot(Counter::EntryDroppedError),
        Err(_) => return PASS,
    };
    if is_spoofed(&packet) {
        return shot(Counter::EntryDroppedSpoofed);
    }
    match select(port.classifier, &packet) {
        None => pass(Counter::EntryPassed),
        Some(_) if keys::exempt(packet.family, packet.destination) => pass(Counter::EntryExempt),
        Some(rule) if rule.action == ACTION_DROP => shot(Counter::EntryDroppedNoChain),
        Some(_) if is_alive(port.worker) => divert(ctx, &port, packet.family),
        Some(rule) if rule.policy == POLICY_OPEN => pass(Counter::EntryPassedOpen),
        Some(_) => shot(Counter::EntryDroppedClosed),
    }
}

/// Whether a pod speaks the nodes' protocol to a node.
#[inline(always)]
fn is_spoofed(packet: &Packet) -> bool {
    packet.protocol == UDP
        && packet.dport == GENEVE_PORT
        && keys::node(packet.family, packet.destination).is_some()
}

/// The rule that takes a packet. Most packets end at the missing prefix.
#[inline(always)]
fn select(classifier: u32, packet: &Packet) -> Option<Rule> {
    if classifier == 0 {
        return None;
    }
    let id = keys::rule_set(classifier, packet.family, packet.destination)?;
    // SAFETY: rule sets are never changed under an id in use; the loader removes one only after
    // every classifier that names it.
    let set = unsafe { RULE_SETS.get(id) }?;
    first_match(set, packet)
}

/// The first rule that takes a packet.
///
/// A packet without the ports it should have, a later fragment, is taken by every rule of its
/// protocol; the worker knows the decision of the first fragment, so a rule that diverts comes
/// before one that drops. One loop for both cases: with two the verifier walks three times as many
/// instructions (249,000 instead of 78,000).
#[inline(always)]
fn first_match(set: &RuleSet, packet: &Packet) -> Option<Rule> {
    let lacks_ports = packet.lacks_ports();
    let mut dropping = None;
    for rule in set.rules.iter().take(set.len as usize) {
        let matches = if lacks_ports {
            rule.protocol == PROTOCOL_ANY || rule.protocol == packet.protocol
        } else {
            rule.matches(packet.protocol, packet.dport)
        };
        if matches && lacks_ports && rule.action == ACTION_DROP {
            dropping = dropping.or(Some(*rule));
        } else if matches {
            return Some(*rule);
        }
    }
    dropping
}

#[inline(always)]
fn is_alive(worker: u32) -> bool {
    let Some(heartbeat) = HEARTBEATS.get_ptr(worker) else {
        return false;
    };
    // SAFETY: the verifier knows the slot's size; the worker writes whole words, and volatile
    // makes this one load.
    let heartbeat = unsafe { heartbeat.read_volatile() };
    skb::now_ns().saturating_sub(heartbeat) <= HEARTBEAT_STALE_NS
}

/// Writes the tag over the MACs and sends the packet to the gate.
#[inline(always)]
fn divert(ctx: &TcContext, port: &PortRecord, family: Family) -> i32 {
    let tag = Tag {
        kind: match family {
            Family::V4 => TagKind::Pod,
            Family::V6 => TagKind::PodV6,
        },
        worker: port.worker as u8,
        port: port.port,
        classifier: port.classifier,
    };
    if ctx.store(0, &tag.emit(), 0).is_err() {
        return shot(Counter::EntryDroppedError);
    }
    skb::redirect(
        port.gate,
        0,
        Counter::EntryDiverted,
        Counter::EntryDroppedError,
    )
}
