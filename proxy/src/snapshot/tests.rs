//! Changes, rotations and buckets over configurations.

use authsome_shared::snapshot::encoding::{Header, encode};

use super::*;
use crate::testing;

fn whole(revision: u64, changes: &[Change]) -> Vec<u8> {
    let platform = "plt_1".parse().expect("an id");
    encode(&Header { platform, revision, changes: changes.len() }, changes)
}

fn first(revision: u64, changes: &[Change], quotas: &Quotas) -> Snapshot {
    Snapshot::empty().replaced_by(&whole(revision, changes), quotas).expect("whole")
}

#[test]
fn a_delta_touches_what_it_names_and_keeps_the_rest() {
    let quotas = Quotas::default();
    let mut one = testing::key("key_1", "app_1");
    let two = testing::key("key_2", "app_1");
    let first = first(
        5,
        &[
            Change::Workspace(testing::workspace("ws_1")),
            Change::Application(Box::new(testing::application("app_1", "ws_1"))),
            Change::Key(Box::new(one.clone())),
            Change::Key(Box::new(two.clone())),
        ],
        &quotas,
    );
    one.scopes = vec!["users:read".into()];
    let changes = [Change::Key(Box::new(one.clone())), Change::RemoveKey(two.id.clone())]
        .map(|change| serde_json::to_value(change).expect("JSON"));
    let next = first.advanced_by(6, changes.to_vec(), &quotas);
    assert_eq!((first.keys(), next.keys(), next.revision), (2, 1, 6));
    assert!(first.key(&two.digest).is_some(), "a request under way keeps its version");
    assert!(next.key(&two.digest).is_none());
    let (old, new) = (first.key(&one.digest), next.key(&one.digest));
    let (old, new) = (old.expect("known"), new.expect("known"));
    assert!(Arc::ptr_eq(&old.bucket, &new.bucket), "its bucket survives");
    assert_eq!(new.scopes.header.to_str().ok(), Some("users:read"));
}

#[test]
fn rotated_keys_share_a_bucket_in_every_order() {
    let quotas = Quotas::default();
    let one = testing::key("key_1", "app_1");
    let mut two = testing::key("key_2", "app_1");
    two.bucket = one.id.clone();
    let mut three = testing::key("key_3", "app_1");
    three.bucket = one.id.clone();
    let keys = [&one, &two].map(|key| Change::Key(Box::new(key.clone())));
    for order in [[0, 1], [1, 0]] {
        let changes = order.map(|i| keys[i].clone()).to_vec();
        let first = first(1, &changes, &quotas);
        let bucket = |snapshot: &Snapshot, key: &wire::Key| {
            snapshot.key(&key.digest).expect("known").bucket.clone()
        };
        assert!(Arc::ptr_eq(&bucket(&first, &one), &bucket(&first, &two)));
        // Also in a fresh snapshot, and after the first key is gone.
        let second = first.replaced_by(&whole(2, &changes), &quotas).expect("whole");
        assert!(Arc::ptr_eq(&bucket(&first, &one), &bucket(&second, &two)));
        let removed = serde_json::to_value(Change::RemoveKey(one.id.clone())).expect("JSON");
        let added = serde_json::to_value(Change::Key(Box::new(three.clone()))).expect("JSON");
        let third = second.advanced_by(3, vec![removed, added], &quotas);
        assert!(Arc::ptr_eq(&bucket(&first, &one), &bucket(&third, &three)));
    }
}

#[test]
fn a_header_that_announces_more_than_there_is_takes_no_memory_and_is_refused() {
    let platform = "plt_1".parse().expect("an id");
    let bytes = encode(&Header { platform, revision: 1, changes: usize::MAX }, &[]);
    let replaced = Snapshot::empty().replaced_by(&bytes, &Quotas::default());
    assert!(matches!(replaced, Err(Corrupt::Short { .. })));
}

#[test]
fn what_cannot_be_served_is_set_aside_alone() {
    let quotas = Quotas::default();
    let mut bad = testing::application("app_2", "ws_1");
    bad.upstream.as_mut().expect("set").urls = vec!["gopher://x".into()];
    let snapshot = first(
        1,
        &[
            Change::Application(Box::new(testing::application("app_1", "ws_1"))),
            Change::Application(Box::new(bad.clone())),
        ],
        &quotas,
    );
    assert_eq!((snapshot.quarantined, snapshot.applications()), (1, 1));
    // The last good form stays when a change spoils an entity.
    bad.id = "app_1".parse().expect("an id");
    let change = serde_json::to_value(Change::Application(Box::new(bad))).expect("JSON");
    let nonsense = serde_json::json!({"removeGalaxy": 1});
    let next = snapshot.advanced_by(2, vec![change, nonsense], &quotas);
    assert_eq!((next.quarantined, next.revision), (3, 2));
    assert!(next.application("app_1").is_some());
}

#[test]
fn a_key_with_a_new_digest_is_not_found_under_the_old() {
    let quotas = Quotas::default();
    let old = testing::key("key_1", "app_1");
    let mut new = old.clone();
    new.digest = KeyDigest::of("another");
    let first = first(1, &[Change::Key(Box::new(old.clone()))], &quotas);
    let change = serde_json::to_value(Change::Key(Box::new(new.clone()))).expect("JSON");
    let next = first.advanced_by(2, vec![change], &quotas);
    assert!(next.key(&old.digest).is_none() && next.key(&new.digest).is_some());
}
