//! What a start finds after changes, damage and folding.

use std::sync::OnceLock;

use authsome_shared::snapshot::Change;
use authsome_shared::snapshot::encoding::{Header, encode};

use proptest::prelude::*;

use super::*;
use crate::testing;

fn platform() -> PlatformId {
    "plt_1".parse().expect("an id")
}

/// A snapshot at `revision` that holds as many workspaces.
fn base(revision: u64) -> Vec<u8> {
    let changes: Vec<Change> = (1..=revision).map(workspace).collect();
    encode(&Header { platform: platform(), revision, changes: changes.len() }, &changes)
}

fn workspace(number: u64) -> Change {
    Change::Workspace(testing::workspace(&format!("ws_{number}")))
}

fn delta(number: u64) -> Vec<Value> {
    vec![serde_json::to_value(workspace(number)).expect("JSON")]
}

/// As at a start.
fn open(dir: &Path) -> (Store, Option<Loaded>) {
    let loaded = read(dir).expect("read");
    let base = loaded.as_ref().map(|loaded| loaded.header.clone());
    let stands = base.as_ref().map(|base| {
        let changes = &loaded.as_ref().expect("has a base").changes;
        (base.platform.clone(), changes.last().map_or(base.revision, |it| it.revision))
    });
    (Store::open(dir, stands, base.map(|base| base.revision)), loaded)
}

/// The revision and the workspaces that a start would serve.
fn found(dir: &Path) -> Option<(u64, usize)> {
    let (_, loaded) = open(dir);
    let loaded = loaded?;
    let base = encoding::decode(&loaded.base).expect("whole");
    let revision = loaded.changes.last().map_or(base.header.revision, |it| it.revision);
    Some((revision, base.changes.len() + loaded.changes.len()))
}

async fn store(dir: &Path, bases: &[u64], upto: u64) -> Store {
    let (mut store, _) = open(dir);
    for (i, revision) in bases.iter().enumerate() {
        store.replace(platform(), *revision, base(*revision)).await;
        let end = bases.get(i + 1).copied().unwrap_or(upto);
        for number in revision + 1..=end {
            store.append(number, delta(number));
        }
    }
    store
}

fn damage(path: &Path) {
    let mut bytes = fs::read(path).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(path, bytes).expect("written");
}

#[tokio::test]
async fn nothing_is_found_in_an_empty_folder() {
    let dir = tempfile::tempdir().expect("a folder");
    assert_eq!(found(dir.path()), None);
}

#[tokio::test]
async fn a_restart_finds_the_base_and_every_change_since() {
    let dir = tempfile::tempdir().expect("a folder");
    drop(store(dir.path(), &[3], 8).await);
    assert_eq!(found(dir.path()), Some((8, 8)));
    // And goes on from there.
    let (mut store, _) = open(dir.path());
    store.append(9, delta(9));
    assert_eq!(found(dir.path()), Some((9, 9)));
}

#[tokio::test]
async fn a_torn_tail_is_passed_over() {
    let dir = tempfile::tempdir().expect("a folder");
    drop(store(dir.path(), &[3], 8).await);
    let (_, path) = list(dir.path(), "deltas-", ".log").pop().expect("a log");
    let bytes = fs::read(&path).expect("read");
    fs::write(&path, &bytes[..bytes.len() - 7]).expect("written");
    assert_eq!(found(dir.path()), Some((7, 7)));
    let (mut store, _) = open(dir.path());
    store.append(8, delta(8));
    assert_eq!(found(dir.path()), Some((8, 8)));
}

#[tokio::test]
async fn damage_in_a_log_ends_it_there() {
    let dir = tempfile::tempdir().expect("a folder");
    drop(store(dir.path(), &[3], 8).await);
    let (_, path) = list(dir.path(), "deltas-", ".log").pop().expect("a log");
    damage(&path);
    let (revision, workspaces) = found(dir.path()).expect("found");
    assert!((3..8).contains(&revision) && workspaces as u64 == revision);
}

#[tokio::test]
async fn a_damaged_base_falls_back_and_still_reaches_the_newest_change() {
    let dir = tempfile::tempdir().expect("a folder");
    drop(store(dir.path(), &[3, 6], 8).await);
    damage(&base_path(dir.path(), 6));
    assert_eq!(found(dir.path()), Some((8, 8)), "the log before the damaged base bridges it");
    fs::remove_file(dir.path().join(format!("deltas-{:020}.log", 3))).expect("removed");
    assert_eq!(found(dir.path()), Some((3, 3)));
    damage(&base_path(dir.path(), 3));
    assert_eq!(found(dir.path()), None, "nothing readable is an empty start, not an error");
}

#[tokio::test]
async fn two_generations_are_kept() {
    let dir = tempfile::tempdir().expect("a folder");
    drop(store(dir.path(), &[2, 4, 6], 7).await);
    let revisions = |prefix, suffix| -> Vec<u64> {
        list(dir.path(), prefix, suffix).into_iter().map(|(revision, _)| revision).collect()
    };
    assert_eq!(revisions("snapshot-", ".zst"), [4, 6]);
    assert_eq!(revisions("deltas-", ".log"), [4, 6]);
}

#[tokio::test]
async fn another_platforms_changes_do_not_mix() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = store(dir.path(), &[3], 5).await;
    let other: PlatformId = "plt_2".parse().expect("an id");
    let bytes = encode(&Header { platform: other.clone(), revision: 2, changes: 0 }, &[]);
    store.replace(other, 2, bytes).await;
    drop(store);
    assert_eq!(found(dir.path()), Some((2, 0)), "the newest is what was written last");
}

#[tokio::test]
async fn a_long_log_is_folded_into_a_new_base() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = store(dir.path(), &[1], 5).await;
    store.fold_bytes = 1;
    let removal = Change::RemoveWorkspace("ws_2".parse().expect("an id"));
    store.append(6, vec![serde_json::to_value(removal).expect("JSON")]);
    store.wait_for_fold().await;
    store.append(7, delta(7));
    store.wait_for_fold().await;
    let folded = encoding::decode(&fs::read(base_path(dir.path(), 6)).expect("read"));
    assert_eq!(folded.expect("whole").changes.len(), 4);
    assert_eq!(found(dir.path()), Some((7, 5)));
    damage(&base_path(dir.path(), 7));
    damage(&base_path(dir.path(), 6));
    assert_eq!(found(dir.path()), None);
}

#[tokio::test]
async fn a_small_base_is_kept_up_to_date_and_any_one_damaged_base_costs_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = store(dir.path(), &[1], 5).await;
    for number in 6..=7 {
        store.fold_if_small();
        store.wait_for_fold().await;
        store.append(number, delta(number));
    }
    drop(store);
    let bases = bases(dir.path());
    assert_eq!(bases.iter().map(|(revision, _)| *revision).collect::<Vec<_>>(), [5, 6]);
    for (_, path) in bases {
        let whole = fs::read(&path).expect("read");
        damage(&path);
        assert_eq!(found(dir.path()), Some((7, 7)), "{}", path.display());
        fs::write(&path, whole).expect("written");
    }
}

#[tokio::test]
async fn what_cannot_be_read_yet_is_not_folded_away() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = store(dir.path(), &[1], 2).await;
    store.append(3, vec![serde_json::json!({ "somethingNew": 1 })]);
    store.fold_if_small();
    store.wait_for_fold().await;
    store.append(4, delta(4));
    store.fold_if_small();
    drop(store);
    assert_eq!(found(dir.path()), Some((4, 4)), "a later release finds it in the log");
}

/// What is on disk after two generations and changes up to the eighth.
fn files() -> &'static [(String, Vec<u8>)] {
    static FILES: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        drop(runtime.block_on(store(dir.path(), &[3, 6], 8)));
        let file = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
            (name.to_owned(), fs::read(path).expect("read"))
        };
        // In the order in which they were written.
        let bases = bases(dir.path()).into_iter();
        bases.chain(list(dir.path(), "deltas-", ".log")).map(|(_, path)| file(&path)).collect()
    })
}

/// Each file, spoilt or not: cut off after a part of it, or with one byte changed there.
fn spoilt() -> impl Strategy<Value = Vec<Option<(prop::sample::Index, u8)>>> {
    let damage = prop::option::of((any::<prop::sample::Index>(), any::<u8>()));
    prop::collection::vec(damage, files().len())
}

fn write_spoilt(dir: &Path, damage: &[Option<(prop::sample::Index, u8)>]) {
    for ((name, whole), damage) in files().iter().zip(damage) {
        let mut bytes = whole.clone();
        match damage {
            Some((at, 0)) => bytes.truncate(at.index(whole.len())),
            Some((at, flip)) => bytes[at.index(whole.len())] ^= flip,
            None => {}
        }
        fs::write(dir.join(name), bytes).expect("written");
    }
}

proptest! {
    /// Each revision adds one workspace: as many as the revision means that it is whole.
    #[test]
    fn whatever_is_spoilt_what_is_found_is_whole_and_nothing_newer_than_what_was(
        damage in spoilt(),
        only in any::<prop::sample::Index>(),
    ) {
        let dir = tempfile::tempdir().expect("a folder");
        write_spoilt(dir.path(), &damage);
        if let Some((revision, workspaces)) = found(dir.path()) {
            prop_assert!((3..=8).contains(&revision), "{revision}");
            prop_assert_eq!(workspaces as u64, revision);
        }
        // One spoilt file costs no more than what came after the newest whole snapshot.
        let dir = tempfile::tempdir().expect("a folder");
        let only = only.index(damage.len());
        let one = damage.iter().enumerate().map(|(i, it)| it.filter(|_| i == only));
        write_spoilt(dir.path(), &one.collect::<Vec<_>>());
        let (revision, workspaces) = found(dir.path()).expect("a generation is left");
        prop_assert!((6..=8).contains(&revision), "{revision}");
        prop_assert_eq!(workspaces as u64, revision);
    }
}

#[tokio::test]
async fn changes_that_come_while_another_process_may_write_are_kept_or_left_to_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = store(dir.path(), &[5], 7).await;
    store.pause().await;
    store.append(8, delta(8));
    assert_eq!(changes_after(dir.path(), &platform(), 6).len(), 1, "only the seventh is there");
    // The other process begins where the folder ends, and fails.
    drop(Store::open(dir.path(), Some((platform(), 7)), None));
    store.append(9, delta(9));
    store.resume().await;
    store.append(10, delta(10));
    assert_eq!(found(dir.path()), Some((10, 10)));
    // The next one succeeds.
    store.pause().await;
    store.leave();
    store.append(11, delta(11));
    store.replace(platform(), 12, base(12)).await;
    assert_eq!(found(dir.path()), Some((10, 10)));
}

#[tokio::test]
async fn a_whole_snapshot_that_comes_while_another_process_may_write_is_kept() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = store(dir.path(), &[5], 7).await;
    store.pause().await;
    store.append(8, delta(8));
    store.replace(platform(), 20, base(20)).await;
    store.append(21, delta(21));
    store.resume().await;
    assert_eq!(found(dir.path()), Some((21, 21)));
}
