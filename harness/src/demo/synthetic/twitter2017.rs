//! Twitter-2017-like sentences: an `IMGID:` line, then `word<TAB>tag` lines, then a blank line.

use super::dice::Dice;
use super::mnre::name;
use super::picture::{COLOURS, PATTERNS, Scene};
use super::words;

/// The entity types in task order.
pub(super) const TYPES: [&str; 4] = ["PER", "LOC", "ORG", "MISC"];
/// Split names as in the file names, and sentences.
pub(super) const SPLITS: [(&str, usize); 3] = [("train", 250), ("valid", 40), ("test", 80)];
/// One in so many sentences has no entity.
const EMPTY_EVERY: usize = 20;
const PER: usize = 0;

/// A sentence of the raw file.
#[derive(Debug)]
pub(super) struct SyntheticSentence {
    pub(super) id: String,
    pub(super) words: Vec<(&'static str, String)>,
    pub(super) scene: Scene,
}

/// Makes the sentences of a split in file order; the types take turns as the main one.
pub(super) fn sentences(split: &str, count: usize, dice: &mut Dice) -> Vec<SyntheticSentence> {
    let mut mains: Vec<Option<usize>> =
        (0..count).map(|n| ((n + 1) % EMPTY_EVERY != 0).then_some(n % TYPES.len())).collect();
    dice.shuffle(&mut mains);
    mains.into_iter().enumerate().map(|(n, main)| sentence(format!("{split}_{n:04}"), main, dice)).collect()
}

fn sentence(id: String, main: Option<usize>, dice: &mut Dice) -> SyntheticSentence {
    let mut pieces: Vec<Vec<(&'static str, String)>> = Vec::new();
    for kind in entity_types(main, dice) {
        pieces.push(entity(kind, dice));
    }
    dice.shuffle(&mut pieces);
    let length: usize = pieces.iter().map(Vec::len).sum();
    for _ in length..(8 + dice.below(7)).max(length + 1) {
        let filler = vec![(dice.pick(words::FILLERS), "O".to_owned())];
        dice.insert(&mut pieces, filler);
    }
    SyntheticSentence { id, words: pieces.concat(), scene: scene(main, dice) }
}

/// Draws one to three types. A sentence of a later type often holds a PER too: its task teaches that old type as `O`.
fn entity_types(main: Option<usize>, dice: &mut Dice) -> Vec<usize> {
    let Some(main) = main else { return Vec::new() };
    let mut types = vec![main];
    if dice.chance(if main == PER { 40 } else { 70 }) {
        types.push(PER);
    }
    if dice.chance(25) {
        types.push(main);
    }
    types
}

/// Draws an entity with, in four of five cases, a cue word before it.
fn entity(kind: usize, dice: &mut Dice) -> Vec<(&'static str, String)> {
    let lexicons = [
        (words::PEOPLE, words::FAMILIES),
        (words::PLACES, words::PLACE_TAILS),
        (words::GROUPS, words::GROUP_TAILS),
        (words::WORKS, words::WORK_TAILS),
    ];
    let mut piece = Vec::new();
    if dice.chance(80) {
        piece.push((dice.pick(words::CUES[kind]), "O".to_owned()));
    }
    for (n, word) in name(lexicons[kind], dice).into_iter().enumerate() {
        piece.push((word, format!("{}-{}", if n == 0 { 'B' } else { 'I' }, TYPES[kind])));
    }
    piece
}

/// Draws the picture, which tells the main type in four of five cases.
fn scene(main: Option<usize>, dice: &mut Dice) -> Scene {
    match main {
        Some(main) if dice.chance(80) => Scene { colour: COLOURS[main], pattern: PATTERNS[main] },
        _ => Scene::mute(dice),
    }
}

impl SyntheticSentence {
    /// Returns the sentence as a record of the raw file.
    pub(super) fn record(&self) -> String {
        let lines: String = self.words.iter().map(|(word, tag)| format!("{word}\t{tag}\n")).collect();
        format!("IMGID:{}\n{lines}\n", self.id)
    }
}
