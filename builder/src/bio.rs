//! BIO tags: `O` for a word outside every entity, `B-T` for the first word of an entity of type T, `I-T` for the others.

use std::fmt;

/// The tag of a word outside every entity.
pub const OUTSIDE: &str = "O";

/// A BIO tag, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tag<'a> {
    /// `O`, a word that belongs to no entity.
    Outside,
    /// `B-T`, the first word of an entity of the given type.
    Begin(&'a str),
    /// `I-T`, a further word of an entity of the given type.
    Inside(&'a str),
}

impl<'a> Tag<'a> {
    /// Takes a tag apart; returns `None` if it is not a BIO tag.
    pub fn parse(tag: &'a str) -> Option<Self> {
        match tag.split_once('-') {
            Some(("B", class)) => Some(Self::Begin(class)),
            Some(("I", class)) => Some(Self::Inside(class)),
            _ => (tag == OUTSIDE).then_some(Self::Outside),
        }
    }

    /// Returns the entity type, or `None` for `O`.
    pub fn class(self) -> Option<&'a str> {
        match self {
            Self::Outside => None,
            Self::Begin(class) | Self::Inside(class) => Some(class),
        }
    }
}

impl fmt::Display for Tag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside => f.write_str(OUTSIDE),
            Self::Begin(class) => write!(f, "B-{class}"),
            Self::Inside(class) => write!(f, "I-{class}"),
        }
    }
}

/// The tags of a sentence, one per word, in little memory: the types that occur in it, and a number per word.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tags {
    types: Box<[Box<str>]>,
    /// 0 for `O`, 2t + 1 for `B-` and 2t + 2 for `I-` of type t.
    codes: Box<[u16]>,
}

impl Tags {
    /// Takes tags apart and keeps them.
    ///
    /// # Errors
    /// A text is not a BIO tag; the message names it. There are more than 32,767 types.
    pub fn new<S: AsRef<str>>(tags: impl IntoIterator<Item = S>) -> Result<Self, String> {
        let mut collected = TagCollector::default();
        for tag in tags {
            let tag = tag.as_ref();
            let parsed = Tag::parse(tag).ok_or_else(|| format!("bad tag `{tag}`: expected O, B-<type> or I-<type>"))?;
            collected.push(parsed)?;
        }
        Ok(collected.finish())
    }

    /// Keeps tags that were taken apart.
    ///
    /// # Errors
    /// There are more than 32,767 types.
    pub fn from_tags<'a>(tags: impl IntoIterator<Item = Tag<'a>>) -> Result<Self, String> {
        let mut collected = TagCollector::default();
        for tag in tags {
            collected.push(tag)?;
        }
        Ok(collected.finish())
    }

    /// Returns the number of words.
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// Returns whether there is no word.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// Returns the tags in the order of the words.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Tag<'_>> + Clone {
        self.codes.iter().map(|code| match code.checked_sub(1) {
            None => Tag::Outside,
            Some(code) => {
                let class = &*self.types[usize::from(code / 2)];
                if code % 2 == 0 { Tag::Begin(class) } else { Tag::Inside(class) }
            }
        })
    }

    /// Returns the entity types that occur, each once, in the order of their first words.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.types.iter().map(|class| &**class)
    }
}

/// Collects the tags of a sentence.
#[derive(Default)]
struct TagCollector {
    types: Vec<Box<str>>,
    codes: Vec<u16>,
}

impl TagCollector {
    fn push(&mut self, tag: Tag<'_>) -> Result<(), String> {
        let Some(class) = tag.class() else {
            self.codes.push(0);
            return Ok(());
        };
        let known = self.types.iter().position(|known| **known == *class);
        let index = known.unwrap_or_else(|| {
            self.types.push(class.into());
            self.types.len() - 1
        });
        let code = 2 * index + if matches!(tag, Tag::Begin(_)) { 1 } else { 2 };
        self.codes.push(u16::try_from(code).map_err(|_| format!("too many entity types in a sentence at `{tag}`"))?);
        Ok(())
    }

    fn finish(self) -> Tags {
        Tags { types: self.types.into(), codes: self.codes.into() }
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|tag| tag.to_string())).finish()
    }
}

/// Returns the two tags of an entity type, `B-T` and `I-T`.
pub fn tags_of(class: &str) -> [String; 2] {
    [format!("B-{class}"), format!("I-{class}")]
}

#[cfg(test)]
mod tests {
    use super::{Tag, Tags};

    #[test]
    fn the_tags_of_a_sentence_are_kept_as_they_are() {
        let list = ["O", "B-PER", "I-PER", "B-geo-loc", "B-PER", "I-LOC"];
        let tags = Tags::new(list).unwrap();
        assert_eq!(tags.iter().map(|tag| tag.to_string()).collect::<Vec<_>>(), list);
        assert_eq!(tags.types().collect::<Vec<_>>(), ["PER", "geo-loc", "LOC"]);
        assert_eq!(Tags::new(["O", "PER"]).unwrap_err(), "bad tag `PER`: expected O, B-<type> or I-<type>");
    }

    #[test]
    fn tags_are_taken_apart_at_the_first_hyphen() {
        for (tag, parsed) in [
            ("O", Some(Tag::Outside)),
            ("B-PER", Some(Tag::Begin("PER"))),
            ("I-geo-loc", Some(Tag::Inside("geo-loc"))),
            ("PER", None),
            ("E-PER", None),
            ("", None),
        ] {
            assert_eq!(Tag::parse(tag), parsed, "{tag}");
        }
    }
}
