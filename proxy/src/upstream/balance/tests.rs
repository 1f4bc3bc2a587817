use proptest::prelude::*;

use super::*;

fn turns(weights: &[u32], among: Places, count: usize) -> Vec<usize> {
    let mut credit = vec![0; weights.len()];
    (0..count).map(|_| in_turn(&mut credit, weights, among).expect("one is in")).collect()
}

#[test]
fn turns_follow_the_weights_and_are_spread() {
    let all = Places::first(3);
    assert_eq!(turns(&[5, 1, 1], all, 7), [0, 0, 1, 0, 2, 0, 0]);
    assert_eq!(turns(&[1, 1, 1], all, 6), [0, 1, 2, 0, 1, 2]);
    assert_eq!(turns(&[5, 1, 1], Places(0b110), 4), [1, 2, 1, 2]);
    assert_eq!(in_turn(&mut [0], &[1], Places::NONE), None);
}

#[test]
fn the_least_loaded_for_its_weight_is_taken() {
    for (under_way, weights, among, turn, wanted) in [
        ([3, 1, 2], [1, 1, 1], 0b111, 0, Some(1)),
        ([3, 1, 2], [1, 1, 1], 0b101, 0, Some(2)),
        ([3, 1, 2], [4, 1, 1], 0b111, 0, Some(0)),
        ([0, 0, 0], [1, 1, 1], 0b111, 1, Some(1)),
        ([0, 0, 0], [1, 1, 1], 0b101, 1, Some(2)),
        ([0, 0, 0], [1, 1, 9], 0b111, 0, Some(2)),
        ([0, 0, 0], [1, 1, 1], 0, 0, None),
    ] {
        let found = least(|place| under_way[place], &weights, Places(among), turn);
        assert_eq!(found, wanted, "{under_way:?} {weights:?} {among:b} {turn}");
    }
}

#[test]
fn hashes_are_the_same_everywhere() {
    assert_eq!(hash("key_1"), 0x9caa_4889_2cec_5c14);
}

#[test]
fn hashing_shares_by_weight() {
    let urls: Vec<u64> = ["http://a", "http://b", "http://c"].map(hash).into();
    let mut counts = [0_u32; 3];
    for i in 0..10_000 {
        let subject = hash(&format!("key_{i}"));
        counts[by_hash(subject, &urls, &[1, 1, 2], Places::first(3)).expect("one")] += 1;
    }
    for (count, share) in counts.into_iter().zip([2_500, 2_500, 5_000]) {
        assert!(count.abs_diff(share) < 250, "{counts:?}");
    }
}

proptest! {
    #[test]
    fn a_round_of_turns_is_exact(weights in proptest::collection::vec(1..50_u32, 1..MOST)) {
        let total: u32 = weights.iter().sum();
        let taken = turns(&weights, Places::first(weights.len()), total as usize);
        for (place, weight) in weights.iter().enumerate() {
            let count = taken.iter().filter(|taken| **taken == place).count();
            prop_assert_eq!(count, *weight as usize);
        }
    }

    #[test]
    fn only_the_subjects_of_what_is_out_move(subject: u64, out in 0..8_usize) {
        let urls: Vec<u64> = (0..8).map(|i| hash(&format!("http://upstream-{i}"))).collect();
        let weights = [1; 8];
        let all = Places::first(8);
        let before = by_hash(subject, &urls, &weights, all).expect("one");
        let among = all.without(Places::NONE.with(out));
        let after = by_hash(subject, &urls, &weights, among).expect("one");
        prop_assert!(after != out);
        prop_assert!(before == out || before == after);
    }

    #[test]
    fn what_is_chosen_is_in(places: u16, turn: usize, subject: u64) {
        let among = Places(places);
        let (weights, urls) = ([1; MOST], [7; MOST]);
        for chosen in [
            in_turn(&mut [0; MOST], &weights, among),
            least(|_| 0, &weights, among, turn),
            by_hash(subject, &urls, &weights, among),
        ] {
            prop_assert_eq!(chosen.is_none(), among.is_empty());
            prop_assert!(chosen.is_none_or(|place| among.has(place)));
        }
    }
}
