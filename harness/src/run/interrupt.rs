//! Asks a run to stop before its end: at a signal, or from a program. The run finishes its present step, writes a checkpoint
//! and ends with [`crate::error::Error::Interrupted`].

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::Result;

/// Exit code of a process that a second SIGINT stops at once: 128 and the number of the signal, as shells count.
pub const STOPPED: i32 = 128 + SIGINT;

/// Exit code of a process that was interrupted and can go on: `EX_TEMPFAIL` of BSD's sysexits.h.
pub const INTERRUPTED: u8 = 75;

/// Says whether a run is to stop. Clones share the answer.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    /// Questions left until the answer becomes yes by itself.
    left: Option<Arc<AtomicUsize>>,
}

impl Interrupt {
    /// Asks at SIGINT, SIGTERM and, on Unix, SIGUSR1. A second SIGINT ends the process at once. Every call returns the same
    /// interrupt, because a process has one set of signal handlers.
    ///
    /// # Errors
    /// The system refuses the handlers.
    pub fn on_signals() -> Result<Self> {
        static OF_PROCESS: OnceLock<Interrupt> = OnceLock::new();
        if let Some(interrupt) = OF_PROCESS.get() {
            return Ok(interrupt.clone());
        }
        let interrupt = Self::default();
        interrupt.register()?;
        Ok(OF_PROCESS.get_or_init(|| interrupt).clone())
    }

    fn register(&self) -> io::Result<()> {
        // In this order, so that the first SIGINT finds the flag down and the second one finds it up.
        let twice = Arc::new(AtomicBool::new(false));
        flag::register_conditional_shutdown(SIGINT, STOPPED, Arc::clone(&twice))?;
        flag::register(SIGINT, twice)?;
        flag::register(SIGINT, Arc::clone(&self.asked))?;
        flag::register(SIGTERM, Arc::clone(&self.asked))?;
        #[cfg(unix)]
        flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&self.asked))?;
        Ok(())
    }

    /// Asks by itself when [`Interrupt::is_asked`] is called for the `steps`th time, which a run does once after each step.
    /// For tests, which must interrupt a run at a known step.
    pub fn after(steps: usize) -> Self {
        Self { asked: Arc::default(), left: Some(Arc::new(AtomicUsize::new(steps.saturating_sub(1)))) }
    }

    /// Asks the run to stop.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
    }

    /// Returns whether the run is to stop.
    pub fn is_asked(&self) -> bool {
        if let Some(left) = &self.left
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err()
        {
            self.ask();
        }
        self.asked.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_is_asked_for_at_the_step_given_and_stays_so() {
        let interrupt = Interrupt::after(3);
        let shared = interrupt.clone();
        assert_eq!([interrupt.is_asked(), shared.is_asked(), interrupt.is_asked()], [false, false, true]);
        assert!(shared.is_asked() && Interrupt::after(1).is_asked() && !Interrupt::default().is_asked());
    }
}
