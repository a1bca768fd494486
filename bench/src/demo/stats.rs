//! What `xsteer stats` prints: sections of names and numbers.

use std::collections::BTreeMap;

/// All counters of one agent, or of several added up: section, name, count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stats(BTreeMap<String, BTreeMap<String, u64>>);

impl Stats {
    /// Reads the two levels of YAML that the command prints.
    pub(super) fn parse(text: &str) -> Self {
        let (mut sections, mut current) = (BTreeMap::new(), String::new());
        for line in text.lines() {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            if !name.starts_with(' ') {
                name.clone_into(&mut current);
                sections.insert(current.clone(), BTreeMap::new());
            } else if let Ok(count) = value.trim().parse() {
                let section = sections.entry(current.clone()).or_default();
                section.insert(name.trim().to_owned(), count);
            }
        }
        Self(sections)
    }

    /// One counter; 0 when it is not printed, as drops that never happened are not.
    pub(super) fn get(&self, section: &str, name: &str) -> u64 {
        self.section(section).get(name).copied().unwrap_or(0)
    }

    /// All counters of a section.
    pub(super) fn section(&self, section: &str) -> BTreeMap<String, u64> {
        self.0.get(section).cloned().unwrap_or_default()
    }

    /// Every drop by reason: the workers' own, and the kernel programs' that are not 0.
    pub(super) fn drops(&self) -> BTreeMap<String, u64> {
        let mut drops = self.section("dropped");
        let kernel = self.section("kernel");
        drops.extend(
            kernel
                .into_iter()
                .filter(|(name, count)| name.contains("dropped") && *count > 0),
        );
        drops
    }

    /// Adds another agent's counters.
    pub(super) fn add(&mut self, other: &Self) {
        for (section, counters) in &other.0 {
            let sum = self.0.entry(section.clone()).or_default();
            for (name, count) in counters {
                *sum.entry(name.clone()).or_default() += count;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "kernel:\n  entry_diverted: 7\n  fence_dropped: 2\n  \
                           entry_dropped_closed: 0\nworkers:\n  received: 7\ndropped: {}\n\
                           paths:\n  1: 5\n";

    #[test]
    fn sections_are_read_and_add_up() {
        let mut stats = Stats::parse(PRINTED);
        assert_eq!(stats.get("kernel", "entry_diverted"), 7);
        assert_eq!(stats.get("paths", "1"), 5);
        assert_eq!(stats.section("dropped"), BTreeMap::new());
        stats.add(&Stats::parse(
            "dropped:\n  ttl_expired: 3\npaths:\n  1: 1\n",
        ));
        assert_eq!(stats.get("paths", "1"), 6);
        let drops: Vec<_> = stats.drops().into_iter().collect();
        assert_eq!(
            drops,
            [
                ("fence_dropped".to_owned(), 2),
                ("ttl_expired".to_owned(), 3)
            ]
        );
    }
}
