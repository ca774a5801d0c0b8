//! BIO tags: `O` for a word outside every entity, `B-T` for the first word of an entity of type T, `I-T` for the others.

/// The tag of a word outside every entity.
pub const OUTSIDE: &str = "O";

/// A BIO tag, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag<'a> {
    /// `O`, outside every entity.
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

/// Returns the two tags of an entity type, `B-T` and `I-T`.
pub fn tags_of(class: &str) -> [String; 2] {
    [format!("B-{class}"), format!("I-{class}")]
}

#[cfg(test)]
mod tests {
    use super::Tag;

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
