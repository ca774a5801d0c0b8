//! MNRE-like rows: one Python dict literal per line, as the published corpus has them.

use mkgc_builder::corpus::Mention;
use mkgc_builder::corpus::format::mnre::format_line;

use super::dice::Dice;
use super::picture::{COLOURS, PATTERNS, Scene};
use super::words;

/// The relations; task k introduces 2k and 2k + 1, and i and i + 4 share argument types and ambiguous words.
pub(super) const RELATIONS: [&str; 8] = [
    "/per/org/member_of",
    "/loc/loc/contain",
    "/per/loc/place_of_residence",
    "/org/loc/locate_at",
    "/per/org/founder_of",
    "/loc/loc/adjacent_to",
    "/per/loc/place_of_birth",
    "/org/loc/founded_in",
];
/// Split names as in the file names, and rows per relation.
pub(super) const SPLITS: [(&str, usize); 3] = [("train", 40), ("val", 6), ("test", 15)];
/// One in so many rows of a relation uses the words it shares with its partner.
pub(super) const AMBIGUOUS_EVERY: usize = 5;

/// The words of a mention and the index of the first.
#[derive(Debug)]
pub(super) struct MentionWords {
    pub(super) words: Vec<&'static str>,
    pub(super) start: usize,
}

/// A row of the synthetic corpus, before it becomes a line of text.
#[derive(Debug)]
pub(super) struct SyntheticRow {
    pub(super) tokens: Vec<&'static str>,
    pub(super) head: MentionWords,
    pub(super) tail: MentionWords,
    pub(super) image: String,
    /// Index into [`RELATIONS`]; `None` for the corpus's `None`.
    pub(super) relation: Option<usize>,
    pub(super) scene: Scene,
}

/// The rows of a split in file order: `per_relation` of each relation, and 3 `None` for every 7 others.
pub(super) fn rows(split: &str, per_relation: usize, dice: &mut Dice) -> Vec<SyntheticRow> {
    let mut kinds: Vec<(Option<usize>, bool)> = Vec::new();
    for relation in 0..RELATIONS.len() {
        kinds.extend((1..=per_relation).map(|n| (Some(relation), n % AMBIGUOUS_EVERY == 0)));
    }
    kinds.extend((0..kinds.len() * 3 / 7).map(|_| (None, false)));
    dice.shuffle(&mut kinds);
    let numbered = kinds.into_iter().enumerate();
    numbered.map(|(n, (relation, ambiguous))| row(format!("{split}_{n:04}.png"), relation, ambiguous, dice)).collect()
}

fn row(image: String, relation: Option<usize>, ambiguous: bool, dice: &mut Dice) -> SyntheticRow {
    let family = relation.map_or_else(|| dice.below(4), |relation| relation % 4);
    let (head, tail) = arguments(family, dice);
    let triggers = triggers(relation, ambiguous, dice);
    let fillers = (8 + dice.below(7)).saturating_sub(head.len() + tail.len() + triggers.len());
    let gaps = gaps(&triggers, fillers, dice);
    let (tokens, head, tail) = sentence(gaps, head, tail, dice.chance(30));
    SyntheticRow { tokens, head, tail, image, relation, scene: scene(relation, ambiguous, dice) }
}

/// Returns head and tail names of the argument types that relations `family` and `family` + 4 take.
fn arguments(family: usize, dice: &mut Dice) -> (Vec<&'static str>, Vec<&'static str>) {
    let person = (words::PEOPLE, words::FAMILIES);
    let place = (words::PLACES, words::PLACE_TAILS);
    let group = (words::GROUPS, words::GROUP_TAILS);
    let (head, tail) = [(person, group), (place, place), (person, place), (group, place)][family];
    (name(head, dice), name(tail, dice))
}

/// Draws a name of one word or, in two of five cases, two.
pub(super) fn name((first, second): (&[&'static str], &[&'static str]), dice: &mut Dice) -> Vec<&'static str> {
    let mut name = vec![dice.pick(first)];
    if dice.chance(40) {
        name.push(dice.pick(second));
    }
    name
}

fn triggers(relation: Option<usize>, ambiguous: bool, dice: &mut Dice) -> Vec<&'static str> {
    let Some(relation) = relation else {
        return Vec::new();
    };
    let list = if ambiguous { words::AMBIGUOUS[relation % 4] } else { words::TRIGGERS[relation] };
    (0..1 + dice.below(2)).map(|_| dice.pick(list)).collect()
}

/// Draws the words before, between and behind the two mentions; the first trigger is always between them.
fn gaps(triggers: &[&'static str], fillers: usize, dice: &mut Dice) -> [Vec<&'static str>; 3] {
    let mut gaps = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..fillers {
        gaps[dice.below(3)].push(dice.pick(words::FILLERS));
    }
    for (n, &trigger) in triggers.iter().enumerate() {
        let gap = if n == 0 { 1 } else { dice.below(3) };
        dice.insert(&mut gaps[gap], trigger);
    }
    gaps
}

/// Joins gaps and mentions, tail first if `swapped`.
fn sentence(
    [before, between, behind]: [Vec<&'static str>; 3],
    head: Vec<&'static str>,
    tail: Vec<&'static str>,
    swapped: bool,
) -> (Vec<&'static str>, MentionWords, MentionWords) {
    let (first, second) = if swapped { (tail, head) } else { (head, tail) };
    let first = MentionWords { start: before.len(), words: first };
    let second = MentionWords { start: before.len() + first.words.len() + between.len(), words: second };
    let tokens = [&before, &first.words, &between, &second.words, &behind].into_iter().flatten().copied().collect();
    if swapped { (tokens, second, first) } else { (tokens, first, second) }
}

/// Draws the picture of a row: that of an ambiguous row always tells the relation, others in four of five cases.
fn scene(relation: Option<usize>, ambiguous: bool, dice: &mut Dice) -> Scene {
    match relation {
        Some(relation) if ambiguous || dice.chance(80) => {
            Scene { colour: COLOURS[relation], pattern: PATTERNS[relation % 4] }
        }
        _ => Scene::mute(dice),
    }
}

impl MentionWords {
    fn mention(&self) -> Mention {
        Mention { name: self.words.join(" ").into(), start: self.start, end: self.start + self.words.len() }
    }
}

impl SyntheticRow {
    /// Formats the row as a line of the raw file.
    pub(super) fn line(&self) -> String {
        let tokens: Vec<String> = self.tokens.iter().map(|&token| token.to_owned()).collect();
        let relation = self.relation.map_or("None", |relation| RELATIONS[relation]);
        format_line(&tokens, &self.head.mention(), &self.tail.mention(), &self.image, relation) + "\n"
    }
}

/// Returns the label ids in the form of the published `ours_rel2id.json`, `None` first.
pub(super) fn rel2id() -> String {
    let names = ["None"].into_iter().chain(RELATIONS);
    let entries: Vec<String> = names.enumerate().map(|(id, name)| format!("\"{name}\": {id}")).collect();
    format!("{{{}}}\n", entries.join(", "))
}
