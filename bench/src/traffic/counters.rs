//! The kernel's own counters of one namespace, as `nstat` shows them.

use std::collections::BTreeMap;
use std::fs;

use crate::testbed::{During as _, Namespace, Result};

/// Two-line tables, then a list of name and value. `thread-self`: `/proc/net` follows the process,
/// not the thread that entered the namespace.
const TABLES: [&str; 2] = [
    "/proc/thread-self/net/snmp",
    "/proc/thread-self/net/netstat",
];
const LIST_V6: &str = "/proc/thread-self/net/snmp6";

/// All counters by name, such as `TcpInCsumErrors` or `Udp6InDatagrams`.
///
/// # Errors
/// When the kernel's tables can't be read.
pub fn snmp(namespace: &Namespace) -> Result<BTreeMap<String, u64>> {
    namespace.enter(|| {
        let mut counters = BTreeMap::new();
        for path in TABLES {
            let text = fs::read_to_string(path).during(|| format!("read {path}"))?;
            counters.extend(parse_tables(&text));
        }
        let text = fs::read_to_string(LIST_V6).during(|| format!("read {LIST_V6}"))?;
        counters.extend(parse_list(&text));
        Ok(counters)
    })
}

/// Packets that the namespace refused for a wrong checksum, by counter, without zeros.
///
/// # Errors
/// When the kernel's tables can't be read.
pub fn checksum_errors(namespace: &Namespace) -> Result<BTreeMap<String, u64>> {
    let mut counters = snmp(namespace)?;
    counters.retain(|name, value| name.ends_with("CsumErrors") && *value > 0);
    Ok(counters)
}

/// `Tcp: A B\nTcp: 1 2\n` -> `TcpA` 1, `TcpB` 2.
fn parse_tables(text: &str) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let mut names = names.split_whitespace();
        let group = names.next().unwrap_or("").trim_end_matches(':');
        for (name, value) in names.zip(values.split_whitespace().skip(1)) {
            // Tcp MaxConn is -1: no count.
            if let Ok(value) = value.parse() {
                counters.insert(format!("{group}{name}"), value);
            }
        }
    }
    counters
}

fn parse_list(text: &str) -> BTreeMap<String, u64> {
    let pairs = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_layouts_are_read() {
        let tables = parse_tables("Tcp: MaxConn InErrs\nTcp: -1 7\nUdp: InCsumErrors\nUdp: 2\n");
        assert_eq!(
            tables.into_iter().collect::<Vec<_>>(),
            [
                ("TcpInErrs".to_owned(), 7),
                ("UdpInCsumErrors".to_owned(), 2)
            ]
        );
        let list = parse_list("Ip6InReceives   \t3\nUdp6InCsumErrors 0\n");
        assert_eq!(list.get("Ip6InReceives"), Some(&3));
    }
}
