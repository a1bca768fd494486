//! Equal contents, equal ids: a classifier or rule set is immutable once it has an id.

use std::collections::HashMap;
use std::hash::Hash;

use xsteer_abi::maps::{MAX_RULES, Rule, RuleSet};
use xsteer_dataplane::table::spec::{ClassifierId, PrefixSpec};

/// Gives out ids of classifiers and rule sets. An id is never used again for other contents.
#[derive(Debug)]
pub struct Interner {
    classifiers: Ids<Vec<PrefixSpec>>,
    rule_sets: Ids<RuleSet>,
}

impl Interner {
    /// Ids start above those that a dead agent left in the kernel's maps.
    #[must_use]
    pub fn starting_above(classifier: u32, rule_set: u32) -> Self {
        Self {
            classifiers: Ids::above(classifier),
            rule_sets: Ids::above(rule_set),
        }
    }

    /// The id of a classifier with these contents.
    pub fn classifier(&mut self, prefixes: &[PrefixSpec]) -> ClassifierId {
        ClassifierId(self.classifiers.of(&prefixes.to_vec()))
    }

    /// Forgets classifiers that are not in use; their contents get a new id when they come again.
    pub fn keep_classifiers(&mut self, in_use: impl Fn(ClassifierId) -> bool) {
        self.classifiers
            .ids
            .retain(|_, id| in_use(ClassifierId(*id)));
    }

    /// The id and the map value of a prefix's rules.
    pub fn rule_set(&mut self, prefix: &PrefixSpec) -> (u32, RuleSet) {
        let mut set = RuleSet::default();
        for (slot, (rule, _)) in set.rules.iter_mut().zip(&prefix.rules) {
            *slot = Rule {
                reserved: 0,
                ..*rule
            };
            set.len += 1;
        }
        debug_assert!(
            prefix.rules.len() <= MAX_RULES,
            "merge bounds the rules of a prefix"
        );
        (self.rule_sets.of(&set), set)
    }

    /// Forgets rule sets that are not in use.
    pub fn keep_rule_sets(&mut self, in_use: impl Fn(u32) -> bool) {
        self.rule_sets.ids.retain(|_, id| in_use(*id));
    }
}

#[derive(Debug)]
struct Ids<T> {
    ids: HashMap<T, u32>,
    last: u32,
}

impl<T: Clone + Eq + Hash> Ids<T> {
    fn above(last: u32) -> Self {
        Self {
            ids: HashMap::new(),
            last,
        }
    }

    fn of(&mut self, contents: &T) -> u32 {
        if let Some(id) = self.ids.get(contents) {
            return *id;
        }
        self.last += 1;
        self.ids.insert(contents.clone(), self.last);
        self.last
    }
}
