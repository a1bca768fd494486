use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn behaves_as_a_bounded_map(ops in prop::collection::vec((any::<bool>(), 0u8..40), 0..400)) {
        let mut slab = Slab::new(16);
        let mut model = HashMap::new();
        for (i, (add, key)) in ops.into_iter().enumerate() {
            if add {
                let fits = model.len() < 16 || model.contains_key(&key);
                prop_assert_eq!(slab.insert(key, i).is_ok(), fits);
                if fits {
                    model.insert(key, i);
                }
            } else {
                prop_assert_eq!(slab.remove(&key), model.remove(&key));
            }
            prop_assert_eq!((slab.len(), slab.capacity()), (model.len(), 16));
            let found: HashMap<u8, usize> = slab.iter().map(|(&k, &v)| (k, v)).collect();
            prop_assert_eq!(&found, &model);
            for key in 0..40 {
                prop_assert_eq!(slab.get_mut(&key).copied(), model.get(&key).copied());
            }
        }
    }
}
