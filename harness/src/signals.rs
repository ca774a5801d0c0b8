//! Signals: what Ctrl-C and the like ask of a sweep or a stream, and how it passes them on. The runs of a sweep, and the command
//! of a stream that needs a shell, have process groups of their own, so that a Ctrl-C on the terminal reaches their parent alone
//! and each hears of it once.

#[cfg(unix)]
pub(crate) use unix::{Caught, apart, end_by, group_exists, send, send_to_group, terminate_self};

#[cfg(not(unix))]
pub(crate) use other::{Caught, apart, end_by, group_exists, send, send_to_group, terminate_self};

#[cfg(unix)]
mod unix {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
    use signal_hook::{flag, low_level};

    use crate::error::Result;

    /// The signals that stop a sweep or a stream. While it lives, they no longer end the process.
    pub struct Caught {
        last: Arc<AtomicUsize>,
        done: Arc<AtomicBool>,
    }

    impl Caught {
        /// Begins to catch them. SIGHUP stays ignored where it is, as under `nohup`.
        pub fn new() -> Result<Self> {
            let last = Arc::new(AtomicUsize::new(0));
            let done = Arc::new(AtomicBool::new(false));
            let hangup = (!is_ignored(SIGHUP)).then_some(SIGHUP);
            for signal in [SIGINT, SIGTERM, SIGUSR1].into_iter().chain(hangup) {
                flag::register_conditional_default(signal, Arc::clone(&done))?;
                flag::register_usize(signal, Arc::clone(&last), signal.unsigned_abs() as usize)?;
            }
            Ok(Self { last, done })
        }

        /// Returns the signal that arrived since the last call, as children understand it.
        pub fn take(&self) -> Option<i32> {
            let signal = i32::try_from(self.last.swap(0, Ordering::SeqCst)).ok().filter(|signal| *signal != 0)?;
            Some(if signal == SIGHUP { SIGTERM } else { signal })
        }
    }

    /// Returns whether this process ignores a signal, as `nohup` makes it ignore SIGHUP. Only Linux tells.
    fn is_ignored(signal: i32) -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or_default();
        let mask = u64::from_str_radix(mask.trim(), 16).unwrap_or_default();
        (mask >> (signal - 1)) & 1 == 1
    }

    impl Drop for Caught {
        fn drop(&mut self) {
            self.done.store(true, Ordering::SeqCst);
        }
    }

    /// Gives a command a process group of its own.
    pub fn apart(command: &mut Command) {
        command.process_group(0);
    }

    /// Sends a signal to a child that has not been waited for, so its number still belongs to it. One that has just
    /// ended needs no signal.
    pub fn send(child: &Child, signal: i32) {
        if let Some(signal) = Signal::from_named_raw(signal) {
            kill_process(Pid::from_child(child), signal).ok();
        }
    }

    /// Sends a signal to the process group that this child leads.
    pub fn send_to_group(leader: u32, signal: i32) {
        let leader = i32::try_from(leader).ok().and_then(Pid::from_raw);
        if let (Some(leader), Some(signal)) = (leader, Signal::from_named_raw(signal)) {
            kill_process_group(leader, signal).ok();
        }
    }

    /// Returns whether the process group that this child leads, or led, has a process.
    pub fn group_exists(leader: u32) -> bool {
        let leader = i32::try_from(leader).ok().and_then(Pid::from_raw);
        leader.is_some_and(|leader| test_kill_process_group(leader).is_ok())
    }

    /// Ends this process as the signal would have ended it.
    pub fn end_by(signal: i32) {
        low_level::emulate_default_handler(signal).ok();
    }

    /// Sends SIGTERM to this process.
    pub fn terminate_self() {
        low_level::raise(SIGTERM).ok();
    }
}

#[cfg(not(unix))]
mod other {
    use std::process::{Child, Command};

    use crate::error::Result;

    /// Ctrl-C ends a sweep and its children at once on this system.
    pub struct Caught;

    impl Caught {
        pub fn new() -> Result<Self> {
            Ok(Self)
        }

        pub fn take(&self) -> Option<i32> {
            None
        }
    }

    pub fn apart(_: &mut Command) {}

    pub fn send(_: &Child, _: i32) {}

    pub fn send_to_group(_: u32, _: i32) {}

    pub fn group_exists(_: u32) -> bool {
        false
    }

    pub fn end_by(_: i32) {}

    pub fn terminate_self() {
        std::process::exit(1);
    }
}
