//! A disk that is full: no request is answered whose record does not fit, and it heals. Each test
//! mounts a small disk of its own, which only root may; for others it is skipped, loudly.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::{Harness, World, eventually};
use crate::wire::Wire;

const USERS: &str = "/v1/app_1/users";

/// A file system in memory.
struct Disk(TempDir);

impl Disk {
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a folder");
        let options = format!("size={size}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(dir.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(dir));
        }
        eprintln!("SKIPPED: only root can mount a small disk");
        None
    }

    fn folder(&self) -> TempDir {
        TempDir::new_in(self.0.path()).expect("a folder")
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }

    /// Somebody else's data takes all there is.
    fn fill(&self) {
        let mut file = File::options().append(true).create(true).open(self.filler()).expect("open");
        for piece in [64 * 1024, 4096, 1] {
            loop {
                match file.write_all(&vec![7; piece]) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    fn empty(&self) {
        std::fs::remove_file(self.filler()).expect("removed");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

async fn start(disk: &Disk) -> Harness {
    Harness::start_in(disk.folder(), |world: &mut World| {
        world.config.ledger.fsync_interval_ms = 20;
        world.workspace.rate_limit.requests = 1_000_000;
        world.workspace.rate_limit.burst = 1_000_000;
    })
    .await
}

/// Calls on 16 connections until each is refused; how many were served.
async fn served_until_full(harness: &Harness) -> usize {
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (mut wire, secret) = (harness.connect().await, harness.world.secret.clone());
        callers.spawn(async move { served(&mut wire, &secret).await });
    }
    callers.join_all().await.into_iter().sum()
}

async fn served(wire: &mut Wire, secret: &str) -> usize {
    for served in 0..1_000_000 {
        let answer = wire.get(USERS, secret).await;
        if answer.status != 200 {
            assert_eq!(answer.status, 503);
            assert_eq!(answer.json()["error"]["reason"], "ledger_full");
            return served;
        }
    }
    panic!("never refused");
}

async fn unshipped(harness: &Harness) -> usize {
    let records = harness.metric("authsome_proxy_journal_unshipped_records").await;
    usize::try_from(records).expect("few")
}

/// Once there is space: the first call that is served again.
async fn serves_again(harness: &Harness) {
    eventually("it serves again", || async {
        harness.connect().await.get(USERS, &harness.world.secret).await.status == 200
    })
    .await;
    assert!(harness.is_ready().await);
}

/// Exactly these have come.
async fn recorded(harness: &Harness, served: usize) {
    harness.shipped(served).await;
    eventually("all is confirmed", || async { unshipped(harness).await == 0 }).await;
    assert_eq!((harness.control.records().len(), harness.control.gaps()), (served, 0));
    assert_eq!(harness.metric("authsome_proxy_ledger_lost_records_total").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_others_fill_the_disk_what_is_answered_is_recorded_and_the_rest_refused() {
    let Some(disk) = Disk::mount("2m") else { return };
    let harness = start(&disk).await;
    harness.control.set_up(false);
    let mut total = 0;
    for _ in 0..3 {
        // Calls are under way while it fills up.
        let (served, ()) = tokio::join!(served_until_full(&harness), async {
            tokio::task::block_in_place(|| disk.fill());
        });
        assert!(served > 0);
        assert!(!harness.is_ready().await);
        total += served;
        assert_eq!(unshipped(&harness).await, total);
        disk.empty();
        serves_again(&harness).await;
        total += 1;
    }
    harness.control.set_up(true);
    recorded(&harness, total).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_journal_itself_fills_the_disk_shipping_makes_room() {
    let Some(disk) = Disk::mount("1m") else { return };
    let harness = start(&disk).await;
    let mut total = 0;
    for _ in 0..2 {
        harness.control.set_up(false);
        total += served_until_full(&harness).await;
        harness.control.set_up(true);
        serves_again(&harness).await;
        total += 1;
    }
    recorded(&harness, total).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_it_starts_refuses_and_heals() {
    let Some(disk) = Disk::mount("2m") else { return };
    let mut harness = start(&disk).await;
    harness.control.set_up(false);
    disk.fill();
    let mut total = served_until_full(&harness).await;
    for _ in 0..3 {
        harness.kill();
        // Nothing that the last run held is left over.
        disk.fill();
        harness.restart().await;
        assert_eq!(unshipped(&harness).await, total);
        total += served_until_full(&harness).await;
    }
    disk.empty();
    serves_again(&harness).await;
    harness.control.set_up(true);
    recorded(&harness, total + 1).await;
}
