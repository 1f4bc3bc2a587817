//! How configuration comes, is kept, and is never turned back.

use std::fs;

use authsome_shared::snapshot::{Change, WorkspaceStatus};

use crate::harness::{Harness, eventually, files, key};

const USERS: &str = "/v1/app_1/users";

async fn status(harness: &Harness) -> u16 {
    harness.connect().await.get(USERS, &harness.world.secret).await.status
}

#[tokio::test]
async fn an_acknowledged_revocation_holds() {
    let harness = Harness::start().await;
    let mut wire = harness.connect().await;
    assert_eq!(wire.get(USERS, &harness.world.secret).await.status, 200);
    harness.change(vec![Change::RemoveKey(harness.world.key.id.clone())]).await;
    assert_eq!(wire.get(USERS, &harness.world.secret).await.status, 401, "an open connection, too");
    let (new, secret) = key("key_2");
    harness.change(vec![Change::Key(Box::new(new))]).await;
    assert_eq!(wire.get(USERS, &secret).await.status, 200);
    let ack = harness.control.last_ack().expect("acknowledged");
    assert_eq!((ack.revision, ack.quarantined), (3, 0));
    assert!(ack.node.as_str().starts_with("node_"));
}

#[tokio::test]
async fn a_restart_serves_from_disk_with_the_control_plane_gone() {
    let mut harness = Harness::start().await;
    let (second, secret) = key("key_2");
    harness.change(vec![Change::Key(Box::new(second))]).await;
    harness.change(vec![Change::RemoveKey(harness.world.key.id.clone())]).await;
    harness.control.set_up(false);
    harness.kill();
    harness.restart().await;
    assert!(harness.is_ready().await, "at once, from disk");
    assert_eq!(status(&harness).await, 401, "a revocation survives");
    assert_eq!(harness.connect().await.get(USERS, &secret).await.status, 200);
    harness.control.set_up(true);
    let (third, secret) = key("key_3");
    harness.change(vec![Change::Key(Box::new(third))]).await;
    assert_eq!(harness.connect().await.get(USERS, &secret).await.status, 200);
    assert_eq!(harness.control.snapshots_served(), 1, "it went on from where it was");
}

#[tokio::test]
async fn changes_made_while_away_arrive_on_return() {
    let harness = Harness::start().await;
    harness.control.set_up(false);
    assert_eq!(status(&harness).await, 200, "serves on");
    let revision = harness.control.change(vec![Change::RemoveKey(harness.world.key.id.clone())]);
    assert_eq!(status(&harness).await, 200, "it can't know yet");
    harness.control.set_up(true);
    eventually("caught up", || async { harness.control.acked() >= revision }).await;
    assert_eq!(status(&harness).await, 401);
}

#[tokio::test]
async fn a_damaged_snapshot_falls_back_to_the_one_before() {
    let mut harness = Harness::start().await;
    harness.kill();
    // A later generation, damaged.
    let good = files(&harness.snapshots(), ".zst").remove(0);
    let mut bytes = fs::read(&good).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    let bad = harness.snapshots().join(format!("snapshot-{:020}.zst", 9));
    fs::write(bad, bytes).expect("written");
    harness.control.set_up(false);
    harness.restart().await;
    assert_eq!(status(&harness).await, 200);
}

#[tokio::test]
async fn with_nothing_readable_it_starts_unready_and_recovers() {
    let mut harness = Harness::start().await;
    harness.kill();
    for path in files(&harness.snapshots(), ".zst") {
        fs::write(path, "rubbish").expect("written");
    }
    harness.control.set_up(false);
    harness.restart().await;
    assert!(!harness.is_ready().await);
    assert_eq!(status(&harness).await, 404);
    harness.control.set_up(true);
    harness.ready().await;
    assert_eq!(status(&harness).await, 200);
}

#[tokio::test]
async fn a_control_plane_restored_from_a_backup_does_not_bring_back_revoked_keys() {
    let mut harness = Harness::start().await;
    let backup = harness.world.changes();
    harness.change(vec![Change::RemoveKey(harness.world.key.id.clone())]).await;
    harness.control.set_up(false);
    harness.control.go_back_to(1, backup);
    harness.control.set_up(true);
    let failures = || harness.metric("authsome_proxy_sync_failures_total");
    let before = failures().await;
    eventually("it was tried and refused", || async { failures().await >= before + 2 }).await;
    assert_eq!(status(&harness).await, 401);
    harness.kill();
    harness.restart().await;
    assert_eq!(status(&harness).await, 401, "nor after a restart");
}

#[tokio::test]
async fn another_platform_is_taken_wholly() {
    let harness = Harness::start().await;
    harness.change(vec![Change::RemoveKey(harness.world.key.id.clone())]).await;
    let (second, secret) = key("key_2");
    let mut changes = harness.world.changes();
    changes.pop();
    changes.push(Change::Key(Box::new(second)));
    harness.control.set_up(false);
    harness.control.become_another(1, changes);
    harness.control.set_up(true);
    eventually("taken over", || async {
        harness.connect().await.get(USERS, &secret).await.status == 200
    })
    .await;
    assert_eq!(status(&harness).await, 401);
}

#[tokio::test]
async fn what_cannot_be_read_is_quarantined_and_reported() {
    let harness = Harness::start().await;
    let mut bad = harness.world.application.clone();
    bad.upstream.as_mut().expect("set").urls = vec!["gopher://nowhere".into()];
    let mut workspace = harness.world.workspace.clone();
    workspace.status = WorkspaceStatus::Active;
    harness.change(vec![Change::Application(Box::new(bad)), Change::Workspace(workspace)]).await;
    eventually("reported", || async {
        harness.control.last_ack().is_some_and(|ack| ack.quarantined == 1)
    })
    .await;
    assert_eq!(status(&harness).await, 200, "the last good form is served");
}
