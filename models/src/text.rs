//! Splits words into word pieces, and finds the positions that heads read.

use std::collections::{BTreeSet, HashMap};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use serde::Deserialize;
use serde_json::Value;
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::{BertNormalizer, Lowercase, NormalizerWrapper};
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, NormalizedString, Normalizer, Tokenizer};

use crate::error::{Error, Result};

/// Opening and closing markers of head and tail, as RP-CRE and EMAR-BERT name them.
const MARKERS: [&str; 4] = ["[E11]", "[E12]", "[E21]", "[E22]"];

/// Special tokens: padding, unknown word, class token, separator.
const SPECIALS: [&str; 4] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];

/// A sentence whose entities are marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationEncoding {
    /// Ids of `[CLS] … [E11] head [E12] … [E21] tail [E22] … [SEP]`.
    pub ids: Vec<u32>,
    /// Position of `[E11]` in `ids`.
    pub head_pos: u32,
    /// Position of `[E21]` in `ids`.
    pub tail_pos: u32,
}

/// A sentence with the position of each word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentenceEncoding {
    /// Ids of `[CLS] … [SEP]`.
    pub ids: Vec<u32>,
    /// Position of the first piece of each word that is not cut off.
    pub first_piece: Vec<u32>,
}

/// A tokenizer that splits words one by one, so that no piece crosses the border of a word.
pub struct WordTokenizer {
    inner: Tokenizer,
    base_size: usize,
    specials: [u32; 4],
    markers: [u32; 4],
    /// Pieces of the words seen so far.
    known: RwLock<HashMap<String, Vec<u32>>>,
}

impl WordTokenizer {
    /// Reads a `tokenizer.json`, ignoring its padding and truncation.
    ///
    /// # Errors
    /// The file cannot be read, or lacks `[PAD]`, `[UNK]`, `[CLS]` or `[SEP]`; its normalizer makes a token far too long.
    pub fn from_file(path: &Path) -> Result<Self> {
        let refused = |error: String| Error::encoder(path, format!("not a tokenizer: {error}"));
        let content = serde_json::from_slice(&fs_err::read(path)?);
        let mut content: Value = content.map_err(|error| refused(error.to_string()))?;
        // The library panics at a decoder that it does not know. Nothing here decodes pieces, so only BERT's decoder is kept,
        // for the programs that read a saved model.
        let decoder = content.get_mut("decoder").map(Value::take);
        // Reading the file normalises its added tokens.
        if let Some(Ok(normalizer)) = content.get("normalizer").map(NormalizerWrapper::deserialize) {
            for token in content.get("added_tokens").and_then(Value::as_array).into_iter().flatten() {
                let text = token.get("content").and_then(Value::as_str).unwrap_or_default();
                bounded(&normalizer, text).map_err(|error| Error::encoder(path, error.to_string()))?;
            }
        }
        let mut inner = Tokenizer::from_bytes(content.to_string()).map_err(|error| refused(error.to_string()))?;
        inner.with_decoder(decoder.and_then(|decoder| serde_json::from_value::<WordPieceDecoder>(decoder).ok()));
        inner.with_padding(None);
        let _ = inner.with_truncation(None);
        Self::new(inner).map_err(|error| Error::encoder(path, error.to_string()))
    }

    /// Makes BERT's tokenizer of a `vocab.txt`, one piece a line, as `BertTokenizer` of transformers does. Whether it keeps
    /// upper case and accents is read from `tokenizer_config.json` beside it, if there is one (default: it does not).
    ///
    /// # Errors
    /// A file cannot be read, or the vocabulary lacks `[PAD]`, `[UNK]`, `[CLS]` or `[SEP]`.
    pub fn from_vocabulary(path: &Path) -> Result<Self> {
        let bad = |error: tokenizers::Error| Error::encoder(path, error.to_string());
        let options = path.with_file_name("tokenizer_config.json");
        let options: Value = match fs_err::read(&options) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| Error::encoder(&options, format!("not JSON: {error}")))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Value::Null,
            Err(error) => return Err(error.into()),
        };
        let set = |key: &str| options.get(key).and_then(Value::as_bool);
        let file = path.to_string_lossy().into_owned();
        let model = WordPiece::builder().files(file).unk_token("[UNK]".to_owned()).build().map_err(bad)?;
        let mut inner = Tokenizer::new(model);
        let lower = set("do_lower_case").unwrap_or(true);
        let chinese = set("tokenize_chinese_chars").unwrap_or(true);
        let normalizer = BertNormalizer::new(true, chinese, set("strip_accents"), lower);
        inner.with_normalizer(Some(normalizer)).map_err(bad)?;
        inner.with_pre_tokenizer(Some(BertPreTokenizer));
        Self::new(inner).map_err(|error| Error::encoder(path, error.to_string()))
    }

    /// Creates a tokenizer with one id per word of `words`, lower-cased; other words are `[UNK]`.
    ///
    /// # Errors
    /// The tokenizer cannot be built, which does not happen in practice.
    pub fn from_words(words: Vec<String>) -> Result<Self> {
        let words: BTreeSet<String> = words.into_iter().map(|word| word.to_lowercase()).collect();
        let all = SPECIALS.iter().map(|special| (*special).to_owned()).chain(words);
        let vocabulary = all.zip(0u32..).collect();
        let model = WordLevel::builder().vocab(vocabulary).unk_token("[UNK]".to_owned()).build();
        let mut inner = Tokenizer::new(model.map_err(failed)?);
        inner.with_normalizer(Some(Lowercase)).map_err(failed)?;
        Self::new(inner)
    }

    fn new(mut inner: Tokenizer) -> Result<Self> {
        let base_size = inner.get_vocab_size(true);
        inner.add_special_tokens(MARKERS.map(|marker| AddedToken::from(marker, true))).map_err(failed)?;
        let id = |token: &str| inner.token_to_id(token).ok_or_else(|| Error::Tokenizer(format!("no token `{token}`")));
        let ids = |tokens: [&str; 4]| -> Result<[u32; 4]> {
            Ok([id(tokens[0])?, id(tokens[1])?, id(tokens[2])?, id(tokens[3])?])
        };
        let specials = ids(SPECIALS)?;
        let markers = ids(MARKERS)?;
        Ok(Self { inner, base_size, specials, markers, known: RwLock::default() })
    }

    /// Returns the content of a `tokenizer.json` that [`WordTokenizer::from_file`] reads back, with the four markers. Where
    /// sentences had no frame yet, it becomes `[CLS] … [SEP]`, for programs that let the tokenizer add it.
    ///
    /// # Errors
    /// The tokenizer cannot be written, which does not happen in practice.
    pub fn to_json(&self) -> Result<String> {
        let mut whole = self.inner.clone();
        if whole.get_post_processor().is_none() {
            let [_, _, class, separator] = SPECIALS;
            let frame = TemplateProcessing::builder()
                .try_single(format!("{class} $A {separator}"))
                .map_err(Error::Tokenizer)?
                .try_pair(format!("{class} $A {separator} $B:1 {separator}:1"))
                .map_err(Error::Tokenizer)?
                .special_tokens(vec![(class, self.specials[2]), (separator, self.specials[3])])
                .build();
            whole.with_post_processor(Some(frame.map_err(|error| Error::Tokenizer(error.to_string()))?));
        }
        whole.to_string(true).map_err(failed)
    }

    /// Returns the special tokens: padding, unknown word, class token, separator.
    pub fn specials() -> [&'static str; 4] {
        SPECIALS
    }

    /// Returns the number of tokens, including the four markers.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Returns the number of tokens without the markers.
    pub fn base_size(&self) -> usize {
        self.base_size
    }

    /// Returns the id of `[PAD]`.
    pub fn pad_id(&self) -> u32 {
        self.specials[0]
    }

    /// Returns the pieces of a word, at least one: a word that normalises to nothing is `[UNK]`. Each word is split
    /// once and then remembered.
    ///
    /// # Errors
    /// The normalizer makes the word far too long; the tokenizer fails.
    fn pieces(&self, word: &str) -> Result<Vec<u32>> {
        if let Some(ids) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(word) {
            return Ok(ids.clone());
        }
        if let Some(normalizer) = self.inner.get_normalizer() {
            bounded(normalizer, word)?;
        }
        let mut ids = self.inner.encode_fast(word, false).map_err(failed)?.get_ids().to_vec();
        if ids.is_empty() {
            ids.push(self.specials[1]);
        }
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(word.to_owned(), ids.clone());
        Ok(ids)
    }

    /// Marks head and tail (half-open word spans) and encodes the sentence in at most `max` pieces, the last being
    /// `[SEP]`. Where spans meet, closing markers come before opening ones. If cutting the end would lose a mention,
    /// other words are dropped instead: first those after both mentions, then those before both, then those between.
    ///
    /// # Errors
    /// The mentions alone need more than `max` pieces; the message says what to raise.
    pub fn relation(
        &self,
        words: &[String],
        head: (usize, usize),
        tail: (usize, usize),
        max: usize,
    ) -> Result<RelationEncoding> {
        let mut pieces = words.iter().map(|word| self.pieces(word)).collect::<Result<Vec<_>>>()?;
        let mut marked = self.marked(&pieces, head, tail);
        let lost = |marked: &RelationEncoding| marked.head_pos.max(marked.tail_pos) as usize + 1 >= max;
        if lost(&marked) {
            for word in droppable(words.len(), head, tail) {
                pieces[word].clear();
                marked = self.marked(&pieces, head, tail);
                if marked.ids.len() < max {
                    break;
                }
            }
        }
        if lost(&marked) {
            let needed = marked.head_pos.max(marked.tail_pos) + 2;
            return Err(Error::Tokenizer(format!(
                "a mention starts beyond max_length {max}; it needs at least {needed}"
            )));
        }
        marked.ids.truncate(max.saturating_sub(1));
        marked.ids.push(self.specials[3]);
        Ok(marked)
    }

    /// Returns `[CLS]`, pieces and markers, at full length and without `[SEP]`.
    fn marked(&self, pieces: &[Vec<u32>], head: (usize, usize), tail: (usize, usize)) -> RelationEncoding {
        let mut ids = vec![self.specials[2]];
        let mut opened = [0usize; 2];
        for word in 0..=pieces.len() {
            for (mention, span) in [head, tail].into_iter().enumerate() {
                if span.1 == word {
                    ids.push(self.markers[2 * mention + 1]);
                }
            }
            for (mention, span) in [head, tail].into_iter().enumerate() {
                if span.0 == word {
                    opened[mention] = ids.len();
                    ids.push(self.markers[2 * mention]);
                }
            }
            ids.extend(pieces.get(word).into_iter().flatten());
        }
        RelationEncoding { ids, head_pos: opened[0] as u32, tail_pos: opened[1] as u32 }
    }

    /// Encodes a sentence in at most `max` pieces, the last being `[SEP]`.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub fn sentence(&self, words: &[String], max: usize) -> Result<SentenceEncoding> {
        let [_, _, cls, sep] = self.specials;
        let room = max.saturating_sub(1);
        let mut ids = vec![cls];
        let mut first_piece = Vec::new();
        for word in words {
            if ids.len() >= room {
                break;
            }
            first_piece.push(ids.len() as u32);
            ids.extend(self.pieces(word)?);
        }
        ids.truncate(room);
        ids.push(sep);
        Ok(SentenceEncoding { ids, first_piece })
    }
}

/// Refuses a text that a chain of normalizers makes far longer. A few replacements one after the other, each of one
/// character by many, would take all memory. NFKD, which lengthens most among the standard ones, writes 11 bytes for one.
///
/// # Errors
/// After one of the steps the text has more than 16 times its bytes, and 256 more.
fn bounded(normalizer: &NormalizerWrapper, text: &str) -> Result<()> {
    fn step(normalizer: &NormalizerWrapper, text: &mut NormalizedString, limit: usize) -> Result<()> {
        if let NormalizerWrapper::Sequence(steps) = normalizer {
            return steps.as_ref().iter().try_for_each(|normalizer| step(normalizer, text, limit));
        }
        normalizer.normalize(text).map_err(failed)?;
        if text.len() > limit {
            return Err(Error::Tokenizer(format!(
                "the normalizer of `tokenizer.json` makes more than {limit} bytes of `{}`; is it one of a BERT?",
                text.get_original().chars().take(20).collect::<String>()
            )));
        }
        Ok(())
    }
    // A single step replaces each character by at most as many bytes as the file has, and that fits in memory.
    let NormalizerWrapper::Sequence(_) = normalizer else { return Ok(()) };
    step(normalizer, &mut NormalizedString::from(text), 16 * text.len() + 256)
}

/// Returns the words outside both mentions in the order in which they may be dropped: from the end, from the start,
/// from the middle.
fn droppable(words: usize, head: (usize, usize), tail: (usize, usize)) -> Vec<usize> {
    let first = head.0.min(tail.0);
    let last = head.1.max(tail.1);
    let inside = |word: &usize| (head.0..head.1).contains(word) || (tail.0..tail.1).contains(word);
    (last..words).rev().chain(0..first).chain((first..last).filter(|word| !inside(word))).collect()
}

fn failed(error: tokenizers::Error) -> Error {
    Error::Tokenizer(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn markers_surround_the_mentions_also_where_they_meet_or_nest() {
        let tokenizer = WordTokenizer::from_words(words("a b c")).unwrap();
        let show = |head, tail| {
            let encoding = tokenizer.relation(&words("A b x"), head, tail, 20).unwrap();
            let text: Vec<String> = encoding.ids.iter().map(|id| tokenizer.inner.id_to_token(*id).unwrap()).collect();
            assert_eq!(
                (text[encoding.head_pos as usize].as_str(), text[encoding.tail_pos as usize].as_str()),
                ("[E11]", "[E21]")
            );
            text.join(" ")
        };
        assert_eq!(show((0, 1), (1, 2)), "[CLS] [E11] a [E12] [E21] b [E22] [UNK] [SEP]");
        assert_eq!(show((2, 3), (0, 1)), "[CLS] [E21] a [E22] b [E11] [UNK] [E12] [SEP]");
        assert_eq!(show((0, 2), (1, 2)), "[CLS] [E11] a [E21] b [E12] [E22] [UNK] [SEP]");
    }

    /// `tokenizers` panics at a decoder that it does not know.
    #[test]
    fn only_a_decoder_of_bert_is_kept_and_no_other_one_matters() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        let written = WordTokenizer::from_words(words("a b")).unwrap().to_json().unwrap();
        let mut content: Value = serde_json::from_str(&written).unwrap();
        let word_piece = serde_json::json!({"type": "WordPiece", "prefix": "##", "cleanup": true});
        for (decoder, kept) in [(word_piece, true), (5.into(), false), (serde_json::json!({"type": "Odd"}), false)] {
            content["decoder"] = decoder;
            fs_err::write(&path, content.to_string()).unwrap();
            assert_eq!(WordTokenizer::from_file(&path).unwrap().inner.get_decoder().is_some(), kept);
        }
        fs_err::write(&path, "{\"decoder\": {").unwrap();
        assert!(WordTokenizer::from_file(&path).err().unwrap().to_string().contains("not a tokenizer"));
    }

    /// Six replacements of one character by 80 would make 262 GB of one character.
    #[test]
    fn normalizers_that_lengthen_a_text_without_bound_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        let written = WordTokenizer::from_words(words("a b")).unwrap().to_json().unwrap();
        let mut content: Value = serde_json::from_str(&written).unwrap();
        let replace =
            |content: String| serde_json::json!({"type": "Replace", "pattern": {"String": "a"}, "content": content});
        let chain = |steps: Vec<Value>| serde_json::json!({"type": "Sequence", "normalizers": steps});
        let open = |content: &Value| {
            fs_err::write(&path, content.to_string()).unwrap();
            WordTokenizer::from_file(&path)
        };
        content["normalizer"] = chain(vec![chain(vec![replace("a".repeat(80)); 6])]);
        let error = open(&content).unwrap().sentence(&words("b a"), 9).err().unwrap().to_string();
        assert!(error.contains("makes more than 272 bytes of `a`"), "{error}");
        content["added_tokens"][0]["content"] = "[PAD]a".into();
        let error = open(&content).err().unwrap().to_string();
        assert!(error.contains("makes more than 352 bytes of `[PAD]a`") && error.contains("tokenizer.json"), "{error}");

        content["added_tokens"][0]["content"] = "[PAD]".into();
        content["normalizer"] = chain(vec![serde_json::json!({"type": "NFKD"}), replace("b".to_owned())]);
        let tokenizer = open(&content).unwrap();
        assert_eq!(tokenizer.pieces("a").unwrap(), tokenizer.pieces("b").unwrap());
        assert!(tokenizer.pieces("\u{fdfa}").is_ok());
    }

    #[test]
    fn options_that_cannot_be_read_are_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vocab.txt");
        fs_err::write(&path, SPECIALS.join("\n")).unwrap();
        fs_err::create_dir(path.with_file_name("tokenizer_config.json")).unwrap();
        assert!(WordTokenizer::from_vocabulary(&path).err().unwrap().to_string().contains("tokenizer_config.json"));
    }

    #[test]
    fn long_sentences_are_cut() {
        let tokenizer = WordTokenizer::from_words(words("a b c")).unwrap();
        let cut = tokenizer.sentence(&words("a b c a b c"), 5).unwrap();
        assert_eq!((cut.ids.len(), cut.first_piece), (5, vec![1, 2, 3]));
        let text = words("a b c a b c");
        assert_eq!(tokenizer.relation(&text, (0, 1), (1, 2), 8).unwrap().ids.len(), 8);
        assert!(tokenizer.relation(&text, (0, 1), (5, 6), 12).is_ok());
    }

    #[test]
    fn a_cut_that_would_lose_a_mention_takes_other_words() {
        let tokenizer = WordTokenizer::from_words(words("a b c d e f g h")).unwrap();
        let text = words("a b c d e f g h");
        let show = |head, tail, max| {
            let encoding = tokenizer.relation(&text, head, tail, max).unwrap();
            let text: Vec<String> = encoding.ids.iter().map(|id| tokenizer.inner.id_to_token(*id).unwrap()).collect();
            assert_eq!(text[encoding.tail_pos as usize], "[E21]");
            text.join(" ")
        };
        // Nothing is lost by an ordinary cut.
        assert_eq!(show((0, 1), (2, 3), 8), "[CLS] [E11] a [E12] b [E21] c [SEP]");
        assert_eq!(show((1, 2), (6, 7), 10), "[CLS] [E11] b [E12] e f [E21] g [E22] [SEP]");
        assert_eq!(show((1, 2), (6, 7), 8), "[CLS] [E11] b [E12] [E21] g [E22] [SEP]");
        let error = tokenizer.relation(&text, (0, 4), (4, 8), 7).unwrap_err().to_string();
        assert!(error.contains("max_length 7; it needs at least 9"), "{error}");
    }
}
