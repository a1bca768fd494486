//! The LPM tries: `SELECTORS` and `EXEMPT`.

use std::collections::{HashMap, HashSet};

use aya::maps::lpm_trie::Key;
use aya::maps::{LpmTrie, MapData};
use xsteer_abi::maps::{PREFIX_KEY_EXACT_BITS, PrefixKey, SELECTOR_KEY_EXACT_BITS, SelectorKey};

use super::plain::Raw;
use super::{failed, removed};
use crate::address::Prefix;
use crate::error::KernelError;

/// One entry of `SELECTORS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Selector {
    /// The classifier.
    pub classifier: u32,
    /// The destination.
    pub prefix: Prefix,
    /// Key into `RULE_SETS`.
    pub rule_set: u32,
}

/// Rule-set id of each destination prefix of each classifier.
pub struct Selectors {
    trie: LpmTrie<MapData, Raw<SelectorKey>, u32>,
    /// What the trie holds, so that removing a classifier need not walk all of it.
    prefixes: HashMap<u32, HashMap<Prefix, u32>>,
}

const SELECTORS: &str = "SELECTORS";

impl Selectors {
    /// Takes over the trie with what is in it.
    pub(crate) fn new(trie: LpmTrie<MapData, Raw<SelectorKey>, u32>) -> Result<Self, KernelError> {
        let mut prefixes: HashMap<u32, HashMap<Prefix, u32>> = HashMap::new();
        for entry in trie.iter() {
            let (key, rule_set) = entry.map_err(failed(SELECTORS, "reading"))?;
            let Raw(data) = key.data();
            let len = key.prefix_len().saturating_sub(SELECTOR_KEY_EXACT_BITS);
            if let Some(prefix) = Prefix::of_key(data.family, data.bytes, len) {
                prefixes
                    .entry(data.classifier)
                    .or_default()
                    .insert(prefix, rule_set);
            }
        }
        Ok(Self { trie, prefixes })
    }

    /// Adds a prefix to a classifier, or gives it another rule set.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`], ENOSPC where the map is full.
    pub fn insert(
        &mut self,
        classifier: u32,
        prefix: Prefix,
        rule_set: u32,
    ) -> Result<(), KernelError> {
        self.trie
            .insert(&selector_key(classifier, prefix), rule_set, 0)
            .map_err(failed(SELECTORS, "writing"))?;
        self.prefixes
            .entry(classifier)
            .or_default()
            .insert(prefix, rule_set);
        Ok(())
    }

    /// Removes all prefixes of a classifier; answers how many there were.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`]; calling again removes the rest.
    pub fn remove_classifier(&mut self, classifier: u32) -> Result<usize, KernelError> {
        let Some(prefixes) = self.prefixes.get(&classifier) else {
            return Ok(0);
        };
        for &prefix in prefixes.keys() {
            removed(self.trie.remove(&selector_key(classifier, prefix)))
                .map_err(failed(SELECTORS, "removing from"))?;
        }
        Ok(self
            .prefixes
            .remove(&classifier)
            .map_or(0, |gone| gone.len()))
    }

    /// The classifiers that have prefixes, in no order.
    pub fn classifiers(&self) -> impl Iterator<Item = u32> + '_ {
        self.prefixes.keys().copied()
    }

    /// Everything that is there, in no order.
    pub fn list(&self) -> impl Iterator<Item = Selector> + '_ {
        self.prefixes.iter().flat_map(|(&classifier, prefixes)| {
            prefixes.iter().map(move |(&prefix, &rule_set)| Selector {
                classifier,
                prefix,
                rule_set,
            })
        })
    }
}

/// Destinations that are never steered.
pub struct Exempt {
    trie: LpmTrie<MapData, Raw<PrefixKey>, u8>,
}

const EXEMPT: &str = "EXEMPT";

impl Exempt {
    pub(crate) fn new(trie: LpmTrie<MapData, Raw<PrefixKey>, u8>) -> Self {
        Self { trie }
    }

    /// Makes the map hold exactly `wanted`: adds first, removes after.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`]; what was added until then stays.
    pub fn replace_all(
        &mut self,
        wanted: impl IntoIterator<Item = Prefix>,
    ) -> Result<(), KernelError> {
        let mut present: HashSet<Prefix> = self.list()?.into_iter().collect();
        for prefix in wanted {
            if !present.remove(&prefix) {
                self.trie
                    .insert(&exempt_key(prefix), 1, 0)
                    .map_err(failed(EXEMPT, "writing"))?;
            }
        }
        for prefix in present {
            removed(self.trie.remove(&exempt_key(prefix)))
                .map_err(failed(EXEMPT, "removing from"))?;
        }
        Ok(())
    }

    /// Everything that is there, in no order.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`].
    pub fn list(&self) -> Result<Vec<Prefix>, KernelError> {
        let mut found = Vec::new();
        for key in self.trie.keys() {
            let key = key.map_err(failed(EXEMPT, "reading"))?;
            let Raw(data) = key.data();
            let len = key.prefix_len().saturating_sub(PREFIX_KEY_EXACT_BITS);
            found.extend(Prefix::of_key(data.family, data.bytes, len));
        }
        Ok(found)
    }
}

fn selector_key(classifier: u32, prefix: Prefix) -> Key<Raw<SelectorKey>> {
    let data = SelectorKey {
        classifier,
        family: prefix.family(),
        bytes: prefix.bytes(),
        reserved: [0; 3],
    };
    Key::new(SELECTOR_KEY_EXACT_BITS + u32::from(prefix.len()), Raw(data))
}

fn exempt_key(prefix: Prefix) -> Key<Raw<PrefixKey>> {
    Key::new(
        PREFIX_KEY_EXACT_BITS + u32::from(prefix.len()),
        Raw(prefix.key()),
    )
}
