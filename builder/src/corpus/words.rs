//! The words of a sentence in little memory: a corpus of a million sentences has fifteen million words.

use std::fmt;

/// The words of a sentence, kept as one text with the length of each word.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Words {
    text: Box<str>,
    /// A byte per word; a word of 255 bytes or more has a byte of 255 for each 255 of them, and then the rest.
    lengths: Box<[u8]>,
}

impl Words {
    /// Returns the number of words.
    pub fn len(&self) -> usize {
        self.iter().len()
    }

    /// Returns whether there is no word.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Returns a word by its index, 0-based.
    pub fn get(&self, index: usize) -> Option<&str> {
        self.iter().nth(index)
    }

    /// Returns the words in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        WordIter { text: &self.text, lengths: &self.lengths }
    }

    /// Returns the words as a list of strings.
    pub fn to_vec(&self) -> Vec<String> {
        self.iter().map(str::to_owned).collect()
    }
}

/// Goes through words; holds what is left of them.
#[derive(Clone)]
struct WordIter<'a> {
    text: &'a str,
    lengths: &'a [u8],
}

impl<'a> Iterator for WordIter<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let last = self.lengths.iter().position(|length| *length != u8::MAX)?;
        let (lengths, rest) = self.lengths.split_at(last + 1);
        let (word, text) = self.text.split_at(lengths.iter().map(|length| usize::from(*length)).sum());
        self.lengths = rest;
        self.text = text;
        Some(word)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let words = self.lengths.iter().filter(|length| **length != u8::MAX).count();
        (words, Some(words))
    }
}

impl ExactSizeIterator for WordIter<'_> {}

impl<S: AsRef<str>> FromIterator<S> for Words {
    fn from_iter<I: IntoIterator<Item = S>>(words: I) -> Self {
        let mut text = String::new();
        let mut lengths = Vec::new();
        for word in words {
            let word = word.as_ref();
            text.push_str(word);
            lengths.extend(std::iter::repeat_n(u8::MAX, word.len() / 255));
            lengths.push((word.len() % 255) as u8);
        }
        Self { text: text.into(), lengths: lengths.into() }
    }
}

impl<S: AsRef<str>> From<Vec<S>> for Words {
    fn from(words: Vec<S>) -> Self {
        words.into_iter().collect()
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Words;

    #[test]
    fn words_are_kept_as_they_are() {
        let list = ["", "é", "a b", "", "x"];
        let words: Words = list.iter().collect();
        assert_eq!(words.iter().collect::<Vec<_>>(), list);
        assert_eq!(words.to_vec(), list);
        assert_eq!((words.len(), words.get(4), words.get(5)), (5, Some("x"), None));
        assert_ne!(words, Words::from(vec!["é", "", "a b", "", "x"]));
        assert_eq!(format!("{words:?}"), r#"["", "é", "a b", "", "x"]"#);
        assert!(Words::default().is_empty());
        let long: Vec<String> = [0, 254, 255, 256, 510, 700].map(|length| "x".repeat(length)).into();
        let words: Words = long.iter().collect();
        assert_eq!(words.len(), long.len());
        assert_eq!(words.to_vec(), long);
    }
}
