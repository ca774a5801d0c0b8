//! `mkgc stream`: deals out a benchmark to a method of any language, task after task, under the rules of mkgc's own methods.
//! The method gets the rows of one task and those that it has stored, and the test rows without their labels; its
//! predictions are checked and stored as each task ends, so that a crash loses one task. The end is a run folder like that
//! of `mkgc score`, with what was dealt out in `run.json`.
//!
//! [`message`] is the protocol, [`serve`] answers requests about a [`session`], [`store`] keeps rows and their budget, and
//! [`peer`] and [`client`] are pipes and processes.

mod client;
mod hidden;
pub mod message;
mod peer;
mod progress;
mod request;
mod rows;
mod serve;
mod session;
mod store;

pub use request::StreamRequest;
pub use rows::{StreamMention, StreamRow};

use client::Client;
use peer::{Lost, Peer};
use serve::Fault;
use session::StreamSession;

use crate::console::note;
use crate::data::Benchmark;
use crate::error::{Error, Result};
use crate::external::check_name;
use crate::metrics::score::RunResult;
use crate::run::{RunFolder, failure};
use crate::train::stop_after;

/// Deals out the benchmark to the method and returns the scores, which `result.json` holds as well. A run that was
/// interrupted goes on after its last finished task; of one that is finished, the result is read.
///
/// # Errors
/// The name cannot be used, the benchmark is damaged, or the folder holds another run; the method ends or falls silent
/// before the last predictions, which is written to `failure.json` as well.
pub fn run(request: &StreamRequest) -> Result<RunResult> {
    check_name(&request.name)?;
    let benchmark = Benchmark::open(&request.benchmark, usize::MAX)?;
    benchmark.check_rows()?;
    let stop_after = stop_after(request.tasks, &benchmark)?;
    let folder = RunFolder::new(&request.out);
    let mut session = StreamSession::open(request, &benchmark, &folder, stop_after)?;
    if request.command.is_some()
        && let Some(result) = session.result()?
    {
        return Ok(result);
    }
    let outcome = converse(request, &mut session);
    if let Err(error) = &outcome
        && !folder.result().exists()
        && let Err(second) = failure::write(&folder, benchmark.tasks(), error)
    {
        note(format_args!("warning: {second}"));
    }
    outcome
}

/// Talks to the method until the last predictions are there, and lets it end.
fn converse(request: &StreamRequest, session: &mut StreamSession<'_>) -> Result<RunResult> {
    let Some(command) = &request.command else {
        let peer = Peer::new(std::io::stdin(), std::io::stdout(), request.timeout);
        return session.serve(&peer).map_err(|fault| error(session, fault, "the method"));
    };
    let (mut client, mut peer) = Client::start(command, request.timeout)?;
    let served = session.serve(&peer);
    peer.close();
    match served {
        Ok(result) => {
            match client.wait() {
                Some(status) if status.success() => {}
                Some(status) => {
                    note(format_args!("warning: `{command}` gave all predictions and then ended with {status}"));
                }
                None => {
                    note(format_args!("warning: `{command}` gave all predictions but did not end, and was killed"));
                }
            }
            Ok(result)
        }
        Err(fault @ Fault::Lost(Lost::Closed | Lost::Unread)) => {
            let ended = client.wait().map_or_else(String::new, |status| format!(" ended with {status}: it"));
            Err(error(session, fault, &format!("`{command}`{ended}")))
        }
        Err(fault) => Err(error(session, fault, &format!("`{command}`"))),
    }
}

/// Says who did what in which task, and what to do.
fn error(session: &StreamSession<'_>, fault: Fault, who: &str) -> Error {
    let what = match fault {
        Fault::Failed(error) => return error,
        Fault::Refused(_, reason) => format!("had a request refused: {reason}"),
        Fault::GivenUp(last) => format!("had too many requests refused one after another, the last: {last}"),
        Fault::Lost(Lost::Closed) => "closed its output".to_owned(),
        Fault::Lost(Lost::Unread) => "closed its input".to_owned(),
        Fault::Lost(Lost::Silent(limit)) => {
            format!("said or read nothing for {} seconds (--timeout)", limit.as_secs_f64())
        }
        Fault::Lost(Lost::TooLong) => format!("sent a line of more than {} MiB", peer::MAX_LINE >> 20),
        Fault::Lost(Lost::NotText) => "sent a line that is not UTF-8".to_owned(),
        Fault::Lost(Lost::Broken(reason)) => format!("cannot be read: {reason}"),
    };
    session.error(&format!("{who} {what}"))
}
