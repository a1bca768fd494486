//! Destination lookup: our classifier beside prefix-trie, poptrie and a DIR-16-8-8 table.
//!
//! `cargo bench -p xsteer-dataplane --bench lpm`. Each lookup finds the prefix and matches one rule,
//! and begins when the one before has ended. Contenders take turns within each round.

#[path = "support/mod.rs"]
mod support;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use poptrie::Poptrie;
use prefix_trie::PrefixMap;
use support::{Counting, Random, cpu_ns, median};
use xsteer_abi::maps::Rule;
use xsteer_dataplane::table::Classifier;
use xsteer_dataplane::table::spec::{
    ClassifierId, ClassifierSpec, Decision, FailurePolicy, PrefixSpec, ServicePathId,
};

#[global_allocator]
static HEAP: Counting = Counting::new();

const ROUNDS: usize = 9;
const LOOKUPS: usize = 1 << 18;
const UDP: u8 = 17;
const NOTHING: u32 = u32::MAX;

/// One structure under test.
trait Table {
    const NAME: &'static str;
    fn build(prefixes: &[IpNet]) -> Self;
    /// A number that depends on the prefix found.
    fn find(&self, address: IpAddr) -> u32;
}

impl Table for Classifier {
    const NAME: &'static str = "classifier (ours)";

    fn build(prefixes: &[IpNet]) -> Self {
        let prefixes = (0..).zip(prefixes).map(|(i, &prefix)| PrefixSpec {
            prefix,
            rules: vec![(any(), decision(i % 16))],
        });
        let id = ClassifierId(1);
        let prefixes = prefixes.collect();
        Self::build(&ClassifierSpec { id, prefixes }).expect("distinct prefixes")
    }

    fn find(&self, address: IpAddr) -> u32 {
        number(self.classify(address, UDP, 53))
    }
}

/// A trie of others, and the rules of its prefixes.
struct Ruled<T> {
    trie: T,
    rules: Box<[(Rule, Decision)]>,
}

impl<T> Ruled<T> {
    fn new(trie: T) -> Self {
        let rules = (0..16).map(|i| (any(), decision(i))).collect();
        Self { trie, rules }
    }

    fn decide(&self, rule: Option<u32>) -> u32 {
        let rule = rule.map(|index| &self.rules[index as usize]);
        let fits = rule.filter(|(rule, _)| rule.matches(UDP, 53));
        number(fits.map(|&(_, decision)| decision))
    }
}

#[derive(Default)]
struct PrefixTrie {
    v4: PrefixMap<Ipv4Net, u32>,
    v6: PrefixMap<Ipv6Net, u32>,
}

impl Table for Ruled<PrefixTrie> {
    const NAME: &'static str = "prefix-trie 0.10";

    fn build(prefixes: &[IpNet]) -> Self {
        let mut trie = PrefixTrie::default();
        for (i, prefix) in (0..).zip(prefixes) {
            match *prefix {
                IpNet::V4(net) => trie.v4.insert(net, i % 16),
                IpNet::V6(net) => trie.v6.insert(net, i % 16),
            };
        }
        Self::new(trie)
    }

    fn find(&self, address: IpAddr) -> u32 {
        let trie = &self.trie;
        self.decide(match address {
            IpAddr::V4(a) => trie.v4.get_lpm(&a.into()).map(|(_, &rule)| rule),
            IpAddr::V6(a) => trie.v6.get_lpm(&a.into()).map(|(_, &rule)| rule),
        })
    }
}

struct Pop {
    v4: Poptrie<(u32, u8), u32>,
    v6: Poptrie<(u128, u8), u32>,
}

impl Table for Ruled<Pop> {
    const NAME: &'static str = "poptrie 0.2.1";

    fn build(prefixes: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Poptrie::new(), Poptrie::new());
        for (i, prefix) in (0..).zip(prefixes) {
            match prefix {
                IpNet::V4(net) => v4.insert((net.addr().to_bits(), net.prefix_len()), i % 16),
                IpNet::V6(net) => v6.insert((net.addr().to_bits(), net.prefix_len()), i % 16),
            };
        }
        Self::new(Pop { v4, v6 })
    }

    fn find(&self, address: IpAddr) -> u32 {
        let trie = &self.trie;
        self.decide(match address {
            IpAddr::V4(a) => trie.v4.lookup(a.to_bits()).copied(),
            IpAddr::V6(a) => trie.v6.lookup(a.to_bits()).copied(),
        })
    }
}

/// Three levels of 16, 8 and 8 bits; an entry is a rule, nothing, or a block of the next level.
struct Dir {
    top: Vec<u32>,
    blocks: Vec<[u32; 256]>,
}

const BLOCK: u32 = 1 << 31;

impl Dir {
    fn insert(&mut self, net: Ipv4Net, rule: u32) {
        let (address, len) = (net.addr().to_bits(), net.prefix_len());
        let top = (address >> 16) as usize;
        if len <= 16 {
            return self.top[top..top + (1 << (16 - len))].fill(rule);
        }
        let block = below(&mut self.top[top], &mut self.blocks);
        let second = (address >> 8 & 255) as usize;
        if len <= 24 {
            return self.blocks[block][second..second + (1 << (24 - len))].fill(rule);
        }
        let mut entry = self.blocks[block][second];
        let leaf = below(&mut entry, &mut self.blocks);
        self.blocks[block][second] = entry;
        let third = (address & 255) as usize;
        self.blocks[leaf][third..third + (1 << (32 - len))].fill(rule);
    }
}

/// The block that an entry leads to, made where there is none.
fn below(entry: &mut u32, blocks: &mut Vec<[u32; 256]>) -> usize {
    if *entry == NOTHING || *entry & BLOCK == 0 {
        blocks.push([*entry; 256]);
        *entry = BLOCK | (blocks.len() - 1) as u32;
    }
    (*entry & !BLOCK) as usize
}

impl Table for Ruled<Dir> {
    const NAME: &'static str = "DIR-16-8-8";

    /// Shorter prefixes first, so that longer ones stay on top of them.
    fn build(prefixes: &[IpNet]) -> Self {
        let numbered = (0..).zip(prefixes);
        let v4 = numbered.filter_map(|(i, prefix)| match prefix {
            IpNet::V4(net) => Some((*net, i % 16)),
            IpNet::V6(_) => None,
        });
        let mut v4: Vec<_> = v4.collect();
        v4.sort_by_key(|(net, _)| net.prefix_len());
        let mut dir = Dir {
            top: vec![NOTHING; 1 << 16],
            blocks: Vec::new(),
        };
        for (net, rule) in v4 {
            dir.insert(net, rule);
        }
        dir.blocks.shrink_to_fit();
        Self::new(dir)
    }

    fn find(&self, address: IpAddr) -> u32 {
        let IpAddr::V4(address) = address else {
            return NOTHING;
        };
        let address = address.to_bits();
        let mut entry = self.trie.top[(address >> 16) as usize];
        for shift in [8, 0] {
            if entry == NOTHING || entry & BLOCK == 0 {
                break;
            }
            entry = self.trie.blocks[(entry & !BLOCK) as usize][(address >> shift & 255) as usize];
        }
        self.decide((entry != NOTHING).then_some(entry))
    }
}

fn any() -> Rule {
    Rule {
        last_port: u16::MAX,
        ..Rule::default()
    }
}

fn decision(path: u32) -> Decision {
    Decision {
        path: ServicePathId::new(path + 1),
        policy: FailurePolicy::Closed,
    }
}

fn number(decision: Option<Decision>) -> u32 {
    decision
        .and_then(|decision| decision.path)
        .map_or(NOTHING, ServicePathId::get)
}

/// Any IPv4 address, or one of 2000::/16, dense enough that prefixes nest.
fn address(random: &mut Random, v6: bool) -> IpAddr {
    if v6 {
        let bits = u128::from(random.next()) << 64 | u128::from(random.next());
        Ipv6Addr::from_bits(bits >> 16 | 0x2000 << 112).into()
    } else {
        Ipv4Addr::from_bits((random.next() >> 32) as u32).into()
    }
}

/// Prefixes like those of selectors: most of them networks, some hosts, few large blocks.
fn prefixes(random: &mut Random, v6: bool, count: usize) -> Vec<IpNet> {
    let mut found = std::collections::BTreeSet::new();
    while found.len() < count {
        let (address, kind) = (self::address(random, v6), random.below(10));
        let (shortest, span) = match (v6, kind) {
            (false, 0) => (8, 8),
            (false, 1..8) => (16, 9),
            (false, _) => (25, 8),
            (true, 0) => (20, 12),
            (true, 1..8) => (32, 33),
            (true, _) => (65, 64),
        };
        let len = shortest + random.below(span) as u8;
        let net = IpNet::new(address, len).expect("a length of the family");
        found.insert(net.trunc());
    }
    found.into_iter().collect()
}

/// Subject and destination of each lookup; every second one inside a prefix of the subject.
fn queries(random: &mut Random, subjects: &[Vec<IpNet>], v6: bool) -> Vec<(u32, IpAddr)> {
    let mut one = || {
        let subject = random.below(subjects.len() as u64) as usize;
        let mut address = self::address(random, v6);
        if random.below(2) == 0 {
            let of = &subjects[subject];
            let net = of[random.below(of.len() as u64) as usize];
            address = within(net, address);
        }
        (subject as u32, address)
    };
    (0..LOOKUPS).map(|_| one()).collect()
}

fn within(net: IpNet, address: IpAddr) -> IpAddr {
    match (net, address) {
        (IpNet::V4(net), IpAddr::V4(a)) => (net.addr() | (a & net.hostmask())).into(),
        (IpNet::V6(net), IpAddr::V6(a)) => (net.addr() | (a & net.hostmask())).into(),
        _ => address,
    }
}

/// A contender with its tables built, one for each subject.
trait Contender {
    fn name(&self) -> &'static str;
    fn bytes(&self) -> usize;
    fn build_us(&self) -> f64;
    /// Nanoseconds per lookup, and the sum of what was found.
    fn pass(&self, queries: &[(u32, IpAddr)]) -> (f64, u64);
}

struct Built<T> {
    tables: Vec<T>,
    bytes: usize,
    build_us: f64,
}

impl<T: Table + 'static> Built<T> {
    fn boxed(subjects: &[Vec<IpNet>]) -> Box<dyn Contender> {
        let (before, start) = (HEAP.live_bytes(), cpu_ns());
        let tables: Vec<T> = subjects.iter().map(|of| T::build(of)).collect();
        let build_us = (cpu_ns() - start) as f64 / 1e3;
        let bytes = HEAP.live_bytes() - before;
        Box::new(Self {
            tables,
            bytes,
            build_us,
        })
    }
}

impl<T: Table> Contender for Built<T> {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn build_us(&self) -> f64 {
        self.build_us
    }

    fn pass(&self, queries: &[(u32, IpAddr)]) -> (f64, u64) {
        let zero = black_box(0);
        let calls = HEAP.calls();
        let (mut last, mut sum) = (0, 0);
        let start = cpu_ns();
        for &(subject, address) in queries {
            // Never changes the address, but must wait for the lookup before.
            last = self.tables[(subject ^ (last & zero)) as usize].find(address);
            sum += u64::from(last);
        }
        let ns = (cpu_ns() - start) as f64;
        assert_eq!(HEAP.calls(), calls, "{} allocates", T::NAME);
        (ns / queries.len() as f64, sum)
    }
}

fn compare(subjects: usize, count: usize, v6: bool) {
    let mut random = Random::new(7);
    let of: Vec<_> = (0..subjects)
        .map(|_| prefixes(&mut random, v6, count))
        .collect();
    let queries = queries(&mut random, &of, v6);
    let mut contenders = vec![
        Built::<Classifier>::boxed(&of),
        Built::<Ruled<PrefixTrie>>::boxed(&of),
    ];
    // It moves its vectors on each insert: 100,000 prefixes take minutes to build.
    if count < 100_000 {
        contenders.push(Built::<Ruled<Pop>>::boxed(&of));
    }
    // 256 KiB a subject before the first prefix: not with a thousand subjects.
    if !v6 && subjects == 1 {
        contenders.push(Built::<Ruled<Dir>>::boxed(&of));
    }
    let mut ns = vec![Vec::new(); contenders.len()];
    for _ in 0..ROUNDS {
        let passes: Vec<_> = contenders.iter().map(|c| c.pass(&queries)).collect();
        for (figures, (figure, sum)) in ns.iter_mut().zip(&passes) {
            assert_eq!(*sum, passes[0].1, "all find the same");
            figures.push(*figure);
        }
    }
    let family = if v6 { "v6" } else { "v4" };
    for (contender, figures) in contenders.iter().zip(&mut ns) {
        println!(
            "lpm/{family}/{subjects}x{count:<7} {:<18} {:7.1} ns  ({:.1}..{:.1})  {:7.1} B/prefix  build {:9.0} us",
            contender.name(),
            median(figures),
            figures[0],
            figures[figures.len() - 1],
            contender.bytes() as f64 / (subjects * count) as f64,
            contender.build_us(),
        );
    }
}

fn main() {
    println!(
        "lookup of one destination, {ROUNDS} interleaved rounds of {LOOKUPS}: median (least..most)"
    );
    for v6 in [false, true] {
        for count in [10, 100, 1000, 100_000] {
            compare(1, count, v6);
        }
        compare(1000, 100, v6);
    }
}
