use super::*;

fn addresses(n: u32) -> Vec<IpAddr> {
    (0..n)
        .map(|i| IpAddr::from((0x0A00_0001 + i * 7).to_be_bytes()))
        .collect()
}

fn slots(maglev: &Maglev) -> Vec<usize> {
    match &maglev.slots {
        Slots::Narrow(slots) => slots.iter().map(|&i| usize::from(i)).collect(),
        Slots::Wide(slots) => slots.iter().map(|&i| usize::from(i)).collect(),
    }
}

/// Share of slots that change when pod `gone` of `n` leaves.
fn moved(n: u32, gone: usize) -> f64 {
    let before = addresses(n);
    let mut after = before.clone();
    after.remove(gone);
    let (old, new) = (
        slots(&Maglev::build(&before)),
        slots(&Maglev::build(&after)),
    );
    assert_eq!(old.len(), new.len(), "across a step");
    let changed = old
        .iter()
        .zip(&new)
        .filter(|&(&a, &b)| before[a] != after[b])
        .count();
    changed as f64 / old.len() as f64
}

#[test]
fn no_pod_is_ever_picked_of_none_and_always_the_only_one() {
    assert_eq!(Maglev::build(&[]).pick(1), None);
    let one = Maglev::build(&addresses(1));
    assert_eq!([one.pick(0), one.pick(u64::MAX)], [Some(0), Some(0)]);
}

#[test]
fn each_pod_gets_its_share_within_two_percent() {
    for n in [2, 3, 10, 64, 65, 100, 300, 650, 1000] {
        let mut counts = vec![0usize; n as usize];
        slots(&Maglev::build(&addresses(n)))
            .iter()
            .for_each(|&i| counts[i] += 1);
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(
            most - least <= 1 && (*most as f64) < *least as f64 * 1.02,
            "{n}: {least}..{most}"
        );
    }
}

#[test]
fn one_of_many_that_leaves_moves_little_else() {
    for (n, bound) in [(10, 0.12), (64, 0.03), (100, 0.02), (300, 0.015)] {
        let worst = (0..n as usize)
            .step_by(n as usize / 10)
            .map(|gone| moved(n, gone));
        let worst = worst.fold(0.0, f64::max);
        assert!(worst < bound, "{n}: {worst}");
    }
}

#[test]
fn hashes_reach_every_slot_from_first_to_last() {
    assert_eq!(scale(0, 16_381), 0);
    assert_eq!(scale(u64::MAX, 16_381), 16_380);
}
