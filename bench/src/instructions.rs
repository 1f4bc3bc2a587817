//! `bench instructions`: how many instructions a request takes in user space, counted by valgrind's
//! callgrind, of the engine alone and of the proxy that does its whole job. Unlike times it repeats
//! within half a per cent on a busy machine, so that a change for the worse shows in CI.
//!
//! One request is under way at a time, and the next part of an exchange comes only when the process
//! waits for it, as a network has it; what the process does by itself meanwhile is measured apart
//! and taken off. Usage is not shipped while requests are counted; shipping a record is a figure of
//! its own. It fails when valgrind, or a program, is missing.
//!
//! Callgrind's processor knows no SHA extensions, so that a key's digest takes far more instructions
//! there than in life. What it takes is printed, and not taken off.

mod budget;
mod client;
mod subject;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::ensure;
use authsome_shared::api_key::KeyDigest;
use clap::Args;

use crate::control::{Control, TOKEN};
use crate::ground::free;
use crate::subject::authsome::program;
use crate::upstream::Upstream;
use crate::world::World;
use budget::{Budget, Figures};
use client::Client;
use subject::Subject;

/// That an application may have.
const KEYS: usize = 1_000;

/// Batches that are counted; their median is the figure.
const BATCHES: usize = 5;

/// Before a batch is counted.
const WARM_UP: usize = 50;

/// The process waits again for its client, or its upstream, when so much time has passed.
const PAUSE: Duration = Duration::from_millis(4);

/// What the process does by itself is counted for so long.
const IDLE: Duration = Duration::from_secs(2);

/// For whatever is waited for.
const DEADLINE: Duration = Duration::from_mins(1);

/// Count instructions per request.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Fail when a figure is more than 3 % over its budget.
    #[arg(long)]
    check: bool,
    /// Make the figures the budget.
    #[arg(long, conflicts_with = "check")]
    update: bool,
    /// Requests of each of five batches.
    #[arg(long, default_value_t = 200)]
    requests: usize,
    /// Keep what callgrind wrote in this folder, for `callgrind_annotate`.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// For its own use: make so many digests of keys, and no more.
    #[arg(long, hide = true)]
    digests: Option<usize>,
}

pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if let Some(count) = arguments.digests {
        return make_digests(count);
    }
    let upstream = Upstream::start(PAUSE).await?;
    let bare = bare(arguments, upstream.address).await?;
    let ours = ours(arguments, upstream.address).await?;
    let figures = Figures { bare, ..ours };
    let digest = (digests(10_000)? - digests(0)?) / 10_000.0;
    print!("{figures}");
    println!("of each, a key's digest, which real processors make in a few: {digest:.0}");
    if arguments.update {
        Budget::write(&figures)?;
    }
    if arguments.check {
        Budget::read()?.check(&figures)?;
    }
    Ok(())
}

async fn bare(arguments: &Arguments, upstream: SocketAddr) -> anyhow::Result<f64> {
    let dir = tempfile::tempdir()?;
    let address = free()?;
    let program = PathBuf::from(program("bare")?);
    let mut subject = Subject::start(&program, arguments.keep.as_deref(), |command| {
        command.args(["--listen", &address.to_string(), "--upstream", &upstream.to_string()]);
        command.arg("--dir").arg(dir.path());
    })?;
    subject.until("it listens", async || Client::connect(address).await.ok()).await?;
    let request = vec![World::request(&"k".repeat(48))];
    let mut client = Client::connect(address).await?;
    let idle = idle(&mut subject).await?;
    batches(&mut subject, &mut client, &request, 200, idle, arguments.requests).await
}

/// All figures but the engine's.
async fn ours(arguments: &Arguments, upstream: SocketAddr) -> anyhow::Result<Figures> {
    let world = World::new(KEYS, upstream);
    let control = Control::start(world.changes.clone()).await;
    control.only_count();
    let dir = tempfile::tempdir()?;
    let (address, admin) = (free()?, free()?);
    let settings = dir.path().join("proxy.toml");
    std::fs::write(
        &settings,
        // What refusals cost is counted, not how long they are held back.
        format!(
            "[control]\ntoken = \"{TOKEN}\"\n[connections]\nrefusals_per_second = 0\n\
             [log]\nlevel = \"error\"\naccess_log = \"off\"\n"
        ),
    )?;
    let program = PathBuf::from(program("authsome-proxy")?);
    let mut subject = Subject::start(&program, arguments.keep.as_deref(), |command| {
        command.arg("--config").arg(&settings).arg("--data-dir").arg(dir.path());
        command.args(["--listen", &address.to_string(), "--admin-listen", &admin.to_string()]);
        command.args(["--control-url", &format!("http://{}", control.address)]);
    })?;
    subject
        .until("it is ready", async || {
            let mut client = Client::connect(admin).await.ok()?;
            let ready = b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n";
            (client.ask(ready).await.ok()? == 200).then_some(())
        })
        .await?;

    let mut client = Client::connect(address).await?;
    // One batch of usage is on its way from here on, and no other follows.
    control.hold_usage(true);
    let requests: Vec<_> = world.keys.iter().map(|key| World::request(key)).collect();
    client.ask(&requests[0]).await?;
    tokio::time::sleep(IDLE).await;
    let idle = idle(&mut subject).await?;
    let mut batches = async |requests: &[Vec<u8>], status| {
        let count = arguments.requests;
        batches(&mut subject, &mut client, requests, status, idle, count).await
    };
    let proxied = batches(&requests, 200).await?;
    let unauthorized = batches(&[World::request(&world.unknown)], 401).await?;
    let limited = World::request(&world.limited);
    let rate_limited = batches(std::slice::from_ref(&limited), 429).await?;
    // The first one, those that were counted, and the one that the limit let through.
    let all = u64::try_from(1 + WARM_UP + BATCHES * arguments.requests + 1)?;
    let shipped = shipped(&mut subject, &mut client, &requests, &control, all, idle).await?;
    Ok(Figures { bare: 0.0, proxied, shipped, unauthorized, rate_limited })
}

/// Instructions a second without requests.
async fn idle(subject: &mut Subject) -> anyhow::Result<f64> {
    subject.reset()?;
    let began = Instant::now();
    tokio::time::sleep(IDLE).await;
    Ok(subject.count()? / began.elapsed().as_secs_f64())
}

/// Instructions a request: the median of some batches.
async fn batches(
    subject: &mut Subject,
    client: &mut Client,
    requests: &[Vec<u8>],
    status: u16,
    idle: f64,
    count: usize,
) -> anyhow::Result<f64> {
    let mut sent = 0;
    // The first answers may differ: a limit is used up, a connection opened.
    for _ in 0..WARM_UP {
        client.ask(&requests[sent % requests.len()]).await?;
        sent += 1;
    }
    let mut figures = Vec::new();
    for _ in 0..BATCHES {
        tokio::time::sleep(PAUSE).await;
        subject.reset()?;
        let began = Instant::now();
        for _ in 0..count {
            let answered = client.ask(&requests[sent % requests.len()]).await?;
            ensure!(answered == status, "answered {answered} and not {status}");
            sent += 1;
            tokio::time::sleep(PAUSE).await;
        }
        let by_itself = idle * began.elapsed().as_secs_f64();
        figures.push((subject.count()? - by_itself) / f64::from(u32::try_from(count)?));
    }
    figures.sort_by(f64::total_cmp);
    Ok(figures[figures.len() / 2])
}

/// Instructions that shipping a record takes, of many that wait. `all` have been made so far.
async fn shipped(
    subject: &mut Subject,
    client: &mut Client,
    requests: &[Vec<u8>],
    control: &Control,
    mut all: u64,
    idle: f64,
) -> anyhow::Result<f64> {
    control.hold_usage(false);
    let shipped = async || (control.applied() >= all).then_some(());
    subject.until("all usage is shipped", shipped).await?;
    control.hold_usage(true);
    for request in requests {
        client.ask(request).await?;
        all += 1;
    }
    // A first batch has been sent; what came after that waits.
    let waiting = all - control.received();
    subject.reset()?;
    let began = Instant::now();
    control.hold_usage(false);
    subject.until("usage is shipped", async || (control.applied() >= all).then_some(())).await?;
    let by_itself = idle * began.elapsed().as_secs_f64();
    Ok((subject.count()? - by_itself) / f64::from(u32::try_from(waiting)?))
}

/// Instructions of a process that makes so many digests.
fn digests(count: usize) -> anyhow::Result<f64> {
    let program = std::env::current_exe()?;
    let ended = Subject::run(&program, &["instructions", "--digests", &count.to_string()])?;
    Ok(ended)
}

fn make_digests(count: usize) -> anyhow::Result<()> {
    let key = "k".repeat(authsome_shared::api_key::LENGTH);
    let sum = (0..count)
        .map(|_| KeyDigest::of(std::hint::black_box(&key)))
        .fold(0, |sum, digest| sum ^ digest.0[0]);
    ensure!(sum < u8::MAX || count > 0, "nothing was made");
    Ok(())
}
