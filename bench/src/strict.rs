//! What a limit of mode `strict` costs over one of mode `fast`: one key in demand, whose limit
//! nobody reaches, in rounds that take turns; by one proxy, and by two that share one store.

use std::sync::Arc;

use authsome_shared::snapshot::{Change, LimitMode, RateLimit};

use crate::ground::Ground;
use crate::process::Process;
use crate::rig::{Arguments, Figures, Rig, figures, turns};
use crate::subject::authsome::Proxy;
use crate::world;

const UP: &str = "authsome_proxy_strict_up";
const CALLS: &str = "authsome_proxy_strict_call_seconds_count";
const FALLBACKS: &str = "authsome_proxy_strict_fallbacks_total";

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let fast = RateLimit::fast(1_000_000, 1_000, 1_000_000);
    let strict = RateLimit { mode: LimitMode::Strict, ..fast };
    let texts = [world::text(), world::text()];
    let keys = [(&texts[0], fast), (&texts[1], strict)]
        .map(|(text, limit)| Change::Key(Box::new(world::key(text, Some(limit)))));
    let rig = Rig::start(arguments, Ground::new(1)?, keys.to_vec())?;
    let texts = texts.map(|text| Arc::<[String]>::from([text]));
    let (redis, url) = rig.redis()?;
    // The store shares a core with callers who leave it no time, and would count as away.
    let settings = format!("[strict]\nredis_url = \"{url}\"\ntimeout_ms = 20\n");
    let one = rig.proxy("one", &settings)?;
    rig.until(&one, UP, 1.0)?;
    println!("one hot key, 64 connections");
    measure("one proxy", &rig, &[&one], &redis, &texts, arguments.rounds)?;
    let two = rig.proxy("two", &settings)?;
    rig.until(&two, UP, 1.0)?;
    let both = [&one, &two];
    measure("two proxies on one core", &rig, &both, &redis, &texts, arguments.rounds)
}

fn measure(
    what: &str,
    rig: &Rig,
    proxies: &[&Proxy],
    redis: &Process,
    keys: &[Arc<[String]>; 2],
    rounds: usize,
) -> anyhow::Result<()> {
    let sum = |name: &str| -> anyhow::Result<f64> {
        proxies.iter().map(|proxy| rig.metric(proxy, name)).sum()
    };
    let (calls, fallbacks) = (sum(CALLS)?, sum(FALLBACKS)?);
    let (mut cpu, mut rate): (Figures<2>, Figures<2>) = Default::default();
    let mut asked = 0;
    for n in 0..rounds {
        for mode in turns::<2>(n) {
            let round = rig.round(proxies, &keys[mode], 200, Some(redis))?;
            cpu[mode].push(round.cpu_us);
            rate[mode].push(round.rate);
            asked += if mode == 1 { round.outcome.answers } else { 0 };
        }
    }
    println!("{what}:");
    for (mode, name) in ["fast", "strict"].into_iter().enumerate() {
        let ((cpu, more), (rate, part)) = (figures(&cpu, mode), figures(&rate, mode));
        println!("  {name:7} {cpu:6.1} µs each ({more:.3})   {rate:8.0}/s ({part:.3})");
    }
    #[allow(clippy::cast_precision_loss, reason = "a count of what was seen")]
    let each = |now: f64, before: f64| (now - before) / asked as f64;
    println!(
        "  calls to the store per strict request: {:.4}; decided without it: {:.4}",
        each(sum(CALLS)?, calls),
        each(sum(FALLBACKS)?, fallbacks)
    );
    Ok(())
}
