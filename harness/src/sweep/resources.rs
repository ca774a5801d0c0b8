//! What a machine has to share among runs: threads, GPUs and memory.

use std::thread::available_parallelism;

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// Memory that a run is expected to take before any has been watched, in bytes.
const FIRST_GUESS: u64 = 1 << 30;

/// The threads and GPUs of a machine, shared among `jobs` runs at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shares {
    pub jobs: usize,
    threads: usize,
    /// Values for `CUDA_VISIBLE_DEVICES`; empty if there is nothing to share out.
    gpus: Vec<String>,
}

impl Shares {
    /// Looks at the machine. `device` is the name of the device that runs compute on: a numbered one is that of all
    /// runs.
    pub fn new(jobs: usize, device: &str) -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let asked =
            variable("RAYON_NUM_THREADS").and_then(|threads| threads.parse().ok()).filter(|threads| *threads > 0);
        let threads = asked.unwrap_or_else(|| available_parallelism().map_or(1, usize::from));
        let gpus = if device == "cuda" { visible(variable("CUDA_VISIBLE_DEVICES"), gpu_count()) } else { Vec::new() };
        Self { jobs, threads, gpus: if gpus.len() > 1 { gpus } else { Vec::new() } }
    }

    /// Returns the environment of the run in a slot, from 0: its threads and, if there are several GPUs, its GPU.
    pub fn environment(&self, slot: usize) -> Vec<(&'static str, String)> {
        let more = usize::from(slot < self.threads % self.jobs);
        let threads = (self.threads / self.jobs + more).max(1);
        let gpu = self.gpus.get(slot % self.gpus.len().max(1));
        let gpu = gpu.map(|gpu| ("CUDA_VISIBLE_DEVICES", gpu.clone()));
        std::iter::once(("RAYON_NUM_THREADS", threads.to_string())).chain(gpu).collect()
    }
}

/// Returns the GPUs that programs may use: those that the environment names, or all of them.
fn visible(variable: Option<String>, count: usize) -> Vec<String> {
    match variable {
        Some(names) => names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        None => (0..count).map(|gpu| gpu.to_string()).collect(),
    }
}

#[cfg(feature = "cuda")]
fn gpu_count() -> usize {
    mkgc_models::ops::gpu_count()
}

#[cfg(not(feature = "cuda"))]
fn gpu_count() -> usize {
    0
}

/// Watches how much memory is free and how much the runs take.
pub(super) struct MachineMemory {
    /// Bytes that a run is expected to take at most: what the user says, or the most that one has taken.
    expected: u64,
    watched: Vec<(u32, u64)>,
}

impl MachineMemory {
    /// Begins to watch; `expected` is what a run takes in bytes, if the user knows.
    pub fn new(expected: Option<u64>) -> Self {
        Self { expected: expected.unwrap_or(FIRST_GUESS), watched: Vec::new() }
    }

    /// Looks at the memory of the running processes.
    pub fn look(&mut self, processes: impl Iterator<Item = u32>) {
        let ids: Vec<Pid> = processes.map(Pid::from_u32).collect();
        let what = ProcessRefreshKind::nothing().with_memory().without_tasks();
        // A new one each time, because it keeps a file open for every process that it has ever seen.
        let mut system = System::new();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&ids), true, what);
        let taken = |id: &Pid| Some((id.as_u32(), system.process(*id)?.memory()));
        self.watched = ids.iter().filter_map(taken).collect();
        self.expected = self.watched.iter().map(|(_, taken)| *taken).fold(self.expected, u64::max);
    }

    /// Returns why there is no room for another run beside the ones that were looked at; none if there is.
    pub fn shortage(&self) -> Option<String> {
        let mut system = System::new();
        system.refresh_memory();
        let limit = system.cgroup_limits().map_or(u64::MAX, |limits| limits.free_memory);
        let free = system.available_memory().min(limit);
        let taken: Vec<u64> = self.watched.iter().map(|(_, taken)| *taken).collect();
        if has_room(free, self.expected, &taken) {
            return None;
        }
        let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
        Some(format!(
            "a run may take {}, and {} are free for it and for what the others may still take",
            gib(self.expected),
            gib(free)
        ))
    }
}

/// Returns whether another run fits: each may grow to `expected` bytes, also those that have `taken` less so far.
fn has_room(free: u64, expected: u64, taken: &[u64]) -> bool {
    let growth: u64 = taken.iter().map(|taken| expected.saturating_sub(*taken)).sum();
    free >= growth.saturating_add(expected)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shares(jobs: usize, threads: usize, gpus: &[&str]) -> Shares {
        Shares { jobs, threads, gpus: gpus.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn threads_are_shared_out_and_every_run_has_one() {
        let threads = |jobs, threads| -> Vec<String> {
            (0..jobs).map(|slot| shares(jobs, threads, &[]).environment(slot)[0].1.clone()).collect()
        };
        assert_eq!(threads(3, 8), ["3", "3", "2"]);
        assert_eq!(threads(1, 8), ["8"]);
        assert_eq!(threads(3, 2), ["1", "1", "1"]);
        assert_eq!(shares(3, 8, &[]).environment(0).len(), 1, "no GPU is named where there is none to choose");
    }

    #[test]
    fn each_slot_has_its_gpu() {
        let of = |slot| shares(3, 8, &["4", "GPU-b"]).environment(slot)[1].clone();
        assert_eq!(of(0), ("CUDA_VISIBLE_DEVICES", "4".to_owned()));
        assert_eq!(of(1).1, "GPU-b");
        assert_eq!(of(2).1, "4", "more runs than GPUs share them");
        assert_eq!(visible(Some("4, GPU-b,".to_owned()), 8), ["4", "GPU-b"]);
        assert_eq!(visible(None, 2), ["0", "1"]);
        assert!(visible(Some(String::new()), 2).is_empty());
    }

    #[test]
    fn a_run_needs_room_beside_what_the_others_may_still_take() {
        assert!(has_room(10, 10, &[]));
        assert!(!has_room(9, 10, &[]));
        assert!(has_room(10, 10, &[10, 12]));
        assert!(!has_room(17, 10, &[2]));
        assert!(has_room(18, 10, &[2]));
    }

    #[test]
    fn the_memory_of_a_process_is_seen() {
        let mut memory = MachineMemory::new(Some(1));
        memory.look(std::iter::once(std::process::id()));
        assert!(memory.expected > 1 << 20 && memory.watched.len() == 1, "{:?}", memory.watched);
        assert!(MachineMemory::new(Some(u64::MAX)).shortage().is_some());
    }

    /// A sweep of hundreds of runs would reach the limit of open files.
    #[cfg(target_os = "linux")]
    #[test]
    fn no_file_of_a_process_stays_open() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mut memory = MachineMemory::new(None);
        memory.look(std::iter::once(child.id()));
        assert_eq!(memory.watched.len(), 1);
        child.kill().unwrap();
        child.wait().unwrap();
        memory.look(std::iter::once(std::process::id()));
        let own = format!("/proc/{}/", child.id());
        let open =
            fs_err::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs_err::read_link(entry.ok()?.path()).ok());
        assert_eq!(open.filter(|path| path.starts_with(&own)).count(), 0);
    }
}
