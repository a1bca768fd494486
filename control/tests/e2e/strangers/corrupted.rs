//! Frames with a node's own outer source that are cut short or altered, and the one reason each
//! is dropped for. `collect_…` are the kernel's counters, the others the worker's.

use std::collections::BTreeMap;

use xsteer_bench::testbed::{Result, wait_until};

use super::{Attack, Counted, VICTIM};
use crate::bytes::{GENEVE, INNER, IP, OPTION, OPTION_DATA, UDP, mend_ip_checksum};
use crate::scene::WITHIN;

/// A name, how the good frame is altered, the counter.
type Case = (&'static str, fn(&mut Vec<u8>), &'static str);

/// What concerns lengths.
const LENGTHS: [Case; 8] = [
    (
        "UDP length one less",
        |frame| frame[UDP + 5] -= 1,
        "collect_dropped_length",
    ),
    (
        "UDP length one more",
        |frame| frame[UDP + 5] += 1,
        "collect_dropped_length",
    ),
    (
        "IP length one less",
        |frame| {
            frame[IP + 3] -= 1;
            mend_ip_checksum(&mut frame[IP..]);
        },
        "collect_dropped_length",
    ),
    (
        "options longer than the packet",
        |frame| frame[GENEVE] = 0x3F,
        "collect_dropped_length",
    ),
    (
        "option longer than the options",
        |frame| frame[OPTION + 3] = 4,
        "collect_dropped_geneve",
    ),
    (
        "option shorter than ours",
        |frame| {
            frame[OPTION + 3] = 2;
            // A fourth word that would be an option of its own.
            frame[OPTION_DATA + 8..INNER].copy_from_slice(&[0x01, 0x00, 0x01, 0]);
        },
        "collect_dropped_geneve",
    ),
    (
        "inner IP length one more",
        |frame| {
            frame[INNER + 3] += 1;
            mend_ip_checksum(&mut frame[INNER..]);
        },
        "truncated",
    ),
    (
        "inner header of four words",
        |frame| frame[INNER] = 0x44,
        "inner_malformed",
    ),
];

/// What concerns Geneve and options.
const GENEVE_AND_OPTIONS: [Case; 13] = [
    (
        "Geneve version 1",
        |frame| frame[GENEVE] |= 0x40,
        "collect_dropped_geneve",
    ),
    (
        "O bit",
        |frame| frame[GENEVE + 1] |= 0x80,
        "collect_dropped_geneve",
    ),
    (
        "an Ethernet frame inside",
        |frame| frame[GENEVE + 2..GENEVE + 4].copy_from_slice(&[0x65, 0x58]),
        "collect_dropped_geneve",
    ),
    (
        "no option of ours",
        |frame| frame[OPTION + 2] = 0x01,
        "collect_dropped_geneve",
    ),
    (
        "unknown critical option alone",
        |frame| frame[OPTION + 2] = 0x82,
        "collect_dropped_geneve",
    ),
    (
        "unknown critical option before ours",
        |frame| insert_option(frame, &[0x01, 0x00, 0x80, 0]),
        "collect_dropped_geneve",
    ),
    (
        "nine options",
        |frame| (0..8).for_each(|_| insert_option(frame, &[0x01, 0x00, 0x01, 0])),
        "collect_dropped_geneve",
    ),
    (
        "our option twice",
        |frame| {
            let ours = frame[OPTION..INNER].to_vec();
            insert_option(frame, &ours);
        },
        "outer_malformed",
    ),
    (
        "option version 1",
        |frame| frame[OPTION_DATA] = 0x10,
        "option_version",
    ),
    (
        "unknown flag",
        |frame| frame[OPTION_DATA] = 0x04,
        "option_flags",
    ),
    ("TTL 0", |frame| frame[OPTION_DATA + 1] = 0, "ttl_expired"),
    (
        "path 0",
        |frame| frame[GENEVE + 4..GENEVE + 7].fill(0),
        "outer_malformed",
    ),
    (
        "path above 20 bits",
        |frame| frame[GENEVE + 4] = 0x10,
        "outer_malformed",
    ),
];

/// What concerns addresses, the outer IP header and the inner version.
const ADDRESSES_AND_IP: [Case; 7] = [
    (
        "target that is no pod",
        |frame| frame[OPTION_DATA + 7] = 250,
        "collect_dropped_no_target",
    ),
    (
        "target on another node",
        |frame| frame[OPTION_DATA + 6] = 1,
        "collect_dropped_no_target",
    ),
    (
        "IP header of six words",
        |frame| {
            frame[IP] = 0x46;
            frame[IP + 3] += 4;
            frame.splice(UDP..UDP, [1; 4]);
            mend_ip_checksum(&mut frame[IP..]);
        },
        "collect_dropped_length",
    ),
    (
        "IP checksum",
        |frame| frame[IP + 10] ^= 0x55,
        "outer_malformed",
    ),
    (
        "UDP checksum",
        |frame| frame[UDP + 6..UDP + 8].fill(0x55),
        "outer_checksum",
    ),
    (
        "IPv6 inside, IPv4 in the header",
        |frame| frame[INNER] = 0x65,
        "geneve_protocol",
    ),
    (
        "congestion that the inner packet can't say",
        |frame| {
            frame[IP + 1] |= 0b11;
            mend_ip_checksum(&mut frame[IP..]);
        },
        "ecn_invalid",
    ),
];

#[test]
fn altered_lengths_are_dropped_with_their_reason() -> Result<()> {
    each_is_dropped(&LENGTHS)
}

#[test]
fn altered_geneve_is_dropped_with_its_reason() -> Result<()> {
    each_is_dropped(&GENEVE_AND_OPTIONS)
}

#[test]
fn altered_addresses_and_ip_headers_are_dropped_with_their_reason() -> Result<()> {
    each_is_dropped(&ADDRESSES_AND_IP)
}

#[test]
fn every_way_to_cut_a_packet_short_is_dropped_for_its_length() -> Result<()> {
    let attack = Attack::start()?;
    let frame = attack.good("cut short");
    // Shorter ones have no port: they are the kernel's, which drops them.
    let cuts = UDP + 4..frame.len();
    let count = cuts.len() as u64;
    for length in cuts {
        attack.cable.send(&frame[..length])?;
    }
    attack.assert_only_a_node_is_heard(&[("collect_dropped_length", count)])
}

#[test]
fn a_fragmented_outer_packet_is_dropped_and_never_put_together() -> Result<()> {
    let attack = Attack::start()?;
    let frame = attack.good("in two fragments");
    let half = INNER + 8;
    assert_eq!((half - UDP) % 8, 0, "fragments are cut at eight bytes");
    attack.cable.send(&fragment(&frame[..half], 0x2000))?;
    let rest = [&frame[..UDP], &frame[half..]].concat();
    let offset = u16::try_from((half - UDP) / 8).expect("13 bits");
    attack.cable.send(&fragment(&rest, offset))?;
    attack.assert_only_a_node_is_heard(&[("collect_dropped_fragment", 1)])
}

#[test]
fn an_unknown_option_that_is_not_critical_is_skipped() -> Result<()> {
    let mut attack = Attack::start()?;
    let mut frame = attack.good("with more options");
    insert_option(&mut frame, &[0x01, 0x00, 0x01, 1, 0xDE, 0xAD, 0xBE, 0xEF]);
    insert_option(&mut frame, &[0x01, 0x02, 0x7F, 0]);
    attack.cable.send(&frame)?;
    attack.assert_heard("with more options");
    attack.before[VICTIM - 1] = Counted::ask(attack.agent(VICTIM))?;
    attack.assert_only_a_node_is_heard(&[])
}

/// Sends the cases one by one: each raises its own counter by one and no other.
fn each_is_dropped(cases: &[Case]) -> Result<()> {
    let attack = Attack::start()?;
    let mut counts = BTreeMap::new();
    for (name, alter, reason) in cases {
        let mut frame = attack.good(name);
        alter(&mut frame);
        let before = Counted::ask(attack.agent(VICTIM))?;
        attack.cable.send(&frame)?;
        let mut drops = BTreeMap::new();
        let seen = wait_until(name, WITHIN, || {
            drops = Counted::ask(attack.agent(VICTIM))
                .map(|now| now.drops_since(&before))
                .unwrap_or_default();
            !drops.is_empty()
        });
        assert_eq!(drops, [((*reason).to_owned(), 1)].into(), "{name}");
        seen?;
        *counts.entry(*reason).or_default() += 1;
    }
    attack.assert_only_a_node_is_heard(&counts.into_iter().collect::<Vec<_>>())
}

/// Puts an option in front of all others and mends the lengths.
fn insert_option(frame: &mut Vec<u8>, option: &[u8]) {
    frame.splice(OPTION..OPTION, option.iter().copied());
    frame[GENEVE] += (option.len() / 4) as u8;
    frame[UDP + 5] += option.len() as u8;
    frame[IP + 3] += option.len() as u8;
    mend_ip_checksum(&mut frame[IP..]);
}

/// Makes a whole frame one fragment: its length, offset and MF flag.
fn fragment(frame: &[u8], flags_and_offset: u16) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let length = (frame.len() - IP) as u16;
    frame[IP + 2..IP + 4].copy_from_slice(&length.to_be_bytes());
    frame[IP + 4..IP + 6].copy_from_slice(&[0x77, 0x77]);
    frame[IP + 6..IP + 8].copy_from_slice(&flags_and_offset.to_be_bytes());
    mend_ip_checksum(&mut frame[IP..]);
    frame
}
