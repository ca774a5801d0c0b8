//! `mkgc predict`: labels the sentences of a file, or of standard input, with a saved model.

use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use candle_core::DType;
use clap::{Args, ValueEnum};
use mkgc_builder::corpus::Extraction;
use mkgc_builder::files::parent_folder;
use mkgc_harness::console::{counted, note};
use mkgc_harness::files::write_atomically;
use mkgc_harness::methods::registry;
use mkgc_harness::model::{ModelCard, SavedModel};
use mkgc_harness::predict::{InputFormat, OutputFormat, Predictor, Sentence, find_model, read};
use mkgc_harness::run::RunFolder;

use super::device;

/// Sentences that are labelled before they are written.
const AT_A_TIME: usize = 1 << 14;

#[derive(Args)]
pub struct PredictArgs {
    /// Run folder of `mkgc train --save-model`, or a saved model in one.
    run: PathBuf,
    /// File of sentences to label; `-` is standard input. docs/predict.md describes the formats.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Format of the input (default: by the ending of the file's name, else text).
    #[arg(long)]
    format: Option<Format>,
    /// File to write (default: standard output).
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Format of the output; `conll` is available for entities only.
    #[arg(long, default_value = "jsonl")]
    output_format: OutputArg,
    /// Folder that paths of pictures begin at (default: the folder of the input).
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Predict with the network after task K, from 0, which `--save-model=every` keeps in stages/K/model.
    #[arg(long, value_name = "K")]
    stage: Option<usize>,
    /// Where to compute: `cpu`, `cuda` (the first GPU) or `cuda:N` (GPU number N).
    #[arg(long, default_value = "cpu")]
    device: String,
}

/// A format that sentences are read in.
#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// A sentence per line, its words separated by spaces
    Text,
    /// An object per line, with `tokens` and, for relations, `head` and `tail`
    Jsonl,
    /// A word per line, and a blank line after each sentence
    Conll,
}

/// A format that predictions are written in.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputArg {
    /// An object per line, with `id`, `prediction`, `confidence` and, for entities, their spans
    Jsonl,
    /// A word per line with its tag and the probability of the tag, separated by tabs
    Conll,
}

/// Labels the sentences of a file.
pub fn predict(args: &PredictArgs) -> Result<()> {
    let folder = find_model(&args.run, args.stage)?;
    let card = ModelCard::read(&folder)?;
    warn_of_later_tasks(args, &card);
    if card.dataset.task == Extraction::Relations && args.output_format == OutputArg::Conll {
        anyhow::bail!(
            "--output-format conll: columns hold a tag per word, and this model tells relations; leave it out"
        );
    }
    let (name, bytes) = input(args)?;
    let format = args.format.map_or_else(|| InputFormat::of(&args.input), Format::parsed);
    let sentences = read(&name, &bytes, format, card.dataset.task)?;
    let predictor = Predictor { model: open(&folder, &card, &args.device)?, pictures: pictures(args) };
    note(format_args!("{}, on {}: {}", card.title(), args.device, counted(sentences.len(), "sentence")));
    let cut = predictor.count_cut(&sentences)?;
    if cut > 0 {
        let max = card.config.max_length;
        let are = if cut == 1 { "is" } else { "are" };
        let cut = counted(cut, "sentence");
        let rest = match card.dataset.task {
            Extraction::Relations => "words that do not fit beside the mentions are not read",
            Extraction::Entities => "the remaining words are tagged O",
        };
        note(format_args!("warning: {cut} {are} longer than the {max} word pieces that the model reads; {rest}"));
    }
    let format = if args.output_format == OutputArg::Conll { OutputFormat::Conll } else { OutputFormat::Jsonl };
    match &args.output {
        Some(path) => {
            let mut text = Vec::new();
            write(&predictor, &sentences, format, &mut text)?;
            write_atomically(path, &text)?;
        }
        None => write(&predictor, &sentences, format, &mut std::io::stdout().lock())?,
    }
    Ok(())
}

/// Warns where the run has learned more tasks since it kept the network that it is asked for.
fn warn_of_later_tasks(args: &PredictArgs, card: &ModelCard) {
    let learned = RunFolder::new(&args.run).tasks_learned(card.dataset.tasks.len());
    let kept = card.tasks_learned;
    if args.stage.is_none() && learned > kept {
        let run = args.run.display();
        let learned = counted(learned, "task");
        note(format_args!("warning: {run} has learned {learned}, and this is its network after {kept} of them"));
    }
}

impl Format {
    fn parsed(self) -> InputFormat {
        match self {
            Self::Text => InputFormat::Text,
            Self::Jsonl => InputFormat::Jsonl,
            Self::Conll => InputFormat::Conll,
        }
    }
}

/// Returns the name of the input for messages, and its bytes. Refuses an input that the output would replace, also under
/// another name.
fn input(args: &PredictArgs) -> Result<(PathBuf, Vec<u8>)> {
    let path = &args.input;
    if path != Path::new("-") {
        let real = |path: &PathBuf| fs_err::canonicalize(path).ok();
        if real(path).is_some_and(|read| args.output.as_ref().and_then(real) == Some(read)) {
            let path = path.display();
            anyhow::bail!("--output is the file of --input, {path}, which it would replace; choose another --output");
        }
        return Ok((path.clone(), fs_err::read(path)?));
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).context("standard input cannot be read")?;
    Ok((PathBuf::from("standard input"), bytes))
}

/// Opens the model, in the number type of its training where the device has it.
fn open(folder: &Path, card: &ModelCard, name: &str) -> Result<SavedModel> {
    let dtype = if card.dtype == DType::BF16.as_str() && name != "cpu" { DType::BF16 } else { DType::F32 };
    Ok(SavedModel::open(folder, registry::find, &device::open(name, dtype)?, dtype)?)
}

/// Returns the folder that paths of pictures begin at.
fn pictures(args: &PredictArgs) -> PathBuf {
    args.images.clone().unwrap_or_else(|| parent_folder(&args.input).to_owned())
}

/// Labels sentences and writes what is predicted; stops where nobody reads on.
fn write(predictor: &Predictor, sentences: &[Sentence], format: OutputFormat, to: &mut dyn Write) -> Result<()> {
    for chunk in sentences.chunks(AT_A_TIME) {
        let text = predictor.label(chunk)?.iter().map(|one| one.text(format)).collect::<Result<String, _>>()?;
        match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            written => written.context("the predictions cannot be written")?,
        }
    }
    Ok(())
}
