//! What a subject's packets are matched on: destination prefixes, and rules behind each.

use std::net::IpAddr;

use hashbrown::HashMap;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use xsteer_abi::maps::{PROTOCOL_ANY, Rule};

use super::TableError;
use super::lpm::{Bits, Lpm, NONE};
use super::spec::{ClassifierId, ClassifierSpec, Decision, PrefixSpec};

/// The merged selectors of all pods that have the same ones.
///
/// Prefixes with the same rules share them; an IPv4 prefix costs at the most 27 bytes and an IPv6
/// prefix 63, and 20 more for each rule list of one rule that it does not share.
#[derive(Debug)]
pub struct Classifier {
    id: ClassifierId,
    v4: Prefixes<u32>,
    v6: Prefixes<u128>,
    /// End of each rule list in `rules`; it begins where the one before ends.
    ends: Box<[u32]>,
    rules: Box<[(Rule, Decision)]>,
}

/// The prefixes of one family: the search structure, and the list for the admin commands.
#[derive(Debug)]
struct Prefixes<A> {
    lpm: Lpm<A>,
    addresses: Box<[A]>,
    lens: Box<[u8]>,
    lists: Box<[u32]>,
}

impl Classifier {
    /// Builds the lookup structure.
    ///
    /// # Errors
    /// A prefix given twice, or with host bits set.
    pub fn build(spec: &ClassifierSpec) -> Result<Self, TableError> {
        let mut lists = RuleLists::default();
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for PrefixSpec { prefix, rules } in &spec.prefixes {
            let list = lists.intern(rules);
            match prefix {
                IpNet::V4(net) => v4.push((net.addr().to_bits(), net.prefix_len(), list)),
                IpNet::V6(net) => v6.push((net.addr().to_bits(), net.prefix_len(), list)),
            }
        }
        Ok(Self {
            id: spec.id,
            v4: Prefixes::build(spec.id, v4, v4_net)?,
            v6: Prefixes::build(spec.id, v6, v6_net)?,
            ends: lists.ends.into_boxed_slice(),
            rules: lists.rules.into_boxed_slice(),
        })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> ClassifierId {
        self.id
    }

    /// What the longest prefix around `destination` says about the packet.
    ///
    /// `dport` is 0 where the protocol has no ports.
    #[must_use]
    pub fn classify(&self, destination: IpAddr, protocol: u8, dport: u16) -> Option<Decision> {
        self.rules(destination)
            .iter()
            .find(|(rule, _)| rule.matches(protocol, dport))
            .map(|&(_, decision)| decision)
    }

    /// Whether a packet of that protocol could match on some port: a fragment whose first one
    /// has not come yet.
    #[must_use]
    pub fn may_match(&self, destination: IpAddr, protocol: u8) -> bool {
        self.rules(destination)
            .iter()
            .any(|(rule, _)| rule.protocol == PROTOCOL_ANY || rule.protocol == protocol)
    }

    /// All prefixes with their rules, IPv4 first, ascending.
    pub fn prefixes(&self) -> impl Iterator<Item = (IpNet, &[(Rule, Decision)])> {
        let v4 = self.v4.iter().map(|(a, len, list)| (v4_net(a, len), list));
        let v6 = self.v6.iter().map(|(a, len, list)| (v6_net(a, len), list));
        v4.chain(v6).map(|(net, list)| (net, self.list(list)))
    }

    /// How many prefixes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.lens.len() + self.v6.lens.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes it holds on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.v4.heap_bytes()
            + self.v6.heap_bytes()
            + size_of_val(&*self.ends)
            + size_of_val(&*self.rules)
    }

    fn rules(&self, destination: IpAddr) -> &[(Rule, Decision)] {
        let list = match destination {
            IpAddr::V4(a) => self.v4.lpm.find(a.to_bits()),
            IpAddr::V6(a) => self.v6.lpm.find(a.to_bits()),
        };
        if list == NONE { &[] } else { self.list(list) }
    }

    fn list(&self, list: u32) -> &[(Rule, Decision)] {
        let list = list as usize;
        let begin = list.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.rules[begin as usize..self.ends[list] as usize]
    }
}

impl<A: Bits> Prefixes<A> {
    fn build(
        classifier: ClassifierId,
        mut prefixes: Vec<(A, u8, u32)>,
        net: impl Fn(A, u8) -> IpNet,
    ) -> Result<Self, TableError> {
        prefixes.sort_unstable();
        if let Some(&(a, len, _)) = prefixes.iter().find(|(a, len, _)| a.has_host_bits(*len)) {
            let prefix = net(a, len);
            return Err(TableError::HostBits { classifier, prefix });
        }
        let twice = |pair: &&[(A, u8, u32)]| (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1);
        if let Some(pair) = prefixes.windows(2).find(twice) {
            let prefix = net(pair[0].0, pair[0].1);
            return Err(TableError::DuplicatePrefix { classifier, prefix });
        }
        Ok(Self {
            lpm: Lpm::build(&prefixes),
            addresses: prefixes.iter().map(|p| p.0).collect(),
            lens: prefixes.iter().map(|p| p.1).collect(),
            lists: prefixes.iter().map(|p| p.2).collect(),
        })
    }

    fn iter(&self) -> impl Iterator<Item = (A, u8, u32)> {
        let lens = self.lens.iter().zip(&self.lists);
        self.addresses
            .iter()
            .zip(lens)
            .map(|(&a, (&len, &list))| (a, len, list))
    }

    fn heap_bytes(&self) -> usize {
        self.lpm.heap_bytes()
            + size_of_val(&*self.addresses)
            + size_of_val(&*self.lens)
            + size_of_val(&*self.lists)
    }
}

/// Rule lists while they are gathered; equal ones are kept once.
#[derive(Default)]
struct RuleLists<'a> {
    known: HashMap<&'a [(Rule, Decision)], u32, ahash::RandomState>,
    ends: Vec<u32>,
    rules: Vec<(Rule, Decision)>,
}

impl<'a> RuleLists<'a> {
    fn intern(&mut self, rules: &'a [(Rule, Decision)]) -> u32 {
        let Self {
            known,
            ends,
            rules: all,
        } = self;
        *known.entry(rules).or_insert_with(|| {
            all.extend_from_slice(rules);
            ends.push(all.len() as u32);
            ends.len() as u32 - 1
        })
    }
}

fn v4_net(address: u32, len: u8) -> IpNet {
    Ipv4Net::new_assert(address.into(), len).into()
}

fn v6_net(address: u128, len: u8) -> IpNet {
    Ipv6Net::new_assert(address.into(), len).into()
}

#[cfg(test)]
mod tests;
