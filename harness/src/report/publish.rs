//! A published board: the page, the tables, and every run with its predictions, in a folder that GitHub Pages, the Hugging
//! Face hub or any web server shows as it is. `mkgc report` reads it like any folder of runs, so boards of several groups
//! merge into one, and every number on it can be derived again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::board::{Absent, Board, RunCard};
use super::{files, markdown};
use crate::console::note;
use crate::error::Result;
use crate::escape::file_name;
use crate::files::write_atomically;
use crate::owned::OwnedFolder;
use crate::run::RunFolder;
use crate::run::hints::folder_name;
use crate::run::log::Line;
use crate::run::record::Model;

/// The page that web servers show first.
const PAGE: &str = "index.html";
/// What the hub shows of a data set; a user may have a better one.
const README: &str = "README.md";
/// Marks around the part of the card that every `--publish` rewrites.
const MARKS: [&str; 2] = ["<!-- mkgc report: begin -->", "<!-- mkgc report: end -->"];

/// Writes the boards and their runs into a folder and returns the Markdown text. Runs that lie in the folder already stay
/// where they are, damaged ones as well unless a whole one takes the place; others are copied to
/// `runs/BENCHMARK/METHOD-seedN`. Runs without a number are named and not copied. What a user has written in `README.md`
/// around the report stays.
///
/// # Errors
/// A benchmark's name would lead out of the folder; the folder holds a file of the same name that is not published; a run
/// cannot be read or the folder not be written.
pub fn publish(boards: &[Board], out: &Path) -> Result<String> {
    super::check_names(boards)?;
    fs_err::create_dir_all(out)?;
    let mut runs = PublishedRuns::new(out)?;
    let boards: Vec<Board> = boards.iter().map(|board| runs.published(board)).collect::<Result<_>>()?;
    let mut made = files::all(&boards)?;
    if let Some(page) = made.remove("report.html") {
        made.insert(PAGE.to_owned(), page);
    }
    let text = markdown::report(&boards);
    // Pages that begin with `_` are pages, too.
    made.insert(".nojekyll".to_owned(), Vec::new());
    let path = out.join(README);
    let foreign = OwnedFolder::is_foreign(out, "report --publish", README);
    let card = new_card(&path, foreign, readme(&text))?;
    let mut names: BTreeSet<String> = made.keys().chain(runs.copies.keys()).cloned().collect();
    names.extend((!foreign).then(|| README.to_owned()));
    let folder = OwnedFolder::open(out, "report --publish", &names)?;
    for (name, source) in &runs.copies {
        write_atomically(&out.join(name), &content(source)?)?;
    }
    for (name, bytes) in &made {
        write_atomically(&out.join(name), bytes)?;
    }
    match card {
        Some(card) => write_atomically(&path, card.as_bytes())?,
        None => note(format_args!("{}: is yours, so it stays as it is", path.display())),
    }
    // A copied run takes the whole place of a damaged one.
    for above in runs.copies.keys().flat_map(|name| Path::new(name).ancestors()) {
        runs.in_place.remove(above);
    }
    let stays = |file: &&String| Path::new(file.as_str()).ancestors().any(|above| runs.in_place.contains(above));
    names.extend(folder.before().iter().filter(stays).cloned());
    folder.keep(&names)?;
    Ok(text)
}

/// Returns what is published of a file of a run. A `run.json` goes without the command line of `mkgc stream --command`, which
/// may hold paths and keys, and `metrics.jsonl` with its lines of the log alone: a link of that name in a run of somebody
/// else could lead to any file.
fn content(source: &Path) -> Result<Vec<u8>> {
    let bytes = fs_err::read(source)?;
    match source.file_name().and_then(|name| name.to_str()) {
        Some("run.json") => {
            let mut record: Value = serde_json::from_slice(&bytes)?;
            let stream = record.pointer_mut("/external/stream").and_then(Value::as_object_mut);
            let hidden = stream.and_then(|stream| stream.remove("command"));
            Ok(if hidden.is_some() { serde_json::to_vec_pretty(&record)? } else { bytes })
        }
        Some("metrics.jsonl") => {
            let lines = bytes.split_inclusive(|byte| *byte == b'\n');
            Ok(lines.filter(|line| serde_json::from_slice::<Line>(line).is_ok()).flatten().copied().collect())
        }
        _ => Ok(bytes),
    }
}

/// Where the runs of the boards are published.
struct PublishedRuns {
    /// The folder, without symbolic links in its path.
    out: PathBuf,
    /// Runs that lie in it already, relative to it.
    in_place: BTreeSet<PathBuf>,
    /// The files to copy, by their path in it.
    copies: BTreeMap<String, PathBuf>,
    /// For each run its folder as given and its place.
    places: Vec<(String, String)>,
}

impl PublishedRuns {
    fn new(out: &Path) -> Result<Self> {
        Ok(Self {
            out: fs_err::canonicalize(out)?,
            in_place: BTreeSet::new(),
            copies: BTreeMap::new(),
            places: Vec::new(),
        })
    }

    /// Returns the board with the folders that its runs have where it is published; where they lie on this machine concerns
    /// nobody else.
    fn published(&mut self, board: &Board) -> Result<Board> {
        let mut board = board.clone();
        let benchmark = file_name(&board.benchmark);
        for entry in board.entries.iter_mut().chain(&mut board.apart) {
            let label = file_name(&entry.label);
            for (seed, run) in entry.seeds.iter().zip(&mut entry.runs) {
                let command = match &mut run.record.model {
                    Model::External { source, .. } => source.stream.as_mut().and_then(|stream| stream.command.take()),
                    Model::Trained(_) => None,
                };
                let place = self.place(run, &format!("runs/{benchmark}/{label}-seed{seed}"))?;
                if command.is_some() && self.in_place.contains(Path::new(&place)) {
                    note(format_args!(
                        "warning: {place}/run.json has the command line of the method, which may hold keys and paths; delete \
                         `command` there before others see it"
                    ));
                }
                self.places.push((std::mem::replace(&mut run.folder, place.clone()), place));
            }
        }
        for run in &mut board.absent {
            self.leave(run);
            self.without_paths(run);
        }
        Ok(board)
    }

    /// Returns the place of a run in the folder: where it lies already, or else `place`.
    fn place(&mut self, run: &RunCard, place: &str) -> Result<String> {
        let source = fs_err::canonicalize(&run.folder)?;
        if let Ok(inside) = source.strip_prefix(&self.out) {
            self.in_place.insert(inside.to_owned());
            return Ok(inside.display().to_string());
        }
        let folder = RunFolder::new(&source);
        let stages = (0..run.record.tasks()).map(|stage| folder.predictions(stage));
        let whole = [folder.dir().join("run.json"), folder.result(), folder.metrics()];
        for file in whole.into_iter().chain(stages).filter(|file| file.exists()) {
            let name = file.strip_prefix(&source).unwrap_or(&file).display().to_string();
            self.copies.insert(format!("{place}/{name}"), file);
        }
        Ok(place.to_owned())
    }

    /// Lets a run without a number stay where it lies in the folder: its damaged files may be all that is left of it.
    fn leave(&mut self, run: &Absent) {
        let real = run.folder.as_ref().and_then(|folder| fs_err::canonicalize(folder).ok());
        if let Some(inside) = real.as_deref().and_then(|real| real.strip_prefix(&self.out).ok()) {
            self.in_place.insert(inside.to_owned());
        }
    }

    /// Names the folder of a run without a number by its last part alone, and other runs by their places.
    fn without_paths(&self, run: &mut Absent) {
        let Some(folder) = run.folder.take() else { return };
        let name = folder_name(Path::new(&folder));
        let own = std::iter::once((&folder, &name));
        let places = own.chain(self.places.iter().map(|(from, to)| (from, to)));
        // A path of one part may be a word of the cause, and says nothing of this machine.
        let mut places: Vec<_> = places.filter(|(from, _)| Path::new(from).components().count() > 1).collect();
        // A path may begin with another one.
        places.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        for (from, to) in places {
            run.cause = run.cause.replace(from.as_str(), to);
        }
        run.folder = Some(name);
        run.log = None;
    }
}

/// Returns the card to write: `made`, or the one at `path` with its report renewed; none if that one is a user's own.
fn new_card(path: &Path, foreign: bool, made: String) -> Result<Option<String>> {
    let card = match fs_err::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && !foreign => return Ok(Some(made)),
        Err(_) if foreign => return Ok(None),
        read => read?,
    };
    Ok(std::str::from_utf8(&card).ok().and_then(|card| renewed(card, &made)))
}

/// Returns `card` with the text between its marks replaced by that of `made`; none if either lacks the marks.
fn renewed(card: &str, made: &str) -> Option<String> {
    let [before, _, after] = parts(card)?;
    let [_, report, _] = parts(made)?;
    let [begin, end] = MARKS;
    Some([before, begin, report, end, after].concat())
}

/// Returns what stands before, between and after the marks of a card.
fn parts(card: &str) -> Option<[&str; 3]> {
    let [begin, end] = MARKS;
    let (before, rest) = card.split_once(begin)?;
    let (report, after) = rest.split_once(end)?;
    Some([before, report, after])
}

/// Prints the card that the Hugging Face hub shows, with the scores as a table that `datasets` loads.
fn readme(report: &str) -> String {
    let [begin, end] = MARKS;
    format!(
        "---\npretty_name: mkgc leaderboard\ntags:\n- continual-learning\n- knowledge-graph-construction\nconfigs:\n\
         - config_name: scores\n  data_files: scores.csv\n---\n{begin}\n\
         This is a board of mkgc. `index.html` is the page, `board.json` and the tables are for programs, and \
         `runs` holds the record and the predictions of every run. `mkgc report` of this folder derives every number again \
         and merges it with other boards and runs.\n\n{report}{end}\n"
    )
}
