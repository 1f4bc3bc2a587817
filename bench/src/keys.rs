//! What many keys cost: processor time per request when the key is any of them, over when it is
//! one of the first thousand, in rounds that take turns. Memory per key is what the proxy's example
//! `million_keys` tells.

use std::sync::Arc;

use crate::ground::Ground;
use crate::rig::{self, Figures, Rig, figures, turns};

/// So few that what is known of them stays in the processor's caches.
const FEW: usize = 1_000;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[arg(long, default_value_t = 1_000_000)]
    keys: usize,
    #[command(flatten)]
    all: rig::Arguments,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let count = arguments.keys;
    anyhow::ensure!(count > FEW, "more than {FEW} keys are the measure");
    let rig = Rig::start(&arguments.all, Ground::new(count)?, vec![])?;
    let keys: [Arc<[String]>; 2] = [rig.ground.keys[..FEW].into(), rig.ground.keys.clone()];
    let proxy = rig.proxy("keys", "")?;
    let mut cpu: Figures<2> = Default::default();
    for n in 0..arguments.all.rounds {
        for which in turns::<2>(n) {
            cpu[which].push(rig.round(&[&proxy], &keys[which], 200, None)?.cpu_us);
        }
    }
    println!("µs of processor time per request, 64 connections, {count} keys known");
    for (which, keys) in [FEW, count].into_iter().enumerate() {
        let (each, ratio) = figures(&cpu, which);
        println!("  one of {keys:9} at random   {each:6.1} ({ratio:.3})");
    }
    Ok(())
}
