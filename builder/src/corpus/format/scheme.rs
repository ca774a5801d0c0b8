//! Schemes of entity tags, and their conversion to BIO (Ramshaw and Marcus 1995; the schemes are compared in Ratinov and
//! Roth 2009).
//!
//! `O` is a word outside every entity in all of them. In a file without a stated scheme, the tags themselves show which
//! one it is; the majority decides, so that a damaged tag does not change the reading of the others.

use std::collections::HashSet;

use super::raw::RawFile;
use super::sentence::Field;
use crate::bio::{OUTSIDE, Tag, Tags};

/// Number of words by which a file of entities has a word outside of them.
const ENOUGH: usize = 50;

/// How tags mark where entities begin and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// `B-T` begins an entity and `I-T` continues it; also called IOB2.
    Bio,
    /// As [`Scheme::Bio`], but some entities begin with `I-T`, as in Twitter-2015. They are read as evaluation scripts
    /// read them (`conlleval`, seqeval): an `I-T` that continues nothing begins an entity. No file is stated to be so.
    LooseBio,
    /// `I-T` begins an entity as well as continuing it; `B-T` only begins one right after another of the same type.
    Iob1,
    /// As BIO, but the last word of several is `E-T` and a single word is `S-T`; in BILOU these are `L-T` and `U-T`.
    Bioes,
    /// `I-T`, or `T` alone, marks the words of entities; neighbours of the same type are one entity.
    Io,
}

/// The part of an entity that a tag marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TagPart {
    Begin,
    Inside,
    End,
    Single,
}

/// Takes a tag apart; returns `None` if it is `O` or has no prefix of any scheme.
fn split(tag: &str) -> Option<(TagPart, &str)> {
    let (prefix, class) = tag.split_once('-').filter(|(_, class)| !class.is_empty())?;
    let part = match prefix {
        "B" => TagPart::Begin,
        "I" => TagPart::Inside,
        "E" | "L" => TagPart::End,
        "S" | "U" => TagPart::Single,
        _ => return None,
    };
    Some((part, class))
}

/// Returns whether a tag without the prefix of a scheme is hardly the name of a type: brackets of CoNLL-2012, `B` without a
/// type, lower case, or the prefix at the end.
fn is_doubtful(tag: &str) -> bool {
    tag.contains(['(', ')', '*'])
        || ["B", "I", "o", "_"].contains(&tag)
        || ["b-", "i-"].iter().any(|prefix| tag.starts_with(prefix))
        || ["-B", "-I"].iter().any(|suffix| tag.ends_with(suffix))
}

/// Returns whether a tag is `O` or has the prefix of a scheme.
pub(super) fn is_tag(tag: &str) -> bool {
    tag == OUTSIDE || split(tag).is_some()
}

/// Returns the types of tags in the order in which they first come.
pub(super) fn types_of(tags: &[String]) -> Vec<String> {
    let mut seen = HashSet::new();
    let classes =
        tags.iter().filter(|tag| *tag != OUTSIDE).map(|tag| split(tag).map_or(tag.as_str(), |(_, class)| class));
    classes.filter(|class| seen.insert(*class)).map(str::to_owned).collect()
}

/// Counts what distinguishes the schemes.
#[derive(Debug, Clone, Default)]
pub(super) struct SchemeSurvey {
    begins: usize,
    insides: usize,
    /// Number of tags that begin with `E-`, `L-`, `S-` or `U-`.
    ends: usize,
    /// Number of tags other than `O` that have no prefix.
    bare: usize,
    outside: usize,
    /// The first bare tag that is hardly the name of a type.
    doubtful: Option<String>,
    /// `B-T` that does not follow a word of type T: IOB1 has none.
    begins_apart: usize,
    /// `I-T` that does not follow a word of type T: BIO has none.
    insides_apart: usize,
}

impl SchemeSurvey {
    /// Counts a tag, and the tag before it in its sentence.
    pub(super) fn add(&mut self, tag: &str, before: Option<&str>) {
        let Some((part, class)) = split(tag) else {
            if tag == OUTSIDE {
                self.outside += 1;
            } else {
                self.bare += 1;
                if self.doubtful.is_none() && is_doubtful(tag) {
                    self.doubtful = Some(tag.to_owned());
                }
            }
            return;
        };
        let apart = usize::from(before.and_then(split).is_none_or(|(_, before)| before != class));
        match part {
            TagPart::Begin => {
                self.begins += 1;
                self.begins_apart += apart;
            }
            TagPart::Inside => {
                self.insides += 1;
                self.insides_apart += apart;
            }
            TagPart::End | TagPart::Single => self.ends += 1,
        }
    }

    /// Says why the tags are probably of none of the schemes, if bare tags were taken for types: then any column of a
    /// file could be that of the tags.
    pub(super) fn doubt(&self) -> Option<String> {
        if self.bare == 0 || self.scheme() != Scheme::Io {
            return None;
        }
        let why = match &self.doubtful {
            Some(tag) => format!("`{tag}` is no tag of a known scheme"),
            None if self.outside == 0 && self.bare >= ENOUGH => "no word has the tag `O`".to_owned(),
            None => return None,
        };
        Some(format!("{why}; say where the tags are, or `scheme = \"io\"` if each of them is `O` or a type"))
    }

    /// Returns the scheme of the tags counted.
    pub(super) fn scheme(&self) -> Scheme {
        if self.bare > self.begins + self.insides + self.ends || (self.begins + self.ends == 0 && self.insides > 0) {
            Scheme::Io
        } else if self.ends > 0 && self.ends >= self.begins {
            Scheme::Bioes
        } else if self.insides_apart > self.begins_apart {
            Scheme::Iob1
        } else if self.insides_apart > 0 {
            Scheme::LooseBio
        } else {
            Scheme::Bio
        }
    }
}

/// The tags of a sentence as BIO.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Converted {
    pub(super) tags: Tags,
    /// How many of them were written otherwise.
    pub(super) changed: usize,
}

impl Scheme {
    /// The names that state a scheme in a `[corpus]` table.
    pub(super) const NAMES: [(&str, Self); 6] = [
        ("bio", Self::Bio),
        ("iob2", Self::Bio),
        ("iob1", Self::Iob1),
        ("bioes", Self::Bioes),
        ("bilou", Self::Bioes),
        ("io", Self::Io),
    ];

    /// Says of what scheme a file is, and how many of its tags the conversion to BIO changed.
    pub(super) fn note(self, stated: bool, changed: usize) -> Option<String> {
        let name = match self {
            Self::Bio => return None,
            Self::LooseBio => {
                return Some(format!("{changed} tags `I-` that continue no entity were read as the first word of one"));
            }
            Self::Iob1 => "IOB1",
            Self::Bioes => "BIOES",
            Self::Io => "IO",
        };
        let how = if stated { "stated" } else { "found from the tags" };
        Some(format!("tags are {name} ({how}) and were converted to BIO, which changed {changed} of them"))
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Bio | Self::LooseBio | Self::Iob1 => "O, B-<type> or I-<type>",
            Self::Bioes => "O, or a type after B-, I-, E- (L-) or S- (U-)",
            Self::Io => "O, I-<type> or <type>",
        }
    }

    /// Converts the tags of a sentence to BIO.
    ///
    /// # Errors
    /// A tag is none of the scheme, does not continue what is before it, or has a type that the corpus lacks. The error
    /// is the index of the tag and the reason.
    pub(super) fn to_bio<'t>(
        self,
        tags: impl Iterator<Item = &'t str>,
        file: &RawFile<'_>,
    ) -> Result<Converted, (usize, String)> {
        let mut converted = Vec::new();
        let mut changed = 0;
        // The type of the word before, and whether its entity must go on.
        let mut before: Option<&str> = None;
        let mut open = false;
        for (i, tag) in tags.enumerate() {
            let (part, class) = self.part(tag, before, open).map_err(|reason| (i, reason))?;
            let new = match class {
                None => Tag::Outside,
                Some(class) if matches!(part, TagPart::Begin | TagPart::Single) => Tag::Begin(class),
                Some(class) => Tag::Inside(class),
            };
            if let Some(class) = class {
                file.check_class("entity type", class).map_err(|reason| (i, reason))?;
            }
            changed += usize::from(Tag::parse(tag) != Some(new));
            converted.push(new);
            before = class;
            open = self == Self::Bioes && class.is_some() && matches!(part, TagPart::Begin | TagPart::Inside);
        }
        let last = converted.len().saturating_sub(1);
        if let Some(class) = before.filter(|_| open) {
            return Err((last, unended(class)));
        }
        let tags = Tags::from_tags(converted).map_err(|reason| (last, reason))?;
        Ok(Converted { tags, changed })
    }

    /// Returns the part of an entity that a tag marks, with the entity's type; no type for `O`.
    fn part<'t>(self, tag: &'t str, before: Option<&str>, open: bool) -> Field<(TagPart, Option<&'t str>)> {
        let bad = || format!("bad tag `{tag}`: expected {}", self.expected());
        let part = match (self, split(tag)) {
            _ if tag == OUTSIDE => None,
            (Self::Io, None) if !tag.trim().is_empty() => Some((TagPart::Inside, tag)),
            (_, Some((TagPart::Inside, class))) => Some((TagPart::Inside, class)),
            (Self::Bio | Self::LooseBio | Self::Iob1, Some((TagPart::Begin, class))) => Some((TagPart::Begin, class)),
            (Self::Bioes, Some(part)) => Some(part),
            _ => return Err(bad()),
        };
        let goes_on =
            part.is_some_and(|(part, class)| before == Some(class) && matches!(part, TagPart::Inside | TagPart::End));
        if let Some(class) = before.filter(|_| open && !goes_on) {
            return Err(unended(class));
        }
        match part {
            None => Ok((TagPart::Inside, None)),
            Some((TagPart::Inside, class)) if !goes_on && matches!(self, Self::Io | Self::Iob1 | Self::LooseBio) => {
                Ok((TagPart::Begin, Some(class)))
            }
            Some((TagPart::Inside, class)) if !goes_on && self == Self::Bio => Err(format!(
                "`{tag}` continues no {class} entity: expected B-{class} or I-{class} before it; `scheme = \"iob1\"` \
                 reads it as the first word of one"
            )),
            Some((TagPart::Inside | TagPart::End, class)) if self == Self::Bioes && !(goes_on && open) => {
                Err(format!("`{tag}` continues no {class} entity: expected B-{class} or I-{class} before it"))
            }
            Some((part, class)) => Ok((part, Some(class))),
        }
    }
}

fn unended(class: &str) -> String {
    format!("the {class} entity has no end: expected E-{class} for its last word, or S-{class} for a single one")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn converted(scheme: Scheme, tags: &str) -> Result<String, (usize, String)> {
        let file = RawFile { path: Path::new("f"), bytes: b"", classes: &[], none: "O" };
        let converted = scheme.to_bio(tags.split(' '), &file)?;
        Ok(converted.tags.iter().map(|tag| tag.to_string()).collect::<Vec<_>>().join(" "))
    }

    fn found(tags: &str) -> Scheme {
        surveyed(tags).scheme()
    }

    fn surveyed(tags: &str) -> SchemeSurvey {
        let mut survey = SchemeSurvey::default();
        let tags: Vec<&str> = tags.split(' ').collect();
        for (i, tag) in tags.iter().enumerate() {
            survey.add(tag, i.checked_sub(1).map(|i| tags[i]));
        }
        survey
    }

    const BIO: &str = "B-P I-P O B-P B-P I-P B-L O B-L I-L I-L";

    #[test]
    fn every_scheme_becomes_bio_and_is_found() {
        for (scheme, tags) in [
            (Scheme::Bio, BIO),
            (Scheme::Iob1, "I-P I-P O I-P B-P I-P I-L O I-L I-L I-L"),
            (Scheme::Bioes, "B-P E-P O S-P B-P E-P S-L O B-L I-L E-L"),
            (Scheme::Bioes, "B-P L-P O U-P B-P L-P U-L O B-L I-L L-L"),
        ] {
            assert_eq!(converted(scheme, tags), Ok(BIO.to_owned()), "{scheme:?}");
            assert_eq!(found(tags), scheme, "{tags}");
        }
        for tags in ["I-P I-P O I-P I-L", "P P O P L"] {
            assert_eq!(converted(Scheme::Io, tags), Ok("B-P I-P O B-P B-L".to_owned()));
            assert_eq!(found(tags), Scheme::Io, "{tags}");
        }
        for (tags, doubt) in [
            ("(ORG* *) * *", "`(ORG*` is no tag of a known scheme; say where the tags are"),
            ("B I O O", "`B` is no tag"),
            ("NAME-B NAME-I O", "`NAME-B` is no tag"),
            ("b-per o", "`b-per` is no tag"),
            (&"NN VB ".repeat(ENOUGH / 2), "no word has the tag `O`"),
        ] {
            assert!(surveyed(tags.trim()).doubt().unwrap().starts_with(doubt), "{tags}");
        }
        assert!(["P P O P L", "I-P I-L", BIO, "O O"].iter().all(|tags| surveyed(tags).doubt().is_none()));
        assert_eq!(found("O O"), Scheme::Bio);
        assert_eq!(converted(Scheme::LooseBio, "I-P I-P O B-P I-L B-L"), Ok("B-P I-P O B-P B-L B-L".to_owned()));
        assert_eq!(converted(Scheme::Io, "geo-loc O"), Ok("B-geo-loc O".to_owned()));
    }

    #[test]
    fn one_damaged_tag_does_not_change_the_scheme() {
        for (scheme, tags) in [
            (Scheme::LooseBio, "B-P O I-P O B-L"),
            (Scheme::Bio, "B-P I-P O B-P E-L"),
            (Scheme::Iob1, "I-P O I-L O B-P O I-P"),
            (Scheme::Bioes, "B-P I-P O S-P B-L E-L S-P"),
            (Scheme::Io, "P O L L O B-P"),
            (Scheme::Bio, "B-P O L O B-P"),
        ] {
            assert_eq!(found(tags), scheme, "{tags}");
        }
    }

    #[test]
    fn what_a_scheme_forbids_is_an_error_at_its_word() {
        for (scheme, tags, at, message) in [
            (Scheme::Bio, "O I-P", 1, "`I-P` continues no P entity: expected B-P or I-P before it; `scheme"),
            (Scheme::Bio, "B-L I-P", 1, "`I-P` continues no P entity"),
            (Scheme::Bio, "B-P E-P", 1, "bad tag `E-P`: expected O, B-<type> or I-<type>"),
            (Scheme::Bio, "P", 0, "bad tag `P`"),
            (Scheme::Bio, "B-", 0, "bad tag `B-`"),
            (Scheme::Bio, "o", 0, "bad tag `o`"),
            (Scheme::Iob1, "I-P S-P", 1, "bad tag `S-P`"),
            (Scheme::Io, "P B-P", 1, "bad tag `B-P`: expected O, I-<type> or <type>"),
            (Scheme::Io, "O  O", 1, "bad tag ``"),
            (Scheme::Bioes, "B-P O", 1, "the P entity has no end: expected E-P for its last word, or S-P"),
            (Scheme::Bioes, "B-P S-P", 1, "the P entity has no end"),
            (Scheme::Bioes, "B-P E-L", 1, "the P entity has no end"),
            (Scheme::Bioes, "O B-P I-P", 2, "the P entity has no end"),
            (Scheme::Bioes, "O E-P", 1, "`E-P` continues no P entity"),
            (Scheme::Bioes, "S-P I-P", 1, "`I-P` continues no P entity"),
        ] {
            let (index, reason) = converted(scheme, tags).unwrap_err();
            assert_eq!(index, at, "{tags}: {reason}");
            assert!(reason.starts_with(message), "{tags}: {reason}");
        }
    }
}
