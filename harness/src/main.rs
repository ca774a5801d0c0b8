//! The `mkgc` command. stdout is data, stderr is progress; exit codes: 0 fine, 1 verification or gate failed, 2 wrong usage or
//! input, 75 interrupted by a signal, so that the same command goes on.

mod cli;

use std::process::ExitCode;

use clap::Parser;
use mkgc_harness::console::note;
use mkgc_harness::error::Error;
use mkgc_harness::run::interrupt::INTERRUPTED;

/// Every tensor operation allocates its result; the system allocator would return those pages at once and fault them
/// in again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Number of `mi_option_purge_delay` in the enum `mi_option_e` of mimalloc.h.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Keeps freed memory for the next step. By default mimalloc gives it back after a second, and a step of a large encoder
/// takes longer: BERT-base then spent 13 % of its time on fresh pages. A build or a report rather gives it back.
#[allow(unsafe_code)]
fn keep_memory() {
    // SAFETY: options are numbers that may be set at any time.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) }
}

/// Bytes of stack per thread: candle walks a graph by recursion.
const STACK: usize = 64 << 20;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    if cli.computes() {
        keep_memory();
    }
    // Run on a rayon worker, so this thread helps with queued work instead of blocking.
    let pool = rayon::ThreadPoolBuilder::new().stack_size(STACK).build_global();
    let run = || pool.map_err(Into::into).and_then(|()| cli::run(cli));
    match rayon::join(run, || ()).0 {
        Ok(code) => code,
        Err(error) if matches!(error.downcast_ref(), Some(Error::Interrupted)) => {
            note(&error);
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            note(format_args!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}
