//! Callers at a fixed rate. Each has a thread and a connection of its own, because timers of an
//! asynchronous runtime are too coarse (a millisecond). A call's time counts from when it was due
//! if the one before it was late, so that slowness can't hide itself (coordinated omission); else
//! from when the thread woke.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::http1::{Request, Response};
use super::{Load, Outcome, Random};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long callers go on when nothing is counted any more.
const SPARE: Duration = Duration::from_millis(20);

/// Calls `load`, over plain HTTP/1.1, `rate` times a second in all, for `time` after `warm_up`.
/// `edge` is called at the beginning and the end of what is counted, while all callers are there.
pub fn run(
    load: &Load,
    rate: u32,
    warm_up: Duration,
    time: Duration,
    mut edge: impl FnMut(),
) -> anyhow::Result<Outcome> {
    let count = u32::try_from(load.connections).context("too many connections")?;
    let interval = Duration::from_secs(1) * count / rate;
    let began = Instant::now() + Duration::from_millis(20);
    let counted = began + warm_up..began + warm_up + time;
    let threads: Vec<_> = (0..count)
        .map(|n| {
            let load = load.clone();
            let counted = counted.clone();
            let first = began + interval * n / count;
            std::thread::spawn(move || caller(&load, n.into(), first, interval, &counted))
        })
        .collect();
    sleep_until(counted.start);
    edge();
    sleep_until(counted.end);
    edge();
    let mut outcome = Outcome { time, ..Outcome::default() };
    for thread in threads {
        outcome.add(thread.join().map_err(|_| anyhow::anyhow!("a caller panicked"))??);
    }
    outcome.latencies.sort_unstable();
    Ok(outcome)
}

fn caller(
    load: &Load,
    seed: u64,
    first: Instant,
    interval: Duration,
    counted: &std::ops::Range<Instant>,
) -> anyhow::Result<Outcome> {
    // Without it a thread sleeps up to 50 µs longer than it asked for.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
    let mut outcome = Outcome::default();
    let mut random = Random::new(seed + 1);
    let mut request = Request::new(&load.path, "bench.localhost", load.body);
    let mut stream = connect(load)?;
    let mut due = first;
    // A little longer than is counted, so that nobody's time is missing at the end's edge.
    while due < counted.end + SPARE {
        let began = if Instant::now() < due {
            sleep_until(due);
            Instant::now()
        } else {
            due
        };
        let key = &load.keys[random.below(load.keys.len())];
        match call(&mut stream, request.with(key)) {
            Ok((status, length, closes)) => {
                if counted.contains(&due) {
                    outcome.answered(status, began.elapsed(), length);
                    outcome.closed += u64::from(closes);
                }
                if closes {
                    stream = connect(load)?;
                }
            }
            Err(_) => {
                outcome.failures += 1;
                stream = connect(load)?;
            }
        }
        due += interval;
    }
    Ok(outcome)
}

fn sleep_until(due: Instant) {
    #[allow(clippy::disallowed_methods, reason = "the pace is what is made here")]
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}

fn connect(load: &Load) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(load.address).context("a caller can't connect")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn call(stream: &mut TcpStream, request: &[u8]) -> std::io::Result<(u16, usize, bool)> {
    stream.write_all(request)?;
    let mut response = Response::default();
    let mut buffer = [0; 16 * 1024];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(head) = response.take(&buffer[..length])? {
            return Ok((head.status, head.length, head.closes));
        }
    }
}
