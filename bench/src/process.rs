//! Processes that are measured: each pinned to one core, killed when dropped, with what it has run
//! and holds as `/proc` tells it. Linux only.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// The core of load and upstream, and that of what is measured.
pub const LOAD_CORE: usize = 0;
pub const SUBJECT_CORE: usize = 1;

/// For whatever must start.
const DEADLINE: Duration = Duration::from_mins(2);

/// A process on a core of its own, and all of its children.
pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts `program` on `core`; what it says goes to `log`.
    pub fn start(name: &str, core: usize, command: &[&str], log: &Path) -> anyhow::Result<Self> {
        let log = fs::File::options().append(true).create(true).open(log)?;
        let child = Command::new("taskset")
            .args(["-c", &core.to_string()])
            .args(command)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{name}: can't start {}", command.join(" ")))?;
        Ok(Self { child, name: name.to_owned() })
    }

    /// Waits until `ready` is true, as long as the process lives.
    pub fn wait_until(&mut self, mut ready: impl FnMut() -> bool) -> anyhow::Result<()> {
        let began = Instant::now();
        while !ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at its start: {status}", self.name);
            }
            if began.elapsed() > DEADLINE {
                bail!("{} is not ready after {DEADLINE:?}", self.name);
            }
            #[allow(clippy::disallowed_methods, reason = "another program gives no sign")]
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it and its children have run so far.
    pub fn processor(&self) -> Duration {
        family(self.pid()).into_iter().map(processor_of).sum()
    }

    /// Lets it and its children run before whatever else there is on the machine: see [`urgent`].
    pub fn urgent(&self) -> anyhow::Result<()> {
        family(self.pid()).into_iter().try_for_each(|pid| chrt(&["--all-tasks", "--rr"], 1, pid))
    }

    /// What it and its children hold of memory, in bytes, what they share counted once a process.
    pub fn resident(&self) -> u64 {
        family(self.pid()).into_iter().map(|pid| memory_of(pid, "VmRSS:")).sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        for pid in family(self.pid()) {
            if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let _ = self.child.wait();
    }
}

/// A process and its children, theirs too.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(parent) = all.get(next).copied() {
        next += 1;
        let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else { continue };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    all
}

/// What all threads of a process have run.
fn processor_of(pid: u32) -> Duration {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
    let nanoseconds = threads.flatten().filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// A line of a process' status, in bytes.
fn memory_of(pid: u32, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kilobytes = status
        .lines()
        .find_map(|it| it.strip_prefix(line))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// What this process has run so far, in threads that have ended too.
pub fn own_processor() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.try_into().unwrap_or_default()
}

/// Lets the calling thread, and threads that it starts, run before whatever else there is on the
/// machine: a percentile tells of a hundredth of the time, of which what any machine does by itself
/// can take most. The README says how much it was.
pub fn urgent() -> anyhow::Result<()> {
    chrt(&["--rr"], 1, rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned())
}

/// Has the calling thread yield to everything.
pub fn patient() -> anyhow::Result<()> {
    chrt(&["--idle"], 0, rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned())
}

fn chrt(options: &[&str], priority: u32, id: u32) -> anyhow::Result<()> {
    let numbers = [priority.to_string(), id.to_string()];
    let output = Command::new("chrt").args(options).arg("--pid").args(&numbers).output();
    let output = output.context("chrt")?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Keeps the calling thread, and threads that it starts, on one core.
pub fn pin(core: usize) -> anyhow::Result<()> {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(core);
    rustix::thread::sched_setaffinity(None, &cores).context("can't pin to a core")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_ran_counts_when_it_has_ended() {
        let work = || {
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(20) {}
            processor_of(std::process::id())
        };
        let ran = std::thread::spawn(work).join().expect("no panic");
        assert!(own_processor() + Duration::from_millis(1) >= ran, "{ran:?}");
    }
}
