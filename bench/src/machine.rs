//! The machine that measures: what it is, and how busy it is with what is not ours.

use std::fs;
use std::time::Duration;

/// Model of the processor, number of cores, memory, kernel; one line of text.
pub fn description() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok())
        .unwrap_or(0_u64);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let virtual_machine = if cpu.contains("hypervisor") { ", a virtual machine" } else { "" };
    format!(
        "{model}, {cores} cores{virtual_machine}, {} GiB, Linux {}",
        kilobytes >> 20,
        kernel.trim()
    )
}

/// What all cores have done since the start, whoever it was for.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub busy: Duration,
    /// Taken by other guests of the host.
    pub stolen: Duration,
}

impl Load {
    /// Its unit is a hundredth of a second.
    pub fn now() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let fields: Vec<u64> = text
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .map(|field| field.parse().unwrap_or(0))
            .collect();
        let field = |index: usize| fields.get(index).copied().unwrap_or(0);
        // user, nice, system, (idle, waiting), interrupts, soft ones, stolen
        let busy = [0, 1, 2, 5, 6].into_iter().map(field).sum::<u64>();
        Self {
            busy: Duration::from_millis(busy * 10),
            stolen: Duration::from_millis(field(7) * 10),
        }
    }
}
